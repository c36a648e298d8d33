//! Digits as RTP events (RFC 4733): [`Receiver`] and [`Generator`].

mod generator;
mod receiver;

pub use generator::{Generator, Step};
pub use receiver::{Digit, Noticed, Receiver};

/// The four octets of an event payload (RFC 4733 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPayload {
    pub event: u8,
    pub end: bool,
    /// Ticks of the RTP clock since the event's timestamp.
    pub duration: u16,
}

impl EventPayload {
    pub fn read(payload: &[u8]) -> Option<EventPayload> {
        let [event, flags, high, low, ..] = *payload else {
            return None;
        };
        Some(EventPayload {
            event,
            end: flags & 0x80 != 0,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// With the volume that is usual, -10 dBm0.
    pub fn write(self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        [self.event, u8::from(self.end) << 7 | 10, high, low]
    }
}

/// RFC 4733 §3.2, DTMF named events.
const DIGITS: &[u8; 16] = b"0123456789*#ABCD";

pub fn digit_of(event: u8) -> Option<char> {
    DIGITS.get(usize::from(event)).map(|d| char::from(*d))
}

pub fn event_of(digit: char) -> Option<u8> {
    let digit = digit.to_ascii_uppercase();
    DIGITS
        .iter()
        .position(|d| char::from(*d) == digit)
        .map(|event| event as u8)
}
