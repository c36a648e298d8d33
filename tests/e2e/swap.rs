//! A router's file is replaced every second under load, by good and by broken ones in turn:
//! no call is lost, and each is decided by a version that was live when it arrived.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tests::e2e::component;
use tests::e2e::free_port;
use tests::e2e::gatepost::Setup;
use tests::e2e::sipp::Run;

const RATE: u32 = 50;
const SECONDS: u32 = 60;

/// One good version: when its file was written, and when the API first named it as active.
struct Version {
    digest: String,
    written_ms: u64,
    live_ms: u64,
}

#[test]
fn swapping_the_router_every_second_loses_no_call() {
    let callee = free_port();
    let settings = format!(
        "[bind]\ndefault = true\n[[config.rule]]\nto = \"^1\"\ndial = [\"sip:{{user}}@127.0.0.1:{callee}\"]\n"
    );
    let node = Setup::new()
        .plugin("demo", "static-routes", "static-routes", &settings)
        .start();
    let original = std::fs::read(component("static-routes")).expect("the component");
    let active = || {
        node.get("/api/plugins/static-routes")["active"]
            .as_str()
            .unwrap_or("")
            .to_owned()
    };
    let first = Version {
        digest: active(),
        written_ms: 0,
        live_ms: 0,
    };
    assert_eq!(
        first.digest.len(),
        64,
        "the plugin's page names the active version's SHA-256"
    );

    let calls = RATE * SECONDS;
    let uas = Run {
        scenario: "uas",
        port: callee,
        calls,
        ..Run::default()
    }
    .start();
    let mut uac = Run {
        target: Some(node.sip()),
        calls,
        rate: RATE,
        more: &["-d", "1500"],
        ..Run::default()
    }
    .start();

    let mut good = vec![first];
    let mut broken = 0;
    let mut turn = 0u32;
    while uac.running() && turn < SECONDS {
        let started = Instant::now();
        turn += 1;
        if turn.is_multiple_of(2) {
            node.replace_plugin("demo", "static-routes", &break_it(&original, turn));
            broken += 1;
        } else {
            let fresh = with_build_number(&original, turn);
            let written_ms = now_ms();
            node.replace_plugin("demo", "static-routes", &fresh);
            let before = good.last().expect("at least one").digest.clone();
            let digest = tests::e2e::wait_for(
                "the new version to be live",
                Duration::from_secs(10),
                || Some(active()).filter(|d| *d != before),
            );
            good.push(Version {
                digest,
                written_ms,
                live_ms: now_ms(),
            });
        }
        std::thread::sleep(Duration::from_secs(1).saturating_sub(started.elapsed()));
    }
    uac.succeed();
    uas.succeed();
    assert!(
        good.len() >= 10 && broken >= 10,
        "{} good and {broken} broken files",
        good.len()
    );

    let mut decided = 0;
    for call in all_calls(&node) {
        let id = call["call_id"].as_str().expect("an id");
        let events = node.get(&format!("/api/calls/{id}/events"));
        let step = events["items"]
            .as_array()
            .expect("events")
            .iter()
            .find(|e| e["kind"] == "step")
            .unwrap_or_else(|| panic!("no decision in {events}"));
        let step = &step["payload"];
        let digest = step["digest"].as_str().expect("a digest");
        let at = step["input"]["received_ms"].as_u64().expect("a time");
        let version = good
            .iter()
            .position(|v| v.digest == digest)
            .unwrap_or_else(|| panic!("call {id} was decided by {digest}, which was never good"));
        // It may be live from the moment that its file is there, and until the next one is.
        assert!(
            good[version].written_ms <= at,
            "call {id} was decided before its version was written"
        );
        if let Some(next) = good.get(version + 1) {
            assert!(
                at <= next.live_ms,
                "call {id} arrived at {at} and got a version that ended at {}",
                next.live_ms
            );
        }
        decided += 1;
    }
    assert_eq!(decided, calls);
    let mut waits: Vec<u64> = good
        .iter()
        .skip(1)
        .map(|v| v.live_ms - v.written_ms)
        .collect();
    waits.sort_unstable();
    println!(
        "{decided} calls, {} versions, {broken} broken files; file to live: median {} ms, worst {} ms (as seen through the API)",
        good.len(),
        waits[waits.len() / 2],
        waits[waits.len() - 1]
    );
    let report = node.get("/api/plugins/static-routes").to_string();
    assert!(
        report.contains("error") || report.contains("broken") || report.contains("refused"),
        "the last broken file is explained: {report}"
    );
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis() as u64
}

/// The same component with another digest: a custom section at its end.
fn with_build_number(component: &[u8], number: u32) -> Vec<u8> {
    let mut content = vec![5];
    content.extend(b"build");
    content.extend(number.to_le_bytes());
    let mut out = component.to_vec();
    out.push(0);
    out.push(content.len() as u8);
    out.extend(content);
    out
}

/// Each turn breaks the file in another way.
fn break_it(component: &[u8], turn: u32) -> Vec<u8> {
    match turn / 2 % 4 {
        0 => component[..component.len() / 2].to_vec(),
        1 => b"<html>404 not found</html>".to_vec(),
        2 => Vec::new(),
        _ => {
            let mut bytes = component.to_vec();
            let middle = bytes.len() / 2;
            for byte in &mut bytes[middle..middle + 64] {
                *byte ^= 0xa5;
            }
            bytes
        }
    }
}

fn all_calls(node: &tests::e2e::gatepost::Gatepost) -> Vec<serde_json::Value> {
    let mut all = Vec::new();
    for page in 1.. {
        let reply = node.get(&format!("/api/calls/history?per_page=200&page={page}"));
        let items = reply["items"].as_array().cloned().unwrap_or_default();
        if items.is_empty() {
            break;
        }
        all.extend(items);
    }
    all
}
