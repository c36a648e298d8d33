use crate::StaticRoutes;
use gatepost_sdk::prelude::*;
use gatepost_sdk::testing::{FakeHost, call_info};
use gatepost_sdk::{Value, json};

fn route(config: Value, called: &str, caller: &str) -> Result<Decision, Failure> {
    let call = CallInfo {
        called: called.into(),
        caller: caller.into(),
        ..call_info()
    };
    FakeHost::new()
        .config(config)
        .run(|| StaticRoutes::on_invite(call))
}

fn dialled(decision: Result<Decision, Failure>) -> Vec<String> {
    match decision {
        Ok(Decision::Dial(plan)) => plan.targets.into_iter().map(|target| target.uri).collect(),
        other => panic!("it does not dial: {other:?}"),
    }
}

fn rejected(decision: Result<Decision, Failure>) -> (u16, String) {
    match decision {
        Ok(Decision::Reject(reject)) => (reject.code, reject.reason),
        other => panic!("it does not reject: {other:?}"),
    }
}

fn wrong(decision: Result<Decision, Failure>) -> String {
    match decision {
        Err(Failure::Config(text)) => text,
        other => panic!("it finds nothing wrong: {other:?}"),
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let config = json!({ "rule": [
        { "to": "^1", "dial": ["sip:{user}@10.0.0.1", "sip:{user}@10.0.0.2"] },
        { "to": "^12", "reject": 603 },
    ] });
    assert_eq!(
        dialled(route(config, "123", "alice")),
        ["sip:123@10.0.0.1", "sip:123@10.0.0.2"]
    );
}

#[test]
fn groups_of_both_expressions_expand_and_those_of_to_win() {
    let config = json!({ "rule": [
        { "to": r"^9(?<rest>\d+)$", "from": r"^(\w)(?<tail>\w+)$", "dial": ["sip:{1}-{rest}-{2}-{tail}-{caller}@h"] },
    ] });
    assert_eq!(
        dialled(route(config, "9123", "alice")),
        ["sip:123-123-lice-lice-alice@h"]
    );
}

#[test]
fn what_the_caller_sent_cannot_leave_the_user_part() {
    let config = json!({ "rule": [{ "dial": ["sip:{user}@10.0.0.1"] }] });
    assert_eq!(
        dialled(route(config, "1@evil>\r\n%", "a")),
        ["sip:1%40evil%3E%0D%0A%25@10.0.0.1"]
    );
}

#[test]
fn a_rule_needs_both_of_its_expressions_to_match() {
    let config = json!({ "rule": [{ "to": "^1", "from": "^bob$", "reject": 603, "reason": "not bob" }, { "reject": 486 }] });
    assert_eq!(rejected(route(config.clone(), "1", "alice")).0, 486);
    assert_eq!(
        rejected(route(config, "1", "bob")),
        (603, "not bob (rule 1)".into())
    );
}

#[test]
fn a_call_that_no_rule_matches_hears_404_with_the_nearest_rule() {
    let config = json!({ "rule": [
        { "to": "^2", "flow": "menu" },
        { "to": r"^1555\d{4}$", "dial": ["sip:{user}@h"] },
        { "to": "^3", "from": "^alice$", "reject": 486 },
    ] });
    let (code, reason) = rejected(route(config.clone(), "15551", "bob"));
    assert_eq!(code, 404);
    assert_eq!(
        reason,
        r#"no rule matched 15551; nearest was rule 2: its `to` "^1555\d{4}$" does not match "15551""#
    );
    // One of two conditions held: that is nearer than any head.
    let (_, reason) = rejected(route(config, "15551", "alice"));
    assert!(
        reason.contains("nearest was rule 3: its `to` \"^3\""),
        "{reason}"
    );
}

#[test]
fn without_rules_the_reason_says_so() {
    assert_eq!(
        rejected(route(json!({}), "1", "a")),
        (404, "no rule matched 1: there are no rules".into())
    );
}

#[test]
fn flows_redirects_and_extras_are_passed_on() {
    let flow = route(json!({ "rule": [{ "flow": "menu" }] }), "1", "a").unwrap();
    assert_eq!(
        flow,
        Decision::flow_with("menu", vec![("rule".into(), "1".into())])
    );
    let redirect = route(
        json!({ "rule": [{ "redirect": ["sip:{user}@other"] }] }),
        "1",
        "a",
    )
    .unwrap();
    assert_eq!(redirect, Decision::redirect(["sip:1@other"]));
    let config = json!({ "rule": [{
        "dial": ["sip:{user}@h"], "trunk": "carrier", "caller_id": "+1{caller}", "timeout_s": 20, "parallel": true,
        "headers": { "X-From": "{caller}" },
    }] });
    let Ok(Decision::Dial(plan)) = route(config, "1", "555") else {
        panic!("it does not dial")
    };
    assert_eq!(plan.strategy, gatepost_sdk::types::Strategy::Parallel);
    let target = &plan.targets[0];
    assert_eq!(target.trunk.as_deref(), Some("carrier"));
    assert_eq!(target.caller_id.as_deref(), Some("+1555"));
    assert_eq!(target.timeout_ms, 20_000);
    assert_eq!(target.headers, [Header::new("X-From", "555")]);
}

#[test]
fn a_wrong_rule_is_named_by_its_number() {
    let with = |rule: Value| {
        wrong(route(
            json!({ "rule": [{ "to": "^9", "reject": 603 }, rule] }),
            "1",
            "a",
        ))
    };
    assert_eq!(
        with(json!({ "to": "(", "reject": 603 })).split(": ").next(),
        Some("rule 2")
    );
    assert!(with(json!({ "dail": [] })).starts_with("rule 2: unknown field `dail`"));
    assert!(with(json!({ "reject": "x" })).starts_with("rule 2: invalid type"));
    assert_eq!(
        with(json!({})),
        "rule 2: it needs exactly one of `dial`, `reject`, `flow` and `redirect`"
    );
    assert_eq!(
        with(json!({ "reject": 200 })),
        "rule 2: `reject` is a SIP status from 400 to 699, not 200"
    );
    assert_eq!(
        with(json!({ "dial": [] })),
        "rule 2: its list of SIP URIs is empty"
    );
    assert!(with(json!({ "dial": ["sip:{2}@h"] })).starts_with("rule 2: `sip:{2}@h` asks for {2}"));
}

#[test]
fn an_expression_is_looked_at_only_when_its_rule_is_reached() {
    let config = json!({ "rule": [{ "to": "^1", "reject": 486 }, { "to": "(", "reject": 603 }] });
    assert_eq!(rejected(route(config, "1", "a")).0, 486);
}
