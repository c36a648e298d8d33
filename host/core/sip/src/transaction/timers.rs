//! The timers of RFC 3261 (table 4) and RFC 6026, and the small table of those that one
//! transaction has set.

use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// Sends the INVITE again.
    A,
    /// No answer to the INVITE.
    B,
    /// A call that rings for too long (RFC 3261 §16.6 step 11).
    C,
    /// Waits for repetitions of a failure, to repeat the ACK.
    D,
    /// Sends a request other than INVITE again.
    E,
    /// No answer to a request other than INVITE.
    F,
    /// Sends the failure of an INVITE again.
    G,
    /// No ACK for a failure.
    H,
    /// Waits for repetitions of the ACK.
    I,
    /// Waits for repetitions of a request other than INVITE.
    J,
    /// Waits for repetitions of its answer.
    K,
    /// A success waits for its ACK, and absorbs repetitions of the INVITE (RFC 6026).
    L,
    /// Waits for more successes of a forked INVITE (RFC 6026).
    M,
    /// Sends the success of an INVITE again until the ACK comes (RFC 3261 §13.3.1.4).
    Resend,
    /// Nobody said anything: 100 Trying is due (RFC 3261 §17.2.1).
    Trying,
    /// A cancelled INVITE got no final answer (RFC 3261 §9.1).
    WaitAfterCancel,
}

/// How long they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Estimate of a round trip.
    pub t1: Duration, // 500 ms
    /// Longest wait between repetitions.
    pub t2: Duration, // 4 s
    /// Longest life of a message in the network.
    pub t4: Duration, // 5 s
    /// Longest ringing; more than 3 minutes.
    pub c: Duration, // 185 s
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            c: Duration::from_secs(185),
        }
    }
}

impl Timing {
    /// How long a transaction lives without an answer: timers B, F, H, J, L, M.
    pub fn lifetime(&self) -> Duration {
        self.t1 * 64
    }
}

/// No transaction has more than three at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Timers {
    slots: [Option<(Instant, Timer)>; 3],
}

impl Timers {
    /// Sets the timer, instead of any earlier setting.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.stop(timer);
        let free = self.slots.iter_mut().find(|slot| slot.is_none());
        debug_assert!(free.is_some(), "a transaction has three timers at most");
        if let Some(slot) = free {
            *slot = Some((at, timer));
        }
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        for slot in &mut self.slots {
            if slot.is_some_and(|(_, set)| set == timer) {
                *slot = None;
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.slots = [None; 3];
    }

    pub(super) fn next(&self) -> Option<(Instant, Timer)> {
        self.slots.iter().flatten().min().copied()
    }

    /// Takes out the first timer that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = self.next()?;
        if at > now {
            return None;
        }
        self.stop(timer);
        Some(timer)
    }
}
