//! A breaker for one version: after too many failures in a window it is not asked any more
//! for a while; then one question probes it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const FAILURES: usize = 10;
const WINDOW: Duration = Duration::from_secs(30);
const OPEN_FOR: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct Breaker {
    failures: VecDeque<Instant>,
    open_until: Option<Instant>,
    probing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Closed,
    None,
    Opened,
}

impl Breaker {
    /// May it be asked? Where the breaker is open and its time is over, one question may.
    pub fn admit(&mut self, now: Instant) -> bool {
        match self.open_until {
            None => true,
            Some(until) if now >= until && !self.probing => {
                self.probing = true;
                true
            }
            Some(_) => false,
        }
    }

    pub fn succeeded(&mut self) -> Change {
        let was_open = self.open_until.take().is_some();
        self.probing = false;
        if was_open {
            self.failures.clear();
            Change::Closed
        } else {
            Change::None
        }
    }

    pub fn failed(&mut self, now: Instant) -> Change {
        if self.probing {
            self.probing = false;
            self.open_until = Some(now + OPEN_FOR);
            return Change::None;
        }
        self.failures.push_back(now);
        while self
            .failures
            .front()
            .is_some_and(|first| now.duration_since(*first) > WINDOW)
        {
            self.failures.pop_front();
        }
        if self.open_until.is_none() && self.failures.len() >= FAILURES {
            self.open_until = Some(now + OPEN_FOR);
            return Change::Opened;
        }
        Change::None
    }

    pub fn is_open(&self) -> bool {
        self.open_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_open_it_a_probe_closes_it() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..9 {
            assert_eq!(breaker.failed(now), Change::None);
        }
        assert_eq!(breaker.failed(now), Change::Opened);
        assert!(!breaker.admit(now + Duration::from_secs(9)));
        let later = now + OPEN_FOR;
        assert!(breaker.admit(later), "one probe");
        assert!(!breaker.admit(later), "and no more than one");
        assert_eq!(breaker.succeeded(), Change::Closed);
        assert!(breaker.admit(later));
    }

    #[test]
    fn old_failures_do_not_count() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for minute in 0..20 {
            assert_eq!(
                breaker.failed(now + Duration::from_secs(60 * minute)),
                Change::None
            );
        }
    }

    #[test]
    fn a_failed_probe_keeps_it_open() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..10 {
            breaker.failed(now);
        }
        let later = now + OPEN_FOR;
        assert!(breaker.admit(later));
        breaker.failed(later);
        assert!(!breaker.admit(later + Duration::from_secs(1)));
    }
}
