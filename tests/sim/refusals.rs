//! Who does not get in, and how that is explained.

use b2bua::decision::{Decision, DecisionFailure, Strategy};
use b2bua::directory::{Directory, Tenant, TenantLimits};
use b2bua::explain::explain;
use b2bua::journal::Kind;
use b2bua::{Cause, Command, Input};
use sip::Method;
use sip::message::HeaderName;
use std::time::Duration;
use tests::sim::node::{self, Node, dial, reject};
use tests::sim::{Sim, sdp};

#[test]
fn a_rejection_says_why_and_where_to_ask() {
    let mut sim = Sim::new(1, 1);
    sim.node
        .decides(Decision::Reject(reject(603, "rule 3: no calls at night")));
    let response = refusal(&mut sim, |_| {});
    assert_eq!(response.code(), 603);
    assert_eq!(
        response.get(HeaderName::Reason).unwrap(),
        "SIP;cause=603;text=\"rule 3: no calls at night\""
    );
    assert_eq!(
        response.named("X-Gatepost-Call").unwrap(),
        sim.node.call().to_string()
    );
    sim.finish();
    let told = explain(&sim.node.journals[&sim.node.call()]);
    assert_eq!(told.status, Some(603));
    assert_eq!(
        told.decision.unwrap(),
        "reject with 603 (rule 3: no calls at night)"
    );
}

#[test]
fn a_redirection_names_its_contacts() {
    let mut sim = Sim::new(2, 1);
    sim.node.decides(Decision::Redirect(vec![
        "sip:a@x.example".into(),
        "bad\r\nVia: x".into(),
        "sip:b@y.example".into(),
    ]));
    let response = refusal(&mut sim, |_| {});
    assert_eq!(response.code(), 302);
    let contacts: Vec<&str> = response
        .addresses(HeaderName::Contact)
        .map(|c| c.uri)
        .collect();
    assert_eq!(contacts, ["sip:a@x.example", "sip:b@y.example"]);
    sim.finish();
}

#[test]
fn an_unknown_source_gets_403_with_the_near_miss_in_explain() {
    let mut sim = Sim::new(3, 1);
    let tenant = Tenant {
        id: "demo".into(),
        sources: vec!["198.51.0.0/24".parse().unwrap()],
        ..Tenant::default()
    };
    sim.node = Node::with(
        3,
        node::config(),
        Directory::new(vec![tenant], Vec::new(), Vec::new()),
    );
    assert_eq!(refusal(&mut sim, |_| {}).code(), 403);
    sim.finish();
    let told = explain(&sim.node.journals[&sim.node.call()]);
    assert_eq!(
        told.near_miss.unwrap(),
        "the nearest source is 198.51.0.0/24 of tenant demo"
    );
}

#[test]
fn what_an_invite_may_not_have_is_refused_before_anybody_is_asked() {
    for (status, edit) in [
        (
            483,
            (|r| r.set(HeaderName::MaxForwards, 0)) as fn(&mut sip::Request),
        ),
        (420, |r| {
            r.set(HeaderName::Require, "100rel, no-such-extension")
        }),
        (416, |r| r.set_uri("nobody:1000")),
        (400, |r| {
            r.remove(HeaderName::Contact);
        }),
        (415, |r| r.set_body("application/pidf+xml", "<x/>")),
        (400, |r| {
            r.set_body("application/sdp", "this is no description")
        }),
        (488, |r| r.set_body("application/sdp", sdp_without_audio())),
    ] {
        let mut sim = Sim::new(4, 1);
        sim.node.router = Box::new(|_| panic!("nobody is to be asked"));
        let response = refusal(&mut sim, edit);
        assert_eq!(response.code(), status);
        if status == 420 {
            assert_eq!(
                response.get(HeaderName::Unsupported).unwrap(),
                "100rel, no-such-extension"
            );
        }
        sim.finish();
        assert_eq!(sim.node.ended().cause.status, status);
    }
}

