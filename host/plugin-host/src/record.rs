//! Every host import of a plugin call, written down; or answered from what was written.

use b2bua::decision::Import;
use serde_json::Value;

/// Imports of one call that are written down, and their size as text. A call that imports
/// more goes on; its record ends with [`TRUNCATED`].
const MOST: usize = 1_000;
const MOST_BYTES: usize = 256 << 10;

/// Stands in a record for everything that was not written down.
pub const TRUNCATED: &str = "(truncated)";

pub enum Recorder {
    /// Imports are done and written down.
    Live(Record),
    /// Imports are answered from the record; nothing reaches the world.
    Replay(Player),
}

#[derive(Default)]
pub struct Record {
    imports: Vec<Import>,
    bytes: usize,
    full: bool,
}

impl Record {
    fn push(&mut self, import: Import) {
        self.bytes += size(&import.args) + size(&import.result);
        self.full = self.imports.len() >= MOST || self.bytes > MOST_BYTES;
        self.imports.push(if self.full {
            Import {
                name: TRUNCATED.to_owned(),
                args: Value::Null,
                result: Value::Null,
            }
        } else {
            import
        });
    }
}

/// About as long as the text would be; to write it only for this would cost more than the
/// rest of the recording.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(s) => s.len() + 2,
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 2,
        Value::Object(fields) => {
            fields
                .iter()
                .map(|(name, value)| name.len() + 4 + size(value))
                .sum::<usize>()
                + 2
        }
    }
}

pub struct Player {
    /// imports that see the world, in their order
    record: std::vec::IntoIter<Import>,
    /// settings are the same whenever they are asked for
    settings: Vec<Import>,
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
        // A log line tells nothing about the world: another version may write others.
        let told = record
            .into_iter()
            .filter(|import| !import.name.starts_with("log."));
        let (settings, ordered): (Vec<_>, Vec<_>) =
            told.partition(|import| is_setting(&import.name));
        Player {
            record: ordered.into_iter(),
            settings,
            seen: 0,
            divergence: None,
        }
    }

    fn next(&mut self, name: &str, args: &Value) -> Option<Import> {
        if is_setting(name) {
            return self
                .settings
                .iter()
                .find(|import| import.name == name && import.args == *args)
                .cloned();
        }
        self.record.next()
    }
}

fn is_setting(name: &str) -> bool {
    name.starts_with("config.")
}

impl Recorder {
    pub fn live() -> Recorder {
        Recorder::Live(Record::default())
    }

    pub fn replay(record: Vec<Import>) -> Recorder {
        Recorder::Replay(Player::new(record))
    }

    pub fn is_replay(&self) -> bool {
        matches!(self, Recorder::Replay(_))
    }

    /// Writes one import down (no-op in a replay).
    pub fn note(
        &mut self,
        name: &str,
        args: impl FnOnce() -> Value,
        result: impl FnOnce() -> Value,
    ) {
        if let Recorder::Live(record) = self
            && !record.full
        {
            record.push(Import {
                name: name.to_owned(),
                args: args(),
                result: result(),
            });
        }
    }

    /// In a replay: the recorded result of the next import, which must be this one. Outer
    /// `None` where the call is live; `Some(None)` after a divergence.
    pub fn recall(&mut self, name: &str, args: impl FnOnce() -> Value) -> Option<Option<Value>> {
        let Recorder::Replay(player) = self else {
            return None;
        };
        if player.divergence.is_some() {
            return Some(None);
        }
        let (index, args) = (player.seen, args());
        let recorded = player.next(name, &args);
        player.seen += 1;
        match recorded {
            Some(import) if import.name == name && import.args == args => Some(Some(import.result)),
            recorded => {
                player.divergence = Some(Divergence {
                    import: index,
                    recorded,
                    name: name.to_owned(),
                    args,
                });
                Some(None)
            }
        }
    }

    pub fn take(&mut self) -> Vec<Import> {
        match self {
            Recorder::Live(record) => std::mem::take(record).imports,
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

/// Bytes in a record: text where they are text.
pub fn shown(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => serde_json::json!({ "hex": hex::encode(bytes) }),
    }
}

/// The bytes that [`shown`] wrote.
pub fn bytes(shown: &Value) -> Option<Vec<u8>> {
    match shown {
        Value::String(text) => Some(text.clone().into_bytes()),
        other => hex::decode(other.get("hex")?.as_str()?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn import(name: &str, args: Value) -> Import {
        Import {
            name: name.to_owned(),
            args,
            result: json!(1),
        }
    }

    #[test]
    fn recorded_imports_come_back_in_their_order_and_settings_in_any() {
        let record = vec![
            import("clock.now-ms", json!([])),
            import("log.write", json!(["info", "x"])),
            import("config.get", json!(["a"])),
            import("kv.get", json!(["k"])),
        ];
        let mut recorder = Recorder::replay(record);
        assert_eq!(
            recorder.recall("config.get", || json!(["a"])),
            Some(Some(json!(1)))
        );
        assert_eq!(
            recorder.recall("clock.now-ms", || json!([])),
            Some(Some(json!(1)))
        );
        assert_eq!(
            recorder.recall("config.get", || json!(["a"])),
            Some(Some(json!(1)))
        );
        assert_eq!(recorder.recall("kv.get", || json!(["other"])), Some(None));
        assert_eq!(
            recorder.recall("kv.get", || json!(["k"])),
            Some(None),
            "nothing is answered after the first difference"
        );
        let divergence = recorder.divergence().unwrap();
        assert_eq!(
            (divergence.name.as_str(), &divergence.args),
            ("kv.get", &json!(["other"]))
        );
        assert_eq!(divergence.recorded, Some(import("kv.get", json!(["k"]))));
    }

    #[test]
    fn a_flood_of_imports_is_cut_and_says_so() {
        let mut recorder = Recorder::live();
        for _ in 0..3 * MOST {
            recorder.note("random.number", || json!([]), || json!(1));
        }
        let imports = recorder.take();
        assert_eq!(
            (imports.len(), imports[MOST].name.as_str()),
            (MOST + 1, TRUNCATED)
        );
        recorder.note("kv.set", || json!(["x".repeat(MOST_BYTES)]), || json!(null));
        assert_eq!(recorder.take()[0].name, TRUNCATED);
    }

    #[test]
    fn bytes_survive_their_record() {
        for original in [&b"text"[..], b"", &[0xff, 0, 1]] {
            assert_eq!(bytes(&shown(original)).unwrap(), original);
        }
        assert_eq!(bytes(&json!({ "error": "denied" })), None);
    }
}
