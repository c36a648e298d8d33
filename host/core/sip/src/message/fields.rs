//! The header fields and the body of one message: an index over the bytes as they came, and
//! beside it an arena with what was edited. Nothing is copied until it is changed.

use super::cseq::CSeq;
use super::name::HeaderName;
use super::name_addr::NameAddr;
use super::text::Values;
use super::via::Via;
use bytes::Bytes;
use smallvec::SmallVec;
use std::fmt::{self, Write as _};

#[derive(Clone, Default)]
pub struct Fields {
    /// The message as received, without leading empty lines; empty for one that we build.
    pub(super) wire: Bytes,
    /// Text of edited lines, and of values that the wire has folded or not in UTF-8.
    pub(super) arena: String,
    pub(super) entries: SmallVec<[Entry; 32]>,
    pub(super) body: Bytes,
}

/// One header field. `line` is what is written out, `value` what is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) line: Span,
    pub(super) value: Span,
    pub(super) name_len: u16,
    pub(super) name: HeaderName,
}

/// A range of the wire or of the arena.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    start: u32,
    /// The highest bit tells the arena from the wire.
    end: u32,
}

impl Span {
    const ARENA: u32 = 1 << 31;

    pub(super) fn wire(start: usize, end: usize) -> Self {
        Span {
            start: start as u32,
            end: end as u32,
        }
    }

    fn arena(start: usize, end: usize) -> Self {
        Span {
            start: start as u32,
            end: end as u32 | Span::ARENA,
        }
    }

    fn is_arena(self) -> bool {
        self.end & Span::ARENA != 0
    }

    fn range(self) -> std::ops::Range<usize> {
        self.start as usize..(self.end & !Span::ARENA) as usize
    }
}

/// Reading.
impl Fields {
    /// The value of the first header of that name, unfolded and trimmed.
    pub fn get(&self, name: HeaderName) -> Option<&str> {
        self.get_all(name).next()
    }

    pub fn get_all(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        self.entries
            .iter()
            .filter(move |entry| entry.name == name)
            .map(|entry| self.text(entry.value))
    }

    /// The first header of any name, in any case of letters; knows compact forms.
    pub fn named(&self, name: &str) -> Option<&str> {
        let id = HeaderName::parse(name.as_bytes());
        let entry = self
            .entries
            .iter()
            .find(|entry| self.is_named(entry, id, name))?;
        Some(self.text(entry.value))
    }

    pub fn named_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let id = HeaderName::parse(name.as_bytes());
        self.entries
            .iter()
            .filter(move |entry| self.is_named(entry, id, name))
            .map(|entry| self.text(entry.value))
    }

    /// The elements of all headers of that name, their comma lists split (not those of the
    /// Authorization family, RFC 3261 §7.3.1).
    pub fn list(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        self.get_all(name).flat_map(move |text| {
            let (whole, parts) = if name.is_comma_list() {
                (None, text)
            } else {
                (Some(text), "")
            };
            whole.into_iter().chain(Values::new(parts))
        })
    }

    /// Whether a comma list (Require, Supported, Allow, …) has this word.
    pub fn lists(&self, name: HeaderName, word: &str) -> bool {
        self.list(name)
            .any(|found| found.eq_ignore_ascii_case(word))
    }

    /// All headers in order: name as written and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .map(|entry| (self.name_of(entry), self.text(entry.value)))
    }

    pub fn count(&self, name: HeaderName) -> usize {
        self.entries
            .iter()
            .filter(|entry| entry.name == name)
            .count()
    }

    pub fn has(&self, name: HeaderName) -> bool {
        self.entries.iter().any(|entry| entry.name == name)
    }

    pub fn header_count(&self) -> usize {
        self.entries.len()
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The media type of the body in lower case without its parameters: `application/sdp`.
    pub fn content_type(&self) -> Option<String> {
        let value = self.get(HeaderName::ContentType)?;
        let media_type = value.split(';').next().unwrap_or(value);
        Some(
            media_type
                .chars()
                .filter(|c| !c.is_whitespace())
                .collect::<String>()
                .to_ascii_lowercase(),
        )
    }
}

