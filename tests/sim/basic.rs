//! RFC 3665 §3, the flows that a B2BUA can have, and what its legs look like.

use b2bua::decision::{Decision, DialPlan, Strategy};
use b2bua::journal::Kind;
use sip::message::HeaderName;
use sip::{Method, Transport};
use std::time::Duration;
use tests::sim::node::{dial, target};
use tests::sim::ua::Behaviour;
use tests::sim::{Sim, agent_address, sdp};

#[test]
fn rfc_3665_3_1_session_establishment() {
    let mut sim = talking(1);
    assert_eq!(sim.uas[0].statuses(0), [180, 200]);
    let bridged = sim
        .node
        .media
        .iter()
        .any(|(_, c)| matches!(c, media::Command::Bridge { .. }));
    assert!(bridged);
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
    assert!(sim.uas[1].calls[0].over, "the callee got no BYE");
    let ended = sim.node.ended();
    assert_eq!(
        (ended.cause.status, ended.cause.text.as_str()),
        (200, "the caller hung up")
    );
    assert!(ended.answered_us.is_some());
}

#[test]
fn the_callee_may_hang_up() {
    let mut sim = talking(2);
    let now = sim.now;
    sim.uas[1].bye(now, 0);
    sim.finish();
    assert!(sim.uas[0].calls[0].over);
    assert_eq!(sim.uas[1].calls[0].answers, [(Method::Bye, 200)]);
    assert_eq!(sim.node.ended().cause.text, "the callee hung up");
}

#[test]
fn rfc_3665_3_8_unsuccessful_no_answer() {
    let mut sim = Sim::new(3, 2);
    sim.uas[1].behaviours = vec![Behaviour::ring_for_ever()];
    let mut plan = match dial(Strategy::Serial, &[1]) {
        Decision::Dial(plan) => plan,
        _ => unreachable!("it is a plan"),
    };
    plan.targets[0].timeout_ms = 4000;
    sim.node.decides(Decision::Dial(plan));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the caller hears of it", Duration::from_secs(6), |sim| {
        sim.uas[0].got(0, 408)
    });
    sim.finish();
    assert_eq!(
        sim.uas[1].statuses(0),
        [180, 487],
        "the callee was cancelled"
    );
}

#[test]
fn rfc_3665_3_9_unsuccessful_busy() {
    let mut sim = refused(4, Behaviour::refuse(486));
    assert_eq!(sim.uas[0].statuses(0).last(), Some(&486));
    let response = sim.uas[0].calls[0].last_response.clone().unwrap();
    assert!(
        response
            .get(HeaderName::Reason)
            .unwrap()
            .contains("cause=486")
    );
    assert_eq!(
        response.named("X-Gatepost-Call").unwrap(),
        sim.node.call().to_string()
    );
    sim.finish();
}

