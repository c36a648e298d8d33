//! What the journal costs: CPU time of the whole process for each recorded call, from the
//! worker's hand-over to the row in the database.
//!
//! `cargo run --release -p host --example journal_cost [CALLS] [CALLS_PER_SECOND]`

use b2bua::call_info::{Attestation, CallInfo, Direction, Endpoint, Header, Transport};
use b2bua::decision::{Decision, DialPlan, Outcome, Step, Strategy};
use b2bua::journal::{CallEvent, Ended, Kind, Path, SipText};
use b2bua::key::{CallKey, LegId};
use b2bua::{Cause, Fault};
use bytes::Bytes;
use host::config::JournalConfig;
use host::records::Records;
use host::store::{Page, Store};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse::<u32>().ok());
    let calls = arguments.next().unwrap_or(4000);
    let rate = arguments.next().unwrap_or(1000);
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let url = format!("sqlite://{}/calls.db", folder.path().display());
    let config = JournalConfig {
        dir: folder.path().join("journal"),
        keep: Duration::from_secs(100 * 365 * 86_400),
    };
    let (records, before) = runtime.block_on(async {
        let store = Store::open(&url).await.expect("a database");
        let records = Records::start(&config, store).expect("a journal");
        (records, cpu())
    });
    let events = events();
    let start = Instant::now();
    let mut handing_over = Duration::ZERO;
    for number in 0..calls {
        let due = start + Duration::from_secs(1) * number / rate;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let begun = Instant::now();
        for event in &events {
            records.record(CallKey::new(0, number, 1), event.clone());
        }
        handing_over += begun.elapsed();
    }
    let total = runtime.block_on(async {
        let listed = records
            .history(
                None,
                Page {
                    page: 1,
                    per_page: 1,
                },
            )
            .await
            .expect("the history");
        records.stop().await;
        listed.total
    });
    let per_call = (cpu() - before).as_secs_f64() * 1e6 / f64::from(calls);
    println!(
        "{calls} calls of {} lines at {rate}/s: {per_call:.0} µs CPU a call, of which the worker {:.1} µs; {total} in the database",
        events.len(),
        handing_over.as_secs_f64() * 1e6 / f64::from(calls)
    );
}

/// A bridged call as it is recorded: two legs, seven messages each.
fn events() -> Vec<CallEvent> {
    let info = Arc::new(CallInfo {
        call_id: CallKey::new(0, 1, 1).to_string(),
        tenant: "demo".to_owned(),
        trunk: Some("carrier".to_owned()),
        direction: Direction::Inbound,
        source: Endpoint {
            host: [127, 0, 0, 1].into(),
            port: 5060,
            transport: Transport::Udp,
        },
        request_uri: "sip:15551234567@sbc.example.com".to_owned(),
        called: "15551234567".to_owned(),
        caller: "15557654321".to_owned(),
        from_uri: "sip:15557654321@carrier.example.com".to_owned(),
        from_display: None,
        to_uri: "sip:15551234567@sbc.example.com".to_owned(),
        attestation: Attestation::None,
        codecs: vec!["PCMU".to_owned(), "PCMA".to_owned()],
        headers: (0..10)
            .map(|n| Header {
                name: format!("X-Header-{n}"),
                value: "some value of usual length".to_owned(),
            })
            .collect(),
        received_ms: 1_700_000_000_000,
        ext: Vec::new(),
    });
    let decision = Decision::Dial(DialPlan {
        targets: Vec::new(),
        strategy: Strategy::Serial,
        max_duration_s: None,
        ext: Vec::new(),
    });
    let mut kinds = vec![
        Kind::Arrived { info: info.clone() },
        Kind::Admitted {
            tenant: "demo".to_owned(),
            trunk: None,
        },
        Kind::Asked {
            ask: 1,
            question: "route".to_owned(),
            of: String::new(),
            deadline_ms: 3000,
        },
        Kind::Step {
            step: Box::new(Step {
                decider: "binding:default".to_owned(),
                plugin: "static-routes".to_owned(),
                digest: "0".repeat(64),
                export: "router.on-invite".to_owned(),
                input: info,
                imports: Vec::new(),
                outcome: Outcome::Decided(decision.clone()),
                wall_us: 60,
                cpu_us: 20,
            }),
        },
        Kind::Decided { decision },
        Kind::Dialed {
            leg: LegId(1),
            target: "sip:1000@192.0.2.1".to_owned(),
            trunk: None,
            to: "192.0.2.1:5060".to_owned(),
        },
    ];
    for leg in [LegId(0), LegId(1)] {
        kinds.extend(
            ["INVITE", "100", "180", "200", "ACK", "BYE", "200"].map(|first| Kind::SipReceived {
                leg,
                path: Path {
                    transport: "udp".to_owned(),
                    local: "192.0.2.9:5060".to_owned(),
                    remote: "192.0.2.1:5060".to_owned(),
                },
                message: SipText::new(message(first), false),
            }),
        );
        kinds.push(Kind::Answered { leg });
    }
    kinds.push(Kind::Ended(Box::new(Ended {
        cause: Cause::new(200, Fault::Nobody, "the caller hung up"),
        tenant: Some("demo".to_owned()),
        trunk: None,
        caller: "15557654321".to_owned(),
        called: "15551234567".to_owned(),
        received_ms: 1_700_000_000_000,
        answered_us: Some(1_000_000),
        ended_us: 60_000_000,
        target: None,
        target_trunk: None,
        flow: None,
        digest: Some("0".repeat(64)),
    })));
    (0u32..)
        .zip(kinds)
        .map(|(seq, kind)| CallEvent {
            seq,
            t_us: u64::from(seq) * 1000,
            kind,
        })
        .collect()
}

fn message(first: &str) -> Bytes {
    let has_body = first == "INVITE" || first == "200";
    let body = if has_body {
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
    } else {
        ""
    };
    Bytes::from(format!(
        "{first} sip:15551234567@sbc.example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds\r\nMax-Forwards: 70\r\nTo: <sip:15551234567@sbc.example.com>\r\nFrom: <sip:15557654321@carrier.example.com>;tag=1928301774\r\nCall-ID: a84b4c76e66710@pc33.example.com\r\nCSeq: 314159 INVITE\r\nContact: <sip:15557654321@192.0.2.1:5060>\r\nUser-Agent: Example/1.0\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// User and system time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    let fields: Vec<u64> = stat
        .rsplit(')')
        .next()
        .expect("fields")
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    // The kernel's clock ticks 100 times a second on every Linux that we know.
    Duration::from_millis(fields.iter().sum::<u64>() * 10)
}
