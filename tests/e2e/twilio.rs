//! A call from Twilio: the webhook signed by Twilio's own package, then the SIP call that
//! the TwiML asks for; and a call to Twilio, shaped as its trunks want it.

use tests::e2e::gatepost::{Gatepost, Setup};
use tests::e2e::peer;
use tests::e2e::ua::Ua;

const TOKEN: &str = "12345";
const PUBLIC: &str = "https://sbc.example.com";

fn node(callee: &Ua) -> Gatepost {
    let port = callee.port();
    let tenants = format!(
        "[[tenant]]\nid = \"demo\"\ndomains = [\"127.0.0.1\"]\nsources = [\"127.0.0.0/8\"]\n\
         [tenant.secrets]\ntwilio_auth_token = \"{TOKEN}\"\n\
         [[tenant.trunk]]\nid = \"twilio\"\nprovider = \"twilio\"\nproxy = \"127.0.0.1:{port}\"\n"
    );
    let setup = Setup::with_tenants(&tenants);
    setup
        .plugin("demo", "twilio", "twilio", &format!("[grants]\nallow = [\"secret:twilio_auth_token\"]\n[config]\npublic_url = \"{PUBLIC}\"\n"))
        .plugin(
            "demo",
            "static-routes",
            "static-routes",
            &format!(
                "[bind]\ndefault = true\n\
                 [[config.rule]]\nto = \"^\\\\+?1800\"\ndial = [\"sip:1000@127.0.0.1:{port}\"]\n\
                 [[config.rule]]\nto = \"^\\\\+?1555\"\ndial = [\"sip:{{user}}@127.0.0.1:{port}\"]\ntrunk = \"twilio\"\n"
            ),
        )
        .start()
}

fn webhook(node: &Gatepost, broken: bool) -> serde_json::Value {
    let post = format!(
        "http://127.0.0.1:{}/webhooks/demo/twilio/voice",
        node.setup.http_port
    );
    let public = format!("{PUBLIC}/webhooks/demo/twilio/voice");
    let mut args = vec!["--post", &post, "--as", &public, "--token", TOKEN];
    if broken {
        args.push("--break");
    }
    args.extend([
        "CallSid=CA1234567890abcdef1234567890abcdef",
        "AccountSid=AC1234567890abcdef1234567890abcdef",
        "From=+14158675310",
        "To=+18005551212",
    ]);
    args.extend([
        "CallStatus=ringing",
        "Direction=inbound",
        "ApiVersion=2010-04-01",
    ]);
    peer::run("twilio_webhook.py", &args)
}

#[test]
fn a_signed_webhook_is_answered_with_twiml_that_leads_to_a_call() {
    let callee = Ua::new("callee");
    let node = node(&callee);
    let reply = webhook(&node, false);
    assert_eq!(reply["status"], 200, "{reply}");
    assert!(
        reply["type"]
            .as_str()
            .is_some_and(|t| t.starts_with("text/xml") || t.starts_with("application/xml")),
        "{reply}"
    );
    let uri = reply["sip"][0]
        .as_str()
        .unwrap_or_else(|| panic!("no <Dial><Sip> in {reply}"))
        .to_owned();
    assert!(uri.starts_with("sip:+18005551212@"), "{uri}");

    let mut twilio = Ua::new("twilio");
    let sdp = twilio.sdp(&["0 PCMU/8000", "101 telephone-event/8000"]);
    let mut dialog = twilio.invite_uri(
        &node.sip(),
        &uri,
        "X-Twilio-CallSid: CA1234567890abcdef1234567890abcdef\r\n",
        &sdp,
    );
    let invite = callee.expect_request("INVITE");
    let answer = callee.sdp(&["0 PCMU/8000", "101 telephone-event/8000"]);
    callee.reply(&invite, "200 OK", "", &answer);
    let reply = twilio.final_response(&mut dialog);
    assert_eq!(reply.status(), 200, "{}", reply.text);
    callee.expect_request("ACK");
    twilio.bye_after(&dialog, &callee);
}

#[test]
fn a_webhook_with_a_wrong_signature_is_refused() {
    let callee = Ua::new("callee");
    let reply = webhook(&node(&callee), true);
    assert_eq!(reply["status"], 403, "{reply}");
}

#[test]
fn an_invite_to_twilio_has_numbers_in_e164() {
    let callee = Ua::new("twilio-edge");
    let node = node(&callee);
    let mut caller = Ua::new("14158675310");
    let sdp = caller.sdp(&["0 PCMU/8000"]);
    let mut dialog = caller.invite(&node.sip(), "15550001111", "", &sdp);
    let invite = callee.expect_request("INVITE");
    assert!(
        invite.first_line().starts_with("INVITE sip:+15550001111@"),
        "{}",
        invite.text
    );
    assert!(
        invite.header("From").contains("sip:+14158675310@"),
        "{}",
        invite.text
    );
    callee.reply(&invite, "486 Busy Here", "", "");
    assert_eq!(caller.final_response(&mut dialog).status(), 486);
}
