//! RFC 4475 and RFC 5118: each message has the outcome that the RFC gives it, or one of those
//! that it allows. What a transaction user decides (416, 420, 415, 483, 404) is not seen here:
//! such a request is passed on.

use bytes::Bytes;
use sip::token::TokenSource;
use sip::transaction::Drop;
use sip::{Config, Event, Flow, HeaderName, Message, Request, TransactionLayer, Transport};
use std::path::Path;
use std::time::Instant;

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Answered(u16),
    Dropped,
}
use Outcome::{Answered, Dropped, Passed};

const RFC4475: &[(&str, Outcome)] = &[
    // §3.1.1, valid
    ("wsinv", Passed),
    ("intmeth", Passed),
    ("esc01", Passed),
    ("escnull", Passed),
    ("esc02", Passed),
    ("lwsdisp", Passed),
    ("longreq", Passed),
    ("dblreq", Passed),
    ("semiuri", Passed),
    ("transports", Passed),
    ("mpart01", Passed),
    ("unreason", Dropped),
    ("noreason", Dropped),
    // §3.1.2, invalid
    ("badinv01", Answered(400)),
    ("clerr", Answered(400)),
    ("ncl", Answered(400)),
    ("scalar02", Answered(400)),
    ("scalarlg", Dropped),
    ("quotbal", Answered(400)),
    ("ltgtruri", Answered(400)),
    ("lwsruri", Answered(400)),
    ("lwsstart", Answered(400)),
    ("trws", Answered(400)),
    // Header fields in the Request-URI are ignored.
    ("escruri", Passed),
    ("baddate", Passed),
    ("regbadct", Answered(400)),
    ("badaspec", Passed),
    ("baddn", Passed),
    ("badvers", Answered(505)),
    ("mismatch01", Answered(400)),
    ("mismatch02", Answered(400)),
    ("bigcode", Dropped),
    // §3.2 to §3.4
    ("badbranch", Passed),
    ("insuf", Answered(400)),
    ("unkscm", Passed),
    ("novelsc", Passed),
    ("unksm2", Passed),
    ("bext01", Passed),
    ("invut", Passed),
    ("regaut01", Passed),
    ("multi01", Answered(400)),
    ("mcl01", Answered(400)),
    ("bcast", Dropped),
    ("zeromf", Passed),
    ("cparam01", Passed),
    ("cparam02", Passed),
    ("regescrt", Passed),
    ("sdp01", Passed),
    ("inv2543", Passed),
];

