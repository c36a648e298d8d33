//! `cargo xtask bench`: what a call, a relayed packet and a decision cost, beside a peer from
//! Debian in the same run, in interleaved rounds. Figures are CPU time of the server's own
//! processes from /proc; what counts is the ratio.
//!
//! Everything stays on 127.0.0.1 and stops by itself.

mod boxes;
mod calls;
mod decision;
mod load;
mod proc;
mod relay;

use crate::step::{run, step};
use crate::{guests, peers};
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;

const USAGE: &str =
    "cargo xtask bench calls|relay|transcode|decision [--rounds N] [--rate N] [--seconds N]";

pub struct Options {
    pub rounds: usize,
    /// calls a second
    pub rate: u32,
    /// length of one measurement
    pub seconds: u32,
}

pub fn main(root: &Path, args: &[String]) -> Result<()> {
    let mut args = args.iter();
    let Some(what) = args.next() else {
        bail!("{USAGE}")
    };
    let mut options = Options {
        rounds: 3,
        rate: 200,
        seconds: 15,
    };
    while let Some(name) = args.next() {
        let value = args
            .next()
            .and_then(|v| v.parse::<u32>().ok())
            .filter(|v| *v > 0);
        match (name.as_str(), value) {
            ("--rounds", Some(v)) => options.rounds = v as usize,
            ("--rate", Some(v)) => options.rate = v,
            ("--seconds", Some(v)) => options.seconds = v,
            _ => bail!("{USAGE}"),
        }
    }
    peers::for_benches()?;
    step("guests", || guests::build_all(root))?;
    step("release builds", || {
        run(Command::new("cargo").current_dir(root).args([
            "build",
            "--release",
            "-p",
            "host",
            "-p",
            "rtpload",
        ]))?;
        run(Command::new("cargo").current_dir(root).args([
            "build",
            "--release",
            "-p",
            "plugin-host",
            "--example",
            "decision_cost",
        ]))
    })?;
    match what.as_str() {
        "calls" => calls::bench(root, &options),
        "relay" => relay::bench(root, &options, "PCMU"),
        "transcode" => relay::bench(root, &options, "PCMA"),
        "decision" => decision::bench(root),
        _ => bail!("{USAGE}"),
    }
}

/// The middle one; the mean of the two middle ones.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// Median over the rounds of ours / theirs of the same round.
fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    let each: Vec<f64> = ours.iter().zip(theirs).map(|(o, t)| o / t).collect();
    median(&each)
}
