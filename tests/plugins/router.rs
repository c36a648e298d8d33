//! `static-routes` and `hello-router`.

use crate::{Host, TENANT, block_on, call};
use b2bua::decision::{Decision, Outcome};
use plugin_host::replay;

const RULES: &str = r#"
[bind]
default = true
[[config.rule]]
to = "^9(\\d+)$"
dial = ["sip:{1}@10.0.0.1", "sip:{1}@10.0.0.2"]
[[config.rule]]
to = "^900"
reject = 603
[[config.rule]]
to = "^100$"
flow = "menu"
"#;

fn decide(host: &Host, called: &str) -> Decision {
    block_on(host.host.route(TENANT, &call(called, &[])))
        .decision
        .unwrap_or_else(|e| panic!("{called}: {e}"))
}

#[test]
fn rules_decide_in_their_order() {
    let host = Host::with("static-routes", RULES);
    match decide(&host, "94711") {
        Decision::Dial(plan) => {
            let uris: Vec<_> = plan.targets.iter().map(|t| t.uri.as_str()).collect();
            assert_eq!(uris, ["sip:4711@10.0.0.1", "sip:4711@10.0.0.2"]);
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(decide(&host, "100"), Decision::RunFlow(flow) if flow.name == "menu"));
    assert!(matches!(decide(&host, "900x"), Decision::Reject(reject) if reject.code == 603));
}

#[test]
fn a_number_that_no_rule_knows_is_refused_with_the_near_miss() {
    match decide(&Host::with("static-routes", RULES), "123") {
        Decision::Reject(reject) => {
            assert_eq!(reject.code, 404);
            assert!(reject.reason.contains("nearest"), "{}", reject.reason);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_decision_of_a_real_plugin_replays_and_other_settings_show() {
    let host = Host::with("static-routes", RULES);
    let step = block_on(host.host.route(TENANT, &call("94711", &[])))
        .trail
        .remove(0);
    assert!(
        step.imports
            .iter()
            .any(|import| import.name == "config.json"),
        "{:?}",
        step.imports
    );
    assert!(step.cpu_us > 0);
    let component = std::fs::read(tests::e2e::component("static-routes")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    assert!(
        replay::route(&component, &step, scratch.path())
            .unwrap()
            .is_same()
    );
    let other = std::fs::read(tests::e2e::component("hello-router")).unwrap();
    assert!(
        !replay::route(&other, &step, scratch.path())
            .unwrap()
            .is_same()
    );
}

#[test]
fn ten_lines_are_a_router() {
    let host = Host::with("hello-router", "[bind]\ndefault = true\n");
    let routed = block_on(host.host.route(TENANT, &call("1000", &[])));
    assert!(
        matches!(&routed.trail[0].outcome, Outcome::Decided(Decision::Dial(plan)) if plan.targets.len() == 1),
        "{routed:?}"
    );
}
