//! What time brings: frames, reports, silence, ends of digits that were lost.

use super::Engine;
use crate::codec::{AudioCodec, MAX_PACKET_SAMPLES, RATE};
use crate::command::Event;
use crate::events::EventQueue;
use crate::leg::Leg;
use crate::packet::{self, MAX_HEADER};
use crate::terminal::{MAX_FRAME, Speech};
use crate::timer::{Due, Timer};
use crate::transmit::TransmitQueue;
use std::time::{Duration, Instant};

impl Engine {
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.timers.pop_due(now) {
            let ntp = self.ntp(now);
            let Some(leg) = self
                .legs
                .get_mut(due.slot)
                .filter(|leg| leg.generation == due.generation)
            else {
                continue;
            };
            let next = match due.timer {
                Timer::Digit => leg.end_lost_digit(now, &mut self.events),
                Timer::Report => {
                    leg.report(now, ntp, &mut self.transmits);
                    Some(now + self.config.report_every)
                }
                Timer::Silence => {
                    Some(leg.watch_silence(now, self.config.silent_after, &mut self.events))
                }
                Timer::Tick => {
                    // Frames that are very late would only come in a burst.
                    let at = if now.saturating_duration_since(due.at) > MAX_LATE {
                        now
                    } else {
                        due.at
                    };
                    leg.tick(now, &mut self.events, &mut self.transmits)
                        .map(|frame| at + frame)
                }
            };
            if let Some(at) = next {
                let at = if due.timer == Timer::Tick {
                    self.on_grid(at)
                } else {
                    at
                };
                self.timers.push(Due { at, ..due });
            }
        }
    }
}

const MAX_LATE: Duration = Duration::from_millis(100);

impl Leg {
    fn end_lost_digit(&mut self, now: Instant, events: &mut EventQueue) -> Option<Instant> {
        if let Some(digit) = self.digits.handle_timeout(now) {
            self.tell_digit(digit, events);
        }
        let next = self.digits.poll_timeout();
        self.digit_timer = next.is_some();
        next
    }

    /// When to look again.
    fn watch_silence(&mut self, now: Instant, after: Duration, events: &mut EventQueue) -> Instant {
        let last = self.reception.last_packet();
        let Some(since) = last.max(self.negotiated_at) else {
            return now + after;
        };
        let silent = now.saturating_duration_since(since);
        if self
            .silence_told
            .is_some_and(|told| last.is_some_and(|last| last > told))
        {
            self.silence_told = None;
        }
        if silent < after {
            return since + after;
        }
        if self.direction.receives() && self.silence_told.is_none() {
            self.silence_told = Some(now);
            events.push(
                self.session,
                Event::Silent {
                    leg: self.key,
                    for_ms: silent.as_millis() as u32,
                },
            );
        }
        now + after
    }

    /// One packet duration of a leg that makes or takes its audio here; how long it is, or
    /// none once there is nothing more to do.
    fn tick(
        &mut self,
        now: Instant,
        events: &mut EventQueue,
        out: &mut TransmitQueue,
    ) -> Option<Duration> {
        let terminal = self.terminal.as_mut()?;
        if !terminal.speaks() && !terminal.listens() {
            self.terminal = None;
            return None;
        }
        let Some(agreed) = &self.agreed else {
            return Some(Duration::from_millis(20));
        };
        let negotiated = &agreed.negotiated;
        // Whole steps of the grid; what the peer likes is a wish (RFC 8866 §6.4).
        let frame_ms = u64::from(negotiated.ptime_ms / 10 * 10).clamp(10, 60);
        let samples = (frame_ms as usize * RATE as usize / 1000).min(MAX_FRAME);
        terminal.listen(self.session, self.key, negotiated, samples, events);
        let mut frame = [0; MAX_FRAME];
        let frame = &mut frame[..samples];
        let speech = terminal.speak(
            now,
            self.session,
            self.key,
            negotiated,
            &mut self.sender,
            frame,
            events,
        );
        let primary = negotiated.primary();
        let codec =
            primary.and_then(|p| AudioCodec::of(&p.codec.name, p.codec.clock, p.codec.channels));
        let payload_type = primary.map_or(0, |p| p.send_payload);
        if let Some(to) = self.destination() {
            let port = self.port;
            match (speech, codec) {
                (Speech::Audio, Some(codec)) => {
                    let mut payload = [0; MAX_PACKET_SAMPLES];
                    let len = codec.encode(frame, &mut payload);
                    let header = self
                        .sender
                        .generate(now, payload_type, samples as u32, RATE);
                    let sent = MAX_HEADER + len;
                    out.push(port, to, sent, |buffer| {
                        packet::write_rtp(buffer, header, &payload[..len])
                    });
                    self.sender.count(sent, len);
                }
                (Speech::Event(header, payload), _) => {
                    let sent = MAX_HEADER + payload.len();
                    out.push(port, to, sent, |buffer| {
                        packet::write_rtp(buffer, header, &payload)
                    });
                    self.sender.count(sent, payload.len());
                }
                (Speech::Audio, None) | (Speech::Nothing, _) => {}
            }
        }
        Some(Duration::from_millis(frame_ms))
    }
}
