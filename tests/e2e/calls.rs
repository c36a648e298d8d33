//! Calls over the wire: routed, refused, hunted, cancelled, hung up from each side.

use std::time::Duration;
use tests::e2e::free_port;
use tests::e2e::gatepost::{Gatepost, Setup};
use tests::e2e::sipp::Run;
use tests::e2e::ua::Ua;

const PCMU: &[&str] = &["0 PCMU/8000", "101 telephone-event/8000"];

/// A node whose `static-routes` has these rules.
fn node(rules: &str) -> Gatepost {
    Setup::new()
        .plugin(
            "demo",
            "static-routes",
            "static-routes",
            &format!("[bind]\ndefault = true\n{rules}"),
        )
        .start()
}

fn dial(port: u16) -> String {
    format!("[[config.rule]]\nto = \"^1\"\ndial = [\"sip:{{user}}@127.0.0.1:{port}\"]\n")
}

#[test]
fn a_call_is_routed_by_the_tenants_component_and_hung_up_by_the_caller() {
    let callee = free_port();
    let node = node(&dial(callee));
    let uas = Run {
        scenario: "uas",
        port: callee,
        ..Run::default()
    }
    .start();
    Run {
        target: Some(node.sip()),
        more: &["-d", "200"],
        ..Run::default()
    }
    .start()
    .succeed();
    uas.succeed();
}

#[test]
fn a_call_over_tcp_reaches_a_callee_over_udp() {
    let callee = free_port();
    let node = node(&dial(callee));
    let uas = Run {
        scenario: "uas",
        port: callee,
        ..Run::default()
    }
    .start();
    Run {
        target: Some(node.sip()),
        tcp: true,
        more: &["-d", "200"],
        ..Run::default()
    }
    .start()
    .succeed();
    uas.succeed();
}

#[test]
fn a_call_over_udp_reaches_a_callee_over_tcp() {
    let callee = free_port();
    let node = node(&format!(
        "[[config.rule]]\nto = \"^1\"\ndial = [\"sip:{{user}}@127.0.0.1:{callee};transport=tcp\"]\n"
    ));
    let uas = Run {
        scenario: "uas",
        port: callee,
        tcp: true,
        ..Run::default()
    }
    .start();
    Run {
        target: Some(node.sip()),
        more: &["-d", "200"],
        ..Run::default()
    }
    .start()
    .succeed();
    uas.succeed();
}

#[test]
fn the_callee_may_hang_up() {
    let callee = free_port();
    let node = node(&dial(callee));
    let uas = Run {
        scenario: "uas-bye",
        port: callee,
        ..Run::default()
    }
    .start();
    Run {
        scenario: "uac-callee-bye",
        target: Some(node.sip()),
        ..Run::default()
    }
    .start()
    .succeed();
    uas.succeed();
}

#[test]
fn a_cancel_while_it_rings_reaches_the_callee() {
    let callee = free_port();
    let node = node(&dial(callee));
    let uas = Run {
        scenario: "uas-cancel",
        port: callee,
        ..Run::default()
    }
    .start();
    Run {
        scenario: "uac-cancel",
        target: Some(node.sip()),
        ..Run::default()
    }
    .start()
    .succeed();
    uas.succeed();
}

#[test]
fn a_rejected_call_says_why_and_explain_says_more() {
    let node = node(
        "[[config.rule]]\nto = \"^900\"\nreject = 603\nreason = \"premium numbers are barred\"\n",
    );
    let mut caller = Ua::new("caller");
    let sdp = caller.sdp(PCMU);
    let mut dialog = caller.invite(&node.sip(), "9001234", "", &sdp);
    let reply = caller.final_response(&mut dialog);
    assert_eq!(reply.status(), 603, "{}", reply.text);
    assert!(
        reply.header("Reason").contains("cause=603"),
        "{}",
        reply.text
    );
    let id = reply.header("X-Gatepost-Call").to_owned();
    let explain = node.get(&format!("/api/calls/{id}/explain"));
    let text = explain.to_string();
    assert!(text.contains("premium numbers are barred"), "{text}");
    assert!(text.contains("static-routes"), "{text}");
    let events = node.get(&format!("/api/calls/{id}/events"));
    assert!(
        events["items"].as_array().is_some_and(|e| e.len() >= 4),
        "{events}"
    );
}

#[test]
fn a_number_without_a_rule_gets_404_and_the_nearest_rule_is_named() {
    let node = node(&dial(free_port()));
    Run {
        scenario: "uac-404",
        target: Some(node.sip()),
        service: "2000",
        ..Run::default()
    }
    .start()
    .succeed();
    let call = node
        .history()
        .into_iter()
        .next()
        .expect("one call in the history");
    let id = call["call_id"].as_str().expect("an id").to_owned();
    let text = node.get(&format!("/api/calls/{id}/explain")).to_string();
    assert!(text.contains("2000") && text.contains("^1"), "{text}");
}

#[test]
fn a_refusal_by_sipp_carries_reason_and_call_id() {
    let node = node("[[config.rule]]\nto = \"^1\"\nreject = 603\n");
    Run {
        scenario: "uac-603",
        target: Some(node.sip()),
        ..Run::default()
    }
    .start()
    .succeed();
}

fn hunt(first: &str, caller: &str, second_is_called: bool) {
    let (one, two) = (free_port(), free_port());
    let node = node(&format!(
        "[[config.rule]]\nto = \"^1\"\ndial = [\"sip:{{user}}@127.0.0.1:{one}\", \"sip:{{user}}@127.0.0.1:{two}\"]\n"
    ));
    let refuses = Run {
        scenario: first,
        port: one,
        ..Run::default()
    }
    .start();
    let mut answers = Run {
        scenario: "uas",
        port: two,
        ..Run::default()
    }
    .start();
    Run {
        scenario: caller,
        target: Some(node.sip()),
        more: &["-d", "100"],
        ..Run::default()
    }
    .start()
    .succeed();
    refuses.succeed();
    if second_is_called {
        answers.succeed();
    } else {
        assert!(answers.running(), "the second target was called after all");
    }
}

