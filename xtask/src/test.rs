//! `cargo xtask test`: everything, each step on its own line.

use crate::step::{run, step};
use crate::{guests, peers};
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;

/// Tests that drive the release build; slow ones last.
const END_TO_END: &[&str] = &[
    "plugins",
    "calls",
    "audio",
    "baresip",
    "attendant",
    "twilio",
    "ai",
    "replay",
    "hostile",
    "conformance",
    "swap",
];

/// All tests, or only the end-to-end tests of these names.
pub fn main(root: &Path, only: &[String]) -> Result<()> {
    for name in only {
        if !END_TO_END.contains(&name.as_str()) {
            bail!(
                "there is no end-to-end test {name}; there are {}",
                END_TO_END.join(", ")
            );
        }
    }
    peers::for_tests(root)?;
    step("guests", || guests::build_all(root))?;
    step("the release build", || {
        run(cargo(root).args(["build", "--release", "-p", "host"]))
    })?;
    if !only.is_empty() {
        return end_to_end(root, only.iter().map(String::as_str));
    }
    step("formatting", || {
        run(cargo(root).args(["fmt", "--all", "--check"]))
    })?;
    step("lints", || {
        run(cargo(root).args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--features",
            "tests/e2e",
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    step("unit tests, simulations, plugins, architecture", || {
        run(cargo(root).args(["test", "--workspace"]))
    })?;
    end_to_end(root, END_TO_END.iter().copied())
}

fn end_to_end<'a>(root: &Path, names: impl Iterator<Item = &'a str>) -> Result<()> {
    for name in names {
        step(&format!("end to end: {name}"), || {
            run(cargo(root).args([
                "test",
                "-p",
                "tests",
                "--features",
                "e2e",
                "--test",
                name,
                "--",
                "--nocapture",
                "--test-threads",
                "2",
            ]))
        })?;
    }
    Ok(())
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}
