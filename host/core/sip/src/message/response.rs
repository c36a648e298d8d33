//! A response (RFC 3261 §7.2).

use super::error::Defect;
use super::fields::Fields;
use super::name::HeaderName;
use super::request::Request;
use super::status::reason_phrase;
use super::{check, fields};
use bytes::Bytes;
use std::fmt;
use std::ops::{Deref, DerefMut};

#[derive(Clone)]
pub struct Response {
    code: u16,
    reason: Box<str>,
    /// End of the first line in the wire; 0 for a response of our own.
    line_end: u32,
    fields: Fields,
    defect: Option<Defect>,
}

impl Response {
    /// The answer to a request, with what RFC 3261 §8.2.6.2 copies from it: Via, From, To,
    /// Call-ID, CSeq; Timestamp for 100 (§8.2.6.1); Record-Route where it makes a dialog
    /// (§12.1.1). An empty `reason` means the usual words.
    pub fn to(request: &Request, code: u16, reason: &str) -> Self {
        let mut fields = Fields::default();
        fields.arena.reserve(512);
        for name in [
            HeaderName::Via,
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ] {
            fields.copy(name, request);
        }
        if code == 100 {
            fields.copy(HeaderName::Timestamp, request);
        }
        if (101..300).contains(&code) && request.method().makes_dialog() {
            fields.copy(HeaderName::RecordRoute, request);
        }
        let reason = if reason.is_empty() {
            reason_phrase(code)
        } else {
            reason
        };
        let reason = reason
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect::<String>()
            .into_boxed_str();
        Response {
            code,
            reason,
            line_end: 0,
            fields,
            defect: None,
        }
    }

    /// `to`, for building in one expression.
    pub fn with(mut self, name: HeaderName, value: impl fmt::Display) -> Self {
        self.push(name, value);
        self
    }

    pub(super) fn from_wire(
        fields: Fields,
        code: u16,
        reason: Box<str>,
        line_end: usize,
        defect: Option<Defect>,
    ) -> Self {
        Response {
            code,
            reason,
            line_end: line_end as u32,
            fields,
            defect,
        }
    }

    /// Puts a tag on To where there is none yet.
    pub fn set_to_tag(&mut self, tag: &str) {
        let Some(to) = self.get(HeaderName::To) else {
            return;
        };
        if self.to_tag().is_none() {
            let tagged = format!("{to};tag={tag}");
            self.set(HeaderName::To, tagged);
        }
    }

    pub fn code(&self) -> u16 {
        self.code
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub fn is_provisional(&self) -> bool {
        self.code < 200
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }

    pub fn is_final(&self) -> bool {
        self.code >= 200
    }

    /// Whether this response may be worked on; one that may not is dropped.
    pub fn check(&self) -> Result<(), Defect> {
        match self.defect {
            Some(defect) => Err(defect),
            None => check::response(self),
        }
    }

    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.fields.written_len() + self.reason.len() + 24);
        if self.line_end > 0 {
            out.extend_from_slice(&self.fields.wire[..self.line_end as usize]);
        } else {
            out.extend_from_slice(b"SIP/2.0 ");
            fields::push_number(&mut out, usize::from(self.code));
            out.push(b' ');
            out.extend_from_slice(self.reason.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        self.fields.write_to(&mut out);
        Bytes::from(out)
    }
}

impl Deref for Response {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.fields
    }
}

impl DerefMut for Response {
    fn deref_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.code, self.reason, self.fields)
    }
}
