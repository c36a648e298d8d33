//! What the caller gets when a plugin fails, as the binding's policy says.

use crate::guests::{NEXT, Router, faulty, reject, rejecting};
use crate::{DEFAULT, Host};
use b2bua::decision::{Decision, DecisionFailure, Outcome};

fn policy(lines: &str) -> String {
    format!("{DEFAULT}[on_failure]\n{lines}\n")
}

fn trap() -> Vec<u8> {
    faulty("unreachable").component()
}

#[test]
fn fail_closed_gives_the_code_of_the_policy_and_names_the_failure() {
    let host = Host::new();
    host.deploy(
        "p",
        &trap(),
        &policy("action = \"fail_closed\"\ncode = 503"),
    );
    let (code, reason) = host.refusal();
    assert_eq!(code, 503);
    assert!(reason.contains("p: it trapped"), "{reason}");
}

#[test]
fn fail_open_asks_the_next_binding() {
    let host = Host::new();
    host.deploy(
        "a",
        &trap(),
        "[bind]\ndefault = true\npriority = 1\n[on_failure]\naction = \"fail_open\"\n",
    );
    host.deploy("b", &rejecting(486, "next"), DEFAULT);
    assert_eq!(host.refusal(), (486, "next".into()));
}

#[test]
fn fallbacks_are_followed_in_a_chain_and_never_in_a_circle() {
    let host = Host::new();
    let to = |plugin: &str| {
        format!("[on_failure]\naction = \"fallback_plugin\"\nplugin = \"{plugin}\"\ncode = 504\n")
    };
    host.deploy("a", &trap(), &(DEFAULT.to_owned() + &to("b")));
    host.deploy("b", &trap(), &to("c"));
    host.deploy("c", &rejecting(486, "the last one"), "");
    assert_eq!(host.refusal(), (486, "the last one".into()));
    let routed = host.route();
    let asked: Vec<_> = routed
        .trail
        .iter()
        .map(|step| step.decider.as_str())
        .collect();
    assert_eq!(asked, ["binding:a", "fallback:b", "fallback:c"]);

    host.deploy("c", &trap(), &to("a"));
    let (code, reason) = host.refusal();
    assert_eq!(code, 504);
    assert!(
        reason.contains("its fallback b") && reason.contains("its fallback c"),
        "{reason}"
    );
}

#[test]
fn a_fallback_that_is_not_there_is_named() {
    let host = Host::new();
    host.deploy(
        "p",
        &trap(),
        &policy("action = \"fallback_plugin\"\nplugin = \"none\""),
    );
    let (code, reason) = host.refusal();
    assert!(
        code == 500 && reason.contains("no plugin named none"),
        "{reason}"
    );
}

#[test]
fn a_static_route_dials_what_the_policy_says() {
    let host = Host::new();
    host.deploy(
        "p",
        &trap(),
        &policy("action = \"static_route\"\ndial = [\"sip:{user}@192.0.2.9\"]"),
    );
    let routed = host.route_to("4711");
    let Ok(Decision::Dial(plan)) = routed.decision else {
        panic!("{routed:?}")
    };
    assert_eq!(plan.targets[0].uri, "sip:4711@192.0.2.9");
    assert_eq!(routed.trail.last().unwrap().decider, "static");
}

#[test]
fn the_last_good_version_answers_for_a_bad_one() {
    let host = Host::new();
    host.deploy("p", &rejecting(486, "good"), DEFAULT);
    assert_eq!(host.refusal().0, 486);
    host.deploy("p", &trap(), DEFAULT);
    assert_eq!(host.refusal(), (486, "good".into()));
    let routed = host.route();
    assert_eq!(routed.trail[1].decider, "last-good");
    assert!(matches!(
        &routed.trail[0].outcome,
        Outcome::Failed(DecisionFailure::Trap { .. })
    ));
    assert_ne!(routed.trail[0].digest, routed.trail[1].digest);
}

#[test]
fn a_failure_that_the_plugin_reports_counts_as_one() {
    // err, and its case `upstream` with an empty text.
    let reports = "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store8 (i32.const 1028) (i32.const 2)) (i32.const 1024)";
    let host = Host::new();
    host.deploy(
        "p",
        &Router {
            body: reports,
            ..Router::default()
        }
        .component(),
        DEFAULT,
    );
    let routed = host.route();
    assert!(
        matches!(
            &routed.trail[0].outcome,
            Outcome::Failed(DecisionFailure::Reported { .. })
        ),
        "{routed:?}"
    );
}

#[test]
fn a_version_that_fails_too_often_is_not_asked_for_a_while() {
    let host = Host::new();
    host.deploy("spare", &rejecting(486, "spare"), "");
    host.deploy(
        "p",
        &trap(),
        &policy("action = \"fallback_plugin\"\nplugin = \"spare\""),
    );
    for _ in 0..10 {
        assert!(matches!(host.route().trail[0].outcome, Outcome::Failed(_)));
    }
    let routed = host.route();
    assert!(
        matches!(&routed.trail[0].outcome, Outcome::Skipped(why) if why.contains("breaker")),
        "{routed:?}"
    );
    assert!(matches!(routed.decision, Ok(Decision::Reject(reject)) if reject.code == 486));
    // Another version starts with a closed one.
    host.deploy("p", &rejecting(488, "repaired"), DEFAULT);
    assert_eq!(host.refusal(), (488, "repaired".into()));
}

#[test]
fn bindings_are_asked_by_priority_and_then_by_the_closest_match() {
    let host = Host::new();
    assert_eq!(host.route().decision, Err(DecisionFailure::NoRouter));
    host.deploy("all", &rejecting(481, "all"), DEFAULT);
    host.deploy(
        "prefix",
        &rejecting(482, "prefix"),
        "[bind]\nnumbers = [\"10*\"]\n",
    );
    host.deploy(
        "exact",
        &rejecting(483, "exact"),
        "[bind]\nnumbers = [\"1000\"]\n",
    );
    assert_eq!(host.refusal().0, 483);
    host.deploy(
        "first",
        &Router {
            body: NEXT,
            ..Router::default()
        }
        .component(),
        "[bind]\ndefault = true\npriority = 1\n",
    );
    let routed = host.route();
    let asked: Vec<_> = routed
        .trail
        .iter()
        .map(|step| (step.decider.as_str(), step.outcome == Outcome::Next))
        .collect();
    assert_eq!(asked, [("binding:first", true), ("binding:exact", false)]);
    assert!(matches!(host.route_to("1099").decision, Ok(Decision::Reject(r)) if r.code == 482));
    assert!(matches!(host.route_to("2").decision, Ok(Decision::Reject(r)) if r.code == 481));
}

#[test]
fn a_flow_that_is_bound_answers_by_itself_and_a_provider_decides_nothing() {
    let host = Host::new();
    host.deploy("menu", &crate::guests::flow(480, ""), DEFAULT);
    let routed = host.route();
    assert!(
        matches!(&routed.decision, Ok(Decision::RunFlow(flow)) if flow.name == "menu"),
        "{routed:?}"
    );
    let body = reject("480", "x");
    let router = Router {
        body: &body,
        ..Router::default()
    };
    host.deploy("router", &router.component(), "");
    let (result, _) = crate::block_on(host.host.read(crate::TENANT, "router", &crate::call("1")));
    assert_eq!(
        result,
        Err(DecisionFailure::MissingExport {
            name: "provider".into()
        })
    );
}
