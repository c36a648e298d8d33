//! What an offer and its answer agreed on.

use super::codec::Codec;
use super::direction::Direction;
use std::net::{IpAddr, SocketAddr};

/// The result of one offer/answer exchange on one leg, from our side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// Where the peer wants RTP. Unspecified (`0.0.0.0`) where it wants none.
    pub remote: SocketAddr,
    /// Where the peer wants RTCP: `a=rtcp` (RFC 3605) or RTP port + 1.
    pub remote_rtcp: SocketAddr,
    /// The IP address where the leg's signalling comes from, if media may come from there
    /// as well: the peer named a private address that it cannot be reached at.
    pub alternate: Option<IpAddr>,
    /// Audio formats, never empty; the first is what we send when we make the audio.
    pub codecs: Vec<Agreed>,
    /// RFC 4733 telephone-event with the clock of the first codec.
    pub event: Option<Agreed>,
    /// Packet duration that the peer likes, 10 to 60 ms.
    pub ptime_ms: u8,
    /// Ours: what we may do.
    pub direction: Direction,
}

/// A format with its numbers. They differ where the answerer did not keep the offerer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// With the peer's number and parameters.
    pub codec: Codec,
    /// Payload type in packets to the peer.
    pub send_payload: u8,
    /// Payload type in packets from the peer.
    pub receive_payload: u8,
}

impl Negotiated {
    /// Tell where the signalling comes from. Matters only where the peer's media address is
    /// private and another one (RFC 4961 behind a NAT); otherwise the SDP's address is the
    /// only one that media may come from.
    pub fn with_signalling_source(mut self, source: IpAddr) -> Negotiated {
        let named = self.remote.ip();
        let unreachable = is_private(named) || named.is_unspecified();
        self.alternate =
            (unreachable && named != source && !source.is_unspecified()).then_some(source);
        self
    }

    /// The codec that we send when we make the audio.
    pub fn primary(&self) -> Option<&Agreed> {
        self.codecs.first()
    }

    /// Whether the peer does not want to hear us.
    pub fn is_held(&self) -> bool {
        !self.direction.sends() || self.remote.ip().is_unspecified() || self.remote.port() == 0
    }
}

/// RFC 1918, RFC 6598, link-local, loopback, unique-local: nobody outside can send there.
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_link_local()
                || v4.is_loopback()
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_private(IpAddr::V4(v4)),
            None => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        },
    }
}
