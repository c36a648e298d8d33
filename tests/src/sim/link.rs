//! The network: loses, repeats and reorders datagrams as its seed wants; streams arrive.

use bytes::Bytes;
use sip::{Transmit, Transport};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub struct Link {
    random: Random,
    /// Out of 100 datagrams.
    pub lost: u64,
    pub repeated: u64,
    /// Extra delay, 0 to so many ms: what is sent later may arrive earlier.
    pub jitter_ms: u64,
    /// Datagrams to this address vanish.
    pub dead: Vec<SocketAddr>,
    travelling: BTreeMap<(Instant, u64), Packet>,
    sent: u64,
}

#[derive(Debug, Clone)]
pub struct Packet {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub transport: Transport,
    pub bytes: Bytes,
}

impl Link {
    pub fn new(seed: u64) -> Link {
        Link {
            random: Random(seed),
            lost: 0,
            repeated: 0,
            jitter_ms: 0,
            dead: Vec::new(),
            travelling: BTreeMap::new(),
            sent: 0,
        }
    }

    pub fn send(&mut self, now: Instant, transmit: Transmit) {
        let flow = transmit.flow;
        let packet = Packet {
            from: flow.local,
            to: flow.remote,
            transport: flow.transport,
            bytes: transmit.bytes,
        };
        if self.dead.contains(&packet.to) {
            return;
        }
        if flow.transport.is_reliable() {
            self.put(now + DELAY, packet);
            return;
        }
        let copies = 1 + u64::from(self.random.below(100) < self.repeated);
        for _ in 0..copies {
            if self.random.below(100) >= self.lost {
                let delay = DELAY + Duration::from_millis(self.random.below(self.jitter_ms + 1));
                self.put(now + delay, packet.clone());
            }
        }
    }

    pub fn next(&self) -> Option<Instant> {
        self.travelling.first_key_value().map(|((at, _), _)| *at)
    }

    pub fn deliver(&mut self, now: Instant) -> Option<Packet> {
        self.next().filter(|at| *at <= now)?;
        self.travelling.pop_first().map(|(_, packet)| packet)
    }

    fn put(&mut self, at: Instant, packet: Packet) {
        self.sent += 1;
        self.travelling.insert((at, self.sent), packet);
    }
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }
}

const DELAY: Duration = Duration::from_millis(5);
