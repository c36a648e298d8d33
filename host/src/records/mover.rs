//! Moves calls that are over from the spool into the database, and takes old ones out of it.

use super::spool::Place;
use super::{Journal, Order, Shared};
use crate::store::calls::EndedCall;
use crate::store::{Store, now_ms};
use crate::telemetry::{Metric, count};
use b2bua::key::CallKey;
use std::sync::Weak;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// Ends when nobody has the [`super::Records`] any more.
pub(super) async fn run(shared: Weak<Shared>, store: Store, orders: Sender<Order>, keep: Duration) {
    let mut patience = PACE;
    let mut forgot: Option<Instant> = None;
    loop {
        if forgot.is_none_or(|at| at.elapsed() >= FORGET_EVERY) {
            forgot = Some(Instant::now());
            forget(&store, keep).await;
        }
        {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            // Calls that end in the meantime go with the same transaction.
            let _ = tokio::time::timeout(patience, shared.hurry.notified()).await;
        }
        loop {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            match move_batch(&shared, &store, &orders).await {
                Moved::All => {
                    patience = PACE;
                    break;
                }
                Moved::Some => {}
                Moved::Failed => {
                    patience = (patience * 2).min(LONGEST_PATIENCE);
                    break;
                }
            }
        }
    }
}

enum Moved {
    All,
    Some,
    Failed,
}

async fn move_batch(shared: &Shared, store: &Store, orders: &Sender<Order>) -> Moved {
    let (keys, rows) = batch(shared);
    if keys.is_empty() {
        shared.moved.notify_waiters();
        return Moved::All;
    }
    if let Err(error) = store.insert_calls(&rows).await {
        count(Metric::JournalStoreErrors);
        tracing::warn!(%error, calls = keys.len(), "ended calls wait in the spool for the database");
        return Moved::Failed;
    }
    let moved: Vec<(CallKey, Vec<Place>)> = {
        let mut calls = shared.lock();
        calls.ended.drain(..keys.len());
        keys.iter()
            .filter_map(|call| {
                calls
                    .journals
                    .remove(call)
                    .map(|journal| (*call, journal.places))
            })
            .collect()
    };
    // The writer has stopped: then the next start finds the calls and the database knows them.
    let _ = orders.send(Order::Moved(moved));
    shared.moved.notify_waiters();
    Moved::Some
}

/// The calls that ended first, as many as one transaction should hold.
fn batch(shared: &Shared) -> (Vec<CallKey>, Vec<EndedCall>) {
    let calls = shared.lock();
    let (mut keys, mut journals, mut bytes) = (Vec::new(), Vec::new(), 0);
    for call in &calls.ended {
        if keys.len() >= BATCH_CALLS || bytes >= BATCH_BYTES {
            break;
        }
        keys.push(*call);
        if let Some(journal) = calls.journals.get(call) {
            bytes += journal.bytes;
            journals.push((*call, journal));
        }
    }
    let places: Vec<&[Place]> = journals
        .iter()
        .map(|(_, journal)| journal.places.as_slice())
        .collect();
    let rows = match shared.files.read_all(&places, b'\n') {
        Ok(lines) => journals
            .iter()
            .zip(lines)
            .map(|((_, journal), lines)| journal.row(lines))
            .collect(),
        // One at a time, so that only what cannot be read is missing.
        Err(_) => journals
            .iter()
            .map(|(call, journal)| journal.row(lines(shared, *call, journal)))
            .collect(),
    };
    (keys, rows)
}

fn lines(shared: &Shared, call: CallKey, journal: &Journal) -> Vec<u8> {
    shared.files.read(&journal.places, b'\n').unwrap_or_else(|error| {
        tracing::error!(%call, %error, "the journal of a call cannot be read; its summary is kept");
        Vec::new()
    })
}

async fn forget(store: &Store, keep: Duration) {
    let before = now_ms().saturating_sub(keep.as_millis() as u64);
    match store.forget_calls_before(before).await {
        Ok(0) => {}
        Ok(calls) => tracing::info!(calls, "old calls were forgotten"),
        Err(error) => tracing::warn!(%error, "old calls are still there"),
    }
}

/// Between transactions.
const PACE: Duration = Duration::from_millis(500);
const LONGEST_PATIENCE: Duration = Duration::from_secs(30);
const FORGET_EVERY: Duration = Duration::from_secs(3600);
const BATCH_CALLS: usize = 200;
/// 4 MiB before they are packed: a transaction of a few milliseconds, so that others who write
/// do not wait long.
const BATCH_BYTES: u64 = 4 << 20;
