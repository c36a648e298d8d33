//! Peers written in Python with the providers' official packages (`target/venv`).

use super::root;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

fn python() -> PathBuf {
    let path = root().join("target/venv/bin/python");
    assert!(
        path.exists(),
        "{} is missing: `cargo xtask test` makes it",
        path.display()
    );
    path
}

fn standin(name: &str) -> PathBuf {
    root().join("tests/e2e/standins").join(name)
}

/// Runs a stand-in to its end and gives what it printed, as JSON.
pub fn run(name: &str, args: &[&str]) -> serde_json::Value {
    let out = Command::new(python())
        .arg(standin(name))
        .args(args)
        .output()
        .expect("python runs");
    assert!(
        out.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| {
        panic!(
            "{name} printed no JSON ({e}): {}",
            String::from_utf8_lossy(&out.stdout)
        )
    })
}

/// The stand-in of the OpenAI Realtime API.
pub struct OpenAi {
    child: Child,
    log: tempfile::NamedTempFile,
    pub port: u16,
}

impl OpenAi {
    pub fn start() -> OpenAi {
        let log = tempfile::NamedTempFile::new().expect("a log file");
        let mut child = Command::new(python())
            .arg(standin("openai_realtime.py"))
            .arg("--log")
            .arg(log.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("a line");
        let port = line
            .trim()
            .strip_prefix("listening ")
            .and_then(|p| p.parse().ok())
            .unwrap_or_else(|| panic!("it said {line:?}"));
        OpenAi { child, log, port }
    }

    /// What happened so far, oldest first.
    pub fn log(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.log.path()).unwrap_or_default();
        text.lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .collect()
    }

    /// Client events of one type.
    pub fn received(&self, kind: &str) -> Vec<serde_json::Value> {
        self.log()
            .into_iter()
            .filter_map(|e| e.get("received").cloned())
            .filter(|e| e["type"] == kind)
            .collect()
    }

    /// Everything that the official types, or the protocol's order, do not allow.
    pub fn complaints(&self) -> Vec<serde_json::Value> {
        self.log()
            .into_iter()
            .filter(|e| e.get("invalid").is_some() || e.get("standin_failed").is_some())
            .collect()
    }
}

impl Drop for OpenAi {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
