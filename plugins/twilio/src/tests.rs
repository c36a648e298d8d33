use crate::Twilio;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gatepost_sdk::crypto::{self, Algorithm, Key};
use gatepost_sdk::provider::{Outgoing, Provider, WebhookReply};
use gatepost_sdk::testing::{FakeHost, call_info};
use gatepost_sdk::types::{CallInfo, Failure, Header, HttpRequest, Target};
use gatepost_sdk::{Value, json};

const FORM: &str = "application/x-www-form-urlencoded";
/// Twilio's own test vector (token 12345).
const VECTOR_URL: &str = "https://example.com/myapp.php?foo=1&bar=2";
const VECTOR_BODY: &str = "CallSid=CA1234567890ABCDE&Caller=%2B14158675310&Digits=1234&From=%2B14158675310&To=%2B18005551212";
const VECTOR_SIGNATURE: &str = "L/OH5YylLD5NRKLltdqwSvS0BnU=";

fn host(config: Value) -> FakeHost {
    FakeHost::new()
        .secret("twilio_auth_token", "12345")
        .config(config)
}

fn post(url: &str, media_type: &str, body: &str, signature: &str) -> HttpRequest {
    let headers = vec![
        Header::new("content-type", media_type),
        Header::new("x-twilio-signature", signature),
    ];
    HttpRequest {
        method: "POST".into(),
        url: url.into(),
        headers,
        body: body.into(),
    }
}

fn answer(config: Value, request: HttpRequest) -> WebhookReply {
    let ext = vec![(
        "sip-uri".to_owned(),
        "sip:sbc.example.com:5060;transport=udp".to_owned(),
    )];
    host(config).run(|| Twilio::webhook(request, ext)).unwrap()
}

fn status(config: Value, request: HttpRequest) -> u16 {
    answer(config, request).response.status
}

/// Signs as Twilio does, where there is no vector.
fn sign(message: &str) -> String {
    let key = Key::Bytes(b"12345".to_vec());
    STANDARD.encode(
        FakeHost::new()
            .run(|| crypto::hmac(Algorithm::HmacSha1, &key, message.as_bytes()).unwrap()),
    )
}

fn signed_form(url: &str, fields: &[(&str, &str)]) -> HttpRequest {
    let mut sorted = fields.to_vec();
    sorted.sort_unstable();
    let message: String = sorted
        .iter()
        .map(|(name, value)| format!("{name}{value}"))
        .collect();
    let body: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", value.replace('+', "%2B")))
        .collect();
    post(
        url,
        FORM,
        &body.join("&"),
        &sign(&format!("{url}{message}")),
    )
}

fn body(reply: &WebhookReply) -> &str {
    std::str::from_utf8(&reply.response.body).unwrap()
}

#[test]
fn a_signed_call_is_sent_to_our_sip_address_with_the_number_that_was_called() {
    let reply = answer(
        json!({}),
        post(VECTOR_URL, FORM, VECTOR_BODY, VECTOR_SIGNATURE),
    );
    assert_eq!(reply.response.status, 200);
    assert_eq!(reply.response.header("Content-Type"), Some("text/xml"));
    assert_eq!(
        body(&reply),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Dial answerOnBridge=\"true\">\
         <Sip>sip:+18005551212@sbc.example.com:5060;transport=udp</Sip></Dial></Response>"
    );
    assert_eq!(reply.notices[0].kind, "call-status");
    assert!(
        reply.notices[0]
            .ext
            .contains(&("call-sid".into(), "CA1234567890ABCDE".into()))
    );
}

#[test]
fn anything_else_than_the_right_signature_gets_403() {
    let wrong = [
        post(
            VECTOR_URL,
            FORM,
            VECTOR_BODY,
            "L/OH5YylLD5NRKLltdqwSvS0BnV=",
        ),
        post(VECTOR_URL, FORM, VECTOR_BODY, "bm90IGEgc2lnbmF0dXJl"),
        post(VECTOR_URL, FORM, VECTOR_BODY, "***"),
        post(
            VECTOR_URL,
            FORM,
            &VECTOR_BODY.replace("1234&", "1235&"),
            VECTOR_SIGNATURE,
        ),
        post(
            "https://example.com/myapp.php?foo=1&bar=3",
            FORM,
            VECTOR_BODY,
            VECTOR_SIGNATURE,
        ),
        post(
            VECTOR_URL,
            "application/json",
            VECTOR_BODY,
            VECTOR_SIGNATURE,
        ),
        HttpRequest {
            headers: vec![Header::new("Content-Type", FORM)],
            ..post(VECTOR_URL, FORM, VECTOR_BODY, "")
        },
    ];
    for request in wrong {
        assert_eq!(status(json!({}), request.clone()), 403, "{request:?}");
    }
}

