//! SIP messages and their paths as the journal writes them: bytes are kept as they were and
//! become text, without secrets, only when somebody writes them down.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::Write;

/// The way a message came or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    /// `udp`, `tcp`, …
    pub transport: String,
    pub local: String,
    pub remote: String,
}

impl From<&sip::Flow> for Path {
    fn from(flow: &sip::Flow) -> Self {
        Path {
            transport: format!("{:?}", flow.transport).to_ascii_lowercase(),
            local: flow.local.to_string(),
            remote: flow.remote.to_string(),
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipText {
    bytes: Bytes,
    /// Digits in its body are somebody's PIN.
    hide_digits: bool,
}

impl SipText {
    pub fn new(bytes: Bytes, hide_digits: bool) -> Self {
        SipText { bytes, hide_digits }
    }

    pub fn first_line(&self) -> String {
        let end = self
            .bytes
            .iter()
            .position(|b| *b == b'\r' || *b == b'\n')
            .unwrap_or(self.bytes.len());
        String::from_utf8_lossy(&self.bytes[..end]).into_owned()
    }

    pub fn cseq_method(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        let line = text
            .split("\r\n")
            .find(|line| line.len() > 5 && line.as_bytes()[..5].eq_ignore_ascii_case(b"cseq:"))?;
        line.split_whitespace().next_back().map(str::to_owned)
    }

    /// As text, without credentials and, where asked for, without digits.
    pub fn redacted(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let (head, body) = match text.find("\r\n\r\n") {
            Some(at) => (&text[..at + 2], &text[at + 2..]),
            None => (text.as_ref(), ""),
        };
        let mut out = String::with_capacity(text.len());
        let mut hidden = false;
        for line in head.split_inclusive("\r\n") {
            let folded = line.starts_with([' ', '\t']);
            if folded && hidden {
                continue;
            }
            let name = line.split(':').next().unwrap_or("").trim();
            hidden = !folded
                && SECRET
                    .iter()
                    .any(|secret| secret.eq_ignore_ascii_case(name));
            if hidden {
                let _ = write!(out, "{name}: [redacted]\r\n");
            } else {
                out.push_str(line);
            }
        }
        if self.hide_digits && is_digits(head) {
            self.hide_body(body, &mut out)
        } else {
            out.push_str(body)
        }
        out
    }

    fn hide_body(&self, body: &str, out: &mut String) {
        for line in body.split_inclusive('\n') {
            let from = line.find('=').map_or(0, |at| at + 1);
            let is_signal =
                from == 0 || line.trim_start().to_ascii_lowercase().starts_with("signal");
            for (at, c) in line.char_indices() {
                out.push(if is_signal && at >= from && !c.is_whitespace() {
                    '*'
                } else {
                    c
                });
            }
        }
    }
}

/// Bodies that carry digits (RFC 6086 §1, legacy use).
fn is_digits(head: &str) -> bool {
    head.to_ascii_lowercase().contains("application/dtmf")
}

const SECRET: &[&str] = &[
    "Authorization",
    "Proxy-Authorization",
    "Authentication-Info",
    "Proxy-Authentication-Info",
];

impl Serialize for SipText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.redacted())
    }
}

impl<'de> Deserialize<'de> for SipText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(SipText {
            bytes: Bytes::from(text),
            hide_digits: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_reach_the_journal() {
        let text = redact(
            "INVITE sip:x SIP/2.0\r\nauthorization : Digest username=\"a\",\r\n response=\"beef\"\r\nTo: <sip:x>\r\n\r\nv=0\r\n",
            false,
        );
        assert_eq!(
            text,
            "INVITE sip:x SIP/2.0\r\nauthorization: [redacted]\r\nTo: <sip:x>\r\n\r\nv=0\r\n"
        );
    }

    #[test]
    fn digits_of_an_info_are_hidden_where_asked_for() {
        let info = "INFO sip:x SIP/2.0\r\nContent-Type: application/dtmf-relay\r\n\r\nSignal=5\r\nDuration=160\r\n";
        assert!(redact(info, true).ends_with("Signal=*\r\nDuration=160\r\n"));
        assert_eq!(redact(info, false), info);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_still_written() {
        let text = SipText::new(Bytes::from_static(b"INVITE \xff\r\n\r\n"), true);
        assert_eq!(text.redacted(), "INVITE \u{fffd}\r\n\r\n");
        assert_eq!(text.first_line(), "INVITE \u{fffd}");
    }

    fn redact(message: &str, hide_digits: bool) -> String {
        SipText::new(Bytes::copy_from_slice(message.as_bytes()), hide_digits).redacted()
    }
}
