//! What can be wrong with a description, and whose fault it is.

/// The peer sent something that is no description: 400 or 488, and nothing else changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    #[error("the audio stream has no usable connection address")]
    Address,
    #[error("the audio stream lists no payload type")]
    NoFormat,
    #[error("`{0}` is not a payload type (0 to 127)")]
    PayloadType(String),
    #[error("not a session description: {0}")]
    Syntax(String),
    #[error("a description of {0} bytes is larger than {max}", max = super::description::MAX_BYTES)]
    TooLarge(usize),
    #[error("{0} streams are more than {max}", max = super::description::MAX_MEDIA)]
    TooManyStreams(usize),
}

/// Both sides speak properly and still have nothing in common: 488 Not Acceptable Here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The answer does not fit the offer (RFC 3264 §6: same number and order of streams).
    #[error("the answer has {answered} streams, the offer had {offered}")]
    AnswerShape { offered: usize, answered: usize },
    #[error("no audio stream is offered, or all are disabled")]
    NoAudio,
    #[error("no codec in common: {theirs} offered, {ours} possible")]
    NoCommonCodec { theirs: String, ours: String },
    #[error("audio is offered over {0} only")]
    Transport(String),
}