/// Typed views, parsed when asked for.
impl Fields {
    /// The topmost Via.
    pub fn via(&self) -> Option<Via<'_>> {
        Via::parse(self.list(HeaderName::Via).next()?).ok()
    }

    /// All Via values from the top; what cannot be read is left out.
    pub fn vias(&self) -> impl Iterator<Item = Via<'_>> {
        self.list(HeaderName::Via)
            .filter_map(|text| Via::parse(text).ok())
    }

    pub fn from(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.get(HeaderName::From)?).ok()
    }

    pub fn to(&self) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.get(HeaderName::To)?).ok()
    }

    pub fn from_tag(&self) -> Option<&str> {
        self.from()?.tag()
    }

    pub fn to_tag(&self) -> Option<&str> {
        self.to()?.tag()
    }

    /// The first Contact; none for `*`.
    pub fn contact(&self) -> Option<NameAddr<'_>> {
        self.addresses(HeaderName::Contact).next()
    }

    /// The readable addresses of a header that is a list of them: Contact, Route,
    /// Record-Route, Path, P-Asserted-Identity, Diversion, …
    pub fn addresses(&self, name: HeaderName) -> impl Iterator<Item = NameAddr<'_>> {
        self.list(name)
            .filter_map(|text| NameAddr::parse(text).ok())
    }

    pub fn call_id(&self) -> Option<&str> {
        self.get(HeaderName::CallId).filter(|id| !id.is_empty())
    }

    pub fn cseq(&self) -> Option<CSeq<'_>> {
        CSeq::parse(self.get(HeaderName::CSeq)?)
    }

    pub fn max_forwards(&self) -> Option<u8> {
        self.number(HeaderName::MaxForwards)
    }

    /// Seconds. A number too large counts as the largest.
    pub fn expires(&self) -> Option<u32> {
        let text = self.get(HeaderName::Expires)?;
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u32::MAX))
    }

    /// A header that is one plain number.
    pub fn number<N: std::str::FromStr>(&self, name: HeaderName) -> Option<N> {
        let text = self.get(name)?;
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())?
    }
}

/// Editing. Line breaks in names and values become spaces: no edit can smuggle a header in.
impl Fields {
    /// One header with this value instead of all of that name; at the place of the first of
    /// them, or last.
    pub fn set(&mut self, name: HeaderName, value: impl fmt::Display) {
        self.set_named(name.as_str(), value);
    }

    pub fn set_named(&mut self, name: &str, value: impl fmt::Display) {
        let entry = self.write(name, value);
        let id = HeaderName::parse(name.as_bytes());
        match self
            .entries
            .iter()
            .position(|old| self.is_named(old, id, name))
        {
            Some(first) => {
                self.entries[first] = entry;
                let mut at = 0;
                self.retain(|fields, old| {
                    at += 1;
                    at - 1 <= first || !fields.is_named(old, id, name)
                });
            }
            None => self.entries.push(entry),
        }
    }

    /// Another header, below all others.
    pub fn push(&mut self, name: HeaderName, value: impl fmt::Display) {
        self.push_named(name.as_str(), value);
    }

    pub fn push_named(&mut self, name: &str, value: impl fmt::Display) {
        let entry = self.write(name, value);
        self.entries.push(entry);
    }

    /// Another header, above those of its name; at the very top if there is none.
    pub fn push_front(&mut self, name: HeaderName, value: impl fmt::Display) {
        let entry = self.write(name.as_str(), value);
        let at = self
            .entries
            .iter()
            .position(|old| old.name == name)
            .unwrap_or(0);
        self.entries.insert(at, entry);
    }

    /// Removes all headers of that name; tells how many there were.
    pub fn remove(&mut self, name: HeaderName) -> usize {
        self.remove_named(name.as_str())
    }

