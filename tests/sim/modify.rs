//! Requests inside the call: hold and resume, INFO, and what crosses.

use b2bua::journal::Kind;
use sip::Method;
use std::time::Duration;
use tests::sim::{Sim, sdp};

#[test]
fn hold_and_resume_go_through_to_the_other_side() {
    let mut sim = super::basic::talking(1);
    modify(&mut sim, 0, Method::Invite, "sendonly");
    assert_eq!(
        sdp::direction(sim.uas[1].calls[0].described.last().unwrap()),
        "sendonly"
    );
    assert_eq!(
        sdp::direction(sim.uas[0].calls[0].described.last().unwrap()),
        "recvonly"
    );
    assert_eq!(sim.node.agreed(0).unwrap().1, "recvonly");
    assert_eq!(sim.node.agreed(1).unwrap().1, "sendonly");
    modify(&mut sim, 0, Method::Invite, "sendrecv");
    assert_eq!(
        sdp::direction(sim.uas[1].calls[0].described.last().unwrap()),
        "sendrecv"
    );
    assert_eq!(sim.node.agreed(0).unwrap().1, "sendrecv");
    hang_up(sim);
}

#[test]
fn the_callee_may_hold_too() {
    let mut sim = super::basic::talking(2);
    modify(&mut sim, 1, Method::Invite, "inactive");
    assert_eq!(
        sdp::direction(sim.uas[0].calls[0].described.last().unwrap()),
        "inactive"
    );
    assert_eq!(sim.node.agreed(0).unwrap().1, "inactive");
    hang_up(sim);
}

#[test]
fn an_update_goes_to_a_peer_that_does_not_know_it_as_an_invite() {
    let mut sim = super::basic::talking(3);
    modify(&mut sim, 0, Method::Update, "sendonly");
    assert_eq!(sim.uas[0].calls[0].answers, [(Method::Update, 200)]);
    assert_eq!(sim.uas[1].count(&Method::Update), 0);
    assert_eq!(sim.uas[1].count(&Method::Invite), 2);
    hang_up(sim);
}

#[test]
fn a_refused_hold_leaves_the_call_as_it_was() {
    let mut sim = super::basic::talking(4);
    sim.uas[1].modify_status = 488;
    modify(&mut sim, 0, Method::Invite, "sendonly");
    assert_eq!(sim.uas[0].statuses(0), [180, 200, 488]);
    assert_eq!(sim.node.agreed(1).unwrap().1, "sendrecv");
    sim.uas[1].modify_status = 200;
    modify(&mut sim, 0, Method::Invite, "sendonly");
    assert_eq!(sim.uas[0].statuses(0).last(), Some(&200));
    hang_up(sim);
}

#[test]
fn two_offers_at_the_same_moment_are_glare() {
    let mut sim = super::basic::talking(5);
    let now = sim.now;
    sim.uas[0].modify(now, 0, Method::Invite, "sendonly");
    sim.uas[1].modify(now, 0, Method::Invite, "inactive");
    sim.run_for(Duration::from_secs(2));
    let last = |n: usize| *sim.uas[n].statuses(0).last().unwrap();
    assert!(last(0) == 491 || last(1) == 491, "{}", sim.node.story());
    hang_up(sim);
}

#[test]
fn an_invite_without_an_offer_resumes_a_held_call() {
    let mut sim = super::basic::talking(6);
    modify(&mut sim, 0, Method::Invite, "sendonly");
    let now = sim.now;
    sim.uas[0].send(now, 0, Method::Invite, None);
    sim.run_for(Duration::from_secs(1));
    assert_eq!(
        sim.node.agreed(0).unwrap().1,
        "sendrecv",
        "{}",
        sim.node.story()
    );
    assert_eq!(sim.node.agreed(1).unwrap().1, "sendrecv");
    hang_up(sim);
}

#[test]
fn an_info_passes_and_its_digit_is_noted() {
    let mut sim = super::basic::talking(7);
    let now = sim.now;
    sim.uas[0].send(
        now,
        0,
        Method::Info,
        Some((
            "application/dtmf-relay",
            "Signal=5\r\nDuration=160\r\n".into(),
        )),
    );
    sim.run_for(Duration::from_secs(1));
    let info = sim.uas[1]
        .requests
        .iter()
        .find(|r| *r.method() == Method::Info)
        .unwrap();
    assert_eq!(info.body().as_ref(), b"Signal=5\r\nDuration=160\r\n");
    assert_eq!(sim.uas[0].calls[0].answers, [(Method::Info, 200)]);
    assert!(
        sim.node
            .events()
            .any(|e| matches!(e.kind, Kind::Digit { digit: '5', .. }))
    );
    hang_up(sim);
}

#[test]
fn unknown_methods_are_refused_and_options_answered() {
    let mut sim = super::basic::talking(8);
    let now = sim.now;
    for method in ["REFER", "FOOBAR", "OPTIONS"] {
        sim.uas[0].send(now, 0, Method::from(method), None);
    }
    sim.run_for(Duration::from_secs(1));
    let answers = &sim.uas[0].calls[0].answers;
    assert_eq!(answers.len(), 3);
    assert!(answers.contains(&(Method::Refer, 405)));
    assert!(answers.contains(&(Method::from("FOOBAR"), 501)));
    assert!(answers.contains(&(Method::Options, 200)));
    hang_up(sim);
}

#[test]
fn a_peer_that_forgot_the_call_ends_it() {
    let mut sim = super::basic::talking(9);
    sim.uas[1].modify_status = 481;
    modify(&mut sim, 0, Method::Invite, "sendonly");
    sim.finish();
    assert!(sim.uas[0].calls[0].over);
    assert_eq!(sim.node.ended().cause.status, 481);
}

#[test]
fn a_hang_up_while_a_hold_waits_answers_the_hold_too() {
    let mut sim = super::basic::talking(10);
    let now = sim.now;
    sim.uas[0].modify(now, 0, Method::Invite, "sendonly");
    sim.run_for(Duration::from_millis(7));
    let now = sim.now;
    sim.uas[1].bye(now, 0);
    sim.finish();
    assert!(sim.uas.iter().all(|ua| ua.calls[0].over));
}

fn modify(sim: &mut Sim, who: usize, method: Method, direction: &str) {
    let now = sim.now;
    sim.uas[who].modify(now, 0, method, direction);
    sim.run_for(Duration::from_secs(1));
}

fn hang_up(mut sim: Sim) {
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
    assert!(sim.uas.iter().all(|ua| ua.calls[0].over));
}
