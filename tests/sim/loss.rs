//! A bad network: whatever is lost, repeated or late, both sides end in the same state and
//! nothing is left of the call.

use b2bua::decision::Strategy;
use sip::Method;
use std::time::Duration;
use tests::sim::Sim;
use tests::sim::node::dial;
use tests::sim::ua::Behaviour;

#[test]
fn calls_come_up_and_go_down_at_up_to_30_per_cent_loss() {
    for lost in [0, 5, 10, 20, 30] {
        let mut up = 0;
        for seed in 0..40 {
            let mut sim = bad_network(seed, lost);
            sim.node.decides(dial(Strategy::Serial, &[1]));
            let now = sim.now;
            sim.uas[0].call(now, "1000");
            sim.run_for(Duration::from_secs(40));
            up += usize::from(sim.uas[0].is_talking(0));
            let now = sim.now;
            sim.uas[(seed % 2) as usize].bye(now, 0);
            sim.finish();
        }
        // 11 tries in 32 s: at 30 % loss of each packet almost all calls come up.
        assert!(up >= 38, "{up} of 40 calls came up at {lost} % loss");
    }
}

#[test]
fn a_callers_200_means_that_the_callee_talks_too() {
    for seed in 100..160 {
        let mut sim = bad_network(seed, 15);
        sim.node.decides(dial(Strategy::Serial, &[1]));
        let now = sim.now;
        sim.uas[0].call(now, "1000");
        sim.until("it is decided", Duration::from_secs(40), |sim| {
            sim.uas[0].statuses(0).iter().any(|status| *status >= 200)
        });
        sim.run_for(Duration::from_secs(35));
        assert_eq!(
            sim.uas[0].is_talking(0),
            sim.uas[1].is_talking(0),
            "seed {seed}\n{}",
            sim.node.story()
        );
        let now = sim.now;
        sim.uas[0].bye(now, 0);
        sim.finish();
        assert!(
            sim.uas[1].calls.iter().all(|call| call.over),
            "seed {seed}\n{}",
            sim.node.story()
        );
    }
}

#[test]
fn cancels_holds_and_hunts_survive_loss_as_well() {
    for seed in 200..260 {
        let mut sim = bad_network(seed, 20);
        sim.uas[1].behaviours = vec![Behaviour::refuse(503)];
        sim.uas[2].behaviours = vec![Behaviour::answer(3000 * (seed % 3))];
        sim.node.decides(dial(
            if seed.is_multiple_of(2) {
                Strategy::Serial
            } else {
                Strategy::Parallel
            },
            &[1, 2],
        ));
        let now = sim.now;
        sim.uas[0].call(now, "1000");
        sim.run_for(Duration::from_millis(500 * (seed % 7)));
        let now = sim.now;
        if seed.is_multiple_of(4) {
            sim.uas[0].cancel(now, 0);
        }
        sim.run_for(Duration::from_secs(10));
        for direction in ["sendonly", "sendrecv"] {
            let now = sim.now;
            sim.uas[0].modify(now, 0, Method::Invite, direction);
            sim.run_for(Duration::from_secs(5));
        }
        let now = sim.now;
        sim.uas[0].bye(now, 0);
        sim.finish();
        let left = (1..3)
            .flat_map(|n| &sim.uas[n].calls)
            .filter(|call| !call.over)
            .count();
        assert_eq!(left, 0, "seed {seed}\n{}", sim.node.story());
    }
}

#[test]
fn repeated_requests_are_one_call() {
    for seed in 300..320 {
        let mut sim = Sim::new(seed, 2);
        sim.link.repeated = 100;
        sim.link.jitter_ms = 400;
        sim.node.decides(dial(Strategy::Serial, &[1]));
        let now = sim.now;
        sim.uas[0].call(now, "1000");
        sim.until("they talk", Duration::from_secs(5), |sim| {
            sim.uas[0].is_talking(0) && sim.uas[1].is_talking(0)
        });
        assert_eq!(sim.node.journals.len(), 1, "seed {seed}");
        assert_eq!(sim.uas[1].count(&Method::Invite), 1, "seed {seed}");
        let now = sim.now;
        sim.uas[1].bye(now, 0);
        sim.finish();
    }
}

#[test]
fn the_same_seed_gives_the_same_story() {
    let story = || {
        let mut sim = bad_network(7, 20);
        sim.node.decides(dial(Strategy::Serial, &[1]));
        let now = sim.now;
        sim.uas[0].call(now, "1000");
        sim.run_for(Duration::from_secs(20));
        let now = sim.now;
        sim.uas[0].bye(now, 0);
        sim.finish();
        serde_json::to_string(&sim.node.journals.values().collect::<Vec<_>>()).unwrap()
    };
    assert_eq!(story(), story());
}

fn bad_network(seed: u64, lost: u64) -> Sim {
    let mut sim = Sim::new(seed, 3);
    (sim.link.lost, sim.link.repeated, sim.link.jitter_ms) = (lost, lost / 2, 60);
    sim
}
