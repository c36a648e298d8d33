//! The journal's thread: from the queue into the spool, in batches.

use super::spool::{Place, Spool, Tag};
use super::{Journal, Order, QUEUE, Shared, measure};
use crate::telemetry::{Metric, add, count, set};
use b2bua::journal::{CallEvent, Kind};
use b2bua::key::CallKey;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

pub(super) struct Writer {
    spool: Spool,
    shared: Arc<Shared>,
    events: Receiver<(CallKey, CallEvent)>,
    endings: Receiver<(CallKey, CallEvent)>,
    orders: Receiver<Order>,
    /// Records of each segment whose call is not in the database yet.
    needed: BTreeMap<u32, u64>,
    /// Calls whose lines the last batch put into the spool's buffer.
    batch: Vec<CallKey>,
    line: Vec<u8>,
    write_failed: bool,
}

impl Writer {
    pub(super) fn new(
        spool: Spool,
        shared: Arc<Shared>,
        events: Receiver<(CallKey, CallEvent)>,
        endings: Receiver<(CallKey, CallEvent)>,
        orders: Receiver<Order>,
    ) -> Self {
        let mut needed = BTreeMap::new();
        for place in shared
            .lock()
            .journals
            .values()
            .flat_map(|journal| &journal.places)
        {
            *needed.entry(place.segment).or_default() += 1;
        }
        Writer {
            spool,
            shared,
            events,
            endings,
            orders,
            needed,
            batch: Vec::new(),
            line: Vec::new(),
            write_failed: false,
        }
    }

    pub(super) fn run(mut self) {
        let mut housekept = Instant::now();
        loop {
            // Before the events: what was recorded before an order is then in the queue.
            let orders: Vec<Order> = self.orders.try_iter().collect();
            let took = self.take_events();
            let mut stop = None;
            for order in orders {
                match order {
                    Order::Moved(calls) => self.moved(calls),
                    // Nobody waits any more: fine.
                    Order::Settle(done) => drop(done.send(())),
                    Order::Stop(done) => stop = Some(done),
                }
            }
            if stop.is_some() || housekept.elapsed() >= HOUSEKEEPING {
                housekept = Instant::now();
                self.housekeep();
            }
            if let Some(done) = stop {
                self.clear();
                let _ = done.send(());
                return;
            }
            if took == 0 {
                // Nobody wakes this thread for an event: that would cost the worker a system
                // call for each.
                let is_idle = self.shared.lock().journals.is_empty();
                std::thread::park_timeout(if is_idle { IDLE_REST } else { REST });
            }
        }
    }

    /// Everything that is in the queues; tells how much.
    fn take_events(&mut self) -> usize {
        // An ending that did not fit into the full queue comes after what was in it.
        let late: Vec<_> = self.endings.try_iter().collect();
        let mut took = 0;
        while took < QUEUE {
            let events: Vec<_> = self.events.try_iter().take(BATCH).collect();
            if events.is_empty() {
                break;
            }
            took += events.len();
            self.write_down(events);
        }
        took += late.len();
        self.write_down(late);
        took
    }

    fn write_down(&mut self, events: Vec<(CallKey, CallEvent)>) {
        if events.is_empty() {
            return;
        }
        // Held until the lines are in the file: a reader finds no place without its line.
        let shared = self.shared.clone();
        let mut calls = shared.lock();
        let full = self.spool.bytes() > MAX_SPOOL_BYTES;
        for (call, event) in events {
            measure(&event);
            let journal = calls
                .journals
                .entry(call)
                .or_insert_with(|| Journal::new(call));
            journal.summary.read(&event);
            let is_end = matches!(event.kind, Kind::Ended(_));
            if full && !is_end {
                count(Metric::JournalWriteFailed);
            } else if let Some(event) = fitting(journal, event) {
                self.append(call, journal, &event);
            }
            if is_end {
                calls.ended.push_back(call);
            }
        }
        let (records, bytes) = (self.batch.len() as u64, self.spool.buffered() as u64);
        match self.spool.write() {
            Ok(()) => {
                add(Metric::JournalEvents, records);
                add(Metric::JournalBytes, bytes);
                if std::mem::take(&mut self.write_failed) {
                    tracing::info!("the journal can be written again");
                }
            }
            Err(error) => {
                add(Metric::JournalWriteFailed, records);
                for call in self.batch.iter().rev() {
                    let lost = calls
                        .journals
                        .get_mut(call)
                        .and_then(|journal| journal.places.pop());
                    if let Some(place) = lost {
                        release(&mut self.needed, place);
                    }
                }
                if !std::mem::replace(&mut self.write_failed, true) {
                    tracing::error!(%error, "the journal cannot be written; calls go on without it");
                }
            }
        }
        self.batch.clear();
    }

