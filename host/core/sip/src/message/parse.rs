//! From bytes to a message, in one pass: the first line, an index of the header lines, the
//! extent of the body. Values are not looked into here (`check.rs` does).
//!
//! Liberal where RFC 4475 lets us: line feeds without carriage return, empty lines in front,
//! a missing empty line at the end, lines without a colon (skipped), any bytes in values.

use super::Message;
use super::error::{Defect, Limits, ParseError};
use super::fields::{Entry, Fields, Span};
use super::method::Method;
use super::name::HeaderName;
use super::request::Request;
use super::response::Response;
use super::text::is_token;
use bytes::Bytes;
use memchr::{memchr, memchr2};

pub(super) fn parse(wire: Bytes, limits: &Limits) -> Result<Message, ParseError> {
    let Some(start) = wire.iter().position(|b| !matches!(b, b'\r' | b'\n' | 0)) else {
        return Err(ParseError::KeepAlive);
    };
    let wire = if start == 0 {
        wire
    } else {
        wire.slice(start..)
    };
    if wire.len() > limits.message.min(u32::MAX as usize / 4) {
        return Err(ParseError::TooLarge);
    }
    let (line_end, after_line) = line_at(&wire, 0);
    let line = &wire[..line_end];
    let is_response = line
        .get(..4)
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"SIP/"));
    if is_response {
        let (code, reason) = status_line(line)?;
        let (fields, defect) = index(wire, after_line, limits);
        let reason = String::from_utf8_lossy(&fields.wire[reason])
            .into_owned()
            .into_boxed_str();
        return Ok(Message::Response(Response::from_wire(
            fields, code, reason, line_end, defect,
        )));
    }
    let line = request_line(line, limits)?;
    let (fields, defect) = index(wire, after_line, limits);
    Ok(Message::Request(Request::from_wire(
        fields,
        line.method,
        line.uri,
        line_end,
        line.defect.or(defect),
    )))
}

struct RequestLine {
    method: Method,
    uri: std::ops::Range<usize>,
    defect: Option<Defect>,
}

/// RFC 3261 §7.1: three words with one space between them.
fn request_line(line: &[u8], limits: &Limits) -> Result<RequestLine, ParseError> {
    let is_space = |b: &u8| matches!(b, b' ' | b'\t');
    let method_end = line.iter().position(is_space).ok_or(ParseError::NotSip)?;
    let method = std::str::from_utf8(&line[..method_end])
        .ok()
        .filter(|m| is_token(m.as_bytes()));
    let method = Method::from(method.ok_or(ParseError::NotSip)?);
    let end = line
        .iter()
        .rposition(|b| !is_space(b))
        .map_or(0, |last| last + 1);
    let version_start = line[..end]
        .iter()
        .rposition(is_space)
        .map_or(end, |space| space + 1);
    let version = &line[version_start..end];
    if !version
        .get(..4)
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"SIP/"))
        || version_start <= method_end + 1
    {
        return Err(ParseError::NotSip);
    }
    let uri = method_end + 1..version_start - 1;
    let text = &line[uri.clone()];
    let has_stray = |b: &u8| *b <= b' ' || *b == 0x7f || matches!(b, b'<' | b'>' | b'"');
    let has_scheme = memchr(b':', text).is_some_and(|colon| colon > 0);
    let defect = if end != line.len() {
        Some(Defect::RequestLine)
    } else if line.len() > limits.start_line {
        Some(Defect::RequestUriTooLong)
    } else if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        Some(Defect::Version)
    } else if !has_scheme || text.iter().any(has_stray) || std::str::from_utf8(text).is_err() {
        Some(Defect::RequestUri)
    } else {
        None
    };
    Ok(RequestLine {
        method,
        uri,
        defect,
    })
}

/// RFC 3261 §7.2. The reason phrase may be empty and, from sloppy peers, missing with its space.
fn status_line(line: &[u8]) -> Result<(u16, std::ops::Range<usize>), ParseError> {
    if !line
        .get(..7)
        .is_some_and(|version| version.eq_ignore_ascii_case(b"SIP/2.0"))
    {
        return Err(ParseError::Version);
    }
    let rest = line
        .get(7..)
        .and_then(|rest| rest.strip_prefix(b" "))
        .ok_or(ParseError::NotSip)?;
    let digits = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
    let code = match &rest[..digits] {
        [a @ b'1'..=b'6', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
        }
        _ => return Err(ParseError::StatusCode),
    };
    Ok((code, line.len().min(8 + digits + 1)..line.len()))
}

/// End of the line that begins at `at`, without its line break, and the start of the next.
fn line_at(wire: &[u8], at: usize) -> (usize, usize) {
    match memchr(b'\n', &wire[at..]) {
        Some(offset) => {
            let end = at + offset;
            (
                if end > at && wire[end - 1] == b'\r' {
                    end - 1
                } else {
                    end
                },
                end + 1,
            )
        }
        None => (wire.len(), wire.len()),
    }
}

