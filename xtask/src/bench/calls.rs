//! Signalling: INVITE to BYE at a fixed rate, CPU per call, set-up time, memory of a live call.

use super::{Options, boxes, load, median, ratio};
use crate::step::step;
use anyhow::Result;
use std::path::Path;

pub fn bench(root: &Path, options: &Options) -> Result<()> {
    let calls = options.rate * options.seconds;
    let (mut ours, mut plain, mut anchored) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        step(
            &format!(
                "round {round} of {}: {} calls/s for {} s each",
                options.rounds, options.rate, options.seconds
            ),
            || {
                for (results, start) in [
                    (
                        &mut plain,
                        &(|| boxes::kamailio(root, false, None))
                            as &dyn Fn() -> Result<boxes::Running>,
                    ),
                    (&mut ours, &|| boxes::gatepost(root)),
                    (&mut anchored, &|| boxes::kamailio(root, true, None)),
                ] {
                    let target = start()?;
                    // A first hundred calls, so that code and caches are warm everywhere.
                    load::calls(root, &target, 100, 100, 0, None)?;
                    let m = load::calls(root, &target, options.rate, calls, 0, None)?;
                    println!(
                        "    {:22} {:.3} CPU-s per 1000 calls, set-up p50 {:.2} ms, p99 {:.2} ms, {} ok, {} failed",
                        target.name, m.cpu_per_1000_calls, m.setup_p50, m.setup_p99, m.ok, m.failed
                    );
                    results.push(m);
                }
                Ok(())
            },
        )?;
    }
    let cpu = |m: &[load::Measured]| m.iter().map(|m| m.cpu_per_1000_calls).collect::<Vec<_>>();
    println!(
        "\nsignalling at {} calls/s, medians of {} rounds (gatepost: B2BUA, media ports on both legs, a fresh Wasm router per call)",
        options.rate, options.rounds
    );
    for (name, m) in [
        ("kamailio", &plain),
        ("gatepost", &ours),
        ("kamailio + rtpengine", &anchored),
    ] {
        let p50: Vec<f64> = m.iter().map(|m| m.setup_p50).collect();
        let p99: Vec<f64> = m.iter().map(|m| m.setup_p99).collect();
        println!(
            "  {name:22} {:.3} CPU-s per 1000 calls   set-up p50 {:.2} ms  p99 {:.2} ms",
            median(&cpu(m)),
            median(&p50),
            median(&p99)
        );
    }
    println!(
        "  gatepost / kamailio             {:.2}   (budget 1.0 for signalling only)",
        ratio(&cpu(&ours), &cpu(&plain))
    );
    println!(
        "  gatepost / kamailio + rtpengine {:.2}   (budget 0.65)",
        ratio(&cpu(&ours), &cpu(&anchored))
    );
    memory(root)
}

fn memory(root: &Path) -> Result<()> {
    step("memory of 1000 live calls", || {
        for (name, start) in [
            (
                "gatepost",
                &(|| boxes::gatepost(root)) as &dyn Fn() -> Result<boxes::Running>,
            ),
            ("kamailio + rtpengine", &|| {
                boxes::kamailio(root, true, None)
            }),
        ] {
            let target = start()?;
            load::calls(root, &target, 100, 200, 0, None)?;
            let m = load::calls(root, &target, 100, 1100, 12_000, Some(1000))?;
            println!(
                "    {name:22} {:.1} KiB (PSS) per live call with media anchored (budget 40)",
                m.pss_per_call.unwrap_or(f64::NAN)
            );
        }
        Ok(())
    })
}