#[test]
fn rfc_3665_3_10_unsuccessful_no_response() {
    let mut sim = Sim::new(5, 2);
    sim.link.dead.push(agent_address(1));
    sim.node.decides(dial(Strategy::Serial, &[1]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("timer B", Duration::from_secs(33), |sim| {
        sim.uas[0].got(0, 408)
    });
    assert!(sim.now - sim.started >= Duration::from_secs(32));
    sim.finish();
}

#[test]
fn rfc_3665_3_11_unsuccessful_temporarily_unavailable() {
    let mut sim = refused(6, Behaviour::refuse(480));
    assert_eq!(sim.uas[0].statuses(0).last(), Some(&480));
    sim.finish();
}

#[test]
fn rfc_3665_3_3_a_challenge_is_answered_with_the_trunks_password() {
    let mut sim = Sim::new(7, 2);
    sim.uas[1].behaviours = vec![Behaviour {
        challenge: true,
        ..Behaviour::answer(100)
    }];
    let mut to = target(&format!("sip:callee@{}", agent_address(1)));
    to.trunk = Some("carrier".into());
    sim.node.decides(plan(to));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("they talk", Duration::from_secs(2), |sim| {
        sim.uas[1].is_talking(0)
    });
    let invites: Vec<_> = sim.uas[1]
        .requests
        .iter()
        .filter(|r| *r.method() == Method::Invite)
        .collect();
    assert_eq!(invites.len(), 2);
    assert_eq!(invites[0].call_id(), invites[1].call_id());
    assert_eq!(invites[0].from_tag(), invites[1].from_tag());
    assert_eq!(
        invites[1].cseq().unwrap().number,
        invites[0].cseq().unwrap().number + 1
    );
    let now = sim.now;
    sim.uas[1].bye(now, 0);
    sim.finish();
}

#[test]
fn a_challenge_that_nobody_can_answer_is_not_passed_on() {
    let mut sim = refused(
        8,
        Behaviour {
            challenge: true,
            ..Behaviour::answer(100)
        },
    );
    assert_eq!(sim.uas[0].statuses(0), [502]);
    assert_eq!(sim.uas[1].count(&Method::Invite), 1);
    sim.finish();
}

#[test]
fn early_media_reaches_the_caller_and_the_answer_says_the_same() {
    let mut sim = Sim::new(9, 2);
    sim.uas[1].behaviours = vec![Behaviour {
        early: true,
        ..Behaviour::answer(3000)
    }];
    sim.node.decides(dial(Strategy::Serial, &[1]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("early media", Duration::from_secs(1), |sim| {
        sim.uas[0].got(0, 183)
    });
    assert_eq!(sim.uas[0].calls[0].described.len(), 1);
    assert_eq!(sim.node.agreed(0).unwrap().0, "PCMU");
    sim.until("they talk", Duration::from_secs(4), |sim| {
        sim.uas[1].is_talking(0) && sim.uas[0].is_talking(0)
    });
    let described = &sim.uas[0].calls[0].described;
    assert_eq!(described.len(), 2, "{}", sim.node.story());
    assert_eq!(described[0], described[1]);
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
}

#[test]
fn an_invite_without_an_offer_is_answered_with_one_and_the_ack_brings_the_answer() {
    let mut sim = Sim::new(10, 2);
    sim.node.decides(dial(Strategy::Serial, &[1]));
    let now = sim.now;
    sim.uas[0].call_with(now, "1000", None, |_| {});
    sim.until("they talk", Duration::from_secs(2), |sim| {
        sim.node.agreed(0).is_some()
    });
    assert!(
        !sim.uas[1].calls[0].described.is_empty(),
        "the callee was offered audio in the INVITE"
    );
    assert_eq!(
        sim.node.agreed(0).unwrap(),
        ("PCMU".to_owned(), "sendrecv".to_owned())
    );
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
}

#[test]
fn sides_without_a_common_codec_are_transcoded() {
    let mut sim = Sim::new(11, 2);
    sim.uas[0].payloads = vec![0];
    sim.uas[1].payloads = vec![8];
    sim.node.decides(dial(Strategy::Serial, &[1]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("they talk", Duration::from_secs(2), |sim| {
        sim.uas[1].is_talking(0) && sim.uas[0].is_talking(0)
    });
    assert_eq!(sim.node.agreed(0).unwrap().0, "PCMU");
    assert_eq!(sim.node.agreed(1).unwrap().0, "PCMA");
    assert_eq!(
        sdp::payloads(&sim.uas[1].calls[0].described[0])[0],
        0,
        "the caller's codec is offered first"
    );
    let now = sim.now;
    sim.uas[1].bye(now, 0);
    sim.finish();
}

#[test]
fn nothing_of_the_callers_network_reaches_the_callee() {
    let mut sim = talking(12);
    let invite = String::from_utf8_lossy(&sim.uas[1].requests[0].to_bytes()).into_owned();
    let (call_id, tag) = (sim.uas[0].calls[0].call_id.clone(), "SecretPhone");
    for secret in ["198.51.100.10", call_id.as_str(), tag, "demo.example"] {
        assert!(!invite.contains(secret), "{secret} leaks:\n{invite}");
    }
    assert!(invite.contains("Max-Forwards: 69"), "{invite}");
    assert!(invite.contains("<sip:caller@192.0.2.1:5060>"), "{invite}");
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
    let seen: Vec<String> = sim.uas[1]
        .requests
        .iter()
        .map(|r| String::from_utf8_lossy(&r.to_bytes()).into_owned())
        .collect();
    assert!(!seen.join("").contains("198.51.100.10:"));
    let back: Vec<&String> = sim.uas[0].calls[0].described.iter().collect();
    assert!(back.iter().all(|body| !body.contains("198.51.100.11")));
}

#[test]
fn both_legs_may_be_tcp() {
    let mut sim = Sim::new(13, 2);
    sim.uas[0].transport = Transport::Tcp;
    sim.uas[1].transport = Transport::Tcp;
    sim.node.decides(plan(target(&format!(
        "sip:callee@{};transport=tcp",
        agent_address(1)
    ))));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("they talk", Duration::from_secs(2), |sim| {
        sim.uas[1].is_talking(0) && sim.uas[0].is_talking(0)
    });
    let now = sim.now;
    sim.uas[1].bye(now, 0);
    sim.finish();
    assert!(sim.uas[0].calls[0].over);
}

#[test]
fn a_name_is_looked_up_outside_and_the_second_address_is_tried() {
    let mut sim = Sim::new(14, 3);
    sim.link.dead.push(agent_address(1));
    sim.node.names.insert(
        "pbx.example".into(),
        vec![agent_address(1), agent_address(2)],
    );
    sim.node.decides(plan(target("sip:callee@pbx.example")));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the second address", Duration::from_secs(40), |sim| {
        sim.uas[2].is_talking(0) && sim.uas[0].is_talking(0)
    });
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
}

#[test]
fn a_name_that_nobody_answers_for_is_a_failure_in_time() {
    let mut sim = Sim::new(15, 1);
    sim.node.decides(plan(target("sip:callee@nowhere.example")));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the deadline", Duration::from_secs(6), |sim| {
        sim.uas[0].got(0, 500)
    });
    sim.finish();
}

#[test]
fn a_call_that_lasts_too_long_is_ended() {
    let mut sim = Sim::new(16, 2);
    let Decision::Dial(plan) = dial(Strategy::Serial, &[1]) else {
        unreachable!("it is a plan")
    };
    sim.node.decides(Decision::Dial(DialPlan {
        max_duration_s: Some(30),
        ..plan
    }));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("both are hung up", Duration::from_secs(32), |sim| {
        sim.uas
            .iter()
            .all(|ua| ua.calls.first().is_some_and(|c| c.over))
    });
    sim.finish();
}

#[test]
fn the_provider_reads_and_shapes() {
    let mut sim = Sim::new(17, 2);
    let mut to = target(&format!("sip:callee@{}", agent_address(1)));
    to.trunk = Some("dialect".into());
    sim.node.decides(plan(to));
    sim.node.shaper = Box::new(|_| {
        Some(b2bua::provider::Shaped {
            from_uri: Some("sip:+15550100@carrier.example".into()),
            set_headers: vec![b2bua::call_info::Header {
                name: "X-Carrier".into(),
                value: "7".into(),
            }],
            ..Default::default()
        })
    });
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("they talk", Duration::from_secs(2), |sim| {
        sim.uas[1].is_talking(0)
    });
    let invite = &sim.uas[1].requests[0];
    assert_eq!(invite.named("X-Carrier"), Some("7"));
    assert_eq!(invite.from().unwrap().uri, "sip:+15550100@carrier.example");
    let now = sim.now;
    sim.uas[1].bye(now, 0);
    sim.finish();
}

#[test]
fn a_provider_that_never_answers_costs_a_second_and_no_call() {
    let mut sim = Sim::new(18, 2);
    let mut to = target(&format!("sip:callee@{}", agent_address(1)));
    to.trunk = Some("dialect".into());
    sim.node.decides(plan(to));
    sim.node.shaper = Box::new(|_| None);
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("they talk", Duration::from_secs(3), |sim| {
        sim.uas[1].is_talking(0)
    });
    assert!(
        sim.node
            .events()
            .any(|e| matches!(e.kind, Kind::Fallback { .. }))
    );
    let now = sim.now;
    sim.uas[1].bye(now, 0);
    sim.finish();
}

pub fn talking(seed: u64) -> Sim {
    let mut sim = Sim::new(seed, 2);
    sim.node.decides(dial(Strategy::Serial, &[1]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("they talk", Duration::from_secs(2), |sim| {
        sim.uas[1].is_talking(0) && sim.uas[0].is_talking(0)
    });
    sim
}

fn refused(seed: u64, behaviour: Behaviour) -> Sim {
    let mut sim = Sim::new(seed, 2);
    sim.uas[1].behaviours = vec![behaviour];
    sim.node.decides(dial(Strategy::Serial, &[1]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the call is refused", Duration::from_secs(3), |sim| {
        sim.uas[0].calls[0].over
    });
    sim
}

fn plan(target: b2bua::decision::Target) -> Decision {
    Decision::Dial(DialPlan {
        targets: vec![target],
        strategy: Strategy::Serial,
        max_duration_s: None,
        ext: Vec::new(),
    })
}
