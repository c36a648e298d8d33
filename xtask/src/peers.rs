//! What tests and benches need around the product: SIPp, baresip, Debian's SIP servers, and
//! the providers' Python packages. Root on Debian gets them; others are told what to install.

use crate::step::{has, quiet, run, step};
use anyhow::{Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A program that must be there, and the Debian package that brings it.
type Need = (&'static str, &'static str);

const FOR_TESTS: &[Need] = &[("sipp", "sip-tester"), ("baresip", "baresip-core")];
const FOR_BENCHES: &[Need] = &[
    ("sipp", "sip-tester"),
    ("kamailio", "kamailio"),
    ("rtpengine", "rtpengine-daemon"),
];
const PYTHON: &[&str] = &["openai", "twilio", "websockets"];

pub fn for_tests(root: &Path) -> Result<()> {
    step("peers of the tests", || {
        programs(FOR_TESTS)?;
        python(root)
    })
}

pub fn for_benches() -> Result<()> {
    step("peers of the benches", || programs(FOR_BENCHES))
}

fn programs(needs: &[Need]) -> Result<()> {
    let missing: Vec<&str> = needs
        .iter()
        .filter(|(program, _)| !has(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    apt(&missing)
}

/// Installs Debian packages, without letting their services start.
pub fn apt(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !has("apt-get") || !is_root() {
        bail!(
            "these Debian packages are missing: {list}. Install them with `sudo apt-get install {list}`, or run this as root"
        );
    }
    eprintln!("    installing {list}");
    // 101: "action forbidden by policy" (invoke-rc.d): nothing listens behind our back.
    let policy = Path::new("/usr/sbin/policy-rc.d");
    let made = !policy.exists() && fs::write(policy, "#!/bin/sh\nexit 101\n").is_ok();
    if made {
        run(Command::new("chmod").arg("755").arg(policy))?;
    }
    let result = quiet(
        Command::new("apt-get")
            .arg("update")
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .and_then(|_| {
        quiet(
            Command::new("apt-get")
                .args(["install", "-y", "--no-install-recommends"])
                .args(packages)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    });
    if made {
        let _ = fs::remove_file(policy);
    }
    result.map(drop)
}

fn is_root() -> bool {
    quiet(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// `target/venv` with the providers' packages.
fn python(root: &Path) -> Result<()> {
    let venv = root.join("target/venv");
    let python = venv.join("bin/python");
    let imports = format!("import {}", PYTHON.join(", "));
    if python.exists() && quiet(Command::new(&python).args(["-c", &imports])).is_ok() {
        return Ok(());
    }
    if quiet(Command::new("python3").arg("-m").arg("venv").arg(&venv)).is_err() {
        apt(&["python3-venv"])?;
        quiet(
            Command::new("python3")
                .arg("-m")
                .arg("venv")
                .arg("--clear")
                .arg(&venv),
        )?;
    }
    eprintln!("    installing {} from PyPI", PYTHON.join(", "));
    quiet(
        Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(PYTHON),
    )
    .map(drop)
}
