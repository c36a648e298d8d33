//! Several targets: one after the other, and all at once.

use b2bua::decision::{Decision, DialPlan, Strategy};
use b2bua::journal::Kind;
use sip::Method;
use sip::message::HeaderName;
use std::time::Duration;
use tests::sim::node::{dial, target};
use tests::sim::ua::Behaviour;
use tests::sim::{Sim, agent_address};

#[test]
fn a_gateway_that_cannot_is_followed_by_the_next_target() {
    for status in [404, 408, 480, 488, 500, 503, 302] {
        let mut sim = hunt(1, Behaviour::refuse(status));
        sim.until("the second answers", Duration::from_secs(2), |sim| {
            sim.uas[2].is_talking(0) && sim.uas[0].is_talking(0)
        });
        assert!(
            sim.node
                .events()
                .any(|e| matches!(e.kind, Kind::TargetFailed { status: s, .. } if s == status))
        );
        let now = sim.now;
        sim.uas[0].bye(now, 0);
        sim.finish();
    }
}

#[test]
fn a_person_who_says_no_is_not_followed_by_anybody() {
    for status in [486, 600, 603] {
        let mut sim = hunt(2, Behaviour::refuse(status));
        sim.until("the caller hears it", Duration::from_secs(2), |sim| {
            sim.uas[0].got(0, status)
        });
        sim.finish();
        assert!(sim.uas[2].calls.is_empty());
    }
}

#[test]
fn a_target_that_rings_too_long_is_cancelled_before_the_next_one() {
    let mut sim = Sim::new(3, 3);
    sim.uas[1].behaviours = vec![Behaviour::ring_for_ever()];
    sim.node
        .decides(with_timeout(dial(Strategy::Serial, &[1, 2]), 5000));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the second answers", Duration::from_secs(7), |sim| {
        sim.uas[0].is_talking(0)
    });
    let now = sim.now;
    sim.uas[2].bye(now, 0);
    sim.finish();
    assert_eq!(sim.uas[1].statuses(0), [180, 487]);
}

#[test]
fn a_target_that_answers_although_it_was_given_up_is_hung_up() {
    let mut sim = Sim::new(4, 3);
    // Its 200 is on the way when the CANCEL leaves.
    sim.uas[1].behaviours = vec![Behaviour::answer(4996)];
    sim.node
        .decides(with_timeout(dial(Strategy::Serial, &[1, 2]), 5000));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the second answers", Duration::from_secs(7), |sim| {
        sim.uas[0].is_talking(0)
    });
    sim.run_for(Duration::from_secs(1));
    assert!(sim.uas[1].calls[0].over, "{}", sim.node.story());
    assert_eq!(sim.uas[1].count(&Method::Bye), 1);
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
}

#[test]
fn when_all_fail_the_caller_hears_the_best_of_them() {
    let mut sim = Sim::new(5, 4);
    sim.uas[1].behaviours = vec![Behaviour::refuse(503)];
    sim.uas[2].behaviours = vec![Behaviour::refuse(404)];
    sim.uas[3].behaviours = vec![Behaviour::refuse(500)];
    sim.node.decides(dial(Strategy::Serial, &[1, 2, 3]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the caller hears it", Duration::from_secs(2), |sim| {
        sim.uas[0].got(0, 404)
    });
    sim.finish();
}

#[test]
fn the_503_of_the_last_target_is_not_our_503() {
    let mut sim = Sim::new(6, 2);
    sim.uas[1].behaviours = vec![Behaviour::refuse(503)];
    sim.node.decides(dial(Strategy::Serial, &[1]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the caller hears it", Duration::from_secs(2), |sim| {
        sim.uas[0].got(0, 500)
    });
    sim.finish();
}

