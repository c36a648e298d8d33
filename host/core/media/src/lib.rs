//! The media core: decides what happens to each packet of audio, without a socket or a clock.
//!
//! - [`command`]: what the call may order, and what it is told.
//! - [`sdp`]: descriptions, offers and answers; their result is [`sdp::Negotiated`].
//! - [`codec`]: G.711, the table of what we can decode.

pub mod codec;
pub mod command;
pub mod sdp;