#[test]
fn every_message_of_rfc_4475_has_its_outcome() {
    let wrong: Vec<String> = RFC4475
        .iter()
        .filter_map(|(name, expected)| {
            let got = outcome(read("rfc4475", name));
            (got != *expected).then(|| format!("{name}: {got:?}, not {expected:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(RFC4475.len(), 49);
}

#[test]
fn every_message_of_rfc_5118_is_understood() {
    for name in [
        "ipv6-ruri",
        "ipv6-port-ambiguous",
        "ipv6-via-received-bracketed",
        "ipv6-sdp",
        "ipv6-multi-addr-sdp",
    ] {
        assert_eq!(outcome(read("rfc5118", name)), Passed, "{name}");
    }
    let request = request("rfc5118", "ipv6-via-received-bracketed");
    assert_eq!(
        request.via().unwrap().received(),
        "2001:db8::9:255".parse().ok()
    );
    assert_eq!(
        self::request("rfc5118", "ipv6-ruri")
            .sip_uri()
            .unwrap()
            .host,
        "2001:db8::10"
    );
}

#[test]
fn the_short_tortuous_invite_is_read_to_the_last_value() {
    let invite = request("rfc4475", "wsinv");
    assert_eq!(
        invite.uri(),
        "sip:vivekg@chair-dnrc.example.com;unknownparam"
    );
    assert_eq!(
        invite.to().unwrap().uri,
        "sip:vivekg@chair-dnrc.example.com"
    );
    assert_eq!(invite.to_tag(), Some("1918181833n"));
    assert_eq!(
        invite.from().unwrap().display().unwrap(),
        "J Rosenberg \\\""
    );
    assert_eq!(invite.from_tag(), Some("98asjd8"));
    assert_eq!(invite.max_forwards(), Some(68));
    assert_eq!(invite.call_id(), Some("wsinv.ndaksdj@192.0.2.1"));
    assert_eq!(
        invite.cseq().map(|cseq| (cseq.number, cseq.method)),
        Some((9, "INVITE"))
    );
    let vias: Vec<_> = invite
        .vias()
        .map(|via| {
            (
                via.transport.to_owned(),
                via.host.to_owned(),
                via.branch().unwrap().to_owned(),
            )
        })
        .collect();
    let expected = [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ];
    assert_eq!(
        vias,
        expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()))
    );
    assert_eq!(
        invite.named("NewFangledHeader"),
        Some("newfangled value continued newfangled value")
    );
    let contact = invite.contact().unwrap();
    assert_eq!(contact.display().unwrap(), "Quoted string \"\"");
    assert_eq!(
        (contact.params.get("newparam"), contact.params.get("q")),
        (Some("newvalue"), Some("0.33"))
    );
    assert!(contact.params.has("secondparam"));
    assert!(
        invite
            .routes()
            .next()
            .unwrap()
            .sip_uri()
            .unwrap()
            .is_loose_router()
    );
    assert_eq!(invite.body().len(), 150);
    assert_eq!(invite.get(HeaderName::Subject), Some(""));
}

#[test]
fn escapes_extra_bytes_and_binary_bodies_are_kept_as_they_are() {
    let esc = request("rfc4475", "esc01");
    assert_eq!(
        esc.sip_uri().unwrap().user_decoded().unwrap(),
        "sips:user@example.com"
    );
    assert_eq!(
        esc.contact().unwrap().uri,
        "sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31"
    );
    let esc02 = request("rfc4475", "esc02");
    assert_eq!(esc02.method().as_str(), "RE%47IST%45R");
    assert_eq!(esc02.count(HeaderName::Contact), 2);
    assert_eq!(request("rfc4475", "dblreq").body().len(), 0);
    let mpart = request("rfc4475", "mpart01");
    assert_eq!(
        mpart.body().len(),
        mpart
            .get(HeaderName::ContentLength)
            .unwrap()
            .parse::<usize>()
            .unwrap()
    );
    let long = request("rfc4475", "longreq");
    assert!(long.from_tag().unwrap().ends_with("982424"));
    assert_eq!(long.vias().count(), 34);
    let Message::Response(unreason) = Message::parse(read("rfc4475", "unreason")).unwrap() else {
        panic!("a response")
    };
    assert!(unreason.check().is_ok());
    assert!(unreason.reason().starts_with("= 2**3 * 5**2"));
}

#[test]
fn what_was_not_edited_goes_out_byte_for_byte() {
    for (name, outcome) in RFC4475 {
        if *outcome != Passed || ["dblreq", "baddn"].contains(name) {
            continue;
        }
        let bytes = read("rfc4475", name);
        let message = Message::parse(bytes.clone()).unwrap();
        let written = message.to_bytes();
        if message.fields().has(HeaderName::ContentLength) {
            assert_eq!(written, bytes, "{name}");
        } else {
            let extra = format!("Content-Length: {}\r\n", message.fields().body().len());
            assert_eq!(written.len(), bytes.len() + extra.len(), "{name}");
        }
    }
}

#[test]
fn rsip_reads_the_same_values_where_it_reads_any() {
    use rsip::prelude::*;
    let mut compared = 0;
    for (name, _) in RFC4475 {
        let bytes = read("rfc4475", name);
        let (Ok(Message::Request(ours)), Ok(theirs)) = (
            Message::parse(bytes.clone()),
            rsip::Request::try_from(bytes.as_ref()),
        ) else {
            continue;
        };
        if ours.check().is_err() {
            continue;
        }
        assert_eq!(
            ours.method().as_str(),
            theirs.method().to_string(),
            "{name}"
        );
        if let Ok(call_id) = theirs.call_id_header() {
            assert_eq!(ours.call_id().unwrap(), call_id.value(), "{name}");
        }
        if let Ok(Ok(cseq)) = theirs.cseq_header().map(|header| header.seq()) {
            assert_eq!(ours.cseq().unwrap().number, cseq, "{name}");
        }
        if let Ok(Ok(Some(tag))) = theirs.from_header().map(|header| header.tag()) {
            assert_eq!(ours.from_tag().unwrap(), tag.value(), "{name}");
        }
        if let Ok(Ok(branch)) = theirs.via_header().map(|header| {
            header
                .typed()
                .map(|via| via.branch().map(|b| b.to_string()))
        }) {
            assert_eq!(
                ours.via().unwrap().branch().map(str::to_owned),
                branch,
                "{name}"
            );
        }
        compared += 1;
    }
    assert!(compared >= 15, "only {compared} compared");
}

fn outcome(bytes: Bytes) -> Outcome {
    let mut layer = TransactionLayer::new(Config::default(), TokenSource::new(1, 1));
    let flow = Flow {
        transport: Transport::Udp,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: "192.0.2.77:5060".parse().unwrap(),
        connection: 0,
    };
    layer.handle_message(start(), flow, bytes);
    let answer = layer
        .poll_transmit()
        .map(|sent| match Message::parse(sent.bytes).unwrap() {
            Message::Response(response) => response.code(),
            Message::Request(request) => panic!("sent {request:?}"),
        });
    let mut outcome = Dropped;
    while let Some(event) = layer.poll_event() {
        match event {
            Event::Request { .. } => outcome = Passed,
            Event::Dropped {
                reason: Drop::Malformed(_),
                ..
            } => outcome = Answered(answer.unwrap()),
            Event::Dropped { .. } => assert_eq!(answer, None),
            other => panic!("{other:?}"),
        }
    }
    outcome
}

fn request(folder: &str, name: &str) -> Request {
    match Message::parse(read(folder, name)).unwrap() {
        Message::Request(request) => request,
        Message::Response(response) => panic!("{response:?}"),
    }
}

fn read(folder: &str, name: &str) -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(folder)
        .join(name)
        .with_extension("dat");
    Bytes::from(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

#[expect(clippy::disallowed_methods, reason = "any instant will do")]
fn start() -> Instant {
    Instant::now()
}
