//! Reading by name, editing and writing: what was changed shows, all else stays as it came.

use bytes::Bytes;
use sip::message::{Defect, ParseError};
use sip::{HeaderName, Message, Method, Request, Response};

const REQUEST: &str = "INVITE sip:bob@b.example SIP/2.0\r\n\
    v: SIP/2.0/UDP a.example;branch=z9hG4bK1, SIP/2.0/TCP c.example;branch=z9hG4bK2\r\n\
    Via: SIP/2.0/UDP d.example;branch=z9hG4bK3\r\n\
    f: \"Bell, A\" <sip:alice@a.example>;tag=a1\r\n\
    To:   <sip:bob@b.example>\r\n\
    i: c1\r\n\
    CSeq: 7 INVITE\r\n\
    Subject: one\r\n two\r\n\
    X-Custom:  kept  as is \r\n\
    Proxy-Authorization: Digest username=\"a\", realm=\"b, c\"\r\n\
    l: 4\r\n\r\nbody";

#[test]
fn an_edit_touches_its_own_line_and_no_other() {
    let mut message = request(REQUEST);
    message.set(HeaderName::To, "<sip:carol@b.example>");
    message.remove(HeaderName::Subject);
    message.push_front(HeaderName::Via, "SIP/2.0/UDP e.example;branch=z9hG4bK0");
    message.set_uri("sip:carol@b.example");
    message.push_named("X-New", 5);
    let expected = REQUEST
        .replace(
            "INVITE sip:bob@b.example SIP",
            "INVITE sip:carol@b.example SIP",
        )
        .replace(
            "v: SIP",
            "Via: SIP/2.0/UDP e.example;branch=z9hG4bK0\r\nv: SIP",
        )
        .replace("To:   <sip:bob@b.example>", "To: <sip:carol@b.example>")
        .replace("Subject: one\r\n two\r\n", "")
        .replace("l: 4\r\n", "l: 4\r\nX-New: 5\r\n");
    assert_eq!(std::str::from_utf8(&message.to_bytes()).unwrap(), expected);
}

#[test]
fn values_are_found_by_long_and_compact_names_and_in_lists() {
    let message = request(REQUEST);
    assert_eq!(message.named("Call-ID"), Some("c1"));
    assert_eq!(message.named("x-custom"), Some("kept  as is"));
    assert_eq!(message.get(HeaderName::Subject), Some("one two"));
    assert_eq!(
        message
            .vias()
            .map(|via| via.host.to_owned())
            .collect::<Vec<_>>(),
        ["a.example", "c.example", "d.example"]
    );
    assert_eq!(
        message.list(HeaderName::ProxyAuthorization).count(),
        1,
        "its commas part no values"
    );
    assert_eq!(message.from().unwrap().display().unwrap(), "Bell, A");
}

#[test]
fn the_topmost_of_a_list_can_be_taken_off_and_replaced() {
    let mut message = request(REQUEST);
    message.set_first(
        HeaderName::Via,
        "SIP/2.0/UDP a.example;branch=z9hG4bK1;received=192.0.2.1",
    );
    assert_eq!(message.via().unwrap().received(), "192.0.2.1".parse().ok());
    assert_eq!(message.vias().count(), 3);
    for left in [2, 1, 0] {
        message.remove_first(HeaderName::Via);
        assert_eq!(message.vias().count(), left);
    }
}

#[test]
fn no_edit_can_smuggle_a_header_in() {
    let mut message = request(REQUEST);
    message.set(HeaderName::Subject, "x\r\nEvil: 1\n\nbody");
    message.push_named("X-A\r\nEvil", "1");
    message.set_uri("sip:x SIP/2.0\r\nEvil: 1");
    let again = Message::parse(message.to_bytes()).unwrap();
    assert_eq!(again.fields().named("Evil"), None);
}

#[test]
fn content_length_follows_the_body() {
    let mut message = request(REQUEST);
    message.set_body("application/sdp", "v=0\r\n");
    let text = String::from_utf8(message.to_bytes().to_vec()).unwrap();
    assert!(text.ends_with("Content-Length: 5\r\n\r\nv=0\r\n"), "{text}");
    assert!(!text.contains("l: 4"));
    assert_eq!(message.content_type().as_deref(), Some("application/sdp"));
    message.remove_body();
    assert!(!message.has(HeaderName::ContentType));
}

