//! Which plugins' files have changed, and when they are settled enough to be read.

use super::Key;
use super::folder::Look;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What of a plugin has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Everything,
    /// Only its `.toml`.
    Settings,
}

#[derive(Default)]
pub(super) struct Pending {
    changed: BTreeMap<Key, (Instant, What)>,
    /// How the files looked when they were last compared.
    looks: BTreeMap<Key, Look>,
    look_at: Option<Instant>,
}

impl Pending {
    pub(super) fn new(looks: BTreeMap<Key, Look>) -> Self {
        Pending {
            looks,
            ..Pending::default()
        }
    }

    /// Something happened to a file. `settled` says that its writer is done with it.
    pub(super) fn touch(&mut self, now: Instant, key: Key, what: What, settled: bool) {
        let due = now + if settled { QUIET } else { WRITER_PAUSE };
        let entry = self.changed.entry(key).or_insert((due, what));
        entry.0 = due;
        if what == What::Everything {
            entry.1 = what;
        }
    }

    /// The folder as a whole must be compared soon.
    pub(super) fn look_soon(&mut self, now: Instant) {
        self.look_at.get_or_insert(now + LOOK_AFTER);
    }

    pub(super) fn take_look(&mut self, now: Instant) -> bool {
        let is_due = self.look_at.is_some_and(|at| at <= now);
        if is_due {
            self.look_at = None;
        }
        is_due
    }

    /// Finds what has changed without a word.
    pub(super) fn compare(&mut self, now: Instant, looks: BTreeMap<Key, Look>) {
        let keys: Vec<Key> = self.looks.keys().chain(looks.keys()).cloned().collect();
        for key in keys {
            let (old, new) = (self.looks.get(&key), looks.get(&key));
            if old == new || self.changed.contains_key(&key) {
                continue;
            }
            let code = |look: Option<&Look>| look.and_then(|look| look.wasm);
            let what = if code(old) == code(new) {
                What::Settings
            } else {
                What::Everything
            };
            self.touch(now, key, what, false);
        }
        self.looks = looks;
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.changed
            .values()
            .map(|(due, _)| *due)
            .chain(self.look_at)
            .min()
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Key, What)> {
        let key = self
            .changed
            .iter()
            .find(|(_, (due, _))| *due <= now)?
            .0
            .clone();
        let (_, what) = self.changed.remove(&key)?;
        Some((key, what))
    }
}

/// Between a file and its `.toml`, which are often put there together.
const QUIET: Duration = Duration::from_millis(25);
/// For the next write of somebody who copies slowly.
const WRITER_PAUSE: Duration = Duration::from_millis(400);
const LOOK_AFTER: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key {
            tenant: "demo".to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_file_waits_for_its_writer_and_is_taken_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pending = Pending::default();
        for ms in [0, 100, 200] {
            pending.touch(at(ms), key("a"), What::Everything, false);
        }
        assert_eq!(pending.pop_due(at(300)), None, "it is still being written");
        pending.touch(at(300), key("a"), What::Settings, true);
        assert_eq!(pending.next_due(), Some(at(325)));
        assert_eq!(pending.pop_due(at(325)), Some((key("a"), What::Everything)));
        assert_eq!(pending.pop_due(at(9999)), None);
    }

    #[test]
    fn a_change_that_nobody_told_is_found_by_its_look() {
        let now = Instant::now();
        let look = |wasm, toml| Look {
            wasm: Some((wasm, 0, 0)),
            toml: Some((toml, 0, 0)),
        };
        let mut pending = Pending::new(
            [
                (key("a"), look(1, 1)),
                (key("b"), look(1, 1)),
                (key("c"), look(1, 1)),
            ]
            .into(),
        );
        pending.compare(now, [(key("a"), look(2, 1)), (key("b"), look(1, 2))].into());
        let later = now + Duration::from_secs(1);
        let found: Vec<_> = std::iter::from_fn(|| pending.pop_due(later)).collect();
        assert_eq!(
            found,
            [
                (key("a"), What::Everything),
                (key("b"), What::Settings),
                (key("c"), What::Everything)
            ]
        );
    }
}
