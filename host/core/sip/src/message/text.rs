//! The little grammar that all header values share: quoted strings, angle brackets, comma
//! lists and `;name=value` parameters (RFC 3261 §7.3.1, §25.1).

use memchr::{memchr, memchr2, memchr3};
use std::borrow::Cow;

/// Position of the first `wanted` byte outside of quoted strings and `<…>`.
pub fn find_top_level(text: &str, wanted: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let first = memchr(wanted, bytes)?;
    // As a rule nothing was opened before it.
    if memchr2(b'"', b'<', &bytes[..first]).is_none() {
        return Some(first);
    }
    let mut scan = Scan::default();
    bytes
        .iter()
        .position(|byte| scan.is_top_level(*byte) && *byte == wanted)
}

/// Whether quotes and angle brackets are all closed.
pub fn is_balanced(text: &str) -> bool {
    if memchr3(b'"', b'<', b'>', text.as_bytes()).is_none() {
        return true;
    }
    let mut scan = Scan::default();
    for byte in text.bytes() {
        scan.is_top_level(byte);
    }
    !scan.quoted && !scan.bracketed
}

/// Text without its surrounding quotes and its backslashes (RFC 3261 §25.1, quoted-string).
pub fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return Cow::Borrowed(text);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Cow::Owned(out)
}

/// Text as a quoted-string, on one line.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// RFC 3261 §25.1, token.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(b))
}

/// The elements of a comma list. Empty ones are left out.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    rest: &'a str,
}

impl<'a> Values<'a> {
    pub fn new(text: &'a str) -> Self {
        Values { rest: text }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        while !self.rest.is_empty() {
            let (value, rest) = match find_top_level(self.rest, b',') {
                Some(comma) => (&self.rest[..comma], &self.rest[comma + 1..]),
                None => (self.rest, ""),
            };
            self.rest = rest;
            let value = value.trim_ascii();
            if !value.is_empty() {
                return Some(value);
            }
        }
        None
    }
}

/// `;name=value;name` after a URI, a name-addr or a Via.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params<'a> {
    text: &'a str,
}

impl<'a> Params<'a> {
    /// `text` is empty or begins with `;`.
    pub fn new(text: &'a str) -> Self {
        Params {
            text: text.trim_ascii(),
        }
    }

    /// Name and value as written, the value without the quotes around it.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let mut rest = self.text;
        std::iter::from_fn(move || {
            loop {
                rest = rest.strip_prefix(';').unwrap_or(rest);
                if rest.is_empty() {
                    return None;
                }
                let end = find_unquoted(rest, b';').unwrap_or(rest.len());
                let (param, next) = rest.split_at(end);
                rest = next;
                let (name, value) = match param.split_once('=') {
                    Some((name, value)) => {
                        (name.trim_ascii(), Some(strip_quotes(value.trim_ascii())))
                    }
                    None => (param.trim_ascii(), None),
                };
                if !name.is_empty() {
                    return Some((name, value));
                }
            }
        })
    }

    /// Each parameter as written, quotes and all.
    pub fn raw(self) -> impl Iterator<Item = &'a str> {
        let mut rest = self.text;
        std::iter::from_fn(move || {
            rest = rest.strip_prefix(';')?;
            let (param, next) = rest.split_at(find_unquoted(rest, b';').unwrap_or(rest.len()));
            rest = next;
            Some(param.trim_ascii())
        })
    }

    /// The value of the first parameter of that name; empty where it has none.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.unwrap_or(""))
    }

    pub fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// As written, with the leading `;`.
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// Whether each `;` is followed by a name.
    pub fn is_well_formed(self) -> bool {
        let mut rest = self.text;
        while let Some(after) = rest.strip_prefix(';') {
            let end = find_unquoted(after, b';').unwrap_or(after.len());
            let name = after[..end].split('=').next().unwrap_or("");
            if name.trim_ascii().is_empty() {
                return false;
            }
            rest = &after[end..];
        }
        rest.is_empty()
    }
}

fn find_unquoted(text: &str, wanted: u8) -> Option<usize> {
    let first = memchr(wanted, text.as_bytes())?;
    if memchr(b'"', &text.as_bytes()[..first]).is_none() {
        return Some(first);
    }
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return !quoted && byte == wanted,
        }
        false
    })
}

fn strip_quotes(text: &str) -> &str {
    text.strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(text)
}

#[derive(Default)]
struct Scan {
    quoted: bool,
    bracketed: bool,
    escaped: bool,
}

impl Scan {
    fn is_top_level(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.quoted => self.escaped = true,
            // Inside of `<…>` is a URI; a quote there opens nothing.
            b'"' if !self.bracketed => self.quoted = !self.quoted,
            b'<' if !self.quoted => self.bracketed = true,
            b'>' if !self.quoted => self.bracketed = false,
            _ => return !self.quoted && !self.bracketed,
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_split() {
        let text = r#""a, \"b" <sip:x@y;p=1,2>;q=1 ,, <sip:z>, last"#;
        let values: Vec<&str> = Values::new(text).collect();
        assert_eq!(
            values,
            [r#""a, \"b" <sip:x@y;p=1,2>;q=1"#, "<sip:z>", "last"]
        );
    }

    #[test]
    fn a_tag_inside_a_quoted_parameter_is_not_the_tag() {
        let params = Params::new(r#";x="a;tag=bad" ; TAG = ft1 ;lr"#);
        assert_eq!(params.get("tag"), Some("ft1"));
        assert_eq!(params.get("x"), Some("a;tag=bad"));
        assert_eq!(params.get("lr"), Some(""));
        assert!(!params.has("bad"));
        assert!(params.is_well_formed());
        assert!(!Params::new(";;").is_well_formed());
        assert!(Params::new("").is_well_formed());
    }

    #[test]
    fn quoting_and_unquoting_are_each_others_reverse() {
        let text = "a \"quoted\" \\ word";
        assert_eq!(unquote(&quote(text)), text);
        assert_eq!(unquote("token"), "token");
    }
}
