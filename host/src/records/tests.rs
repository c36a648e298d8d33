use super::*;
use crate::store::tests::store;
use b2bua::call_info::{Attestation, CallInfo, Direction, Endpoint, Transport};
use b2bua::journal::Ended;
use b2bua::{Cause, Fault};
use std::path::Path;

#[tokio::test]
async fn a_running_call_can_be_read_and_moves_into_the_database_when_it_ends() {
    let (store, folder) = store().await;
    let records = start(folder.path(), &store);
    let call = key(1);
    for event in [arrived(0, "100"), admitted(1), answered(2)] {
        records.record(call, event);
    }
    let active = records.active(Some("demo")).await;
    assert_eq!(active.len(), 1);
    assert_eq!(
        (active[0].state, active[0].to.as_str()),
        (State::Answered, "100")
    );
    assert!(records.active(Some("other")).await.is_empty());
    assert_eq!(records.find(call).await.unwrap().unwrap().events().len(), 3);

    records.record(call, ended(3));
    let page = Page {
        page: 1,
        per_page: 10,
    };
    let history = records.history(Some("demo"), page).await.unwrap();
    assert_eq!(
        history.total, 1,
        "in the database at once when somebody asks"
    );
    assert_eq!(history.items[0].status, Some(200));
    assert!(records.active(None).await.is_empty());
    let record = records.find(call).await.unwrap().unwrap();
    assert_eq!(
        record
            .events()
            .iter()
            .map(|event| event.seq)
            .collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    records.stop().await;
    assert_eq!(
        std::fs::read_dir(folder.path().join("spool"))
            .unwrap()
            .count(),
        0,
        "nothing is left to do"
    );
}

#[tokio::test]
async fn after_a_kill_no_call_is_lost_and_none_is_there_twice() {
    let (store, folder) = store().await;
    {
        // The database refuses everything: calls stay in the spool.
        let (away, _gone) = crate::store::tests::store().await;
        let records = start(folder.path(), &away);
        away.close().await;
        for number in 1..=50 {
            records.record(key(number), arrived(0, "100"));
            records.record(key(number), admitted(1));
            if number != 50 {
                records.record(key(number), ended(2));
            }
        }
        records.settle().await;
        // Killed here: no `stop`.
    }
    // And the last write was cut in the middle.
    let segment = std::fs::read_dir(folder.path().join("spool"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let bytes = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, [&bytes[..], &bytes[8..20]].concat()).unwrap();

    let page = Page {
        page: 1,
        per_page: 100,
    };
    for _ in 0..2 {
        let records = start(folder.path(), &store);
        let history = records.history(None, page).await.unwrap();
        assert_eq!(history.total, 50);
        let cut_off = history
            .items
            .iter()
            .find(|call| call.call_id == key(50).to_string())
            .unwrap();
        assert_eq!(cut_off.fault.as_deref(), Some("host"));
        assert_eq!(
            records.find(key(50)).await.unwrap().unwrap().events().len(),
            3,
            "arrived, admitted, and the end"
        );
    }
}

#[tokio::test]
async fn a_call_that_says_too_much_keeps_what_matters() {
    let (store, folder) = store().await;
    let records = start(folder.path(), &store);
    let call = key(1);
    records.record(call, arrived(0, "100"));
    let text = "x".repeat(64 << 10);
    let lines = u32::try_from(writer::MAX_CALL_BYTES >> 16).unwrap() + 20;
    for seq in 1..=lines {
        records.record(
            call,
            event(
                seq,
                Kind::Note {
                    topic: "t".to_owned(),
                    text: text.clone(),
                },
            ),
        );
    }
    records.record(call, answered(lines + 1));
    records.record(call, ended(lines + 2));
    let record = records.find(call).await.unwrap().unwrap();
    assert!(record.lines.len() < writer::MAX_CALL_BYTES as usize + (128 << 10));
    let events = record.events();
    let truncated = events
        .iter()
        .filter(|event| matches!(event.kind, Kind::Truncated { .. }))
        .count();
    assert_eq!(truncated, 1);
    assert!(
        matches!(events[events.len() - 2].kind, Kind::Answered { .. }),
        "vital lines are kept"
    );
    assert!(matches!(events[events.len() - 1].kind, Kind::Ended(_)));
}

#[tokio::test]
async fn a_full_queue_blocks_nobody_and_loses_no_end() {
    let (store, folder) = store().await;
    let records = start(folder.path(), &store);
    let before = metrics::read(Metric::JournalDropped);
    let calls = 2000;
    for number in 1..=calls {
        records.record(key(number), arrived(0, "100"));
        for seq in 1..60 {
            records.record(
                key(number),
                event(
                    seq,
                    Kind::Ringing {
                        leg: b2bua::key::LegId::A,
                        status: 180,
                    },
                ),
            );
        }
        records.record(key(number), ended(60));
    }
    let history = records
        .history(
            None,
            Page {
                page: 1,
                per_page: 1,
            },
        )
        .await
        .unwrap();
    assert_eq!(history.total, u64::from(calls));
    assert!(records.active(None).await.is_empty());
    // Whether the writer kept up is the machine's business; what it missed is counted.
    println!(
        "{} of {} lines were dropped",
        metrics::read(Metric::JournalDropped) - before,
        calls * 61
    );
}

#[tokio::test]
async fn old_calls_are_forgotten_at_the_start() {
    let (store, folder) = store().await;
    let records = start(folder.path(), &store);
    records.record(key(1), arrived(0, "100"));
    records.record(key(1), ended(1));
    records
        .history(
            None,
            Page {
                page: 1,
                per_page: 1,
            },
        )
        .await
        .unwrap();
    records.stop().await;
    let config = JournalConfig {
        dir: folder.path().join("spool"),
        keep: Duration::from_secs(3600),
    };
    // The calls of these tests came in in 1970.
    let records = Records::start(&config, store.clone()).unwrap();
    let gone = async {
        while records.find(key(1)).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .expect("forgotten");
}

fn start(folder: &Path, store: &Store) -> Records {
    let config = JournalConfig {
        dir: folder.join("spool"),
        keep: Duration::from_secs(200 * 365 * 86_400),
    };
    Records::start(&config, store.clone()).unwrap()
}

fn key(number: u32) -> CallKey {
    CallKey::new(0, number, 99)
}

fn event(seq: u32, kind: Kind) -> CallEvent {
    CallEvent {
        seq,
        t_us: u64::from(seq) * 1000,
        kind,
    }
}

fn arrived(seq: u32, called: &str) -> CallEvent {
    let info = CallInfo {
        call_id: String::new(),
        tenant: String::new(),
        trunk: None,
        direction: Direction::Inbound,
        source: Endpoint {
            host: [127, 0, 0, 1].into(),
            port: 5060,
            transport: Transport::Udp,
        },
        request_uri: format!("sip:{called}@host"),
        called: called.to_owned(),
        caller: "alice".to_owned(),
        from_uri: "sip:alice@host".to_owned(),
        from_display: None,
        to_uri: format!("sip:{called}@host"),
        attestation: Attestation::None,
        codecs: vec!["PCMU".to_owned()],
        headers: Vec::new(),
        received_ms: 1_000_000,
        ext: Vec::new(),
    };
    event(seq, Kind::Arrived { info: info.into() })
}

fn admitted(seq: u32) -> CallEvent {
    event(
        seq,
        Kind::Admitted {
            tenant: "demo".to_owned(),
            trunk: None,
        },
    )
}

fn answered(seq: u32) -> CallEvent {
    event(
        seq,
        Kind::Answered {
            leg: b2bua::key::LegId::A,
        },
    )
}

fn ended(seq: u32) -> CallEvent {
    let ended = Ended {
        cause: Cause::new(200, Fault::Nobody, "A hung up"),
        tenant: Some("demo".to_owned()),
        trunk: None,
        caller: "alice".to_owned(),
        called: "100".to_owned(),
        received_ms: 1_000_000,
        answered_us: Some(2_000),
        ended_us: u64::from(seq) * 1000,
        target: None,
        target_trunk: None,
        flow: None,
        digest: None,
    };
    event(seq, Kind::Ended(Box::new(ended)))
}