    pub fn remove_named(&mut self, name: &str) -> usize {
        let before = self.entries.len();
        let id = HeaderName::parse(name.as_bytes());
        self.retain(|fields, entry| !fields.is_named(entry, id, name));
        before - self.entries.len()
    }

    /// Takes the topmost element off a comma-list header (Via, Route).
    pub fn remove_first(&mut self, name: HeaderName) {
        self.replace_first(name, None);
    }

    /// Puts another value in the place of the topmost element of a comma-list header.
    pub fn set_first(&mut self, name: HeaderName, value: &str) {
        self.replace_first(name, Some(value));
    }

    fn replace_first(&mut self, name: HeaderName, value: Option<&str>) {
        let Some(at) = self.entries.iter().position(|entry| entry.name == name) else {
            return;
        };
        let text = self.text(self.entries[at].value);
        let rest = super::text::find_top_level(text, b',')
            .map(|comma| text[comma + 1..].trim_ascii().to_owned());
        let line = match (value, rest.filter(|rest| !rest.is_empty())) {
            (None, None) => {
                self.entries.remove(at);
                return;
            }
            (Some(value), None) => self.write(name.as_str(), value),
            (None, Some(rest)) => self.write(name.as_str(), rest),
            (Some(value), Some(rest)) => self.write(name.as_str(), format_args!("{value}, {rest}")),
        };
        self.entries[at] = line;
    }

    /// Another body; `content_type` goes with it. Content-Length follows by itself.
    pub fn set_body(&mut self, content_type: &str, body: impl Into<Bytes>) {
        self.set(HeaderName::ContentType, content_type);
        self.body = body.into();
    }

    /// No body, and none of the headers that describe one.
    pub fn remove_body(&mut self) {
        use HeaderName::{ContentDisposition, ContentEncoding, ContentLanguage, ContentType};
        for name in [
            ContentDisposition,
            ContentEncoding,
            ContentLanguage,
            ContentType,
        ] {
            self.remove(name);
        }
        self.body = Bytes::new();
    }

    /// Takes over all headers of that name as they are written there.
    pub fn copy(&mut self, name: HeaderName, from: &Fields) {
        for entry in from.entries.iter().filter(|entry| entry.name == name) {
            let copied = match from.wire_line(entry) {
                // A broken line is taken over as it was read.
                None => self.write(name.as_str(), from.text(entry.value)),
                Some(line) => {
                    let start = self.arena.len();
                    self.arena.push_str(line);
                    let offset = |span: Span| start + (span.start - entry.line.start) as usize;
                    let value = if entry.value.is_arena() == entry.line.is_arena() {
                        Span::arena(
                            offset(entry.value),
                            offset(entry.value) + entry.value.range().len(),
                        )
                    } else {
                        let at = self.arena.len();
                        self.arena.push_str(from.text(entry.value));
                        Span::arena(at, self.arena.len())
                    };
                    Entry {
                        line: Span::arena(start, start + line.len()),
                        value,
                        ..*entry
                    }
                }
            };
            self.entries.push(copied);
        }
    }
}

impl Fields {
    /// Header lines, the empty line and the body. Content-Length is put right on the way.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        let mut has_length = false;
        // Untouched neighbours are copied in one piece.
        let mut run: Option<std::ops::Range<usize>> = None;
        for entry in &self.entries {
            let is_length = entry.name == HeaderName::ContentLength;
            if is_length && (has_length || self.text(entry.value).parse() != Ok(self.body.len())) {
                continue;
            }
            has_length |= is_length;
            let line = entry.line.range();
            match &mut run {
                Some(run)
                    if !entry.line.is_arena()
                        && run.end + 2 == line.start
                        && self.wire[run.end..].starts_with(b"\r\n") =>
                {
                    run.end = line.end;
                    continue;
                }
                Some(run) => {
                    out.extend_from_slice(&self.wire[run.clone()]);
                    out.extend_from_slice(b"\r\n");
                }
                None => {}
            }
            run = None;
            if entry.line.is_arena() {
                out.extend_from_slice(&self.arena.as_bytes()[line]);
                out.extend_from_slice(b"\r\n");
            } else {
                run = Some(line);
            }
        }
        if let Some(run) = run {
            out.extend_from_slice(&self.wire[run]);
            out.extend_from_slice(b"\r\n");
        }
        if !has_length {
            out.extend_from_slice(b"Content-Length: ");
            push_number(out, self.body.len());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
    }

