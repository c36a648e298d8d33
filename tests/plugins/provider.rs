//! `twilio`: a webhook whose signature is checked with a secret that the guest never sees.

use crate::{Host, SECRET, TENANT, block_on, call};
use b2bua::decision::{DecisionFailure, Target};
use b2bua::provider::Outgoing;
use plugin_host::{Webhook, WebhookReply};

const GRANTED: &str = "[grants]\nallow = [\"secret:twilio_auth_token\"]\n";

fn ask(settings: &str, signature: &str) -> Result<WebhookReply, DecisionFailure> {
    let host = Host::with("twilio", settings);
    let webhook = Webhook {
        method: "POST".into(),
        url: "https://mycompany.com/myapp.php?foo=1&bar=2".into(),
        headers: vec![("X-Twilio-Signature".into(), signature.into()), ("Content-Type".into(), "application/x-www-form-urlencoded".into())],
        body: b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212".to_vec(),
        ext: vec![("sip-uri".into(), "sip:sbc.example.com".into()), ("public-url".into(), "https://mycompany.com".into()), ("remote".into(), "192.0.2.1".into())],
    };
    block_on(host.host.webhook(TENANT, "twilio", webhook))
}

/// The example of Twilio's documentation, made with the token `12345`.
const SIGNATURE: &str = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";

#[test]
fn a_signed_webhook_is_answered_with_twiml() {
    assert_eq!(SECRET, "12345");
    let reply = ask(GRANTED, SIGNATURE).unwrap();
    let body = String::from_utf8(reply.body).unwrap();
    assert_eq!(reply.status, 200, "{body}");
    assert!(
        body.contains("<Response>") && body.contains("<Sip>"),
        "{body}"
    );
}

#[test]
fn a_wrong_signature_is_refused_and_so_is_a_right_one_without_the_grant() {
    assert_eq!(
        ask(GRANTED, "RSOYDt4T1cUTdK1PDd93/VVr8B9=").unwrap().status,
        403
    );
    let failure = ask("", SIGNATURE).unwrap_err();
    assert!(
        failure.to_string().contains("secret:twilio_auth_token"),
        "{failure}"
    );
}

#[test]
fn an_invite_to_the_carrier_is_shaped() {
    let host = Host::with("twilio", GRANTED);
    let target = Target {
        uri: "sip:4155550100@example.pstn.twilio.com".into(),
        trunk: Some("twilio".into()),
        caller_id: None,
        headers: vec![],
        codecs: vec![],
        timeout_ms: 0,
        ext: vec![],
    };
    let outgoing = Outgoing {
        request_uri: target.uri.clone(),
        from_uri: "sip:4158675310@sbc.example.com".into(),
        from_display: None,
        to_uri: target.uri.clone(),
        headers: vec![],
    };
    let (shaped, step) = block_on(host.host.shape(
        TENANT,
        "twilio",
        &call("4155550100", &[]),
        &target,
        &outgoing,
    ));
    assert!(
        shaped
            .unwrap()
            .request_uri
            .is_some_and(|uri| uri.contains("+14155550100"))
    );
    assert_eq!(step.unwrap().export, "provider.outbound");
}
