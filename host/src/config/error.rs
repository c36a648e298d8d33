//! What is wrong with a configuration: file, line, key, and where it can be told, the remedy.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// One thing that is wrong. Its text names where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub place: Place,
    /// dotted path, e.g. `tenant[0].sources[1]`; empty where no key can be named
    pub key: String,
    pub what: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Environment,
    File {
        path: PathBuf,
        /// counted from 1; none where the file as a whole is meant
        line: Option<u32>,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Environment => write!(f, "environment: ")?,
            Place::File {
                path,
                line: Some(line),
            } => write!(f, "{}:{line}: ", path.display())?,
            Place::File { path, line: None } => write!(f, "{}: ", path.display())?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for ConfigError {}

/// A file's text, for turning byte offsets into lines and keys.
pub(super) struct Source<'a> {
    pub path: &'a Path,
    pub text: &'a str,
}

impl Source<'_> {
    pub fn error(&self, span: Option<Range<usize>>, what: impl Into<String>) -> ConfigError {
        let offset = span.map(|span| span.start);
        ConfigError {
            place: Place::File {
                path: self.path.to_owned(),
                line: offset.map(|at| self.line(at)),
            },
            key: offset.and_then(|at| self.key(at)).unwrap_or_default(),
            what: what.into(),
        }
    }

    /// The error of the TOML reader, in our form. An unknown key gets a suggestion.
    pub fn toml_error(&self, error: &toml::de::Error) -> ConfigError {
        let message = error.message();
        let Some(rest) = message.strip_prefix("unknown field `") else {
            return self.error(
                error.span().map(|span| self.narrowed(span, message)),
                message,
            );
        };
        let mut names = rest.split('`').step_by(2);
        let unknown = names.next().unwrap_or_default();
        let known: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
        let mut what = format!("unknown key `{unknown}`");
        match nearest(unknown, &known) {
            Some(near) => what += &format!("; the nearest known key is `{near}`"),
            None => what += &format!("; the known keys are {}", known.join(", ")),
        }
        self.error(error.span(), what)
    }

    /// The reader blames a whole array for one of its items; our own messages quote the item.
    fn narrowed(&self, span: Range<usize>, message: &str) -> Range<usize> {
        let quoted = message
            .strip_prefix('`')
            .and_then(|rest| rest.split_once('`'))
            .map(|(item, _)| format!("\"{item}\""));
        match quoted.and_then(|item| self.text.get(span.clone())?.find(&item)) {
            Some(at) => span.start + at..span.end,
            None => span,
        }
    }

    fn line(&self, offset: usize) -> u32 {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        1 + before.iter().filter(|b| **b == b'\n').count() as u32
    }

    fn key(&self, offset: usize) -> Option<String> {
        let (table, _) = DeTable::parse_recoverable(self.text);
        path_in_table(table.get_ref(), offset).map(|path| path.trim_start_matches('.').to_owned())
    }
}

fn path_in_table(table: &DeTable<'_>, offset: usize) -> Option<String> {
    let mut shallow = None;
    for (key, value) in table {
        let name = format!(".{}", key.get_ref());
        if let Some(deeper) = path_in_value(value.get_ref(), offset) {
            return Some(name + &deeper);
        }
        if holds(&key.span(), offset) || holds(&value.span(), offset) {
            shallow = Some(name);
        }
    }
    shallow
}

fn path_in_value(value: &DeValue<'_>, offset: usize) -> Option<String> {
    match value {
        DeValue::Table(table) => path_in_table(table, offset),
        DeValue::Array(items) => items.iter().enumerate().find_map(|(i, item)| {
            let deeper = path_in_value(item.get_ref(), offset);
            match deeper {
                Some(deeper) => Some(format!("[{i}]{deeper}")),
                None => holds(&item.span(), offset).then(|| format!("[{i}]")),
            }
        }),
        _ => None,
    }
}

fn holds(span: &Range<usize>, offset: usize) -> bool {
    span.contains(&offset) || (span.is_empty() && span.start == offset)
}

/// The known word that takes the fewest single-letter edits, if that is near enough to be
/// what was meant.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (edits(word, name), *name))
        .min()
        .filter(|(edits, name)| {
            *edits <= 1 + name.len().max(word.len()) / 3
                || name.contains(word)
                || word.contains(name)
        })
        .map(|(_, name)| name)
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_with_the_fewest_edits() {
        assert_eq!(nearest("lissen", &["listen", "domain"]), Some("listen"));
        assert_eq!(
            nearest("sources_list", &["sources", "domains"]),
            Some("sources")
        );
        assert_eq!(nearest("zzz", &["listen", "domain"]), None);
    }

    #[test]
    fn an_offset_is_named_by_its_path() {
        let text = "[sip]\nlisten = [\"a\", \"b\"]\n[[tenant]]\nid = \"x\"\n";
        let source = Source {
            path: Path::new("f.toml"),
            text,
        };
        assert_eq!(
            source.key(text.find("\"b\"").unwrap()).as_deref(),
            Some("sip.listen[1]")
        );
        assert_eq!(
            source.key(text.find("\"x\"").unwrap()).as_deref(),
            Some("tenant[0].id")
        );
        assert_eq!(source.line(text.find("\"x\"").unwrap()), 4);
    }
}