#[test]
fn all_ring_and_the_first_to_answer_has_the_call() {
    let mut sim = Sim::new(7, 4);
    sim.uas[1].behaviours = vec![Behaviour::answer(3000)];
    sim.uas[2].behaviours = vec![Behaviour::answer(1000)];
    sim.uas[3].behaviours = vec![Behaviour::refuse(404)];
    sim.node.decides(dial(Strategy::Parallel, &[1, 2, 3]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the second answers", Duration::from_secs(2), |sim| {
        sim.uas[2].is_talking(0) && sim.uas[0].is_talking(0)
    });
    assert_eq!(sim.uas[0].statuses(0), [180, 200], "one ringing is enough");
    sim.run_for(Duration::from_secs(1));
    assert_eq!(sim.uas[1].statuses(0), [180, 487]);
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
}

#[test]
fn two_answers_at_once_leave_one_call() {
    let mut sim = Sim::new(8, 3);
    sim.uas[1].behaviours = vec![Behaviour::answer(1000)];
    sim.uas[2].behaviours = vec![Behaviour::answer(1000)];
    sim.node.decides(dial(Strategy::Parallel, &[1, 2]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.run_for(Duration::from_secs(3));
    let talking = (1..3).filter(|n| sim.uas[*n].is_talking(0)).count();
    assert_eq!(talking, 1, "{}", sim.node.story());
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
    assert!((1..3).all(|n| sim.uas[n].calls[0].over));
}

#[test]
fn losers_are_told_that_the_call_was_completed_elsewhere() {
    let mut sim = Sim::new(9, 3);
    sim.uas[1].behaviours = vec![Behaviour::ring_for_ever()];
    sim.node.decides(dial(Strategy::Parallel, &[1, 2]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("they talk", Duration::from_secs(2), |sim| {
        sim.uas[0].is_talking(0)
    });
    sim.run_for(Duration::from_secs(1));
    let cancel = sim.node.events().find_map(|e| match &e.kind {
        Kind::SipSent { message, .. } if message.first_line().starts_with("CANCEL") => {
            Some(message.redacted())
        }
        _ => None,
    });
    assert!(
        cancel
            .unwrap()
            .contains("Reason: SIP;cause=200;text=\"Call completed elsewhere\"")
    );
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
}

#[test]
fn a_no_of_one_ends_the_ringing_of_all() {
    let mut sim = Sim::new(10, 3);
    sim.uas[1].behaviours = vec![Behaviour::ring_for_ever()];
    sim.uas[2].behaviours = vec![Behaviour::refuse(603)];
    sim.node.decides(dial(Strategy::Parallel, &[1, 2]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the caller hears it", Duration::from_secs(2), |sim| {
        sim.uas[0].got(0, 603)
    });
    sim.finish();
    assert_eq!(sim.uas[1].statuses(0), [180, 487]);
}

#[test]
fn targets_that_cannot_even_be_tried_do_not_stop_the_others() {
    let mut sim = Sim::new(11, 2);
    let good = target(&format!("sip:callee@{}", agent_address(1)));
    let mut no_trunk = good.clone();
    no_trunk.trunk = Some("nowhere".into());
    for strategy in [Strategy::Serial, Strategy::Parallel] {
        let targets = vec![
            no_trunk.clone(),
            target("http://x"),
            target("sip:x@[2001:db8::1]"),
            good.clone(),
        ];
        sim.node.decides(Decision::Dial(DialPlan {
            targets,
            strategy,
            max_duration_s: None,
            ext: Vec::new(),
        }));
        let now = sim.now;
        let call = sim.uas[0].call(now, "1000");
        sim.until("the good one answers", Duration::from_secs(2), |sim| {
            sim.uas[0].is_talking(call)
        });
        let now = sim.now;
        sim.uas[0].bye(now, call);
    }
    sim.finish();
    let failed = sim
        .node
        .events()
        .filter(|e| matches!(e.kind, Kind::TargetFailed { .. }))
        .count();
    assert_eq!(failed, 6);
}

#[test]
fn a_plan_without_targets_is_the_tenants_fault() {
    let mut sim = Sim::new(12, 1);
    sim.node.decides(dial(Strategy::Serial, &[]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the caller hears it", Duration::from_secs(2), |sim| {
        sim.uas[0].got(0, 500)
    });
    sim.finish();
    assert_eq!(sim.node.ended().cause.fault, b2bua::Fault::Tenant);
}

#[test]
fn headers_of_the_decision_are_checked_one_by_one() {
    let mut sim = Sim::new(13, 2);
    let mut to = target(&format!("sip:callee@{}", agent_address(1)));
    let header = |name: &str, value: &str| b2bua::call_info::Header {
        name: name.into(),
        value: value.into(),
    };
    to.headers = vec![
        header("X-Queue", "sales"),
        header("Route", "<sip:evil>"),
        header("X-Bad", "1\r\nVia: evil"),
    ];
    to.caller_id = Some("+15550100".into());
    sim.node.decides(Decision::Dial(DialPlan {
        targets: vec![to],
        strategy: Strategy::Serial,
        max_duration_s: None,
        ext: Vec::new(),
    }));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("they talk", Duration::from_secs(2), |sim| {
        sim.uas[0].is_talking(0)
    });
    let invite = &sim.uas[1].requests[0];
    assert_eq!(invite.named("X-Queue"), Some("sales"));
    assert!(!invite.has(HeaderName::Route));
    assert!(invite.named("X-Bad").is_none());
    assert_eq!(invite.from().unwrap().uri, "sip:+15550100@192.0.2.1:5060");
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
}

fn hunt(seed: u64, first: Behaviour) -> Sim {
    let mut sim = Sim::new(seed, 3);
    sim.uas[1].behaviours = vec![first];
    sim.node.decides(dial(Strategy::Serial, &[1, 2]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim
}

fn with_timeout(decision: Decision, ms: u32) -> Decision {
    match decision {
        Decision::Dial(mut plan) => {
            plan.targets
                .iter_mut()
                .for_each(|target| target.timeout_ms = ms);
            Decision::Dial(plan)
        }
        other => other,
    }
}

#[test]
fn a_connection_that_cannot_be_made_is_the_next_targets_turn() {
    let mut sim = Sim::new(14, 3);
    let tcp = target(&format!("sip:callee@{};transport=tcp", agent_address(1)));
    let udp = target(&format!("sip:callee@{}", agent_address(2)));
    sim.link.dead.push(agent_address(1));
    sim.node.decides(Decision::Dial(DialPlan {
        targets: vec![tcp, udp],
        strategy: Strategy::Serial,
        max_duration_s: None,
        ext: Vec::new(),
    }));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.run_for(Duration::from_millis(50));
    let now = sim.now;
    let flow = sip::Flow {
        transport: sip::Transport::Tcp,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: agent_address(1),
        connection: 0,
    };
    sim.node.handle(now, b2bua::Input::FlowFailed { flow });
    sim.until("the second answers", Duration::from_secs(1), |sim| {
        sim.uas[0].is_talking(0)
    });
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
}

#[test]
fn a_trunk_that_is_full_is_left_out_and_free_again_after_the_call() {
    let mut sim = Sim::new(15, 2);
    let directory = tests::sim::node::directory();
    let trunks = directory.trunks().iter().cloned().map(|mut trunk| {
        trunk.max_calls = Some(1);
        trunk
    });
    let directory =
        b2bua::Directory::new(directory.tenants().to_vec(), trunks.collect(), Vec::new());
    let now = sim.now;
    sim.node
        .handle(now, b2bua::Input::Directory(std::sync::Arc::new(directory)));
    let mut to = target(&format!("sip:callee@{}", agent_address(1)));
    to.trunk = Some("carrier".into());
    sim.node.decides(Decision::Dial(DialPlan {
        targets: vec![to],
        strategy: Strategy::Serial,
        max_duration_s: None,
        ext: Vec::new(),
    }));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the first talks", Duration::from_secs(1), |sim| {
        sim.uas[0].is_talking(0)
    });
    let now = sim.now;
    sim.uas[0].call(now, "1001");
    sim.until("the second fails", Duration::from_secs(1), |sim| {
        sim.uas[0].got(1, 500)
    });
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.run_for(Duration::from_secs(1));
    let now = sim.now;
    sim.uas[0].call(now, "1002");
    sim.until("the third talks", Duration::from_secs(1), |sim| {
        sim.uas[0].is_talking(2)
    });
    let now = sim.now;
    sim.uas[0].bye(now, 2);
    sim.finish();
}
