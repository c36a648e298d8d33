//! A request (RFC 3261 §7.1).

use super::error::Defect;
use super::fields::{Fields, OneLine};
use super::method::Method;
use super::name::HeaderName;
use super::uri::{SipUri, UriError};
use super::{check, name_addr::NameAddr};
use bytes::Bytes;
use std::fmt;
use std::fmt::Write as _;
use std::ops::{Deref, DerefMut, Range};

#[derive(Clone)]
pub struct Request {
    method: Method,
    line: Line,
    fields: Fields,
    defect: Option<Defect>,
}

#[derive(Clone)]
enum Line {
    /// As received: end of the line in the wire, and where its URI is.
    Wire {
        end: u32,
        uri: Range<u32>,
    },
    Own {
        uri: String,
    },
}

impl Request {
    /// A request of our own.
    pub fn builder(method: Method, uri: impl Into<String>) -> RequestBuilder {
        RequestBuilder(Request {
            method,
            line: Line::Own { uri: uri.into() },
            fields: Fields::default(),
            defect: None,
        })
    }

    pub(super) fn from_wire(
        fields: Fields,
        method: Method,
        uri: Range<usize>,
        end: usize,
        defect: Option<Defect>,
    ) -> Self {
        let line = Line::Wire {
            end: end as u32,
            uri: uri.start as u32..uri.end as u32,
        };
        Request {
            method,
            line,
            fields,
            defect,
        }
    }

    pub fn set_uri(&mut self, uri: impl Into<String>) {
        self.line = Line::Own { uri: uri.into() };
    }

    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The Request-URI as written; empty if it is no text.
    pub fn uri(&self) -> &str {
        match &self.line {
            Line::Own { uri } => uri,
            Line::Wire { uri, .. } => {
                std::str::from_utf8(&self.fields.wire[uri.start as usize..uri.end as usize])
                    .unwrap_or("")
            }
        }
    }

    pub fn sip_uri(&self) -> Result<SipUri<'_>, UriError> {
        SipUri::parse(self.uri())
    }

    /// The readable Route values, topmost first.
    pub fn routes(&self) -> impl Iterator<Item = NameAddr<'_>> {
        self.fields.addresses(HeaderName::Route)
    }

    /// Whether this request may be worked on. `Err` names the first defect; the request then
    /// gets [`Defect::status`] if it has a Via that can be answered.
    pub fn check(&self) -> Result<(), Defect> {
        match self.defect {
            Some(defect) => Err(defect),
            None => check::request(self),
        }
    }

    /// Whether a To tag is present: the request is inside a dialog (RFC 3261 §12.2).
    pub fn is_in_dialog(&self) -> bool {
        self.fields.to_tag().is_some()
    }

    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.fields.written_len() + self.uri().len() + 32);
        match &self.line {
            Line::Wire { end, .. } => out.extend_from_slice(&self.fields.wire[..*end as usize]),
            Line::Own { uri } => {
                let mut line = String::with_capacity(uri.len() + 24);
                write!(OneLine(&mut line), "{} {uri} SIP/2.0", self.method).ok();
                out.extend_from_slice(line.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
        self.fields.write_to(&mut out);
        Bytes::from(out)
    }
}

impl Deref for Request {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.fields
    }
}

impl DerefMut for Request {
    fn deref_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.method, self.uri(), self.fields)
    }
}

/// Headers in the order of the calls.
#[derive(Debug, Clone)]
pub struct RequestBuilder(Request);

impl RequestBuilder {
    pub fn header(mut self, name: HeaderName, value: impl fmt::Display) -> Self {
        self.0.push(name, value);
        self
    }

    pub fn named(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.0.push_named(name, value);
        self
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.0.set_body(content_type, body);
        self
    }

    pub fn build(self) -> Request {
        self.0
    }
}
