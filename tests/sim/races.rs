//! Messages that cross each other.

use b2bua::decision::Strategy;
use sip::Method;
use std::time::Duration;
use tests::sim::Sim;
use tests::sim::node::dial;
use tests::sim::ua::Behaviour;

#[test]
fn a_cancel_while_it_rings_ends_both_sides() {
    let mut sim = ringing(1, Behaviour::ring_for_ever());
    let now = sim.now;
    sim.uas[0].cancel(now, 0);
    sim.finish();
    assert_eq!(sim.uas[0].statuses(0), [180, 487]);
    assert_eq!(sim.uas[1].statuses(0), [180, 487]);
    assert_eq!(sim.node.ended().cause.status, 487);
}

/// Wherever between the INVITE and the answer the CANCEL comes: nobody stays in a call alone.
#[test]
fn a_cancel_at_any_moment_leaves_nobody_behind() {
    for ms in 0..260 {
        let mut sim = Sim::new(ms, 2);
        sim.node.decides(dial(Strategy::Serial, &[1]));
        let now = sim.now;
        sim.uas[0].call(now, "1000");
        sim.run_for(Duration::from_millis(ms));
        let now = sim.now;
        sim.uas[0].cancel(now, 0);
        sim.run_for(Duration::from_secs(1));
        if sim.uas[0].is_talking(0) {
            assert!(
                sim.uas[1].is_talking(0),
                "at {ms} ms the caller talks to nobody\n{}",
                sim.node.story()
            );
            let now = sim.now;
            sim.uas[0].bye(now, 0);
        }
        sim.finish();
        assert!(
            sim.uas[1].calls.iter().all(|call| call.over),
            "at {ms} ms the callee is left\n{}",
            sim.node.story()
        );
    }
}

#[test]
fn a_cancel_before_the_decision_ends_the_call_and_the_decision_is_dropped() {
    let mut sim = Sim::new(2, 2);
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.run_for(Duration::from_millis(50));
    let now = sim.now;
    sim.uas[0].cancel(now, 0);
    sim.finish();
    assert_eq!(sim.uas[0].statuses(0), [487]);
}

#[test]
fn both_may_hang_up_at_the_same_moment() {
    let mut sim = super::basic::talking(3);
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.uas[1].bye(now, 0);
    sim.finish();
    for ua in &sim.uas {
        assert_eq!(ua.calls[0].answers, [(Method::Bye, 200)]);
    }
}

/// The callee may hang up before the caller's ACK is here: our BYE to the caller waits for it
/// (RFC 3261 §15).
#[test]
fn a_bye_of_the_callee_before_the_callers_ack_waits_for_it() {
    let mut sim = Sim::new(4, 2);
    sim.node.decides(dial(Strategy::Serial, &[1]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the callee is in", Duration::from_secs(1), |sim| {
        sim.uas[1].is_talking(0)
    });
    let now = sim.now;
    sim.uas[1].bye(now, 0);
    sim.finish();
    assert!(sim.uas[0].calls[0].over, "{}", sim.node.story());
    let lines = b2bua::explain::ladder(&sim.node.journals[&sim.node.call()]);
    let at = |what: &str| {
        lines
            .lines()
            .position(|line| line.contains(" A ") && line.contains(what))
    };
    assert!(at("ACK").unwrap() < at("BYE").unwrap(), "{lines}");
}

#[test]
fn an_ack_that_never_comes_ends_the_call_after_64_t1() {
    let mut sim = Sim::new(5, 2);
    sim.node.decides(dial(Strategy::Serial, &[1]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("it rings", Duration::from_secs(1), |sim| {
        sim.uas[0].got(0, 180)
    });
    // The caller's machine dies before the answer.
    let dead = sim.uas[0].address;
    sim.link.dead.push(dead);
    sim.until("the callee is hung up", Duration::from_secs(34), |sim| {
        sim.uas[1].calls[0].over
    });
    sim.finish();
    assert_eq!(sim.node.ended().cause.text, "the ACK never came");
}

#[test]
fn a_peer_that_vanishes_in_the_call_does_not_keep_it() {
    let mut sim = super::basic::talking(6);
    let dead = sim.uas[1].address;
    sim.link.dead.push(dead);
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
    assert_eq!(sim.node.ended().cause.text, "the caller hung up");
}

#[test]
fn media_that_never_reports_does_not_keep_the_call() {
    let mut sim = super::basic::talking(7);
    sim.node.media_answers = false;
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
}

#[test]
fn a_request_in_a_dialog_that_is_over_gets_481() {
    let mut sim = super::basic::talking(8);
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.run_for(Duration::from_secs(5));
    let now = sim.now;
    sim.uas[0].send(now, 0, Method::Info, None);
    sim.uas[0].send(now, 0, Method::Bye, None);
    sim.finish();
    let answers = &sim.uas[0].calls[0].answers;
    assert_eq!(answers[1..], [(Method::Info, 481), (Method::Bye, 481)]);
}

#[test]
fn a_200_without_contact_cannot_be_a_call() {
    let mut sim = Sim::new(9, 2);
    sim.uas[1].behaviours = vec![Behaviour {
        no_contact: true,
        ..Behaviour::answer(50)
    }];
    sim.node.decides(dial(Strategy::Serial, &[1]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the caller hears it", Duration::from_secs(2), |sim| {
        sim.uas[0].got(0, 502)
    });
    sim.finish();
}

fn ringing(seed: u64, behaviour: Behaviour) -> Sim {
    let mut sim = Sim::new(seed, 2);
    sim.uas[1].behaviours = vec![behaviour];
    sim.node.decides(dial(Strategy::Serial, &[1]));
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("it rings", Duration::from_secs(1), |sim| {
        sim.uas[0].got(0, 180)
    });
    sim
}