#[test]
fn a_tenant_that_has_all_its_calls_gets_503_and_the_next_one_gets_in() {
    let mut sim = Sim::new(5, 2);
    let tenant = Tenant {
        id: "demo".into(),
        sources: vec!["198.51.100.0/24".parse().unwrap()],
        limits: TenantLimits {
            max_calls: Some(1),
            max_duration_s: None,
        },
        ..Tenant::default()
    };
    sim.node = Node::with(
        5,
        node::config(),
        Directory::new(vec![tenant], Vec::new(), Vec::new()),
    );
    sim.node.decides(dial(Strategy::Serial, &[1]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("they talk", Duration::from_secs(2), |sim| {
        sim.uas[0].is_talking(0)
    });
    let now = sim.now;
    sim.uas[0].call(now, "1001");
    sim.until("the second is refused", Duration::from_secs(1), |sim| {
        sim.uas[0].got(1, 503)
    });
    assert!(
        sim.uas[0].calls[1]
            .last_response
            .as_ref()
            .unwrap()
            .has(HeaderName::RetryAfter)
    );
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.run_for(Duration::from_secs(5));
    let now = sim.now;
    sim.uas[0].call(now, "1002");
    sim.until("the third talks", Duration::from_secs(2), |sim| {
        sim.uas[0].is_talking(2)
    });
    let now = sim.now;
    sim.uas[0].bye(now, 2);
    sim.finish();
}

#[test]
fn a_node_that_drains_takes_no_new_calls_and_keeps_the_old() {
    let mut sim = super::basic::talking(6);
    let now = sim.now;
    sim.node.handle(now, Input::Drain);
    sim.uas[0].call(now, "1001");
    sim.until("the second is refused", Duration::from_secs(1), |sim| {
        sim.uas[0].got(1, 503)
    });
    assert!(sim.uas[0].is_talking(0));
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
}

#[test]
fn an_operator_may_end_a_call() {
    let mut sim = super::basic::talking(7);
    let (now, call) = (sim.now, sim.node.call());
    let cause = Cause::operator("fraud");
    sim.node.handle(
        now,
        Input::Command {
            call,
            command: Command::Hangup { cause },
        },
    );
    sim.finish();
    assert!(sim.uas.iter().all(|ua| ua.calls[0].over));
    let bye = sim.uas[1]
        .requests
        .iter()
        .find(|r| *r.method() == Method::Bye)
        .unwrap();
    assert!(bye.get(HeaderName::Reason).unwrap().contains("fraud"));
}

#[test]
fn a_router_that_never_answers_is_not_waited_for() {
    let mut sim = Sim::new(8, 1);
    let response = refusal(&mut sim, |_| {});
    assert_eq!(response.code(), 500);
    assert!(sim.now - sim.started < Duration::from_secs(4));
    sim.finish();
    assert!(
        sim.node
            .events()
            .any(|e| matches!(&e.kind, Kind::Fallback { why, .. } if why.contains("deadline")))
    );
}

#[test]
fn an_answer_that_comes_after_the_deadline_changes_nothing() {
    let mut sim = Sim::new(9, 2);
    refusal(&mut sim, |_| {});
    let (now, call) = (sim.now, sim.node.call());
    let routed = b2bua::decision::Routed {
        decision: Ok(dial(Strategy::Serial, &[1])),
        trail: Vec::new(),
    };
    sim.node.handle(
        now,
        Input::Routed {
            call,
            ask: b2bua::key::AskId(1),
            routed,
        },
    );
    sim.finish();
    assert!(sim.uas[1].calls.is_empty());
}

#[test]
fn nobody_decided_is_told_with_its_own_status() {
    for (failure, status) in [
        (DecisionFailure::NoRouter, 404),
        (DecisionFailure::Overload { limit: 4 }, 503),
        (
            DecisionFailure::Trap {
                message: "unreachable".into(),
            },
            500,
        ),
    ] {
        let mut sim = Sim::new(10, 1);
        let now = sim.now;
        sim.uas[0].call(now, "1000");
        sim.run_for(Duration::from_millis(20));
        let (now, call) = (sim.now, sim.node.call());
        let routed = b2bua::decision::Routed {
            decision: Err(failure),
            trail: Vec::new(),
        };
        sim.node.handle(
            now,
            Input::Routed {
                call,
                ask: b2bua::key::AskId(1),
                routed,
            },
        );
        sim.until("the refusal", Duration::from_secs(1), |sim| {
            sim.uas[0].got(0, status)
        });
        sim.finish();
    }
}

#[test]
fn a_call_that_comes_back_to_us_is_a_loop() {
    let mut sim = Sim::new(11, 1);
    // Our own address: the INVITE that goes out comes in again.
    sim.node.decides(Decision::Dial(b2bua::decision::DialPlan {
        targets: vec![node::target("sip:1000@192.0.2.1:5060")],
        strategy: Strategy::Serial,
        max_duration_s: None,
        ext: Vec::new(),
    }));
    let mut directory = node::directory();
    directory = Directory::new(
        directory
            .tenants()
            .iter()
            .cloned()
            .map(|mut t| {
                t.sources.push("192.0.2.1".parse().unwrap());
                t
            })
            .collect(),
        directory.trunks().to_vec(),
        Vec::new(),
    );
    let now = sim.now;
    sim.node
        .handle(now, Input::Directory(std::sync::Arc::new(directory)));
    sim.uas[0].call(now, "1000");
    sim.until("the loop is seen", Duration::from_secs(2), |sim| {
        sim.uas[0].got(0, 482)
    });
    sim.finish();
}

fn refusal(sim: &mut Sim, edit: impl FnOnce(&mut sip::Request)) -> sip::Response {
    let now = sim.now;
    let offer = sdp::describe(sim.uas[0].address, 1, &[0], "sendrecv");
    sim.uas[0].call_with(now, "1000", Some(offer), edit);
    sim.until("the refusal", Duration::from_secs(5), |sim| {
        sim.uas[0].calls[0].last_response.is_some()
    });
    sim.uas[0].calls[0].last_response.clone().unwrap()
}

fn sdp_without_audio() -> String {
    "v=0\r\no=- 1 1 IN IP4 198.51.100.10\r\ns=-\r\nc=IN IP4 198.51.100.10\r\nt=0 0\r\nm=video 4000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n".to_owned()
}