    /// About how long `write_to` will be.
    pub(super) fn written_len(&self) -> usize {
        self.entries
            .iter()
            .map(|entry| entry.line.range().len() + 2)
            .sum::<usize>()
            + self.body.len()
            + 32
    }

    /// Adds to the arena: `name: value`, without the line break.
    fn write(&mut self, name: &str, value: impl fmt::Display) -> Entry {
        let start = self.arena.len();
        OneLine(&mut self.arena).write_str(name).ok();
        let name_len = self.arena.len() - start;
        self.arena.push_str(": ");
        let value_start = self.arena.len();
        write!(OneLine(&mut self.arena), "{value}").ok();
        Entry {
            line: Span::arena(start, self.arena.len()),
            value: Span::arena(value_start, self.arena.len()),
            name_len: name_len as u16,
            name: HeaderName::parse(name.as_bytes()),
        }
    }

    /// Text for a value that cannot be read from the wire directly.
    pub(super) fn write_value(&mut self, text: &str) -> Span {
        let start = self.arena.len();
        self.arena.push_str(text);
        Span::arena(start, self.arena.len())
    }

    pub(super) fn text(&self, span: Span) -> &str {
        if span.is_arena() {
            self.arena.get(span.range()).unwrap_or("")
        } else {
            std::str::from_utf8(&self.wire[span.range()]).unwrap_or("")
        }
    }

    /// The whole line where it is text on one or more unbroken lines.
    fn wire_line(&self, entry: &Entry) -> Option<&str> {
        if entry.line.is_arena() {
            return self.arena.get(entry.line.range());
        }
        std::str::from_utf8(&self.wire[entry.line.range()]).ok()
    }

    fn name_of(&self, entry: &Entry) -> &str {
        let start = entry.line.range().start;
        let range = start..start + usize::from(entry.name_len);
        if entry.line.is_arena() {
            self.arena.get(range).unwrap_or("")
        } else {
            std::str::from_utf8(&self.wire[range]).unwrap_or("")
        }
    }

    fn is_named(&self, entry: &Entry, id: HeaderName, name: &str) -> bool {
        entry.name == id
            && (id != HeaderName::Other || self.name_of(entry).eq_ignore_ascii_case(name))
    }

    fn retain(&mut self, mut keep: impl FnMut(&Fields, &Entry) -> bool) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|entry| keep(self, entry));
        self.entries = entries;
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()?;
        write!(f, " + {} bytes", self.body.len())
    }
}

/// Writes text with every line break and NUL as a space.
pub(super) struct OneLine<'a>(pub(super) &'a mut String);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            self.0.extend(text.chars().map(|c| {
                if matches!(c, '\r' | '\n' | '\0') {
                    ' '
                } else {
                    c
                }
            }));
        } else {
            self.0.push_str(text);
        }
        Ok(())
    }
}

/// A decimal number without going through `fmt`.
pub(super) fn push_number(out: &mut Vec<u8>, number: usize) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

impl Entry {
    /// Where the value stands in the wire, for an entry that was just indexed.
    pub(super) fn value_range(&self) -> std::ops::Range<usize> {
        self.value.range()
    }

    pub(super) fn wire_value(&self) -> Option<std::ops::Range<usize>> {
        (!self.value.is_arena()).then(|| self.value.range())
    }
}
