//! The conversation between a call and its media: orders one way, facts the other.
//! Both cross a thread, so everything here is plain data.

use crate::sdp::{Direction, Negotiated};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// All media of one call. Opaque; the caller of this crate makes it unique on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(pub u128);

/// One leg of a session; the number is the call's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegKey(pub u16);

/// PCM audio, mono, shared.
#[derive(Debug, Clone, PartialEq)]
pub struct Pcm {
    /// Hz
    pub rate: u32,
    pub samples: Arc<[i16]>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// A file that nobody has loaded: the shell replaces it by `Pcm` before the media
    /// thread sees it. Left as it is, it plays as a failure.
    File(String),
    Pcm(Pcm),
    /// milliseconds
    Silence(u32),
    /// `ringback`, `busy`, `congestion`, `beep`, or `HZ[+HZ]:MS`
    Tone(String),
}

/// Encoding on a connector's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    PcmS16le,
    Pcma,
    Pcmu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    pub encoding: Encoding,
    /// Hz
    pub rate: u32,
}

/// What a call orders. Commands of one session are done in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Give this leg a port pair: RTP on `port`, RTCP on `port + 1`.
    Open {
        leg: LegKey,
        local: IpAddr,
        port: u16,
    },
    /// The leg's offer/answer came to this result (again after each re-INVITE).
    Negotiate {
        leg: LegKey,
        negotiated: Negotiated,
        direction: Direction,
    },
    /// Audio goes between these two legs until `Unbridge` or `Close`.
    Bridge {
        a: LegKey,
        b: LegKey,
    },
    Unbridge {
        a: LegKey,
        b: LegKey,
    },
    Play {
        leg: LegKey,
        id: u32,
        prompts: Vec<Prompt>,
        interruptible: bool,
        repeat: u32,
    },
    StopPlay {
        leg: LegKey,
        id: u32,
    },
    /// Digits as RFC 4733 events; `w` is half a second.
    SendDigits {
        leg: LegKey,
        digits: String,
    },
    /// The leg talks to a connector session: its audio comes as `ConnectorEvent::Audio`,
    /// and `Enqueue` plays to it.
    Attach {
        leg: LegKey,
        id: u32,
        input: Format,
        output: Format,
        frame_ms: u32,
    },
    Detach {
        leg: LegKey,
        id: u32,
    },
    Connector {
        leg: LegKey,
        id: u32,
        command: ConnectorCommand,
    },
    /// The leg is over; its last statistics come as `Event::Closed`.
    Close {
        leg: LegKey,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum ConnectorCommand {
    /// Audio in the output format, any length; belongs to utterance `item`.
    Enqueue { item: String, audio: bytes::Bytes },
    /// Report `Marked` when everything before it was played.
    Mark(String),
    /// Drop what was not yet played; answered by `Cleared`.
    Clear,
}

/// What the media tells the call.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The port could not be had; the leg cannot have audio.
    OpenFailed {
        leg: LegKey,
        port: u16,
    },
    /// First packet accepted from this address.
    Latched {
        leg: LegKey,
        source: SocketAddr,
    },
    /// A digit has ended (RFC 4733), each once.
    Digit {
        leg: LegKey,
        digit: char,
        duration_ms: u32,
    },
    Played {
        leg: LegKey,
        id: u32,
        end: PlayEnd,
        played_ms: u32,
    },
    /// Nothing was received for so long; reported once until something comes again.
    Silent {
        leg: LegKey,
        for_ms: u32,
    },
    Closed {
        leg: LegKey,
        stats: LegStats,
    },
    Connector {
        leg: LegKey,
        id: u32,
        event: ConnectorEvent,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayEnd {
    Failed,
    Finished,
    Interrupted,
    Stopped,
}

/// For the connector session, not for the call.
#[derive(Debug, Clone, PartialEq)]
pub enum ConnectorEvent {
    /// `frame_ms` of the leg's audio in the input format.
    Audio(bytes::Bytes),
    Marked(String),
    Cleared {
        item: String,
        played_ms: u32,
    },
    Digit(char),
}

/// What one leg sent and received, from our side.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LegStats {
    pub codec: String,
    pub received_packets: u64,
    pub received_bytes: u64,
    pub sent_packets: u64,
    pub sent_bytes: u64,
    /// By sequence number gaps.
    pub lost_packets: u64,
    pub duplicate_packets: u64,
    pub reordered_packets: u64,
    /// Interarrival jitter, ms (RFC 3550 §6.4.1).
    pub jitter_ms: f32,
    /// Round trip from the peer's receiver reports, ms; none without RTCP.
    pub round_trip_ms: Option<f32>,
    /// Dropped: from a source that is not the leg's.
    pub dropped_source: u64,
    /// Dropped: not RTP, or a payload type that was not negotiated.
    pub dropped_malformed: u64,
    /// Where the audio came from.
    pub source: Option<SocketAddr>,
}
