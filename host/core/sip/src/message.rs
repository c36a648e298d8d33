//! SIP messages: the only door to bytes. A message keeps the buffer that it came in; one pass
//! makes an index of its header lines; typed views ([`Via`], [`NameAddr`], [`CSeq`],
//! [`SipUri`]) are parsed when asked for. Edits are recorded and applied by `to_bytes`; all
//! that was not edited is written as it came.
//!
//! [`Message::parse`] refuses only what cannot be read at all. Whether a request may be worked
//! on is [`Request::check`], whose [`Defect`] says how to answer.

mod check;
mod cseq;
mod error;
mod fields;
pub mod framing;
mod method;
mod name;
mod name_addr;
mod parse;
mod request;
mod response;
mod status;
pub mod text;
pub mod uri;
mod via;

pub use cseq::CSeq;
pub use error::{Defect, Limits, ParseError};
pub use fields::Fields;
pub use method::Method;
pub use name::HeaderName;
pub use name_addr::{NameAddr, NameAddrError};
pub use request::{Request, RequestBuilder};
pub use response::Response;
pub use status::reason_phrase;
pub use uri::{Scheme, SipUri, UriError};
pub use via::{MAGIC_COOKIE, Via, ViaError};

use bytes::Bytes;

#[derive(Debug, Clone)]
pub enum Message {
    Request(Request),
    Response(Response),
}

impl Message {
    /// One datagram, or one message of a stream.
    pub fn parse(bytes: Bytes) -> Result<Self, ParseError> {
        Self::parse_with(bytes, &Limits::default())
    }

    pub fn parse_with(bytes: Bytes, limits: &Limits) -> Result<Self, ParseError> {
        parse::parse(bytes, limits)
    }

    pub fn to_bytes(&self) -> Bytes {
        match self {
            Message::Request(request) => request.to_bytes(),
            Message::Response(response) => response.to_bytes(),
        }
    }

    pub fn fields(&self) -> &Fields {
        match self {
            Message::Request(request) => request,
            Message::Response(response) => response,
        }
    }

    pub fn check(&self) -> Result<(), Defect> {
        match self {
            Message::Request(request) => request.check(),
            Message::Response(response) => response.check(),
        }
    }
}