#[test]
fn the_url_is_the_public_one_behind_a_proxy() {
    let inside = "http://127.0.0.1:8080/myapp.php?foo=1&bar=2";
    assert_eq!(
        status(json!({}), post(inside, FORM, VECTOR_BODY, VECTOR_SIGNATURE)),
        403
    );
    let config = json!({ "public_url": "https://example.com" });
    assert_eq!(
        status(config, post(inside, FORM, VECTOR_BODY, VECTOR_SIGNATURE)),
        200
    );
}

#[test]
fn a_port_in_the_url_may_or_may_not_be_signed() {
    let with_port = VECTOR_URL.replace("example.com", "example.com:443");
    assert_eq!(
        status(
            json!({}),
            post(&with_port, FORM, VECTOR_BODY, VECTOR_SIGNATURE)
        ),
        200
    );
    let other_port = VECTOR_URL.replace("example.com", "example.com:8443");
    assert_eq!(
        status(
            json!({}),
            post(&other_port, FORM, VECTOR_BODY, VECTOR_SIGNATURE)
        ),
        200
    );
    // Signed with the port, seen without it.
    let fields = "CallSidCA1To+15550100";
    let request = post(
        "https://h/x",
        FORM,
        "CallSid=CA1&To=%2B15550100",
        &sign(&format!("https://h:443/x{fields}")),
    );
    assert_eq!(status(json!({}), request), 200);
}

#[test]
fn the_values_of_a_repeated_field_are_signed_once_each_in_order() {
    let url = "https://h/x";
    let body = "To=%2B15550100&CallSid=CA1&Tag=b&Tag=a&Tag=b";
    let request = post(
        url,
        FORM,
        body,
        &sign("https://h/xCallSidCA1TagaTagbTo+15550100"),
    );
    assert_eq!(status(json!({}), request), 200);
}

#[test]
fn names_are_sorted_by_bytes() {
    // `Zip` comes before `a` there.
    let request = post(
        "https://h/x",
        FORM,
        "a=1&Zip=2&CallSid=CA1&To=x",
        &sign("https://h/xCallSidCA1ToxZip2a1"),
    );
    assert_eq!(status(json!({}), request), 200);
}

#[test]
fn a_json_body_is_checked_by_its_hash_in_the_query() {
    let url = "https://example.com/hook?bodySHA256=57ee9cc9bc541d2944c572e4bfd5d83be0b8ac1d8cb2ec94ee36a34436ae8651";
    let body = r#"{"event":"hello","n":1}"#;
    let signature = "x4bKzHH1y/b1azkxGxNpyQleYnk=";
    // The signature is right, and there is nothing in it that we know.
    assert_eq!(
        status(json!({}), post(url, "application/json", body, signature)),
        400
    );
    assert_eq!(
        status(
            json!({}),
            post(
                url,
                "application/json",
                r#"{"event":"hello","n":2}"#,
                signature
            )
        ),
        403
    );
    let without = url.split('?').next().unwrap();
    assert_eq!(
        status(
            json!({}),
            post(without, "application/json", body, &sign(without))
        ),
        403
    );
}

#[test]
fn a_get_is_signed_by_its_url_alone() {
    let url = "https://h/voice?CallSid=CA1&To=%2B15550100";
    let headers = vec![Header::new("X-Twilio-Signature", sign(url))];
    let request = HttpRequest {
        method: "GET".into(),
        url: url.into(),
        headers,
        body: Vec::new(),
    };
    let reply = answer(json!({}), request);
    assert!(
        body(&reply).contains("<Sip>sip:+15550100@"),
        "{}",
        body(&reply)
    );
}

#[test]
fn a_missing_secret_is_a_failure_of_the_configuration() {
    let request = post(VECTOR_URL, FORM, VECTOR_BODY, VECTOR_SIGNATURE);
    let failed = FakeHost::new().run(|| Twilio::webhook(request, Vec::new()));
    assert!(matches!(failed, Err(Failure::Config(text)) if text.contains("twilio_auth_token")));
}

