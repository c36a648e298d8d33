//! Which source a leg's RTP comes from (symmetric RTP, RFC 4961), and who is kept out.
//!
//! The IP address must be the one in the peer's SDP or, where that one is private and the
//! signalling comes from elsewhere, the signalling's. Only the port may differ (a NAT moved
//! it), and only after two packets in order. So an attacker elsewhere can neither have the
//! audio sent to him nor put his own in (RTP bleed). Once latched, another port is believed
//! after a new negotiation or when the old one has gone silent.

use crate::packet::{SeqNo, Ssrc};
use crate::sdp::Negotiated;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

#[derive(Debug, Clone)]
pub struct Latch {
    /// Where the SDP says the peer receives.
    named: SocketAddr,
    alternate: Option<IpAddr>,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// No packet accepted yet, or the next one may choose anew.
    Open { candidate: Option<Candidate> },
    Latched {
        source: SocketAddr,
        ssrc: Ssrc,
        last: Instant,
        candidate: Option<Candidate>,
    },
}

/// Someone who may become the source: RFC 3550 §A.1, MIN_SEQUENTIAL.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    source: SocketAddr,
    ssrc: Ssrc,
    next: SeqNo,
}

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// From the latched source.
    Accepted,
    /// From the source that the leg is latched to from now on.
    Latched,
    /// Allowed but not yet proven; drop it.
    Probation,
    /// Not from this leg's peer; drop it and count it.
    Refused,
}

impl Latch {
    pub fn new(negotiated: &Negotiated) -> Latch {
        Latch {
            named: negotiated.remote,
            alternate: negotiated.alternate,
            state: State::Open { candidate: None },
        }
    }

    /// A new offer/answer. The old source goes on being good if the peer's address is the same.
    pub fn renegotiate(&mut self, negotiated: &Negotiated) {
        if self.named == negotiated.remote && self.alternate == negotiated.alternate {
            return;
        }
        *self = Latch::new(negotiated);
    }

    pub fn check(&mut self, now: Instant, source: SocketAddr, ssrc: Ssrc, seq: SeqNo) -> Verdict {
        match &mut self.state {
            State::Latched {
                source: latched,
                ssrc: known,
                last,
                candidate,
            } => {
                if *latched == source && *known == ssrc {
                    *last = now;
                    return Verdict::Accepted;
                }
                // The same socket with a new SSRC is a transfer or a restart at the far end.
                let silent = now.saturating_duration_since(*last) >= RELATCH_AFTER;
                if *latched != source
                    && !(silent && allowed(self.named, self.alternate, source.ip()))
                {
                    return Verdict::Refused;
                }
                if prove(candidate, source, ssrc, seq) {
                    self.state = State::Latched {
                        source,
                        ssrc,
                        last: now,
                        candidate: None,
                    };
                    return Verdict::Latched;
                }
                Verdict::Probation
            }
            State::Open { candidate } => {
                if !allowed(self.named, self.alternate, source.ip()) {
                    return Verdict::Refused;
                }
                if source == self.named || prove(candidate, source, ssrc, seq) {
                    self.state = State::Latched {
                        source,
                        ssrc,
                        last: now,
                        candidate: None,
                    };
                    return Verdict::Latched;
                }
                Verdict::Probation
            }
        }
    }

    /// Whether RTCP from this address belongs to the leg.
    pub fn allows(&self, ip: IpAddr) -> bool {
        match self.source() {
            Some(source) => source.ip() == ip,
            None => allowed(self.named, self.alternate, ip),
        }
    }

    /// Where to send: to who sends to us, else where the SDP says.
    pub fn destination(&self) -> SocketAddr {
        self.source().unwrap_or(self.named)
    }

    pub fn source(&self) -> Option<SocketAddr> {
        match self.state {
            State::Latched { source, .. } => Some(source),
            State::Open { .. } => None,
        }
    }
}

/// A latched source that is silent for so long may be followed by another port of the same
/// address. Longer than any gap of voice activity detection with comfort noise.
const RELATCH_AFTER: Duration = Duration::from_secs(2);

fn allowed(named: SocketAddr, alternate: Option<IpAddr>, ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip == named.ip().to_canonical() || alternate.is_some_and(|a| a.to_canonical() == ip)
}

