//! All timers of all calls in one ordered table (one of each name for a call).

use crate::io::Timer;
use crate::key::CallKey;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

#[derive(Debug, Default)]
pub struct TimerTable {
    due: BTreeSet<(Instant, CallKey, Timer)>,
    at: BTreeMap<(CallKey, Timer), Instant>,
}

impl TimerTable {
    /// Sets the timer, instead of any earlier setting.
    pub fn set(&mut self, call: CallKey, timer: Timer, at: Instant) {
        self.cancel(call, timer);
        self.due.insert((at, call, timer));
        self.at.insert((call, timer), at);
    }

    pub fn cancel(&mut self, call: CallKey, timer: Timer) -> bool {
        match self.at.remove(&(call, timer)) {
            Some(at) => self.due.remove(&(at, call, timer)),
            None => false,
        }
    }

    pub fn cancel_all(&mut self, call: CallKey) {
        while let Some((&(_, timer), _)) = self
            .at
            .range((call, FIRST)..)
            .next()
            .filter(|((c, _), _)| *c == call)
        {
            self.cancel(call, timer);
        }
    }

    /// The next timer that is due at `now`.
    pub fn pop(&mut self, now: Instant) -> Option<(CallKey, Timer)> {
        let &(at, call, timer) = self.due.first()?;
        if at > now {
            return None;
        }
        self.cancel(call, timer);
        Some((call, timer))
    }

    pub fn next(&self) -> Option<(Instant, Timer)> {
        self.due.first().map(|&(at, _, timer)| (at, timer))
    }

    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

/// The least of all timers, for ranges.
const FIRST: Timer = Timer::Ask(crate::key::AskId(0));

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timers_come_in_order_and_go_with_their_call() {
        let start = Instant::from_start();
        let (one, two) = (CallKey::new(0, 1, 0), CallKey::new(0, 2, 0));
        let at = |s| start + Duration::from_secs(s);
        let mut table = TimerTable::default();
        table.set(one, Timer::MaxDuration, at(5));
        table.set(one, Timer::Gather, at(3));
        table.set(two, Timer::Gather, at(4));
        table.set(one, Timer::MaxDuration, at(1));
        assert_eq!(table.pop(at(0)), None);
        assert_eq!(table.pop(at(9)), Some((one, Timer::MaxDuration)));
        table.cancel_all(one);
        assert_eq!(table.pop(at(9)), Some((two, Timer::Gather)));
        assert!(table.is_empty());
    }

    /// A clock for tests that does not run.
    trait Start {
        fn from_start() -> Instant;
    }

    impl Start for Instant {
        #[expect(
            clippy::disallowed_methods,
            reason = "any instant will do; the test adds to it"
        )]
        fn from_start() -> Instant {
            Instant::now()
        }
    }
}
