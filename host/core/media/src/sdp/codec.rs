//! One payload format of an audio stream, as a description names it.

use std::fmt;

/// `a=rtpmap` and `a=fmtp` of one payload type, or what RFC 3551 table 4 says of a static one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    /// As it was written; compared without regard to case.
    pub name: String,
    /// RTP payload type, 0 to 127.
    pub payload: u8,
    /// RTP clock, Hz; never 0. Not the sample rate: G.722 has 8000 (RFC 3551 §4.5.2).
    pub clock: u32,
    pub channels: u8,
    pub fmtp: Option<String>,
}

impl Codec {
    pub fn new(name: &str, payload: u8, clock: u32) -> Codec {
        Codec {
            name: name.to_owned(),
            payload,
            clock,
            channels: 1,
            fmtp: None,
        }
    }

    /// RFC 3551 §6, the audio rows that are still met.
    pub fn from_static(payload: u8) -> Option<Codec> {
        let (name, clock) = match payload {
            0 => ("PCMU", 8000),
            3 => ("GSM", 8000),
            4 => ("G723", 8000),
            5 => ("DVI4", 8000),
            7 => ("LPC", 8000),
            8 => ("PCMA", 8000),
            9 => ("G722", 8000),
            12 => ("QCELP", 8000),
            13 => ("CN", 8000),
            15 => ("G728", 8000),
            18 => ("G729", 8000),
            _ => return None,
        };
        Some(Codec::new(name, payload, clock))
    }

    /// The number that RFC 3551 gives to this name.
    pub fn static_payload(name: &str) -> Option<u8> {
        (0..=18).find(|payload| {
            Codec::from_static(*payload).is_some_and(|c| c.name.eq_ignore_ascii_case(name))
        })
    }

    /// The same format, whatever its number.
    pub fn matches(&self, other: &Codec) -> bool {
        self.name.eq_ignore_ascii_case(&other.name)
            && self.clock == other.clock
            && self.channels == other.channels
    }

    pub fn is_event(&self) -> bool {
        self.name.eq_ignore_ascii_case("telephone-event")
    }

    /// Sent beside the audio, never chosen as the audio.
    pub fn is_auxiliary(&self) -> bool {
        self.is_event()
            || self.name.eq_ignore_ascii_case("CN")
            || self.name.eq_ignore_ascii_case("red")
    }

    /// Whether we can decode and encode it, so that it need not be the same on both legs.
    pub fn is_transcodable(&self) -> bool {
        crate::codec::AudioCodec::of(&self.name, self.clock, self.channels).is_some()
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.clock)?;
        if self.channels > 1 {
            write!(f, "/{}", self.channels)?;
        }
        Ok(())
    }
}
