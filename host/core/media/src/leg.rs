//! One leg: its port, what was negotiated, the stream in and the stream out.

use crate::command::{Event, LegKey, LegStats, SessionKey};
use crate::dtmf::{Digit, EventPayload, Receiver};
use crate::events::EventQueue;
use crate::latch::{Latch, Verdict};
use crate::packet::{self, ExtendedSeqNo, Header, Report};
use crate::rng::Rng;
use crate::sdp::{Direction, Negotiated};
use crate::stream::{Arrival, Reception, Sender};
use crate::terminal::Terminal;
use crate::transmit::TransmitQueue;
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::time::Instant;

#[derive(Debug)]
pub struct Leg {
    pub session: SessionKey,
    pub key: LegKey,
    /// Ours, for RTP.
    pub port: u16,
    /// Tells it from an earlier leg in the same slot.
    pub generation: u32,
    pub agreed: Option<Agreement>,
    pub direction: Direction,
    pub reception: Reception,
    pub sender: Sender,
    pub digits: Receiver,
    /// The other leg of the bridge.
    pub bridged: Option<u32>,
    /// For each of our codecs: what becomes of a packet that goes to the bridged leg.
    pub outlets: SmallVec<[Outlet; 4]>,
    /// Payload type of an event on the bridged leg.
    pub event_outlet: Option<u8>,
    /// There while this leg's audio is made or consumed here.
    pub terminal: Option<Box<Terminal>>,
    pub silence_told: Option<Instant>,
    pub negotiated_at: Option<Instant>,
    pub digit_timer: bool,
    pub dropped_source: u64,
    pub dropped_malformed: u64,
    pub round_trip_ms: Option<f32>,
}

/// What an offer and an answer fixed.
#[derive(Debug)]
pub struct Agreement {
    pub negotiated: Negotiated,
    pub latch: Latch,
    /// By received payload type: index into the codecs, or one of the two below.
    kinds: [u8; 128],
}

const UNKNOWN: u8 = 255;
const EVENT: u8 = 254;

/// Audio from a leg to its bridged leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlet {
    /// Both know the codec: only the header changes.
    Relay { payload_type: u8, clock: u32 },
    /// Through decode and encode, one code at a time.
    Translate {
        table: &'static [u8; 256],
        payload_type: u8,
    },
    /// Nothing in common.
    Drop,
}

/// How deep we look into a leg's packets (RFC 7092 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaPlane {
    /// Headers are rewritten.
    Relay,
    /// And telephone-events are looked at.
    Aware,
    /// Audio is decoded or made here.
    Terminate,
}

/// A packet that belongs to the leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    Audio {
        codec: u8,
        seq: ExtendedSeqNo,
        restarted: bool,
    },
    Event {
        payload: EventPayload,
        clock: u32,
        seq: ExtendedSeqNo,
        restarted: bool,
    },
    /// Counted and done with.
    Nothing,
}

impl Leg {
    pub fn new(session: SessionKey, key: LegKey, port: u16, generation: u32, rng: &mut Rng) -> Leg {
        Leg {
            session,
            key,
            port,
            generation,
            agreed: None,
            direction: Direction::SendRecv,
            reception: Reception::new(),
            sender: Sender::new(rng),
            digits: Receiver::default(),
            bridged: None,
            outlets: SmallVec::new(),
            event_outlet: None,
            terminal: None,
            silence_told: None,
            negotiated_at: None,
            digit_timer: false,
            dropped_source: 0,
            dropped_malformed: 0,
            round_trip_ms: None,
        }
    }

