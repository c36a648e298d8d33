//! What a plugin may do to nobody but itself.

use crate::guests::{self, Router, faulty, rejecting};
use crate::{DEFAULT, Host, TENANT, block_on, call};
use b2bua::decision::{Decision, DecisionFailure, Outcome, Routed};

const LIMITED: &str = "[bind]\ndefault = true\n[limits]\ndeadline_ms = 30\n";

/// The failure of the only step.
fn failure(routed: &Routed) -> DecisionFailure {
    match &routed.trail[0].outcome {
        Outcome::Failed(failure) => failure.clone(),
        other => panic!("{other:?}"),
    }
}

fn fails(router: &Router<'_>) -> DecisionFailure {
    let host = Host::new();
    host.deploy("p", &router.component(), LIMITED);
    let failed = failure(&host.route());
    assert_eq!(
        failure(&host.route()),
        failed,
        "the next call fares the same: nothing is left of the first"
    );
    failed
}

#[test]
fn an_endless_loop_ends_within_its_budget() {
    let host = Host::new();
    host.deploy("p", &faulty("(loop $l (br $l))").component(), LIMITED);
    let routed = host.route();
    assert_eq!(failure(&routed), DecisionFailure::Deadline { after_ms: 30 });
    // What it used of the processor, which other work on the machine does not change.
    assert!(
        routed.trail[0].cpu_us < 3 * 30_000,
        "{} µs",
        routed.trail[0].cpu_us
    );
    assert!(matches!(routed.decision, Ok(Decision::Reject(reject)) if reject.code == 500));
}

#[test]
fn an_endless_loop_at_the_start_is_refused() {
    let router = Router {
        functions: "(func $s (loop $l (br $l))) (start $s)",
        body: guests::NEXT,
        ..Router::default()
    };
    let error = Host::new()
        .try_deploy("p", &router.component(), DEFAULT)
        .map(|_| ())
        .unwrap_err();
    assert!(error.to_string().contains("deadline"), "{error}");
}

#[test]
fn a_trap_says_where() {
    let DecisionFailure::Trap { message } =
        fails(&faulty("(call $inner)").with("(func $inner unreachable)"))
    else {
        panic!()
    };
    assert!(
        message.contains("unreachable") && message.contains("inner"),
        "{message}"
    );
}

#[test]
fn endless_recursion_uses_up_its_own_stack_only() {
    let DecisionFailure::Trap { message } =
        fails(&faulty("(call $again)").with("(func $again (call $again))"))
    else {
        panic!()
    };
    assert!(message.contains("recursion"), "{message}");
}

#[test]
fn memory_ends_at_the_limit() {
    // Grows until it is refused, then tells how many pages it got: 16 MiB less its first one.
    let grow = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))";
    let body = format!(
        "{grow} {}",
        guests::reject(
            "(i32.add (i32.const 400) (i32.eq (memory.size) (i32.const 256)))",
            "full"
        )
    );
    let host = Host::new();
    host.deploy(
        "p",
        &Router {
            body: &body,
            ..Router::default()
        }
        .component(),
        DEFAULT,
    );
    assert_eq!(host.refusal(), (401, "full".into()));
}

#[test]
fn an_answer_without_end_is_refused() {
    // A redirect to 400,000 empty contacts.
    let flood = "(drop (memory.grow (i32.const 64)))
        (i32.store8 (i32.const 1024) (i32.const 0)) (i32.store8 (i32.const 1028) (i32.const 2))
        (i32.store (i32.const 1032) (i32.const 65536)) (i32.store (i32.const 1036) (i32.const 400000))
        (return (i32.const 1024))";
    assert!(matches!(
        fails(&faulty(flood)),
        DecisionFailure::OutputLimit { .. }
    ));
}

#[test]
fn an_answer_from_outside_its_memory_is_a_trap() {
    let DecisionFailure::Trap { message } = fails(&faulty("(return (i32.const 0x7ffffff0))"))
    else {
        panic!()
    };
    assert!(
        message.contains("bounds") || message.contains("pointer"),
        "{message}"
    );
}

