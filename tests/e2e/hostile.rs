//! One tenant's router misbehaves: its caller gets the fallback in its deadline, and another
//! tenant's calls do not notice.

use std::time::{Duration, Instant};
use tests::e2e::free_port;
use tests::e2e::gatepost::{Gatepost, Setup};
use tests::e2e::sipp::Run;
use tests::e2e::ua::Ua;

const DEADLINE_MS: u64 = 50;

/// Tenant `noisy` calls from 127.0.0.2 and runs the hostile router; `quiet` from 127.0.0.1.
fn node(mode: &str, on_failure: &str, quiet_callee: u16) -> Gatepost {
    Setup::with_tenants(
        "[[tenant]]\nid = \"quiet\"\nsources = [\"127.0.0.1/32\"]\n[[tenant]]\nid = \"noisy\"\nsources = [\"127.0.0.2/32\"]\n",
    )
    .plugin("noisy", "hostile", "hostile", &format!("[bind]\ndefault = true\n[config]\nmode = \"{mode}\"\n[limits]\ndeadline_ms = {DEADLINE_MS}\n{on_failure}"))
    .plugin("noisy", "static-routes", "static-routes", "[[config.rule]]\nto = \".\"\nreject = 480\nreason = \"the fallback decided\"\n")
    .plugin("quiet", "static-routes", "static-routes", &format!("[bind]\ndefault = true\n[[config.rule]]\nto = \"^1\"\ndial = [\"sip:{{user}}@127.0.0.1:{quiet_callee}\"]\n"))
    .start()
}

const FALLBACK: &str = "[on_failure]\naction = \"fallback_plugin\"\nplugin = \"static-routes\"\n";

/// Calls as the noisy tenant; gives status, the explanation and how long it took.
fn call_noisy(node: &Gatepost) -> (u16, String, Duration) {
    let mut caller = Ua::on("noisy", "127.0.0.2");
    let sdp = caller.sdp(&["0 PCMU/8000"]);
    let start = Instant::now();
    let mut dialog = caller.invite(&node.sip(), "1000", "", &sdp);
    let reply = caller.final_response(&mut dialog);
    let took = start.elapsed();
    let id = reply.header("X-Gatepost-Call").to_owned();
    let explain = node.api_as("noisy", "GET", &format!("/api/calls/{id}/explain"), b"");
    (reply.status(), explain.text(), took)
}

fn falls_back(mode: &str, named: &str) {
    let node = node(mode, FALLBACK, free_port());
    let (status, explain, took) = call_noisy(&node);
    assert_eq!(status, 480, "the fallback's answer; {explain}");
    assert!(
        explain.contains(named),
        "{mode} is named {named}: {explain}"
    );
    // An order of magnitude, for a machine that is busy with other tests.
    assert!(
        took < Duration::from_millis(DEADLINE_MS * 20),
        "{mode} took {took:?}"
    );
}

#[test]
fn an_endless_loop_ends_at_its_deadline_and_the_fallback_decides() {
    falls_back("loop", "deadline");
}

#[test]
fn memory_without_end_ends_at_its_limit_and_the_fallback_decides() {
    falls_back("grow", "trap");
}

#[test]
fn a_trap_is_caught_and_the_fallback_decides() {
    falls_back("trap", "trap");
}

#[test]
fn a_panic_is_caught_and_its_message_is_kept() {
    falls_back("panic", "trap");
}

#[test]
fn endless_recursion_is_caught_and_the_fallback_decides() {
    falls_back("recurse", "trap");
}

#[test]
fn an_answer_beyond_the_output_limit_is_refused_and_the_fallback_decides() {
    falls_back("flood", "limit");
}

#[test]
fn fail_closed_gives_the_code_of_the_policy() {
    let node = node(
        "trap",
        "[on_failure]\naction = \"fail_closed\"\ncode = 503\n",
        free_port(),
    );
    let (status, explain, _) = call_noisy(&node);
    assert_eq!(status, 503, "{explain}");
}

#[test]
fn a_static_route_decides_where_the_policy_says_so() {
    let callee = Ua::new("callee");
    let policy = format!(
        "[on_failure]\naction = \"static_route\"\ndial = [\"sip:{{user}}@127.0.0.1:{}\"]\n",
        callee.port()
    );
    let node = node("trap", &policy, free_port());
    let mut caller = Ua::on("noisy", "127.0.0.2");
    let sdp = caller.sdp(&["0 PCMU/8000"]);
    let mut dialog = caller.invite(&node.sip(), "1000", "", &sdp);
    let invite = callee.expect_request("INVITE");
    callee.reply(&invite, "486 Busy Here", "", "");
    assert_eq!(caller.final_response(&mut dialog).status(), 486);
}

#[test]
fn a_runaway_tenant_does_not_slow_its_neighbour() {
    let callee = free_port();
    let node = node("loop", FALLBACK, callee);
    let quiet = |seconds: u32| {
        let calls = 50 * seconds;
        let uas = Run {
            scenario: "uas",
            port: callee,
            calls,
            ..Run::default()
        }
        .start();
        let times = Run {
            target: Some(node.sip()),
            calls,
            rate: 50,
            more: &["-d", "200", "-trace_rtt", "-rtt_freq", "1"],
            ..Run::default()
        }
        .start()
        .succeed_with_times();
        uas.succeed();
        assert_eq!(times.len(), calls as usize);
        times[times.len() * 99 / 100]
    };
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        alone.push(quiet(5));
        // Five runaway calls a second, each to be ended at its deadline.
        let noise = Run {
            scenario: "uac-480",
            ip: "127.0.0.2",
            target: Some(node.sip()),
            calls: 35,
            rate: 5,
            ..Run::default()
        }
        .start();
        beside.push(quiet(5));
        noise.succeed();
    }
    alone.sort_by(f64::total_cmp);
    beside.sort_by(f64::total_cmp);
    println!(
        "p99 set-up of the neighbour, three rounds: alone {alone:?} ms, beside the runaway {beside:?} ms, ratio of medians {:.2}",
        beside[1] / alone[1]
    );
    // The budget: no more than one decision slice over what the rounds alone showed.
    let noise = alone[2] - alone[0];
    assert!(
        beside[1] <= alone[1] + 10.0 + noise,
        "the neighbour waited: {alone:?} and {beside:?}"
    );
}
