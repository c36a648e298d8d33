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
        step(
            &format!(
                "round {round} of {}: {CALLS} calls, PCMU to {callee}, {} s each",
                options.rounds, options.seconds
            ),
            || {
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
                    println!(
                        "    {:22} {:.3} CPU-s per 1000 stream-s, delay p50 {:.3} ms p99 {:.3} ms, loss {:.4} %",
                        target.name,
                        m.cpu,
                        m.p50,
                        m.p99,
                        m.loss * 100.0
                    );
                    results.push(m);
                }
                Ok(())
            },
        )?;
    }
    let column = |m: &[Media], f: fn(&Media) -> f64| m.iter().map(f).collect::<Vec<_>>();
    println!(
        "\nmedia, {CALLS} calls, PCMU to {callee}, medians of {} rounds",
        options.rounds
    );
    for (name, m) in [("kamailio + rtpengine", &theirs), ("gatepost", &ours)] {
        println!(
            "  {name:22} {:.3} CPU-s per 1000 stream-s   delay p50 {:.3} ms  p99 {:.3} ms   loss {:.4} %",
            median(&column(m, |m| m.cpu)),
            median(&column(m, |m| m.p50)),
            median(&column(m, |m| m.p99)),
            median(&column(m, |m| m.loss)) * 100.0
        );
    }
    println!(
        "  gatepost / kamailio + rtpengine {:.2}{}",
        ratio(&column(&ours, |m| m.cpu), &column(&theirs, |m| m.cpu)),
        if transcodes { "" } else { "   (budget 0.6)" }
    );
    Ok(())
}

struct Media {
    cpu: f64,
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
        p50: number("/latency_ms/p50"),
        p99: number("/latency_ms/p99"),
        loss: (number("/loss_a") + number("/loss_b")) / 2.0,
    })
}
