//! A new version takes new calls; whoever runs keeps what it began with.

use crate::guests::{flow, rejecting};
use crate::{DEFAULT, Host, TENANT, block_on, call};
use b2bua::decision::DecisionFailure;
use b2bua::flow::{FlowAction, FlowEvent};
use plugin_host::FlowInstance;
use std::sync::Arc;

fn start(host: &Host) -> FlowInstance {
    match block_on(host.host.start_flow(TENANT, "menu", &call("1"))) {
        Ok((flow, step)) => {
            assert_eq!(step.unwrap().export, "flow.session");
            flow
        }
        Err((failure, _)) => panic!("{failure}"),
    }
}

/// The status that this flow hangs up with tells which version it is.
fn version(flow: &mut FlowInstance) -> u16 {
    let (result, step) = block_on(flow.on_event(FlowEvent::Digit('1')));
    assert_eq!(step.unwrap().digest, flow.digest());
    match &result.unwrap()[..] {
        [FlowAction::Hangup(reject)] => reject.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_running_flow_stays_on_its_version() {
    let host = Host::new();
    let old = host.deploy("menu", &flow(481, ""), "");
    let mut first = start(&host);
    host.deploy("menu", &flow(482, ""), "");
    let mut second = start(&host);
    for _ in 0..3 {
        assert_eq!((version(&mut first), version(&mut second)), (481, 482));
    }
    let live = |digest: &str| {
        let view = host.host.registry().view(TENANT, "menu").unwrap();
        view.versions
            .iter()
            .find(|v| v.digest == digest)
            .map(|v| v.live)
    };
    assert_eq!(live(old.digest()), Some(1));
    drop(first);
    assert_eq!(live(old.digest()), Some(0));
}

#[test]
fn code_goes_with_its_last_call() {
    let host = Host::new();
    let oldest = Arc::downgrade(&host.deploy("menu", &flow(481, ""), "").loaded);
    let running = start(&host);
    for code in 482..490 {
        host.deploy("menu", &flow(code, ""), "");
    }
    assert!(oldest.upgrade().is_some(), "a call still runs on it");
    drop(running);
    assert!(oldest.upgrade().is_none());
}

#[test]
fn a_trap_ends_a_flow_and_no_other() {
    let host = Host::new();
    // Event 2 is a digit.
    host.deploy(
        "menu",
        &flow(
            481,
            "(if (i32.eq (local.get $event) (i32.const 2)) (then unreachable))",
        ),
        "",
    );
    let (mut first, mut second) = (start(&host), start(&host));
    assert!(matches!(
        block_on(first.on_event(FlowEvent::Digit('1'))).0,
        Err(DecisionFailure::Trap { .. })
    ));
    assert!(
        matches!(
            block_on(first.on_event(FlowEvent::Started)).0,
            Err(DecisionFailure::Trap { .. })
        ),
        "its store is gone"
    );
    assert!(block_on(second.on_event(FlowEvent::Started)).0.is_ok());
}

#[test]
fn an_event_that_is_never_answered_ends_at_its_deadline() {
    let host = Host::new();
    host.deploy(
        "menu",
        &flow(481, "(loop $l (br $l))"),
        "[limits]\ndeadline_ms = 30\n",
    );
    let mut flow = start(&host);
    let (result, step) = block_on(flow.on_event(FlowEvent::Started));
    assert_eq!(result, Err(DecisionFailure::Deadline { after_ms: 30 }));
    assert!(step.unwrap().cpu_us < 3 * 30_000);
}

#[test]
fn a_rollback_brings_the_version_before_and_a_version_by_its_digest() {
    let host = Host::new();
    let registry = host.host.registry();
    let first = host.deploy("p", &rejecting(481, "1"), DEFAULT);
    let second = host.deploy("p", &rejecting(482, "2"), DEFAULT);
    assert_eq!(host.refusal().0, 482);
    assert_eq!(
        registry.roll_back(TENANT, "p").unwrap().digest(),
        first.digest()
    );
    assert_eq!(host.refusal().0, 481);
    registry.activate(TENANT, "p", second.digest()).unwrap();
    assert_eq!(host.refusal().0, 482);
    assert!(registry.activate(TENANT, "p", &"0".repeat(64)).is_err());
    let told: Vec<_> = registry
        .changes(0)
        .into_iter()
        .map(|change| change.what.to_string())
        .collect();
    assert_eq!(told, ["activated", "activated", "rolled back", "activated"]);
}

#[test]
fn decisions_while_versions_change_come_from_one_of_them() {
    let host = Host::new();
    let versions: Vec<_> = [481, 482].map(|code| rejecting(code, "x")).into();
    host.deploy("p", &versions[0], DEFAULT);
    std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            for turn in 0..40 {
                host.deploy("p", &versions[turn % 2], DEFAULT);
                assert!(host.try_deploy("p", b"broken", DEFAULT).is_err());
            }
        });
        let mut decided = 0;
        while !swapping.is_finished() {
            let (code, _) = host.refusal();
            assert!(code == 481 || code == 482, "{code}");
            decided += 1;
        }
        assert!(decided > 0);
    });
}