#[test]
fn after_503_the_second_target_is_called() {
    hunt("uas-503", "uac", true);
}

#[test]
fn after_486_nobody_else_is_called() {
    hunt("uas-486", "uac-486", false);
}

#[test]
fn after_603_nobody_else_is_called() {
    hunt("uas-603", "uac-603", false);
}

#[test]
fn each_leg_has_its_own_identities_and_nothing_of_one_side_shows_on_the_other() {
    let mut callee = Ua::new("callee");
    let node = node(&dial(callee.port()));
    let mut caller = Ua::new("secret-caller-host");
    let sdp = caller.sdp(PCMU);
    let mut dialog = caller.invite(
        &node.sip(),
        "1000",
        "User-Agent: SecretPhone/9\r\nX-Internal: yes\r\n",
        &sdp,
    );
    let invite = callee.expect_request("INVITE");
    for secret in [
        dialog.call_id.as_str(),
        "SecretPhone",
        &dialog.branch,
        &format!(":{}", caller.port()),
        "secret-caller-host.test",
    ] {
        assert!(
            !invite.text.contains(secret),
            "{secret} leaked:\n{}",
            invite.text
        );
    }
    assert_eq!(invite.headers("Via").len(), 1);
    assert_eq!(invite.header("Max-Forwards"), "69");
    let answer = callee.sdp(PCMU);
    callee.reply(&invite, "180 Ringing", "", "");
    callee.reply(&invite, "200 OK", "", &answer);
    let reply = caller.final_response(&mut dialog);
    assert_eq!(reply.status(), 200, "{}", reply.text);
    assert!(
        !reply.text.contains(&format!(":{}", callee.port())),
        "{}",
        reply.text
    );
    callee.expect_request("ACK");
    let from_callee = callee.dialog_of(&invite);
    callee.bye(&from_callee);
    caller.expect_bye();
}

#[test]
fn a_trunk_that_asks_for_digest_gets_it() {
    let callee = Ua::new("carrier");
    let node = Setup::new()
        .more(&format!(
            "[[tenant.trunk]]\nid = \"carrier\"\nproxy = \"127.0.0.1:{}\"\nusername = \"gate\"\npassword = \"s3cret\"\n",
            callee.port()
        ))
        .plugin(
            "demo",
            "static-routes",
            "static-routes",
            &format!("[bind]\ndefault = true\n[[config.rule]]\nto = \"^1\"\ndial = [\"sip:{{user}}@127.0.0.1:{}\"]\ntrunk = \"carrier\"\n", callee.port()),
        )
        .start();
    let mut caller = Ua::new("caller");
    let sdp = caller.sdp(PCMU);
    let mut dialog = caller.invite(&node.sip(), "1000", "", &sdp);
    let first = callee.expect_request("INVITE");
    callee.reply(&first, "407 Proxy Authentication Required", "Proxy-Authenticate: Digest realm=\"carrier\", nonce=\"abc123\", qop=\"auth\", algorithm=MD5\r\n", "");
    let second = callee.expect("the INVITE with credentials", |m| {
        m.method() == "INVITE" && !m.header("Proxy-Authorization").is_empty()
    });
    let credentials = second.header("Proxy-Authorization");
    for part in [
        "username=\"gate\"",
        "realm=\"carrier\"",
        "nonce=\"abc123\"",
        "nc=00000001",
        "qop=auth",
    ] {
        assert!(credentials.contains(part), "{credentials} lacks {part}");
    }
    assert_eq!(second.header("Call-ID"), first.header("Call-ID"));
    let answer = callee.sdp(PCMU);
    callee.reply(&second, "200 OK", "", &answer);
    assert_eq!(caller.final_response(&mut dialog).status(), 200);
    callee.expect_request("ACK");
    caller.bye_after(&dialog, &callee);
}

#[test]
fn options_is_answered_and_an_unknown_method_is_refused() {
    let node = node(&dial(free_port()));
    let mut ua = Ua::new("prober");
    let dialog = ua.outside(&node.sip());
    ua.request(&dialog, "OPTIONS", "", "");
    assert_eq!(ua.expect("an answer", |m| m.status() >= 200).status(), 200);
    ua.request(&dialog, "FOOBAR", "", "");
    let status = ua
        .expect("an answer", |m| {
            m.status() >= 200 && m.header("CSeq").contains("FOOBAR")
        })
        .status();
    assert!(status == 405 || status == 501, "{status}");
}

#[test]
fn an_operator_ends_a_call_over_rest() {
    let callee = Ua::new("callee");
    let node = node(&dial(callee.port()));
    let mut caller = Ua::new("caller");
    let sdp = caller.sdp(PCMU);
    let mut dialog = caller.invite(&node.sip(), "1000", "", &sdp);
    let invite = callee.expect_request("INVITE");
    let answer = callee.sdp(PCMU);
    callee.reply(&invite, "200 OK", "", &answer);
    assert_eq!(caller.final_response(&mut dialog).status(), 200);
    callee.expect_request("ACK");
    let active = tests::e2e::wait_for("the call to be listed", Duration::from_secs(5), || {
        node.get("/api/calls/active")["items"]
            .as_array()
            .and_then(|c| c.first().cloned())
    });
    let id = active["call_id"].as_str().expect("an id");
    let reply = node.api("POST", &format!("/api/calls/{id}/hangup"), b"{}");
    assert!(reply.status < 300, "{}", reply.text());
    caller.expect_bye();
    callee.expect_bye();
}
