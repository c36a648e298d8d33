//! When to wake, and why: the engine's one queue of timers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Why the engine wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// An RFC 4733 event may have lost its end.
    Digit,
    /// RTCP report of a leg is due (RFC 3550 §6.2).
    Report,
    /// A leg may have gone silent.
    Silence,
    /// A leg whose audio we make or consume has its next frame due.
    Tick,
}

/// Entry of a leg; `generation` tells a leg from an earlier one in the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    pub at: Instant,
    pub timer: Timer,
    pub slot: u32,
    pub generation: u32,
}

/// Timers are never cancelled: the leg decides on waking whether there is something to do.
#[derive(Debug, Default)]
pub struct TimerQueue(BinaryHeap<Reverse<Due>>);

impl TimerQueue {
    pub fn push(&mut self, due: Due) {
        self.0.push(Reverse(due));
    }

    pub fn next(&self) -> Option<(Instant, Timer)> {
        self.0.peek().map(|Reverse(due)| (due.at, due.timer))
    }

    pub fn pop_due(&mut self, now: Instant) -> Option<Due> {
        let Reverse(due) = *self.0.peek()?;
        if due.at > now {
            return None;
        }
        self.0.pop();
        Some(due)
    }
}