#[test]
fn content_length_is_obeyed_and_checked() {
    let with = |length: &str| request(&REQUEST.replace("l: 4", length));
    assert_eq!(with("l: 2").body().as_ref(), b"bo");
    assert_eq!(with("X: y").body().as_ref(), b"body");
    assert_eq!(with("l: 4\r\nContent-Length: 4").check(), Ok(()));
    assert_eq!(with("l: 5").check(), Err(Defect::ContentLengthTooLarge));
    assert_eq!(with("l: -1").check(), Err(Defect::ContentLength));
    assert_eq!(
        with("l: 4\r\nl: 3").check(),
        Err(Defect::ContentLengthTwice)
    );
    assert_eq!(
        with("l: 99999999999999999999999").check(),
        Err(Defect::ContentLength)
    );
}

#[test]
fn latin_1_and_bare_line_feeds_do_not_lose_a_message() {
    let mut bytes = REQUEST
        .replace("\r\n", "\n")
        .replace("Bell, A", "J?rg")
        .into_bytes();
    let at = bytes.iter().position(|b| *b == b'?').unwrap();
    bytes[at] = 0xf6;
    let Message::Request(message) = Message::parse(Bytes::from(bytes.clone())).unwrap() else {
        panic!("a request")
    };
    assert_eq!(message.check(), Ok(()));
    assert_eq!(message.from().unwrap().display().unwrap(), "Jörg");
    assert_eq!(message.from_tag(), Some("a1"));
    assert!(
        message
            .to_bytes()
            .windows(4)
            .any(|window| window == b"J\xf6rg"),
        "the line is written as it came"
    );
    let response = Response::to(&message, 180, "");
    assert_eq!(response.from_tag(), Some("a1"));
}

#[test]
fn empty_lines_in_front_are_skipped_and_nothing_else_is_a_keep_alive() {
    assert!(Message::parse(Bytes::from(format!("\r\n\r\n{REQUEST}"))).is_ok());
    for text in ["", "\r\n\r\n", "\0", "\0\0\0\0"] {
        assert_eq!(
            Message::parse(Bytes::from(text)).unwrap_err(),
            ParseError::KeepAlive
        );
    }
    assert_eq!(
        Message::parse(Bytes::from("GET / HTTP/1.1\r\n\r\n")).unwrap_err(),
        ParseError::NotSip
    );
    assert_eq!(
        Message::parse(Bytes::from("OPTIONS\r\n\r\n")).unwrap_err(),
        ParseError::NotSip
    );
    assert_eq!(
        Message::parse(Bytes::from(vec![b'x'; 70_000])).unwrap_err(),
        ParseError::TooLarge
    );
}

#[test]
fn too_much_is_said_to_be_too_much() {
    let many = REQUEST.replace("Subject", &format!("{}Subject", "X: y\r\n".repeat(300)));
    assert_eq!(
        request(&many).check().map_err(|defect| defect.status()),
        Err(513)
    );
    let long = REQUEST.replace(
        "sip:bob@b.example SIP",
        &format!("sip:{}@b.example SIP", "b".repeat(9000)),
    );
    assert_eq!(
        request(&long).check().map_err(|defect| defect.status()),
        Err(414)
    );
}

#[test]
fn a_response_takes_over_what_the_rfc_says() {
    let mut request = request(REQUEST);
    request.push(HeaderName::RecordRoute, "<sip:p;lr>");
    request.push(HeaderName::Timestamp, "54");
    let trying = Response::to(&request, 100, "");
    assert_eq!(
        (
            trying.get(HeaderName::Timestamp),
            trying.has(HeaderName::RecordRoute)
        ),
        (Some("54"), false)
    );
    let mut ok = Response::to(&request, 200, "");
    ok.set_to_tag("b1");
    ok.set_to_tag("b2");
    let text = String::from_utf8(ok.to_bytes().to_vec()).unwrap();
    assert!(
        text.starts_with(
            "SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a.example;branch=z9hG4bK1, SIP/2.0/TCP c.example"
        ),
        "{text}"
    );
    assert_eq!(
        (
            ok.to_tag(),
            ok.vias().count(),
            ok.get(HeaderName::RecordRoute)
        ),
        (Some("b1"), 3, Some("<sip:p;lr>"))
    );
    assert_eq!(
        Response::to(&request, 404, "No route\r\nEvil: 1").reason(),
        "No route  Evil: 1"
    );
}

#[test]
fn a_request_can_be_built() {
    let request = Request::builder(Method::Other("FOO".into()), "sip:x@y")
        .header(HeaderName::CSeq, "1 FOO")
        .named("X-A", "b")
        .body("text/plain", "hello")
        .build();
    let expected = "FOO sip:x@y SIP/2.0\r\nCSeq: 1 FOO\r\nX-A: b\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(std::str::from_utf8(&request.to_bytes()).unwrap(), expected);
}

fn request(text: &str) -> Request {
    match Message::parse(Bytes::from(text.to_owned())).unwrap() {
        Message::Request(request) => request,
        Message::Response(response) => panic!("{response:?}"),
    }
}