fn index(wire: Bytes, start: usize, limits: &Limits) -> (Fields, Option<Defect>) {
    let mut fields = Fields::default();
    let mut defect = None;
    let mut length = Length::Absent;
    let mut at = start;
    let body_start = loop {
        if at >= wire.len() {
            break wire.len();
        }
        let mut is_odd = false;
        let (end, mut next) = header_line(&wire, at, &mut is_odd);
        if end == at {
            break next;
        }
        let mut line_end = end;
        // RFC 3261 §7.3.1: a line that begins with white space continues the one before.
        while next < wire.len() && matches!(wire[next], b' ' | b'\t') {
            is_odd = true;
            (line_end, next) = header_line(&wire, next, &mut is_odd);
        }
        if fields.entries.len() == limits.headers {
            defect = Some(Defect::TooManyHeaders);
        } else if let Some(entry) = header(&wire, at, line_end) {
            fields.entries.push(entry);
            if is_odd {
                let value = one_line(&wire[entry.value_range()]);
                let value = fields.write_value(&value);
                if let Some(last) = fields.entries.last_mut() {
                    last.value = value;
                }
            }
            if entry.name == HeaderName::ContentLength {
                length = length.and(if is_odd {
                    b""
                } else {
                    &wire[entry.value_range()]
                });
            }
        }
        at = next;
    };
    if !wire[..body_start].is_ascii() {
        transcode(&wire, &mut fields);
    }
    let available = wire.len() - body_start;
    // RFC 3261 §18.3.
    let body = match length {
        Length::Absent => available,
        Length::Is(length) if length <= available => length,
        Length::Is(_) => {
            defect = Some(Defect::ContentLengthTooLarge);
            available
        }
        Length::Bad => {
            defect = Some(Defect::ContentLength);
            0
        }
        Length::Twice => {
            defect = Some(Defect::ContentLengthTwice);
            0
        }
    };
    fields.body = if body == 0 {
        Bytes::new()
    } else {
        wire.slice(body_start..body_start + body)
    };
    fields.wire = wire;
    (fields, defect)
}

/// Like `line_at`; tells whether a carriage return stands alone in the line.
fn header_line(wire: &[u8], at: usize, has_bare_return: &mut bool) -> (usize, usize) {
    let mut from = at;
    while let Some(offset) = memchr2(b'\r', b'\n', &wire[from..]) {
        let end = from + offset;
        if wire[end] == b'\n' {
            return (end, end + 1);
        }
        if wire.get(end + 1) == Some(&b'\n') {
            return (end, end + 2);
        }
        *has_bare_return = true;
        from = end + 1;
    }
    (wire.len(), wire.len())
}

/// One header field, or nothing where the line is none.
fn header(wire: &[u8], start: usize, end: usize) -> Option<Entry> {
    let line = &wire[start..end];
    let colon = memchr(b':', line)?;
    // RFC 3261 §25.1, HCOLON: white space may stand before the colon.
    let name = line[..colon].trim_ascii_end();
    let id = HeaderName::parse(name);
    if id == HeaderName::Other && !is_token(name) {
        return None;
    }
    let raw = &line[colon + 1..];
    let value_start = start + colon + 1 + (raw.len() - raw.trim_ascii_start().len());
    let value_end = value_start.max(end - (raw.len() - raw.trim_ascii_end().len()));
    Some(Entry {
        line: Span::wire(start, end),
        value: Span::wire(value_start, value_end),
        name_len: u16::try_from(name.len()).ok()?,
        name: id,
    })
}

/// Values that are no UTF-8 are read as Latin-1. Their lines stay as they are.
fn transcode(wire: &[u8], fields: &mut Fields) {
    for i in 0..fields.entries.len() {
        let Some(range) = fields.entries[i].wire_value() else {
            continue;
        };
        if std::str::from_utf8(&wire[range.clone()]).is_err() {
            let text: String = wire[range].iter().map(|b| char::from(*b)).collect();
            fields.entries[i].value = fields.write_value(&text);
        }
    }
}

/// A folded or broken value as one line (RFC 3261 §7.3.1: a fold is one space).
fn one_line(value: &[u8]) -> String {
    let text = match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().map(|b| char::from(*b)).collect(),
    };
    let mut out = String::with_capacity(text.len());
    for part in text
        .split(['\r', '\n'])
        .map(|part| part.trim_matches([' ', '\t']))
        .filter(|part| !part.is_empty())
    {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(part);
    }
    out
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Absent,
    Bad,
    Is(usize),
    Twice,
}

impl Length {
    /// With one more Content-Length. Two that agree are one.
    fn and(self, value: &[u8]) -> Self {
        let digits = !value.is_empty() && value.len() < 19 && value.iter().all(u8::is_ascii_digit);
        let this = match std::str::from_utf8(value)
            .ok()
            .filter(|_| digits)
            .and_then(|text| text.parse().ok())
        {
            Some(length) => Length::Is(length),
            None => Length::Bad,
        };
        match self {
            Length::Absent => this,
            Length::Is(length) if this == Length::Is(length) => self,
            Length::Is(_) | Length::Bad | Length::Twice => Length::Twice,
        }
    }
}
