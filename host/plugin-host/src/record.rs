//! Every host import of a plugin call, written down; or answered from what was written.

use b2bua::decision::Import;
use serde_json::Value;

/// Imports that one call may make before it counts as out of hand.
const MOST: usize = 1_000;

pub enum Recorder {
    /// Imports are done and written down.
    Live(Vec<Import>),
    /// Imports are answered from the record; nothing reaches the world.
    Replay(Player),
}

pub struct Player {
    record: std::vec::IntoIter<Import>,
    seen: usize,
    divergence: Option<Divergence>,
}

/// Where a replay first went another way.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Divergence {
    /// index of the import, from 0
    pub import: usize,
    pub recorded: Option<Import>,
    pub name: String,
    pub args: Value,
}

impl Player {
    pub fn new(record: Vec<Import>) -> Player {
        Player { record: record.into_iter(), seen: 0, divergence: None }
    }
}

impl Recorder {
    pub fn live() -> Recorder {
        Recorder::Live(Vec::new())
    }

    pub fn replay(record: Vec<Import>) -> Recorder {
        Recorder::Replay(Player::new(record))
    }

    pub fn is_replay(&self) -> bool {
        matches!(self, Recorder::Replay(_))
    }

    pub fn is_full(&self) -> bool {
        matches!(self, Recorder::Live(imports) if imports.len() >= MOST)
    }

    /// Writes one import down (no-op in a replay).
    pub fn note(&mut self, name: &str, args: impl FnOnce() -> Value, result: impl FnOnce() -> Value) {
        if let Recorder::Live(imports) = self
            && imports.len() < MOST
        {
            imports.push(Import { name: name.to_owned(), args: args(), result: result() });
        }
    }

    /// In a replay: the recorded result of the next import, which must be this one. Outer
    /// `None` where the call is live; `Some(None)` after a divergence.
    pub fn recall(&mut self, name: &str, args: impl FnOnce() -> Value) -> Option<Option<Value>> {
        let Recorder::Replay(player) = self else { return None };
        if player.divergence.is_some() {
            return Some(None);
        }
        let (index, args, recorded) = (player.seen, args(), player.record.next());
        player.seen += 1;
        match recorded {
            Some(import) if import.name == name && import.args == args => Some(Some(import.result)),
            recorded => {
                player.divergence = Some(Divergence { import: index, recorded, name: name.to_owned(), args });
                Some(None)
            }
        }
    }

    pub fn take(&mut self) -> Vec<Import> {
        match self {
            Recorder::Live(imports) => std::mem::take(imports),
            Recorder::Replay(_) => Vec::new(),
        }
    }

    pub fn divergence(&mut self) -> Option<Divergence> {
        match self {
            Recorder::Live(_) => None,
            Recorder::Replay(player) => player.divergence.take(),
        }
    }
}
