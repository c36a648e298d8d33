//! A recorded decision, asked again.

use crate::guests::{Router, reject, rejecting};
use crate::{DEFAULT, Host};
use b2bua::decision::{Outcome, Step};
use plugin_host::replay::{self, ReplayOutcome};

/// Refuses with a status that the host's clock and randomness make.
fn by_chance(more: &str) -> Vec<u8> {
    let imports = r#"(import "gatepost:plugin/clock@0.1.0" "now-ms" (func $now (result i64)))
        (import "gatepost:plugin/random@0.1.0" "number" (func $random (result i64)))"#;
    let code = "(i32.add (i32.const 400) (i32.wrap_i64 (i64.rem_u (i64.xor (call $now) (call $random)) (i64.const 250))))";
    let body = format!("{more} {}", reject(code, "by chance"));
    Router {
        imports,
        body: &body,
        ..Router::default()
    }
    .component()
}

fn recorded(component: &[u8]) -> Step {
    let host = Host::new();
    host.deploy("p", component, DEFAULT);
    let step = host.route().trail.remove(0);
    // As it comes back from a journal.
    serde_json::from_str(&serde_json::to_string(&step).unwrap()).unwrap()
}

fn replayed(component: &[u8], step: &Step) -> ReplayOutcome {
    replay::route(component, step, tempfile::tempdir().unwrap().path()).unwrap()
}

#[test]
fn the_same_component_decides_the_same_from_its_record() {
    let component = by_chance("");
    let step = recorded(&component);
    assert_eq!(
        step.imports
            .iter()
            .map(|i| i.name.as_str())
            .collect::<Vec<_>>(),
        ["clock.now-ms", "random.number"]
    );
    for _ in 0..3 {
        assert!(replayed(&component, &step).is_same());
    }
}

#[test]
fn another_import_is_the_first_divergence() {
    let step = recorded(&by_chance(""));
    match replayed(&by_chance("(drop (call $random))"), &step) {
        ReplayOutcome::Import { divergence, .. } => {
            assert_eq!(
                (divergence.import, divergence.name.as_str()),
                (0, "random.number")
            );
            assert_eq!(divergence.recorded.unwrap().name, "clock.now-ms");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_decision_is_shown_beside_the_recorded_one() {
    let step = recorded(&rejecting(486, "then"));
    match replayed(&rejecting(487, "now"), &step) {
        ReplayOutcome::Decision { recorded, replayed } => {
            assert_ne!(recorded, replayed);
            assert!(matches!(recorded, Outcome::Decided(_)));
        }
        other => panic!("{other:?}"),
    }
}
