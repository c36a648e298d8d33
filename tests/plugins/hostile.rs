//! A real guest that misbehaves: each fault has its name, and the next call is as good as new.

use crate::{Host, TENANT, block_on, call};
use b2bua::decision::{DecisionFailure, Outcome};

fn failure(mode: &str) -> DecisionFailure {
    let host = Host::with(
        "hostile",
        &format!(
            "[bind]\ndefault = true\n[limits]\ndeadline_ms = 50\n[config]\nmode = \"{mode}\"\n"
        ),
    );
    let routed = block_on(host.host.route(TENANT, &call("1000", &[])));
    match &routed.trail[0].outcome {
        Outcome::Failed(failure) => failure.clone(),
        other => panic!("{other:?}"),
    }
}

fn trap(mode: &str) -> String {
    match failure(mode) {
        DecisionFailure::Trap { message } => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_fault_has_its_name() {
    assert_eq!(failure("loop"), DecisionFailure::Deadline { after_ms: 50 });
    assert!(matches!(
        failure("flood"),
        DecisionFailure::OutputLimit { .. }
    ));
    assert!(matches!(
        failure("nothing"),
        DecisionFailure::Reported { .. }
    ));
    assert!(trap("trap").contains("unreachable"), "{}", trap("trap"));
    assert!(trap("recurse").contains("recursion"), "{}", trap("recurse"));
    assert!(
        trap("panic").contains("as the settings ask, for 1000"),
        "{}",
        trap("panic")
    );
}

#[test]
fn memory_without_end_ends_at_the_limit_or_at_the_deadline() {
    // What comes first depends on the machine.
    assert!(matches!(
        failure("grow"),
        DecisionFailure::Trap { .. } | DecisionFailure::Deadline { .. }
    ));
}
