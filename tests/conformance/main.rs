//! The conformance and hostile-input suite of `../shared/conformance` against the release
//! binary, set up as its README asks. Where that folder is absent, the tests say so and pass.
//!
//! The suites bind fixed ports (5080, 127.0.0.77:5060), so they run one after the other.

use std::path::{Path, PathBuf};
use std::process::Command;
use tests::e2e::gatepost::{Gatepost, Setup, binary};
use tests::e2e::root;

/// Cases that wait for something that is not there yet. One that begins to pass must leave
/// this table.
const NOT_YET: &[(&str, &str, &str)] = &[
    ("sipua", "register", "no registrar"),
    ("sipua", "register-wrong-password", "no registrar"),
    ("sipua", "challenge-is-sound", "no SIP users to challenge"),
    ("sipp", "invite-407", "no SIP users to challenge"),
    ("sipp", "register-unregister", "no registrar"),
];

#[test]
fn every_suite_passes_but_for_what_is_not_there_yet() {
    let suites = root().join("../shared/conformance");
    if !suites.join("README.md").exists() {
        println!("skipped: {} is not there", suites.display());
        return;
    }
    let node = node();
    let sip = node.sip();
    let mut wrong = Vec::new();
    for (suite, script, more) in [
        ("torture", "torture/run_torture.py", vec!["--sweep"]),
        ("sdp", "sdp/run_sdp.py", vec![]),
        ("sipua", "sipua/run_sipua.py", vec![]),
        ("media", "media/run_media.py", vec![]),
        ("sipp", "sipp/run_sipp.py", vec![]),
        ("fuzz", "fuzz/run_fuzz.py", vec!["--count", "100"]),
    ] {
        wrong.extend(run(suite, &suites.join(script), &sip, &more));
    }
    let check = format!("{} plugin check {{file}}", binary().display());
    wrong.extend(run(
        "wasm",
        &suites.join("wasm/run_wasm.py"),
        "none",
        &["--cmd", &check],
    ));
    assert!(
        wrong.is_empty(),
        "{}\n--- gatepost's last lines ---\n{}",
        wrong.join("\n"),
        last_lines(&node.log())
    );
}

/// What went otherwise than the table says.
fn run(suite: &str, script: &Path, sut: &str, more: &[&str]) -> Vec<String> {
    let rows = tempfile::NamedTempFile::new().expect("a file");
    let out = Command::new("python3")
        .arg(script)
        .arg(sut)
        .arg("--json")
        .arg(rows.path())
        .args(more)
        .output()
        .expect("python3 runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    println!("== {suite}: {}", text.lines().last().unwrap_or(""));
    let mut wrong = Vec::new();
    let mut seen = 0;
    for line in text.lines() {
        let Some((verdict, rest)) = line
            .split_once(' ')
            .filter(|(v, _)| matches!(*v, "PASS" | "FAIL" | "SKIP"))
        else {
            continue;
        };
        let name = rest.split_whitespace().next().unwrap_or("");
        let expected = NOT_YET.iter().find(|(s, n, _)| *s == suite && *n == name);
        seen += 1;
        match (verdict, expected) {
            ("FAIL", None) => wrong.push(format!("{suite}: {line}")),
            ("PASS", Some((_, _, why))) => wrong.push(format!(
                "{suite}: {name} passes: take it out of the table (it said: {why})"
            )),
            ("FAIL", Some((_, _, why))) => println!("   not yet: {name} ({why})"),
            _ => {}
        }
    }
    if seen == 0 {
        wrong.push(format!(
            "{suite}: no case ran:\n{text}{}",
            String::from_utf8_lossy(&out.stderr)
        ));
    }
    wrong
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

fn node() -> Gatepost {
    let sources = "sources = [\"127.0.0.1/32\", \"127.0.0.23/32\", \"127.0.0.77/32\", \"::1/128\"]";
    let rules: PathBuf = root().join("tests/conformance/static-routes.toml");
    let rules = std::fs::read_to_string(rules).expect("the rules");
    Setup::with_tenants(&format!("[[tenant]]\nid = \"demo\"\n{sources}\n"))
        .plugin("demo", "static-routes", "static-routes", &rules)
        .start()
}
