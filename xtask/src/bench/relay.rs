//! Media: a hundred calls with 20 ms packets both ways, relayed or transcoded.

use super::{Options, boxes, median, ratio};
use crate::step::{quiet, step};
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

const CALLS: u32 = 100;

pub fn bench(root: &Path, options: &Options, callee: &str) -> Result<()> {
    let transcodes = callee != "PCMU";
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let title = format!(
            "round {round} of {}: {CALLS} calls, PCMU to {callee}, {} s each",
            options.rounds, options.seconds
        );
        step(&title, || {
            for (results, start) in [
                (
                    &mut theirs,
                    &(|| boxes::kamailio(root, true, transcodes.then_some(callee)))
                        as &dyn Fn() -> Result<boxes::Running>,
                ),
                (&mut ours, &|| boxes::gatepost(root)),
            ] {
                let target = start()?;
                let m = measure(root, &target, options.seconds, callee)?;
                print_line(target.name, std::slice::from_ref(&m));
                results.push(m);
            }
            Ok(())
        })?;
    }
    println!(
        "\nmedia, {CALLS} calls, PCMU to {callee}, medians of {} rounds",
        options.rounds
    );
    print_line("kamailio + rtpengine", &theirs);
    print_line("gatepost", &ours);
    println!(
        "  gatepost / kamailio + rtpengine {:.2}{}",
        ratio(&column(&ours, |m| m.cpu), &column(&theirs, |m| m.cpu)),
        if transcodes { "" } else { "   (budget 0.6)" }
    );
    Ok(())
}

fn column(m: &[Media], f: fn(&Media) -> f64) -> Vec<f64> {
    m.iter().map(f).collect()
}

fn print_line(name: &str, m: &[Media]) {
    let of = |f: fn(&Media) -> f64| median(&column(m, f));
    print!(
        "    {name:22} {:.3} CPU-s per 1000 stream-s, set-up p50 {:.2} ms p99 {:.2} ms, loss {:.4} %",
        of(|m| m.cpu),
        of(|m| m.setup_p50),
        of(|m| m.setup_p99),
        of(|m| m.loss).max(0.0) * 100.0
    );
    // Transcoded packets carry no time stamp that could be read back.
    if of(|m| m.p50).is_finite() {
        print!(
            ", delay p50 {:.3} ms p99 {:.3} ms",
            of(|m| m.p50),
            of(|m| m.p99)
        );
    }
    println!();
}

struct Media {
    cpu: f64,
    /// INVITE to 200, ms
    setup_p50: f64,
    setup_p99: f64,
    p50: f64,
    p99: f64,
    loss: f64,
}

fn measure(root: &Path, target: &boxes::Running, seconds: u32, callee: &str) -> Result<Media> {
    let pids: Vec<String> = target.pids().iter().map(u32::to_string).collect();
    let out = quiet(Command::new(root.join("target/release/rtpload")).args([
        "--target",
        &format!("127.0.0.1:{}", target.port),
        "--pid",
        &pids.join(","),
        "--calls",
        &CALLS.to_string(),
        "--secs",
        &seconds.to_string(),
        "--uasport",
        &boxes::CALLEE.to_string(),
        "--b",
        callee,
        "--mark",
        if callee == "PCMU" { "stamp" } else { "speech" },
    ]))?;
    let line = out.lines().last().unwrap_or("");
    let json: serde_json::Value = serde_json::from_str(&line.replace("NaN", "null"))
        .with_context(|| format!("rtpload said {out}"))?;
    let number = |pointer: &str| {
        json.pointer(pointer)
            .and_then(serde_json::Value::as_f64)
            .unwrap_or(f64::NAN)
    };
    Ok(Media {
        cpu: number("/cpu_per_1000_stream_s"),
        setup_p50: number("/setup_ms/p50"),
        setup_p99: number("/setup_ms/p99"),
        p50: number("/latency_ms/p50"),
        p99: number("/latency_ms/p99"),
        loss: (number("/loss_a") + number("/loss_b")) / 2.0,
    })
}
