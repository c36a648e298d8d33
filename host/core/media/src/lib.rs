//! The media core: decides what happens to each packet of audio, without a socket, a clock,
//! a task or a lock. Read a packet's way as one column:
//!
//! - [`engine`]: all sessions of one thread; port to leg, commands, timers, what to send.
//! - [`packet`]: RTP and RTCP in place; the only door to the crates that know the bytes.
//! - [`latch`]: whose packet it is (symmetric RTP, guarded).
//! - [`stream`]: what was received ([`stream::Reception`]) and the one continuous stream that
//!   is sent ([`stream::Sender`]); RTCP reports tell of both.
//! - [`dtmf`]: RFC 4733 digits in both directions.
//! - `bridge`: to the other leg, by header alone or through decode and encode.
//! - `terminal`: where audio ends or begins here: prompts, digits, a connector session.
//! - [`jitter`], [`codec`], [`resample`], [`playback`], [`tone`], [`connector`]: its parts.
//!
//! Beside the way of packets:
//!
//! - [`sdp`]: descriptions, offers and answers; their result is [`sdp::Negotiated`].
//! - [`command`]: what a call may order, and what it is told.
//! - [`wav`]: prompt files into samples.

#![cfg_attr(
    test,
    expect(clippy::disallowed_methods, reason = "someone has to say when it is")
)]

mod bridge;
pub mod codec;
pub mod command;
pub mod connector;
pub mod dtmf;
pub mod engine;
mod events;
pub mod jitter;
pub mod latch;
mod leg;
pub mod packet;
pub mod playback;
pub mod resample;
mod rng;
pub mod sdp;
mod slab;
pub mod stream;
mod terminal;
mod timer;
pub mod tone;
mod transmit;
pub mod wav;

pub use command::{
    Command, ConnectorCommand, ConnectorEvent, Encoding, Event, Format, LegKey, LegStats, Pcm,
    PlayEnd, Prompt, SessionKey,
};
pub use engine::Engine;
pub use leg::MediaPlane;
pub use timer::Timer;
pub use transmit::Transmit;
