//! What comes from the network.

use super::{Engine, Handled};
use crate::bridge;
use crate::leg::{Leg, Received};
use crate::packet::{self, Rtp};
use crate::timer::{Due, Timer};
use std::net::SocketAddr;
use std::time::Instant;

impl Engine {
    /// `port`: the local port it came to. The packet is changed only if the answer is
    /// [`Handled::Forward`].
    pub fn handle_rtp(
        &mut self,
        now: Instant,
        port: u16,
        from: SocketAddr,
        packet: &mut [u8],
    ) -> Handled {
        let Some(slot) = self.slot_of_port(port) else {
            self.counters.dropped_no_leg += 1;
            return Handled::Consumed;
        };
        // RFC 5761: some send RTCP here though we never agree to it.
        if packet::is_rtcp(packet) {
            self.rtcp(now, slot, from, packet);
            return Handled::Consumed;
        }
        let Some(leg) = self.legs.get_mut(slot) else {
            return Handled::Consumed;
        };
        let len = packet.len();
        let Ok(mut rtp) = Rtp::parse(packet) else {
            self.counters.dropped_malformed += 1;
            leg.count_malformed(from.ip());
            return Handled::Consumed;
        };
        let header = rtp.header();
        let dropped = (leg.dropped_source, leg.dropped_malformed);
        let received = leg.receive(now, from, &header, rtp.payload(), len, &mut self.events);
        match received {
            Received::Nothing => {
                self.counters.dropped_source += leg.dropped_source - dropped.0;
                self.counters.dropped_malformed += leg.dropped_malformed - dropped.1;
                return Handled::Consumed;
            }
            Received::Event {
                payload,
                clock,
                seq,
                restarted,
            } => {
                let noticed =
                    leg.digits
                        .handle_packet(now, header.ssrc, header.time, clock, payload);
                if noticed.began.is_some()
                    && let Some(terminal) = &mut leg.terminal
                {
                    terminal.interrupt(leg.session, leg.key, &mut self.events);
                }
                for digit in noticed.ended.into_iter().chain(noticed.also_ended) {
                    leg.tell_digit(digit, &mut self.events);
                }
                if let Some(terminal) = &mut leg.terminal {
                    terminal.hear(seq, header.time, u8::MAX, &[], restarted);
                }
                if let Some(at) = leg.digits.poll_timeout()
                    && !leg.digit_timer
                {
                    leg.digit_timer = true;
                    self.timers.push(Due {
                        at,
                        timer: Timer::Digit,
                        slot,
                        generation: leg.generation,
                    });
                }
            }
            Received::Audio {
                codec,
                seq,
                restarted,
            } => {
                if let Some(terminal) = &mut leg.terminal {
                    terminal.hear(seq, header.time, codec, rtp.payload(), restarted);
                }
            }
        }
        let Some(bridged) = leg.bridged.filter(|_| !leg.is_consumed()) else {
            return Handled::Consumed;
        };
        let Some((leg, other)) = self.legs.pair_mut(slot, bridged) else {
            return Handled::Consumed;
        };
        match bridge::forward(now, leg, other, received, &header, &mut rtp, len) {
            Some(to) => Handled::Forward {
                port: other.port,
                to,
                len,
            },
            None => Handled::Consumed,
        }
    }

    /// `port`: the local port it came to (RTP port + 1, or the RTP port itself).
    pub fn handle_rtcp(&mut self, now: Instant, port: u16, from: SocketAddr, packet: &[u8]) {
        match self.slot_of_port(port) {
            Some(slot) => self.rtcp(now, slot, from, packet),
            None => self.counters.dropped_no_leg += 1,
        }
    }

    fn rtcp(&mut self, now: Instant, slot: u32, from: SocketAddr, packet: &[u8]) {
        let ntp = self.ntp(now);
        let Some(leg) = self.legs.get_mut(slot) else {
            return;
        };
        let dropped = (leg.dropped_source, leg.dropped_malformed);
        leg.handle_rtcp(now, ntp, from, packet);
        self.counters.dropped_source += leg.dropped_source - dropped.0;
        self.counters.dropped_malformed += leg.dropped_malformed - dropped.1;
    }
}

impl Leg {
    fn count_malformed(&mut self, from: std::net::IpAddr) {
        match &self.agreed {
            Some(agreed) if agreed.latch.allows(from) => self.dropped_malformed += 1,
            Some(_) | None => self.dropped_source += 1,
        }
    }
}
