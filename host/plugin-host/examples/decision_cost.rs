//! What one routing decision costs: `decision_cost COMPONENT.wasm [SETTINGS.toml [CALLED]]`.
//!
//! Prints processor time for a fresh instance each time, for one warm instance, and how many
//! decisions a second one and two threads make. Cases are interleaved; medians of rounds.

use b2bua::call_info::{Attestation, CallInfo, Direction, Endpoint, Header, Transport};
use plugin_host::Settings;
use plugin_host::cost::Bench;

const ROUNDS: usize = 15;
const DECISIONS: u32 = 2_000;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let component = arguments.next().ok_or_else(|| {
        anyhow::anyhow!("usage: decision_cost COMPONENT.wasm [SETTINGS.toml [CALLED]]")
    })?;
    let settings = match arguments.next() {
        Some(path) => Settings::from_toml(&std::fs::read_to_string(path)?)?,
        None => Settings::default(),
    };
    let called = arguments.next().unwrap_or_else(|| "1000".to_owned());
    let scratch = std::env::temp_dir().join(format!("decision-cost-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let result = run(&component, &settings, &called, &scratch);
    std::fs::remove_dir_all(&scratch)?;
    result
}

fn run(
    component: &str,
    settings: &Settings,
    called: &str,
    scratch: &std::path::Path,
) -> anyhow::Result<()> {
    let bench = Bench::new(&std::fs::read(component)?, settings, call(called), scratch)?;
    let (mut fresh, mut beside, mut warm, mut one, mut two) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    bench.fresh(2, DECISIONS)?;
    for _ in 0..ROUNDS {
        let alone = bench.fresh(1, DECISIONS)?;
        fresh.push(alone.cpu_us());
        one.push(alone.per_second());
        warm.push(bench.warm(DECISIONS)?.cpu_us());
        let both = bench.fresh(2, DECISIONS)?;
        beside.push(both.cpu_us());
        two.push(both.per_second());
    }
    let (one, two) = (median(one), median(two));
    println!("fresh_us {:.2}", median(fresh));
    // The same with a second thread at work: what they cost each other, whatever else runs.
    println!("fresh_us_2_threads {:.2}", median(beside));
    println!("warm_us {:.2}", median(warm));
    println!("per_second_1_thread {one:.0}");
    println!("per_second_2_threads {two:.0}");
    println!("scaling {:.2}", two / one);
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Twelve headers and five codecs, as an INVITE of a carrier has them.
fn call(called: &str) -> CallInfo {
    CallInfo {
        call_id: "0003deadbeef01234567000004d2".into(),
        tenant: "demo".into(),
        trunk: Some("carrier".into()),
        direction: Direction::Inbound,
        source: Endpoint {
            host: [192, 0, 2, 1].into(),
            port: 5060,
            transport: Transport::Udp,
        },
        request_uri: format!("sip:{called}@sbc.example.com"),
        called: called.into(),
        caller: "+15557654321".into(),
        from_uri: "sip:+15557654321@carrier.example.com".into(),
        from_display: Some("A Caller".into()),
        to_uri: format!("sip:{called}@sbc.example.com"),
        attestation: Attestation::A,
        codecs: ["PCMU", "PCMA", "G722", "opus", "telephone-event"]
            .map(str::to_owned)
            .into(),
        headers: (0..12)
            .map(|n| Header {
                name: format!("X-Header-{n}"),
                value: "a value of middling length".into(),
            })
            .collect(),
        received_ms: 1_760_000_000_000,
        ext: Vec::new(),
    }
}