    pub fn negotiate(&mut self, now: Instant, negotiated: Negotiated, direction: Direction) {
        let mut kinds = [UNKNOWN; 128];
        for (index, agreed) in negotiated
            .codecs
            .iter()
            .enumerate()
            .take(usize::from(EVENT))
        {
            kinds[usize::from(agreed.receive_payload & 0x7f)] = index as u8;
        }
        if let Some(event) = &negotiated.event {
            kinds[usize::from(event.receive_payload & 0x7f)] = EVENT;
        }
        let latch = match self.agreed.take() {
            Some(mut before) => {
                before.latch.renegotiate(&negotiated);
                before.latch
            }
            None => Latch::new(&negotiated),
        };
        self.agreed = Some(Agreement {
            negotiated,
            latch,
            kinds,
        });
        self.direction = direction;
        self.negotiated_at = Some(now);
    }

    /// Who sent it, is it new, what is it.
    pub fn receive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        header: &Header,
        payload: &[u8],
        len: usize,
        events: &mut EventQueue,
    ) -> Received {
        let Some(agreed) = &mut self.agreed else {
            self.dropped_source += 1;
            return Received::Nothing;
        };
        let kind = agreed.kinds[usize::from(header.payload_type)];
        let event = if kind == EVENT {
            EventPayload::read(payload)
        } else {
            None
        };
        if kind == UNKNOWN || (kind == EVENT && event.is_none()) {
            if agreed.latch.allows(from.ip()) {
                self.dropped_malformed += 1;
            } else {
                self.dropped_source += 1;
            }
            return Received::Nothing;
        }
        let before = agreed.latch.source();
        match agreed.latch.check(now, from, header.ssrc, header.seq) {
            Verdict::Accepted => {}
            Verdict::Latched => {
                if before != Some(from) {
                    events.push(
                        self.session,
                        Event::Latched {
                            leg: self.key,
                            source: from,
                        },
                    );
                }
            }
            Verdict::Probation => return Received::Nothing,
            Verdict::Refused => {
                self.dropped_source += 1;
                return Received::Nothing;
            }
        }
        let clock = match event {
            Some(_) => agreed.negotiated.event.as_ref().map(|e| e.codec.clock),
            None => agreed
                .negotiated
                .codecs
                .get(usize::from(kind))
                .map(|c| c.codec.clock),
        };
        let clock = clock.unwrap_or(8000);
        match self.reception.handle_packet(
            now,
            header.ssrc,
            header.seq,
            header.time,
            clock,
            len,
            event.is_none(),
        ) {
            Arrival::Fresh { seq, restarted } if self.direction.receives() => match event {
                Some(payload) => Received::Event {
                    payload,
                    clock,
                    seq,
                    restarted,
                },
                None => Received::Audio {
                    codec: kind,
                    seq,
                    restarted,
                },
            },
            // The peer was told not to send; it may be slow to hear it.
            Arrival::Fresh { .. } | Arrival::Duplicate => Received::Nothing,
            Arrival::OutOfRange => {
                self.dropped_malformed += 1;
                Received::Nothing
            }
        }
    }

    /// A digit is over: tell the call, and the connector session if there is one.
    pub fn tell_digit(&self, digit: Digit, events: &mut EventQueue) {
        let Digit { digit, duration_ms } = digit;
        events.push(
            self.session,
            Event::Digit {
                leg: self.key,
                digit,
                duration_ms,
            },
        );
        if let Some(terminal) = &self.terminal {
            terminal.tell_digit(self.session, self.key, digit, events);
        }
    }

    pub fn handle_rtcp(&mut self, now: Instant, ntp: u64, from: SocketAddr, datagram: &[u8]) {
        let allowed = self
            .agreed
            .as_ref()
            .is_some_and(|a| a.latch.allows(from.ip()));
        if !allowed {
            self.dropped_source += 1;
            return;
        }
        let Ok(reports) = packet::read_reports(datagram) else {
            self.dropped_malformed += 1;
            return;
        };
        for report in reports {
            if let Some(info) = &report.sender {
                self.reception.handle_sender_report(now, info);
            }
            for block in report
                .blocks
                .iter()
                .filter(|b| b.ssrc == self.sender.ssrc() && b.last_sr != 0)
            {
                // RFC 3550 §6.4.1: A - LSR - DLSR, in 1/65536 s.
                let trip = ((ntp >> 16) as u32)
                    .wrapping_sub(block.last_sr)
                    .wrapping_sub(block.delay_since_last_sr);
                // A negative one is a peer's wrong arithmetic.
                if trip < 1 << 31 {
                    self.round_trip_ms = Some(trip as f32 * 1000.0 / 65_536.0);
                }
            }
        }
    }

    /// Our SR or RR, if anything went either way.
    pub fn report(&mut self, now: Instant, ntp: u64, out: &mut TransmitQueue) {
        let Some(to) = self.rtcp_destination() else {
            return;
        };
        let clock = self.primary_clock();
        let sender = self.sender.info(now, ntp, clock);
        let block = self.reception.report_block(now);
        if sender.is_none() && block.is_none() {
            return;
        }
        let report = Report {
            from: self.sender.ssrc(),
            sender,
            blocks: block.into_iter().collect(),
        };
        let cname = format!("{:08x}@gatepost", self.sender.ssrc().0);
        out.push(self.port.wrapping_add(1), to, MAX_REPORT, |buffer| {
            packet::write_report(buffer, &report, &cname)
        });
    }

    /// Whether the peer may and will hear what we send, and where.
    pub fn destination(&self) -> Option<SocketAddr> {
        let agreed = self.agreed.as_ref()?;
        let to = agreed.latch.destination();
        let wanted = self.direction.sends() && !agreed.negotiated.is_held();
        (wanted && !to.ip().is_unspecified() && to.port() != 0).then_some(to)
    }

    /// Whether audio from the bridge has to wait: something is played to this leg.
    pub fn is_replaced(&self) -> bool {
        self.terminal.as_ref().is_some_and(|t| t.speaks())
    }

    /// Whether this leg's audio ends here.
    pub fn is_consumed(&self) -> bool {
        self.terminal.as_ref().is_some_and(|t| t.listens())
    }

    pub fn plane(&self) -> MediaPlane {
        match &self.agreed {
            _ if self.terminal.is_some() => MediaPlane::Terminate,
            Some(agreed) if agreed.negotiated.event.is_some() => MediaPlane::Aware,
            Some(_) | None => MediaPlane::Relay,
        }
    }

    pub fn primary_clock(&self) -> u32 {
        self.agreed
            .as_ref()
            .and_then(|a| a.negotiated.primary())
            .map_or(8000, |p| p.codec.clock)
    }

    pub fn stats(&self) -> LegStats {
        let agreed = self.agreed.as_ref();
        LegStats {
            codec: agreed
                .and_then(|a| a.negotiated.primary())
                .map_or(String::new(), |p| p.codec.name.clone()),
            received_packets: self.reception.packets(),
            received_bytes: self.reception.bytes(),
            sent_packets: self.sender.packets(),
            sent_bytes: self.sender.bytes(),
            lost_packets: self.reception.lost(),
            duplicate_packets: self.reception.duplicates(),
            reordered_packets: self.reception.reordered(),
            jitter_ms: self.reception.jitter_ms(),
            round_trip_ms: self.round_trip_ms,
            dropped_source: self.dropped_source,
            dropped_malformed: self.dropped_malformed,
            source: agreed.and_then(|a| a.latch.source()),
        }
    }

    fn rtcp_destination(&self) -> Option<SocketAddr> {
        let agreed = self.agreed.as_ref()?;
        let to = match agreed.latch.source() {
            // Behind a NAT the named port means nothing; the next one is as good as any.
            Some(source) if source != agreed.negotiated.remote => {
                SocketAddr::new(source.ip(), source.port().checked_add(1)?)
            }
            Some(_) | None => agreed.negotiated.remote_rtcp,
        };
        (!to.ip().is_unspecified() && to.port() != 0).then_some(to)
    }
}

/// SR, one block, SDES.
const MAX_REPORT: usize = 128;
