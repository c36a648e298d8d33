//! What a call orders.

use super::{Engine, NO_SLOT, PortOrder};
use crate::bridge;
use crate::command::{Command, Event, LegKey, PlayEnd, SessionKey};
use crate::leg::Leg;
use crate::playback::Playback;
use crate::terminal::{Terminal, played};
use crate::timer::Timer;
use std::time::Instant;

impl Engine {
    /// Orders for a leg that is not open do nothing.
    pub fn handle_command(&mut self, now: Instant, session: SessionKey, command: Command) {
        match command {
            Command::Open { leg, local, port } => self.open(now, session, leg, local, port),
            Command::Negotiate {
                leg,
                negotiated,
                direction,
            } => {
                let Some(slot) = self.slot(session, leg) else {
                    return;
                };
                let Some(leg) = self.legs.get_mut(slot) else {
                    return;
                };
                let first = leg.agreed.is_none();
                leg.negotiate(now, negotiated, direction);
                if let Some(bridged) = leg.bridged {
                    self.connect(slot, bridged);
                }
                if first {
                    // Reports of legs that began together spread over half the interval.
                    let spread = self.rng.next_u32() % 500;
                    let first_report = now + self.config.report_every * (1000 - spread) / 1000;
                    self.schedule(first_report, Timer::Report, slot);
                    self.schedule(now + self.config.silent_after, Timer::Silence, slot);
                }
            }
            Command::Bridge { a, b } => {
                let (Some(a), Some(b)) = (self.slot(session, a), self.slot(session, b)) else {
                    return;
                };
                if a != b {
                    self.unbridge(a);
                    self.unbridge(b);
                    self.connect(a, b);
                }
            }
            Command::Unbridge { a, b } => {
                let (Some(a), Some(b)) = (self.slot(session, a), self.slot(session, b)) else {
                    return;
                };
                if self.legs.get(a).is_some_and(|leg| leg.bridged == Some(b)) {
                    self.unbridge(a);
                }
            }
            Command::Play {
                leg,
                id,
                prompts,
                interruptible,
                repeat,
            } => {
                let playback = Playback::new(id, prompts, interruptible, repeat);
                let refused = played(leg, &playback, PlayEnd::Failed);
                let taken = self
                    .terminal(now, session, leg)
                    .is_some_and(|terminal| terminal.play(playback));
                if !taken {
                    self.events.push(session, refused);
                }
            }
            Command::StopPlay { leg, id } => {
                let Some(terminal) = self.present_terminal(session, leg) else {
                    return;
                };
                if let Some(play) = terminal.stop_play(id) {
                    self.events
                        .push(session, played(leg, &play, PlayEnd::Stopped));
                }
            }
            Command::SendDigits { leg, digits } => {
                if let Some(terminal) = self.terminal(now, session, leg) {
                    terminal.send_digits(&digits);
                }
            }
            Command::Attach {
                leg,
                id,
                input,
                output,
                frame_ms,
            } => {
                if let Some(terminal) = self.terminal(now, session, leg) {
                    // A rate that no platform has leaves the leg without a connector; the
                    // plugin host refuses such a connection before it comes here.
                    let _ = terminal.attach(id, input, output, frame_ms);
                }
            }
            Command::Detach { leg, id } => {
                if let Some(terminal) = self.present_terminal(session, leg) {
                    terminal.detach(id);
                }
            }
            Command::Connector { leg, id, command } => {
                let Some(slot) = self.slot(session, leg) else {
                    return;
                };
                let Some(terminal) = self
                    .legs
                    .get_mut(slot)
                    .and_then(|leg| leg.terminal.as_mut())
                else {
                    return;
                };
                terminal.command(session, leg, id, command, &mut self.events);
            }
            Command::Close { leg } => {
                if let Some((leg, stats)) = self.remove(session, leg) {
                    self.orders.push_back(PortOrder::Close { port: leg.port });
                    self.events.push(
                        session,
                        Event::Closed {
                            leg: leg.key,
                            stats,
                        },
                    );
                }
            }
        }
    }

    /// A port pair could not be opened: its leg hears `OpenFailed` and is gone.
    pub fn port_failed(&mut self, _now: Instant, port: u16) {
        let Some(leg) = self.slot_of_port(port).and_then(|slot| self.legs.get(slot)) else {
            return;
        };
        let (session, key) = (leg.session, leg.key);
        if self.remove(session, key).is_some() {
            self.events
                .push(session, Event::OpenFailed { leg: key, port });
        }
    }

    fn open(
        &mut self,
        now: Instant,
        session: SessionKey,
        key: LegKey,
        local: std::net::IpAddr,
        port: u16,
    ) {
        // RTP has the even port of a pair (RFC 3550 §11).
        if !port.is_multiple_of(2)
            || port == 0
            || self.slot_of_port(port).is_some()
            || self.slot(session, key).is_some()
        {
            self.events
                .push(session, Event::OpenFailed { leg: key, port });
            return;
        }
        let _ = now;
        self.generation = self.generation.wrapping_add(1);
        let slot = self
            .legs
            .insert(Leg::new(session, key, port, self.generation, &mut self.rng));
        self.slots[usize::from(port / 2)] = slot;
        self.sessions.entry(session).or_default().push((key, slot));
        self.orders.push_back(PortOrder::Open {
            session,
            leg: key,
            local,
            port,
        });
    }

    fn remove(
        &mut self,
        session: SessionKey,
        key: LegKey,
    ) -> Option<(Leg, crate::command::LegStats)> {
        let slot = self.slot(session, key)?;
        self.unbridge(slot);
        let mut leg = self.legs.remove(slot)?;
        self.slots[usize::from(leg.port / 2)] = NO_SLOT;
        if let Some(legs) = self.sessions.get_mut(&session) {
            legs.retain(|(k, _)| *k != key);
            if legs.is_empty() {
                self.sessions.remove(&session);
            }
        }
        if let Some(terminal) = &mut leg.terminal {
            terminal.stop_all(session, key, &mut self.events);
        }
        let stats = leg.stats();
        Some((leg, stats))
    }

    /// Bridge, or bring a bridge up to date after a negotiation.
    fn connect(&mut self, a: u32, b: u32) {
        let Some((first, second)) = self.legs.pair_mut(a, b) else {
            return;
        };
        first.bridged = Some(b);
        second.bridged = Some(a);
        bridge::connect(first, second);
        bridge::connect(second, first);
    }

    fn unbridge(&mut self, slot: u32) {
        let Some(other) = self.legs.get_mut(slot).and_then(|leg| leg.bridged.take()) else {
            return;
        };
        if let Some(other) = self.legs.get_mut(other) {
            other.bridged = None;
        }
    }

    fn present_terminal(&mut self, session: SessionKey, leg: LegKey) -> Option<&mut Terminal> {
        let slot = self.slot(session, leg)?;
        self.legs.get_mut(slot)?.terminal.as_deref_mut()
    }

    /// The leg's terminal; a new one begins to tick.
    fn terminal(
        &mut self,
        now: Instant,
        session: SessionKey,
        leg: LegKey,
    ) -> Option<&mut Terminal> {
        let slot = self.slot(session, leg)?;
        if self.legs.get(slot)?.terminal.is_none() {
            let at = self.on_grid(now);
            self.schedule(at, Timer::Tick, slot);
        }
        Some(self.legs.get_mut(slot)?.terminal.get_or_insert_default())
    }
}
