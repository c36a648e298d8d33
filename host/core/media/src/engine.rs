//! All media of one thread: many sessions, driven by packets, commands and time.
//!
//! The shell's loop: drain commands into [`Engine::handle_command`], do the
//! [`PortOrder`]s, hand in datagrams with [`Engine::handle_rtp`] and
//! [`Engine::handle_rtcp`] (a relayed packet comes back in the shell's own buffer), call
//! [`Engine::handle_timeout`] when [`Engine::poll_timeout`] is due, send what
//! [`Engine::transmits`] lists, and pass on [`Engine::poll_event`].

mod commands;
mod packets;
mod timeouts;

use crate::command::{Event, LegKey, LegStats, SessionKey};
use crate::events::EventQueue;
use crate::leg::{Leg, MediaPlane};
use crate::rng::Rng;
use crate::slab::Slab;
use crate::timer::{Due, Timer, TimerQueue};
use crate::transmit::{Transmit, TransmitQueue};
use smallvec::SmallVec;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

#[derive(Debug, Clone)]
pub struct Config {
    /// Seed of SSRCs, first sequence numbers and timestamps.
    pub seed: u64,
    /// Interval of our RTCP reports. // 5 s
    pub report_every: Duration,
    /// Without a packet for so long a leg counts as silent. // 10 s
    pub silent_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            seed: 0,
            report_every: Duration::from_secs(5),
            silent_after: Duration::from_secs(10),
        }
    }
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// Taken in, or dropped and counted.
    Consumed,
    /// Send the first `len` bytes of the buffer that was handed in, from our `port`.
    Forward {
        port: u16,
        to: SocketAddr,
        len: usize,
    },
}

/// What the shell shall do to sockets: a pair of `port` (RTP) and `port + 1` (RTCP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortOrder {
    /// If it cannot be had: [`Engine::port_failed`].
    Open {
        session: SessionKey,
        leg: LegKey,
        local: IpAddr,
        port: u16,
    },
    Close {
        port: u16,
    },
}

/// What went wrong, summed over all legs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// To a port that no leg has.
    pub dropped_no_leg: u64,
    /// From an address that is not the leg's.
    pub dropped_source: u64,
    /// Not RTP or RTCP, or not negotiated.
    pub dropped_malformed: u64,
    /// Events that nobody fetched.
    pub dropped_events: u64,
    /// Packets of ours that nobody fetched.
    pub dropped_transmits: u64,
    pub legs: u64,
    pub sessions: u64,
}

/// See the module's text.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    /// Origin of the NTP time in our reports (RFC 3550 §4 allows a clock of our own).
    epoch: Instant,
    rng: Rng,
    legs: Slab<Leg>,
    sessions: HashMap<SessionKey, SmallVec<[(LegKey, u32); 2]>>,
    /// Slot of the leg of a port pair, by the even port / 2.
    slots: Box<[u32]>,
    generation: u32,
    orders: VecDeque<PortOrder>,
    events: EventQueue,
    transmits: TransmitQueue,
    timers: TimerQueue,
    counters: Counters,
}

const NO_SLOT: u32 = u32::MAX;

impl Engine {
    /// `now` is the origin of our RTCP clock.
    pub fn new(now: Instant, config: Config) -> Engine {
        Engine {
            rng: Rng::new(config.seed),
            config,
            epoch: now,
            legs: Slab::new(),
            sessions: HashMap::new(),
            slots: vec![NO_SLOT; 32_768].into_boxed_slice(),
            generation: 0,
            orders: VecDeque::new(),
            events: EventQueue::default(),
            transmits: TransmitQueue::default(),
            timers: TimerQueue::default(),
            counters: Counters::default(),
        }
    }

    /// When [`Engine::handle_timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.timers.next()
    }

    pub fn poll_port(&mut self) -> Option<PortOrder> {
        self.orders.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<(SessionKey, Event)> {
        self.events.pop()
    }

    /// One packet that the engine made. Where many go out at once, [`Engine::transmits`] and
    /// [`Engine::clear_transmits`] give the whole batch.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        self.transmits.pop()
    }

    /// All packets that wait to be sent.
    pub fn transmits(&self) -> impl ExactSizeIterator<Item = Transmit<'_>> {
        self.transmits.iter()
    }

    /// They were sent.
    pub fn clear_transmits(&mut self) {
        self.transmits.clear();
    }

    pub fn counters(&self) -> Counters {
        Counters {
            dropped_events: self.events.dropped(),
            dropped_transmits: self.transmits.dropped(),
            legs: self.legs.len() as u64,
            sessions: self.sessions.len() as u64,
            ..self.counters
        }
    }

    pub fn stats(&self, session: SessionKey, leg: LegKey) -> Option<LegStats> {
        Some(self.legs.get(self.slot(session, leg)?)?.stats())
    }

    pub fn plane(&self, session: SessionKey, leg: LegKey) -> Option<MediaPlane> {
        Some(self.legs.get(self.slot(session, leg)?)?.plane())
    }

    fn slot(&self, session: SessionKey, leg: LegKey) -> Option<u32> {
        self.sessions
            .get(&session)?
            .iter()
            .find(|(key, _)| *key == leg)
            .map(|(_, slot)| *slot)
    }

    fn slot_of_port(&self, port: u16) -> Option<u32> {
        let slot = self.slots[usize::from(port / 2)];
        (slot != NO_SLOT).then_some(slot)
    }

    /// 32.32 seconds of our own clock.
    fn ntp(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch);
        // An hour of head start: 0 would mean "no sender report" in a receiver's block.
        ((since.as_nanos() + 3_600_000_000_000) << 32).div_euclid(1_000_000_000) as u64
    }

    fn schedule(&mut self, at: Instant, timer: Timer, slot: u32) {
        let Some(leg) = self.legs.get(slot) else {
            return;
        };
        self.timers.push(Due {
            at,
            timer,
            slot,
            generation: leg.generation,
        });
    }

    /// The next instant at or after `at` on which legs tick. All share it, so that the
    /// shell wakes and sends for many at once.
    fn on_grid(&self, at: Instant) -> Instant {
        let since = at.saturating_duration_since(self.epoch).as_nanos();
        let grid = GRID.as_nanos();
        at + Duration::from_nanos((since.div_ceil(grid) * grid - since) as u64)
    }
}

const GRID: Duration = Duration::from_millis(5);
