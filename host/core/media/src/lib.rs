//! The media core: decides what happens to each packet of audio, without a socket or a clock.
//!
//! - [`command`]: what the call may order, and what it is told.
//! - [`sdp`]: descriptions, offers and answers; their result is [`sdp::Negotiated`].
//! - [`codec`]: G.711, the table of what we can decode.

pub mod codec;
pub mod command;
pub mod engine;
pub mod sdp;
mod slab;
mod timer;
mod transmit;

pub use command::{
    Command, ConnectorCommand, ConnectorEvent, Encoding, Event, Format, LegKey, LegStats, Pcm,
    PlayEnd, Prompt, SessionKey,
};
pub use engine::Engine;
pub use timer::Timer;
pub use transmit::Transmit;