#[test]
fn a_flood_of_imports_ends_at_the_deadline_with_a_bounded_record() {
    let host = Host::new();
    let router = Router {
        imports: CLOCK,
        ..faulty("(loop $l (drop (call $now)) (br $l))")
    };
    host.deploy("p", &router.component(), LIMITED);
    let routed = host.route();
    assert_eq!(failure(&routed), DecisionFailure::Deadline { after_ms: 30 });
    assert!(routed.trail[0].imports.len() <= 1_001);
}

const CLOCK: &str = r#"(import "gatepost:plugin/clock@0.1.0" "now-ms" (func $now (result i64)))"#;

#[test]
fn what_was_not_granted_is_denied_and_what_was_is_given() {
    // kv.set("k", ""): its error is at 3076 where 3072 is 1.
    let imports = r#"(import "gatepost:plugin/kv@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32 i32 i32)))"#;
    let set = "(call $set (i32.const 2048) (i32.const 1) (i32.const 2048) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 3072))";
    let code = "(i32.add (i32.const 400) (i32.add (i32.load8_u (i32.const 3072)) (i32.load8_u (i32.const 3073))))";
    let body = format!("{set} {}", guests::reject(code, "done"));
    let asks = Router {
        imports,
        body: &body,
        manifest: r#"{"capabilities":["kv"]}"#,
        ..Router::default()
    };
    let does_not_ask = Router {
        manifest: "",
        ..asks
    };
    let granted = format!("{DEFAULT}[grants]\nallow = [\"kv\"]\n");
    let host = Host::new();
    for (router, settings, code) in [
        (&asks, granted.as_str(), 400),
        (&asks, DEFAULT, 401),
        (&does_not_ask, &granted, 401),
    ] {
        host.deploy("p", &router.component(), settings);
        assert_eq!(host.refusal().0, code);
    }
}

#[test]
fn only_the_headers_that_the_manifest_names_are_passed() {
    // call-info.headers: its length tells.
    let body = guests::reject(
        "(i32.add (i32.const 400) (i32.load offset=112 (local.get $call)))",
        "n",
    );
    let host = Host::new();
    for (manifest, code) in [
        ("", 400),
        (r#"{"headers":["x-two"]}"#, 401),
        (r#"{"headers":["X-One","X-Two","X-Three"]}"#, 402),
    ] {
        host.deploy(
            "p",
            &Router {
                body: &body,
                manifest,
                ..Router::default()
            }
            .component(),
            DEFAULT,
        );
        assert_eq!(host.refusal().0, code, "{manifest}");
    }
}

#[test]
fn many_runaways_of_one_tenant_leave_their_neighbour_its_turn() {
    let host = Host::new();
    host.deploy(
        "p",
        &faulty("(loop $l (br $l))").component(),
        "[bind]\ndefault = true\n[limits]\ndeadline_ms = 200\n",
    );
    let neighbour = plugin_host::Deploy {
        tenant: "calm",
        name: "p",
        bytes: &rejecting(486, "quick"),
        origin: plugin_host::Origin::Api,
        settings: Some(plugin_host::Settings::from_toml(DEFAULT).unwrap()),
        activate: true,
        by: "test",
    };
    host.host.deploy(&neighbour).unwrap();
    let mut decided = 0;
    block_on(async {
        let mut runaways: Vec<_> = (0..16)
            .map(|_| Box::pin(host.host.route(TENANT, &RUNAWAY)))
            .collect();
        // Each is polled once, which starts it on the plugin threads.
        for runaway in &mut runaways {
            assert!(poll_once(runaway.as_mut()).is_none());
        }
        while runaways
            .iter_mut()
            .all(|runaway| poll_once(runaway.as_mut()).is_none())
        {
            let routed = host.host.route("calm", &call("1")).await;
            assert!(
                matches!(&routed.decision, Ok(Decision::Reject(reject)) if reject.code == 486),
                "{routed:?}"
            );
            decided += 1;
        }
    });
    // Sixteen runaways spin for their 200 ms; had they the threads to themselves, the neighbour
    // would be asked once or twice in that time.
    assert!(decided >= 10, "the neighbour was asked {decided} times");
}

static RUNAWAY: std::sync::LazyLock<std::sync::Arc<b2bua::call_info::CallInfo>> =
    std::sync::LazyLock::new(|| call("1000"));

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}
