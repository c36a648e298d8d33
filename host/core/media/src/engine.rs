//! All media of one thread: many sessions, driven by packets, commands and time.
//!
//! The shell's loop: drain commands into [`Engine::handle_command`], do the
//! [`PortOrder`]s, hand in datagrams with [`Engine::handle_rtp`] and
//! [`Engine::handle_rtcp`] (a relayed packet comes back in the shell's own buffer), call
//! [`Engine::handle_timeout`] when [`Engine::poll_timeout`] is due, send what
//! [`Engine::transmits`] lists, and pass on [`Engine::poll_event`].

use crate::command::{Command, Event, LegKey, SessionKey};
use crate::timer::{Timer, TimerQueue};
use crate::transmit::{Transmit, TransmitQueue};
use std::collections::VecDeque;
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
    ports: VecDeque<PortOrder>,
    events: VecDeque<(SessionKey, Event)>,
    transmits: TransmitQueue,
    timers: TimerQueue,
    counters: Counters,
}

impl Engine {
    /// `now` is the origin of our RTCP clock.
    pub fn new(_now: Instant, config: Config) -> Engine {
        Engine {
            config,
            ports: VecDeque::new(),
            events: VecDeque::new(),
            transmits: TransmitQueue::default(),
            timers: TimerQueue::default(),
            counters: Counters::default(),
        }
    }

    pub fn handle_command(&mut self, _now: Instant, session: SessionKey, command: Command) {
        if let Command::Open { leg, local, port } = command {
            self.ports.push_back(PortOrder::Open {
                session,
                leg,
                local,
                port,
            });
        }
    }

    /// `port`: the local port it came to. The packet is changed only if the answer is
    /// [`Handled::Forward`].
    pub fn handle_rtp(
        &mut self,
        _now: Instant,
        _port: u16,
        _from: SocketAddr,
        _packet: &mut [u8],
    ) -> Handled {
        self.counters.dropped_no_leg += 1;
        Handled::Consumed
    }

    /// `port`: the local port it came to (RTP port + 1, or the RTP port itself).
    pub fn handle_rtcp(&mut self, _now: Instant, _port: u16, _from: SocketAddr, _packet: &[u8]) {
        self.counters.dropped_no_leg += 1;
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        while self.timers.pop_due(now).is_some() {}
    }

    /// A port pair could not be opened: its leg hears `OpenFailed` and is gone.
    pub fn port_failed(&mut self, _now: Instant, _port: u16) {}

    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.timers.next()
    }

    pub fn poll_port(&mut self) -> Option<PortOrder> {
        self.ports.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<(SessionKey, Event)> {
        self.events.pop_front()
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
        self.counters
    }

    pub fn config(&self) -> &Config {
        &self.config
    }
}
