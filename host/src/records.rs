//! The journal of calls: what workers record, kept until nobody needs it.
//!
//! A worker hands each event to a bounded queue and goes on; it never waits. A thread of its
//! own writes them down (`writer`) into a file that survives a kill ([`spool`]), and a task
//! moves calls that are over into the database in batches (`mover`). Memory holds of a running
//! call only its [`CallSummary`] and where its lines are.

mod mover;
mod recovery;
pub mod spool;
mod summary;
mod writer;

pub use summary::{CallSummary, State};

use crate::config::JournalConfig;
use crate::store::calls::EndedCall;
use crate::store::{Listed, Page, Store, StoreError};
use crate::telemetry::{Metric, add, count, metrics};
use anyhow::Context as _;
use b2bua::journal::{CallEvent, Kind};
use b2bua::key::CallKey;
use spool::{Files, Place, Spool};
use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// The way to the journal. Cheap to clone; for any thread.
#[derive(Clone)]
pub struct Records(Arc<Inner>);

struct Inner {
    events: SyncSender<(CallKey, CallEvent)>,
    /// Last events of calls that did not fit into a full queue: without its end a call would
    /// seem to go on for ever.
    endings: SyncSender<(CallKey, CallEvent)>,
    orders: mpsc::Sender<Order>,
    writer: Thread,
    shared: Arc<Shared>,
    store: Store,
}

/// What a call has left behind.
#[derive(Debug, Clone)]
pub struct CallRecord {
    pub summary: CallSummary,
    /// One JSON object a line, in the order of `seq`.
    pub lines: Vec<u8>,
}

impl Records {
    /// Takes up what an earlier run left in the folder, and starts the thread and the task.
    /// Must be called inside the runtime that the task is to run on.
    pub fn start(config: &JournalConfig, store: Store) -> anyhow::Result<Records> {
        let opened = Spool::open(&config.dir, SEGMENT_BYTES);
        let (mut spool, found) =
            opened.with_context(|| format!("journal.dir {}", config.dir.display()))?;
        let calls = recovery::recover(&mut spool, found)
            .context("the journal of the last run cannot be read")?;
        let shared = Arc::new(Shared {
            calls: Mutex::new(calls),
            files: spool.files(),
            hurry: Notify::new(),
            moved: Notify::new(),
        });
        let (events, event_queue) = mpsc::sync_channel(QUEUE);
        let (endings, ending_queue) = mpsc::sync_channel(ENDINGS);
        let (orders, order_queue) = mpsc::channel();
        let writer = writer::Writer::new(
            spool,
            shared.clone(),
            event_queue,
            ending_queue,
            order_queue,
        );
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(|| writer.run())
            .context("cannot start the journal's thread")?;
        let writer = thread.thread().clone();
        tokio::spawn(mover::run(
            Arc::downgrade(&shared),
            store.clone(),
            orders.clone(),
            config.keep,
        ));
        Ok(Records(Arc::new(Inner {
            events,
            endings,
            orders,
            writer,
            shared,
            store,
        })))
    }

    /// Never waits. An event that finds the queue full is lost and counted; its call's journal
    /// then shows a gap in `seq`.
    pub fn record(&self, call: CallKey, event: CallEvent) {
        let is_end = matches!(event.kind, Kind::Ended(_));
        match self.0.events.try_send((call, event)) {
            Ok(()) => {}
            Err(TrySendError::Full(entry)) if is_end => {
                if self.0.endings.try_send(entry).is_err() {
                    count(Metric::JournalDropped);
                }
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                count(Metric::JournalDropped)
            }
        }
    }

    /// Calls that are not over, oldest first; of one tenant, or all.
    pub async fn active(&self, tenant: Option<&str>) -> Vec<CallSummary> {
        self.settle().await;
        let mut calls: Vec<CallSummary> = {
            let calls = self.0.shared.lock();
            let fits = |journal: &&Journal| {
                journal.summary.state != State::Ended
                    && (tenant.is_none() || journal.summary.tenant.as_deref() == tenant)
            };
            calls
                .journals
                .values()
                .filter(fits)
                .map(|journal| journal.summary.clone())
                .collect()
        };
        calls.sort_by(|a, b| (a.received_ms, &a.call_id).cmp(&(b.received_ms, &b.call_id)));
        calls
    }

    /// A call, running or over.
    pub async fn find(&self, call: CallKey) -> Result<Option<CallRecord>, StoreError> {
        self.settle().await;
        let in_memory = self
            .0
            .shared
            .lock()
            .journals
            .get(&call)
            .map(|journal| (journal.summary.clone(), journal.places.clone()));
        if let Some((summary, places)) = in_memory {
            match self.0.shared.files.read(&places, b'\n') {
                Ok(lines) => return Ok(Some(CallRecord { summary, lines })),
                // Moved into the database a moment ago, or the disk is in trouble.
                Err(error) => {
                    tracing::debug!(%call, %error, "the spool does not have a call's lines")
                }
            }
        }
        let Some(row) = self.0.store.call(&call.to_string()).await? else {
            return Ok(None);
        };
        Ok(Some(CallRecord {
            summary: serde_json::from_str(&row.summary)?,
            lines: row.lines,
        }))
    }

