//! What can be wrong with a message: so much that nobody can be answered, or so little that
//! the sender can be told.

/// The bytes are dropped; no answer is possible or due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum ParseError {
    #[error("empty lines or zero bytes only: a keep-alive")]
    KeepAlive,
    #[error("the first line is neither a request's nor a response's")]
    NotSip,
    #[error("longer than the limit for a message")]
    TooLarge,
    #[error("a response of another version of SIP")]
    Version,
    #[error("the status code is not from 100 to 699")]
    StatusCode,
}

/// What is wrong with a message that could be read. A request with one is answered with
/// [`Defect::status`]; a response with one is dropped (RFC 3261 §18.3, RFC 4475 §3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Defect {
    #[error("Request Line Malformed")]
    RequestLine,
    #[error("Request-URI Malformed")]
    RequestUri,
    #[error("Request-URI Too Long")]
    RequestUriTooLong,
    #[error("Version Not Supported")]
    Version,
    #[error("Too Many Header Fields")]
    TooManyHeaders,
    #[error("Content-Length Malformed")]
    ContentLength,
    #[error("Content-Length Larger Than Message")]
    ContentLengthTooLarge,
    #[error("Content-Length Ambiguous")]
    ContentLengthTwice,
    #[error("Call-ID Missing")]
    CallIdMissing,
    #[error("Call-ID Repeated")]
    CallIdTwice,
    #[error("CSeq Malformed")]
    CSeq,
    #[error("CSeq Method Does Not Match Request")]
    CSeqMethod,
    #[error("CSeq Missing")]
    CSeqMissing,
    #[error("CSeq Repeated")]
    CSeqTwice,
    #[error("Contact Malformed")]
    Contact,
    #[error("Contact * Allowed in REGISTER Only")]
    ContactStar,
    #[error("From Malformed")]
    From,
    #[error("From Missing")]
    FromMissing,
    #[error("From Repeated")]
    FromTwice,
    #[error("Max-Forwards Malformed")]
    MaxForwards,
    #[error("Max-Forwards Repeated")]
    MaxForwardsTwice,
    #[error("To Malformed")]
    To,
    #[error("To Missing")]
    ToMissing,
    #[error("To Repeated")]
    ToTwice,
    #[error("Via Malformed")]
    Via,
    #[error("Via Missing")]
    ViaMissing,
}

impl Defect {
    /// For the answer. The reason phrase is the `Display` text.
    pub fn status(self) -> u16 {
        match self {
            Defect::RequestUriTooLong => 414,
            Defect::Version => 505,
            Defect::TooManyHeaders => 513,
            Defect::RequestLine
            | Defect::RequestUri
            | Defect::ContentLength
            | Defect::ContentLengthTooLarge
            | Defect::ContentLengthTwice
            | Defect::CallIdMissing
            | Defect::CallIdTwice
            | Defect::CSeq
            | Defect::CSeqMethod
            | Defect::CSeqMissing
            | Defect::CSeqTwice
            | Defect::Contact
            | Defect::ContactStar
            | Defect::From
            | Defect::FromMissing
            | Defect::FromTwice
            | Defect::MaxForwards
            | Defect::MaxForwardsTwice
            | Defect::To
            | Defect::ToMissing
            | Defect::ToTwice
            | Defect::Via
            | Defect::ViaMissing => 400,
        }
    }
}

/// Bounds on the work that one message can cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a whole message.
    pub message: usize, // 65,535
    /// Bytes of the first line; a longer one gets 414.
    pub start_line: usize, // 8,192
    /// Header fields; more get 513.
    pub headers: usize, // 256
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            message: 65_535,
            start_line: 8_192,
            headers: 256,
        }
    }
}