/// Two packets in order from one source prove it.
fn prove(candidate: &mut Option<Candidate>, source: SocketAddr, ssrc: Ssrc, seq: SeqNo) -> bool {
    let proven = candidate.is_some_and(|c| c.source == source && c.ssrc == ssrc && c.next == seq);
    *candidate = Some(Candidate {
        source,
        ssrc,
        next: seq.plus(1),
    });
    proven
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::{Agreed, Codec, Direction};

    #[test]
    fn the_address_of_the_sdp_is_believed_at_once() {
        let (mut latch, now) = latch("198.51.100.7:4000", None);
        assert_eq!(latch.destination(), at("198.51.100.7:4000"));
        assert_eq!(
            latch.check(now, at("198.51.100.7:4000"), Ssrc(1), SeqNo(1)),
            Verdict::Latched
        );
        assert_eq!(
            latch.check(now, at("198.51.100.7:4000"), Ssrc(1), SeqNo(2)),
            Verdict::Accepted
        );
    }

    #[test]
    fn a_port_that_a_nat_moved_is_believed_after_two_packets_in_order() {
        let (mut latch, now) = latch("198.51.100.7:4000", None);
        assert_eq!(
            latch.check(now, at("198.51.100.7:9999"), Ssrc(1), SeqNo(65_535)),
            Verdict::Probation
        );
        assert_eq!(latch.destination(), at("198.51.100.7:4000"));
        assert_eq!(
            latch.check(now, at("198.51.100.7:9999"), Ssrc(1), SeqNo(0)),
            Verdict::Latched
        );
        assert_eq!(latch.destination(), at("198.51.100.7:9999"));
    }

    #[test]
    fn another_address_is_never_believed() {
        let (mut latch, now) = latch("198.51.100.7:4000", None);
        for seq in 0..100 {
            assert_eq!(
                latch.check(now, at("203.0.113.66:4000"), Ssrc(1), SeqNo(seq)),
                Verdict::Refused
            );
        }
        latch.check(now, at("198.51.100.7:4000"), Ssrc(1), SeqNo(1));
        let later = now + Duration::from_secs(60);
        assert_eq!(
            latch.check(later, at("203.0.113.66:4000"), Ssrc(1), SeqNo(1)),
            Verdict::Refused
        );
    }

    #[test]
    fn a_private_address_lets_the_signalling_source_in_and_nobody_else() {
        let (mut latch, now) = latch("192.168.1.5:4000", Some("203.0.113.9"));
        assert_eq!(
            latch.check(now, at("203.0.113.10:4000"), Ssrc(1), SeqNo(1)),
            Verdict::Refused
        );
        assert_eq!(
            latch.check(now, at("203.0.113.9:61000"), Ssrc(1), SeqNo(1)),
            Verdict::Probation
        );
        assert_eq!(
            latch.check(now, at("203.0.113.9:61000"), Ssrc(1), SeqNo(2)),
            Verdict::Latched
        );
    }

    #[test]
    fn a_public_address_does_not_let_the_signalling_source_in() {
        let (mut latch, now) = latch("198.51.100.7:4000", Some("203.0.113.9"));
        assert_eq!(
            latch.check(now, at("203.0.113.9:4000"), Ssrc(1), SeqNo(1)),
            Verdict::Refused
        );
    }

    #[test]
    fn a_second_socket_takes_over_only_after_silence() {
        let (mut latch, now) = latch("198.51.100.7:4000", None);
        latch.check(now, at("198.51.100.7:4000"), Ssrc(1), SeqNo(1));
        assert_eq!(
            latch.check(now, at("198.51.100.7:5000"), Ssrc(2), SeqNo(1)),
            Verdict::Refused
        );
        assert_eq!(
            latch.check(now, at("198.51.100.7:5000"), Ssrc(2), SeqNo(2)),
            Verdict::Refused
        );
        let later = now + RELATCH_AFTER;
        assert_eq!(
            latch.check(later, at("198.51.100.7:5000"), Ssrc(2), SeqNo(3)),
            Verdict::Probation
        );
        assert_eq!(
            latch.check(later, at("198.51.100.7:5000"), Ssrc(2), SeqNo(4)),
            Verdict::Latched
        );
    }

    #[test]
    fn the_same_socket_may_start_a_new_stream() {
        let (mut latch, now) = latch("198.51.100.7:4000", None);
        latch.check(now, at("198.51.100.7:4000"), Ssrc(1), SeqNo(1));
        assert_eq!(
            latch.check(now, at("198.51.100.7:4000"), Ssrc(2), SeqNo(70)),
            Verdict::Probation
        );
        assert_eq!(
            latch.check(now, at("198.51.100.7:4000"), Ssrc(1), SeqNo(2)),
            Verdict::Accepted
        );
        assert_eq!(
            latch.check(now, at("198.51.100.7:4000"), Ssrc(2), SeqNo(71)),
            Verdict::Latched
        );
    }

    #[test]
    fn a_new_negotiation_with_another_address_opens_the_latch() {
        let (mut latch, now) = latch("198.51.100.7:4000", None);
        latch.check(now, at("198.51.100.7:4000"), Ssrc(1), SeqNo(1));
        latch.renegotiate(&negotiated("198.51.100.7:4000", None));
        assert_eq!(latch.source(), Some(at("198.51.100.7:4000")));
        latch.renegotiate(&negotiated("198.51.100.8:4000", None));
        assert_eq!(latch.source(), None);
        assert_eq!(
            latch.check(now, at("198.51.100.7:4000"), Ssrc(1), SeqNo(2)),
            Verdict::Refused
        );
        assert_eq!(
            latch.check(now, at("198.51.100.8:4000"), Ssrc(1), SeqNo(3)),
            Verdict::Latched
        );
    }

    fn latch(named: &str, signalling: Option<&str>) -> (Latch, Instant) {
        (Latch::new(&negotiated(named, signalling)), Instant::now())
    }

    fn negotiated(named: &str, signalling: Option<&str>) -> Negotiated {
        let codec = Codec::new("PCMU", 0, 8000);
        let negotiated = Negotiated {
            remote: at(named),
            remote_rtcp: at(named),
            alternate: None,
            codecs: vec![Agreed {
                codec,
                send_payload: 0,
                receive_payload: 0,
            }],
            event: None,
            ptime_ms: 20,
            direction: Direction::SendRecv,
        };
        match signalling {
            Some(ip) => negotiated.with_signalling_source(ip.parse().unwrap()),
            None => negotiated,
        }
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }
}
