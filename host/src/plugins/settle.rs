//! When has a file settled? Time comes in as a value.

use super::Place;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// After a rename or a close, for the `.toml` that may come with the `.wasm`.
const COMPLETE: Duration = Duration::from_millis(20);
/// After any other change, for whoever still writes.
const SILENCE: Duration = Duration::from_millis(150);

#[derive(Debug, Default)]
pub struct Settle {
    due: BTreeMap<Place, Instant>,
}

impl Settle {
    /// `complete`: nobody writes any more.
    pub fn changed(&mut self, now: Instant, place: Place, complete: bool) {
        let at = now + if complete { COMPLETE } else { SILENCE };
        self.due.insert(place, at);
    }

    /// When to look again.
    pub fn next(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    /// The plugins whose files have settled.
    pub fn due(&mut self, now: Instant) -> Vec<Place> {
        let settled: Vec<Place> = self.due.iter().filter(|(_, at)| **at <= now).map(|(p, _)| p.clone()).collect();
        for place in &settled {
            self.due.remove(place);
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { tenant: "demo".to_owned(), name: "a".to_owned() }
    }

    #[test]
    fn a_file_that_is_still_written_waits_and_a_closed_one_does_not() {
        let (mut settle, now) = (Settle::default(), Instant::now());
        settle.changed(now, place(), false);
        settle.changed(now + Duration::from_millis(100), place(), false);
        assert!(settle.due(now + Duration::from_millis(200)).is_empty(), "each write starts the silence anew");
        settle.changed(now + Duration::from_millis(210), place(), true);
        assert_eq!(settle.next(), Some(now + Duration::from_millis(230)));
        assert_eq!(settle.due(now + Duration::from_millis(230)), [place()]);
        assert!(settle.next().is_none());
    }
}
