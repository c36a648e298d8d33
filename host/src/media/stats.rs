//! Figures of the media threads, for `/metrics`.

use super::io::Counters as IoCounters;
use media::engine::Counters as EngineCounters;
use std::sync::atomic::{AtomicU64, Ordering};

/// Written by one media thread, read by anyone.
#[derive(Debug, Default)]
pub struct ThreadStats {
    figures: [AtomicU64; FIGURES],
    connector_overruns: AtomicU64,
}

/// Sums since the start, except `legs` and `sessions`, which are there now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MediaStats {
    pub received: u64,
    pub sent: u64,
    pub send_failed: u64,
    pub oversized: u64,
    pub out_of_buffers: u64,
    pub dropped_no_leg: u64,
    pub dropped_source: u64,
    pub dropped_malformed: u64,
    pub dropped_events: u64,
    pub dropped_transmits: u64,
    pub legs: u64,
    pub sessions: u64,
    /// Connector events that a session was too slow for.
    pub connector_overruns: u64,
    /// Orders that found the mailbox full.
    pub orders_refused: u64,
}

const FIGURES: usize = 12;

impl ThreadStats {
    pub fn publish(&self, io: IoCounters, engine: EngineCounters) {
        let figures: [u64; FIGURES] = [
            io.received,
            io.sent,
            io.send_failed,
            io.oversized,
            io.out_of_buffers,
            engine.dropped_no_leg,
            engine.dropped_source,
            engine.dropped_malformed,
            engine.dropped_events,
            engine.dropped_transmits,
            engine.legs,
            engine.sessions,
        ];
        for (shared, figure) in self.figures.iter().zip(figures) {
            shared.store(figure, Ordering::Relaxed);
        }
    }

    pub fn connector_overrun(&self) {
        self.connector_overruns.fetch_add(1, Ordering::Relaxed);
    }

    pub fn add_to(&self, sum: &mut MediaStats) {
        let sums = [
            &mut sum.received,
            &mut sum.sent,
            &mut sum.send_failed,
            &mut sum.oversized,
            &mut sum.out_of_buffers,
            &mut sum.dropped_no_leg,
            &mut sum.dropped_source,
            &mut sum.dropped_malformed,
            &mut sum.dropped_events,
            &mut sum.dropped_transmits,
            &mut sum.legs,
            &mut sum.sessions,
        ];
        for (sum, figure) in sums.into_iter().zip(&self.figures) {
            *sum += figure.load(Ordering::Relaxed);
        }
        sum.connector_overruns += self.connector_overruns.load(Ordering::Relaxed);
    }
}
