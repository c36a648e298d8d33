//! The journal after the call: replay of its decision, and its survival of a kill.

use std::path::Path;
use std::process::{Command, Output};
use tests::e2e::component;
use tests::e2e::gatepost::{Gatepost, Setup, binary};
use tests::e2e::ua::Ua;

fn refused_call(node: &Gatepost) -> String {
    let mut caller = Ua::new("caller");
    let sdp = caller.sdp(&["0 PCMU/8000"]);
    let mut dialog = caller.invite(&node.sip(), "9001", "", &sdp);
    let reply = caller.final_response(&mut dialog);
    assert_eq!(reply.status(), 603, "{}", reply.text);
    reply.header("X-Gatepost-Call").to_owned()
}

fn node() -> Gatepost {
    let rules = "[bind]\ndefault = true\n[[config.rule]]\nto = \"^900\"\nreject = 603\nreason = \"barred\"\n";
    Setup::new()
        .plugin("demo", "static-routes", "static-routes", rules)
        .start()
}

fn replay(node: &Gatepost, call: &str, with: &Path) -> Output {
    Command::new(binary())
        .args(["replay", call, "--with"])
        .arg(with)
        .arg("--config")
        .arg(node.setup.path("gatepost.toml"))
        .current_dir(node.setup.path("."))
        .output()
        .expect("gatepost runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_same_component_decides_the_same_and_another_one_shows_where_it_differs() {
    let node = node();
    let call = refused_call(&node);
    let id = call.as_str();
    tests::e2e::wait_for(
        "the call in the history",
        std::time::Duration::from_secs(5),
        || node.history().into_iter().find(|c| c["call_id"] == id),
    );
    let same = replay(&node, id, &component("static-routes"));
    assert_eq!(same.status.code(), Some(0), "{}", text(&same));
    assert!(text(&same).contains("same"), "{}", text(&same));
    let other = replay(&node, id, &component("hello-router"));
    assert_eq!(other.status.code(), Some(1), "{}", text(&other));
    assert!(
        text(&other).contains("603") && text(&other).contains("sip:9001@"),
        "both decisions are shown: {}",
        text(&other)
    );
}

#[test]
fn a_calls_journal_survives_a_kill() {
    let mut node = node();
    let call = refused_call(&node);
    // What a reader was shown once is never lost.
    let path = format!("/api/calls/{call}/explain");
    tests::e2e::wait_for("the journal", std::time::Duration::from_secs(5), || {
        Some(node.api("GET", &path, b"")).filter(|r| r.status == 200)
    });
    node.kill_and_restart();
    let explain = node.get(&path).to_string();
    assert!(explain.contains("barred"), "{explain}");
}