    fn append(&mut self, call: CallKey, journal: &mut Journal, event: &CallEvent) {
        self.line.clear();
        if let Err(error) = serde_json::to_writer(&mut self.line, event) {
            tracing::error!(%call, %error, "a journal line has no JSON form");
            return;
        }
        let place = self.spool.append(call, Tag::Event, &self.line);
        journal.bytes += u64::from(place.len);
        journal.places.push(place);
        *self.needed.entry(place.segment).or_default() += 1;
        self.batch.push(call);
    }

    fn moved(&mut self, calls: Vec<(CallKey, Vec<Place>)>) {
        for (call, places) in calls {
            self.spool.append(call, Tag::Moved, &[]);
            for place in places {
                release(&mut self.needed, place);
            }
        }
        // Without the mark the next start offers the calls to the database again, which has them.
        if let Err(error) = self.spool.write() {
            tracing::debug!(%error, "moved calls are not marked in the spool");
        }
    }

    fn housekeep(&mut self) {
        if let Err(error) = self.spool.sync() {
            tracing::warn!(%error, "the journal is not safe from a power cut");
        }
        while let Some(oldest) = self.spool.oldest() {
            if self.needed.contains_key(&oldest)
                && !(self.spool.segments() > MANY_SEGMENTS && self.carry_forward(oldest))
            {
                break;
            }
            if let Err(error) = self.spool.remove(oldest) {
                tracing::warn!(%error, segment = oldest, "a journal segment cannot be deleted");
                break;
            }
        }
        set(Metric::JournalSpoolBytes, self.spool.bytes());
        self.shared.hurry_if_many();
    }

    /// Writes the few lines that are still needed of a segment again, so that one long call
    /// does not keep the lines of all calls after it. Tells whether the segment is free then.
    fn carry_forward(&mut self, segment: u32) -> bool {
        let shared = self.shared.clone();
        let mut calls = shared.lock();
        let (mut carried, mut bytes) = (Vec::new(), 0);
        for (call, journal) in &calls.journals {
            for (at, place) in journal
                .places
                .iter()
                .enumerate()
                .filter(|(_, place)| place.segment == segment)
            {
                carried.push((*call, at, *place));
                bytes += u64::from(place.len);
            }
        }
        if bytes > WORTH_CARRYING {
            return false;
        }
        let mut fresh = Vec::with_capacity(carried.len());
        for (call, _, place) in &carried {
            let Ok(mut line) = shared.files.read(&[*place], b'\n') else {
                return false;
            };
            line.pop();
            fresh.push(self.spool.append(*call, Tag::Event, &line));
        }
        if let Err(error) = self.spool.write() {
            tracing::warn!(%error, segment, "the lines of long calls cannot be carried forward");
            return false;
        }
        for ((call, at, old), new) in carried.into_iter().zip(fresh) {
            if let Some(journal) = calls.journals.get_mut(&call) {
                journal.places[at] = new;
                *self.needed.entry(new.segment).or_default() += 1;
                release(&mut self.needed, old);
            }
        }
        true
    }

    /// At the end: what nobody needs is not there at the next start.
    fn clear(&mut self) {
        if self.needed.is_empty()
            && let Err(error) = self.spool.remove_all()
        {
            tracing::debug!(%error, "the spool is not cleared");
        }
    }
}

impl Shared {
    /// The database has been slow or away: the mover need not wait for more.
    fn hurry_if_many(&self) {
        if self.lock().ended.len() > BATCH {
            self.hurry.notify_one();
        }
    }
}

/// The event itself, or none where the journal is too large for it, or the note of that.
fn fitting(journal: &mut Journal, event: CallEvent) -> Option<CallEvent> {
    if journal.bytes < MAX_CALL_BYTES
        || (event.kind.is_vital() && journal.bytes < 2 * MAX_CALL_BYTES)
        || matches!(event.kind, Kind::Ended(_))
    {
        return Some(event);
    }
    count(Metric::JournalTruncated);
    if std::mem::replace(&mut journal.truncated, true) {
        return None;
    }
    let kept = u32::try_from(journal.places.len()).unwrap_or(u32::MAX);
    Some(CallEvent {
        kind: Kind::Truncated { kept },
        ..event
    })
}

fn release(needed: &mut BTreeMap<u32, u64>, place: Place) {
    if let Some(count) = needed.get_mut(&place.segment) {
        *count -= 1;
        if *count == 0 {
            needed.remove(&place.segment);
        }
    }
}

/// Events that are written with one system call.
const BATCH: usize = 256;
/// Between looks at an empty queue, while calls run.
const REST: Duration = Duration::from_millis(10);
const IDLE_REST: Duration = Duration::from_millis(20);
/// Between fsyncs, and looks for segments that nobody needs.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Lines of one call, bytes: then only vital ones are kept.
pub(super) const MAX_CALL_BYTES: u64 = 4 << 20;
/// Of all segments: then only the ends of calls are kept.
const MAX_SPOOL_BYTES: u64 = 4 << 30;
const MANY_SEGMENTS: usize = 4;
/// Bytes; a quarter of a segment.
const WORTH_CARRYING: u64 = 8 << 20;
