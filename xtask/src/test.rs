//! `cargo xtask test`: everything, each step on its own line.

use crate::step::{run, step};
use crate::{guests, peers};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

/// Tests that drive the release build; slow ones last.
const END_TO_END: &[&str] = &["calls", "audio", "attendant", "twilio", "ai", "replay", "hostile", "conformance", "swap"];

pub fn all(root: &Path) -> Result<()> {
    peers::for_tests(root)?;
    step("guests", || guests::build_all(root))?;
    step("the release build", || run(cargo(root).args(["build", "--release", "-p", "host"])))?;
    step("formatting", || run(cargo(root).args(["fmt", "--all", "--check"])))?;
    step("lints", || run(cargo(root).args(["clippy", "--workspace", "--all-targets", "--features", "tests/e2e", "--", "-D", "warnings"])))?;
    step("unit tests, simulations, plugins, architecture", || run(cargo(root).args(["test", "--workspace"])))?;
    for name in END_TO_END {
        step(&format!("end to end: {name}"), || run(cargo(root).args(["test", "-p", "tests", "--features", "e2e", "--test", name, "--", "--nocapture", "--test-threads", "2"])))?;
    }
    Ok(())
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}
