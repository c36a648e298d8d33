//! What an earlier run left in the spool: calls that the database does not have yet. A call
//! that ran when the process died ended then.

use super::spool::{Recovered, Spool, Tag};
use super::{CallSummary, Calls, Journal};
use b2bua::journal::{CallEvent, Ended, Kind};
use b2bua::key::CallKey;
use b2bua::{Cause, Fault};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

pub(super) fn recover(spool: &mut Spool, found: Vec<Recovered>) -> io::Result<Calls> {
    let moved: BTreeSet<CallKey> = found
        .iter()
        .filter(|record| record.tag == Tag::Moved)
        .map(|record| record.call)
        .collect();
    let mut places = BTreeMap::<CallKey, Vec<_>>::new();
    for record in found {
        if !moved.contains(&record.call) && record.tag == Tag::Event {
            places.entry(record.call).or_default().push(record.place);
        }
    }
    let files = spool.files();
    let mut calls = Calls::default();
    for (call, places) in places {
        let mut events = Vec::with_capacity(places.len());
        for place in places {
            let mut line = files.read(&[place], b'\n')?;
            line.pop();
            match serde_json::from_slice::<CallEvent>(&line) {
                Ok(event) => events.push((event, place)),
                Err(error) => tracing::warn!(%call, %error, "a journal line is left out"),
            }
        }
        // A line that was carried forward is there twice.
        events.sort_by_key(|(event, _)| event.seq);
        events.dedup_by_key(|(event, _)| event.seq);
        let mut journal = Journal::new(call);
        for (event, place) in &events {
            journal.summary.read(event);
            journal.bytes += u64::from(place.len);
            journal.places.push(*place);
        }
        let Some((last, _)) = events.last() else {
            continue;
        };
        if !matches!(last.kind, Kind::Ended(_)) {
            let end = CallEvent {
                seq: last.seq + 1,
                t_us: last.t_us,
                kind: Kind::Ended(Box::new(end(&journal.summary, last.t_us))),
            };
            journal.summary.read(&end);
            let line = serde_json::to_vec(&end)?;
            journal.places.push(spool.append(call, Tag::Event, &line));
        }
        calls.journals.insert(call, journal);
        calls.ended.push_back(call);
    }
    spool.write()?;
    if !calls.ended.is_empty() {
        tracing::info!(
            calls = calls.ended.len(),
            "calls of the last run were found in the spool"
        );
    }
    Ok(calls)
}

fn end(summary: &CallSummary, ended_us: u64) -> Ended {
    Ended {
        cause: Cause::new(500, Fault::Host, "the host stopped while the call ran"),
        tenant: summary.tenant.clone(),
        trunk: summary.trunk.clone(),
        caller: summary.from.clone(),
        called: summary.to.clone(),
        received_ms: summary.received_ms,
        answered_us: summary
            .answered_ms
            .map(|at| at.saturating_sub(summary.received_ms) * 1000),
        ended_us,
        target: summary.target.clone(),
        target_trunk: summary.target_trunk.clone(),
        flow: summary.flow.clone(),
        digest: summary.digest.clone(),
    }
}