    /// Ended calls, newest first, also those that ended a moment ago.
    pub async fn history(
        &self,
        tenant: Option<&str>,
        page: Page,
    ) -> Result<Listed<CallSummary>, StoreError> {
        self.settle().await;
        self.flush(Duration::from_secs(2)).await;
        let listed = self.0.store.list_calls(tenant, page).await?;
        let items: Result<_, _> = listed
            .items
            .iter()
            .map(|text| serde_json::from_str(text))
            .collect();
        Ok(Listed {
            items: items?,
            total: listed.total,
        })
    }

    /// Brings the journal's gauges up to date.
    pub fn publish(&self) {
        metrics::set(
            Metric::JournalWaiting,
            self.0.shared.lock().ended.len() as u64,
        );
    }

    /// Waits until everything that was recorded before can be read.
    pub async fn settle(&self) {
        let (done, settled) = oneshot::channel();
        if self.0.orders.send(Order::Settle(done)).is_ok() {
            self.0.writer.unpark();
            let _ = settled.await;
        }
    }

    /// Waits until the database has all calls that are over, but not longer than this; tells
    /// whether it has.
    pub async fn flush(&self, at_most: Duration) -> bool {
        let shared = &self.0.shared;
        let flushed = async {
            loop {
                let moved = shared.moved.notified();
                if shared.lock().ended.is_empty() {
                    return;
                }
                shared.hurry.notify_one();
                moved.await;
            }
        };
        tokio::time::timeout(at_most, flushed).await.is_ok()
    }

    /// Writes everything down and ends the thread. Calls that still run are found by the next
    /// start.
    pub async fn stop(&self) {
        self.settle().await;
        if !self.flush(Duration::from_secs(5)).await {
            tracing::warn!(
                "ended calls wait in the spool for the next start: the database did not take them"
            );
        }
        let (done, stopped) = oneshot::channel();
        if self.0.orders.send(Order::Stop(done)).is_ok() {
            self.0.writer.unpark();
            let _ = stopped.await;
        }
    }
}

impl CallRecord {
    /// Lines that another version of this program wrote and that this one does not know are
    /// left out.
    pub fn events(&self) -> Vec<CallEvent> {
        self.raw_lines()
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }

    pub fn raw_lines(&self) -> impl Iterator<Item = &[u8]> {
        self.lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
    }
}

/// What the writer is asked for.
enum Order {
    /// The database has these.
    Moved(Vec<(CallKey, Vec<Place>)>),
    Settle(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

/// Between the writer, the mover and those who read. Workers never touch it.
struct Shared {
    calls: Mutex<Calls>,
    files: Files,
    /// For the mover: do not wait for more.
    hurry: Notify,
    /// From the mover: a batch is in the database.
    moved: Notify,
}

#[derive(Default)]
struct Calls {
    journals: HashMap<CallKey, Journal>,
    /// Over, and not in the database yet; oldest first.
    ended: VecDeque<CallKey>,
}

struct Journal {
    summary: CallSummary,
    places: Vec<Place>,
    /// Of all lines.
    bytes: u64,
    /// Lines were left out because it is too large.
    truncated: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal {
    fn new(call: CallKey) -> Self {
        Journal {
            summary: CallSummary::new(call.to_string()),
            places: Vec::new(),
            bytes: 0,
            truncated: false,
        }
    }

    fn row(&self, lines: Vec<u8>) -> EndedCall {
        EndedCall {
            call_id: self.summary.call_id.clone(),
            tenant: self.summary.tenant.clone(),
            received_ms: self.summary.received_ms,
            status: self.summary.status.unwrap_or(0),
            // A struct of strings and numbers always has a JSON form.
            summary: serde_json::to_string(&self.summary).unwrap_or_default(),
            lines,
        }
    }
}

/// Counts what an event says about the whole program.
fn measure(event: &CallEvent) {
    use b2bua::decision::Outcome;
    match &event.kind {
        Kind::Arrived { .. } => count(Metric::CallsStarted),
        Kind::Answered {
            leg: b2bua::key::LegId::A,
        } => count(Metric::CallsAnswered),
        Kind::Step { step } => {
            count(match &step.outcome {
                Outcome::Answered => Metric::DecisionsAnswered,
                Outcome::Decided(_) => Metric::Decisions,
                Outcome::Failed(_) => Metric::DecisionsFailed,
                Outcome::Next => Metric::DecisionsNext,
                Outcome::Skipped(_) => Metric::DecisionsSkipped,
            });
            add(Metric::DecisionWallMicros, step.wall_us.into());
            add(Metric::DecisionCpuMicros, step.cpu_us.into());
        }
        Kind::Ended(ended) => {
            count(match ended.cause.status {
                300..=399 => Metric::CallsEnded3xx,
                400..=499 => Metric::CallsEnded4xx,
                500..=599 => Metric::CallsEnded5xx,
                600..=699 => Metric::CallsEnded6xx,
                _ => Metric::CallsEnded2xx,
            });
            let talk_us = ended
                .answered_us
                .map_or(0, |answered| ended.ended_us.saturating_sub(answered));
            add(Metric::CallsTalkSeconds, talk_us.div_ceil(1_000_000));
        }
        _ => {}
    }
}

/// Events between the workers and the writer: half a second of 3,000 calls a second.
const QUEUE: usize = 32_768;
const ENDINGS: usize = 8_192;
/// 32 MiB
const SEGMENT_BYTES: u32 = 32 << 20;

#[cfg(test)]
mod tests;