#[test]
fn a_status_callback_becomes_a_notice() {
    let fields = [
        ("CallSid", "CA1"),
        ("CallStatus", "ringing"),
        ("CallbackSource", "call-progress-events"),
        ("SequenceNumber", "1"),
        ("To", "+1"),
    ];
    let reply = answer(json!({}), signed_form("https://h/x", &fields));
    assert_eq!(reply.response.status, 204);
    assert_eq!(reply.notices[0].kind, "call-status");
    assert!(
        reply.notices[0]
            .ext
            .contains(&("sequence-number".into(), "1".into()))
    );
    let over = signed_form(
        "https://h/x",
        &[
            ("CallSid", "CA1"),
            ("CallStatus", "completed"),
            ("To", "+1"),
        ],
    );
    assert_eq!(answer(json!({}), over).response.status, 204);
}

#[test]
fn messages_and_the_end_of_a_dial_are_told_and_answered() {
    let message = answer(
        json!({}),
        signed_form("https://h/x", &[("MessageSid", "SM1"), ("Body", "hi")]),
    );
    assert_eq!(
        (
            message.notices[0].kind.as_str(),
            body(&message).contains("<Response/>")
        ),
        ("message", true)
    );
    let dialled = answer(
        json!({}),
        signed_form(
            "https://h/x",
            &[("CallSid", "CA1"), ("DialCallStatus", "busy"), ("To", "+1")],
        ),
    );
    assert_eq!(
        (
            dialled.notices[0].kind.as_str(),
            body(&dialled).contains("<Hangup/>")
        ),
        ("dial-status", true)
    );
}

#[test]
fn settings_shape_the_twiml_and_nothing_breaks_out_of_it() {
    let config = json!({ "timeout_s": 20, "answer_on_bridge": false, "headers": { "X-Call": "{CallSid}", "X-Text": "a&b \"{From}\"" } });
    let fields = [
        ("CallSid", "CA1"),
        ("From", "+1<evil>"),
        ("To", "+1</Sip><Hangup/>@x"),
    ];
    let reply = answer(config, signed_form("https://h/x", &fields));
    assert_eq!(
        body(&reply),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Dial timeout=\"20\">\
         <Sip>sip:+1%3C/Sip%3E%3CHangup/%3E%40x@sbc.example.com:5060;transport=udp?X-Call=CA1&amp;X-Text=a%26b%20%22%2B1%3Cevil%3E%22</Sip>\
         </Dial></Response>"
    );
}

#[test]
fn numbers_go_to_twilio_in_e164() {
    let invite = Outgoing {
        request_uri: "sip:5550001111@10.0.0.1:5060".into(),
        from_uri: "sip:14158675310@sbc.example.com".into(),
        from_display: None,
        to_uri: "sip:5550001111@10.0.0.1".into(),
        headers: Vec::new(),
    };
    let shape = |config| {
        host(config)
            .run(|| Twilio::outbound(call_info(), Target::new("sip:x@h"), invite.clone()))
            .unwrap()
    };
    let shaped = shape(json!({}));
    assert_eq!(
        shaped.request_uri.as_deref(),
        Some("sip:+15550001111@10.0.0.1:5060")
    );
    assert_eq!(
        shaped.from_uri.as_deref(),
        Some("sip:+14158675310@sbc.example.com")
    );
    assert_eq!(shaped.to_uri.as_deref(), Some("sip:+15550001111@10.0.0.1"));
    let shaped = shape(json!({ "domain": "me.pstn.twilio.com" }));
    assert_eq!(
        shaped.request_uri.as_deref(),
        Some("sip:+15550001111@me.pstn.twilio.com")
    );
}

#[test]
fn twilios_headers_are_read() {
    let call = CallInfo {
        called: "pbx".into(),
        caller: "+14158675310".into(),
        headers: vec![
            Header::new("X-Twilio-CallSid", "CA1"),
            Header::new("X-Twilio-VerStat", "TN-Validation-Passed-A"),
            Header::new(
                "Diversion",
                "<sip:+18005551212@twilio.com>;reason=unconditional",
            ),
        ],
        ..call_info()
    };
    let read = host(json!({})).run(|| Twilio::inbound(call)).unwrap();
    assert_eq!(read.called.as_deref(), Some("+18005551212"));
    assert_eq!(read.caller, None);
    assert_eq!(
        read.ext,
        [
            ("twilio-call-sid".into(), "CA1".into()),
            (
                "twilio-verstat".to_owned(),
                "TN-Validation-Passed-A".to_owned()
            )
        ]
    );
}
