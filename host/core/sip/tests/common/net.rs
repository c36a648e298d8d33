//! Two transaction layers with a network between them that loses, doubles and reorders by
//! seed, and a clock that jumps to the next thing that happens.

use bytes::Bytes;
use sip::token::TokenSource;
use sip::{Config, Event, Flow, Message, TransactionLayer, Transport};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub const ALICE: usize = 0;
pub const BOB: usize = 1;

pub struct Net {
    pub start: Instant,
    pub now: Instant,
    pub layers: [TransactionLayer; 2],
    pub transport: Transport,
    pub weather: Weather,
    /// All that was sent, lost or not: when (since the start), by whom, first line and CSeq.
    pub sent: Vec<(Duration, usize, String)>,
    /// Set to swallow what a node sends, by the text of `sent`.
    pub swallow: fn(usize, &str) -> bool,
    in_flight: BTreeMap<(Instant, u64), (usize, Bytes)>,
    rng: u64,
    counter: u64,
}

/// What the network does to datagrams. Percentages.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub loss: u64,
    pub duplication: u64,
    /// Each datagram takes up to this much longer.
    pub jitter: Duration,
}

impl Weather {
    pub const FAIR: Weather = Weather {
        loss: 0,
        duplication: 0,
        jitter: Duration::ZERO,
    };
}

impl Net {
    pub fn new(seed: u64, transport: Transport, weather: Weather) -> Self {
        Net::with(seed, transport, weather, Config::default())
    }

    pub fn with(seed: u64, transport: Transport, weather: Weather, config: Config) -> Self {
        let start = start();
        let layer = |node| TransactionLayer::new(config.clone(), TokenSource::new(node, seed));
        Net {
            start,
            now: start,
            layers: [layer(0), layer(1)],
            transport,
            weather,
            sent: Vec::new(),
            swallow: |_, _| false,
            in_flight: BTreeMap::new(),
            rng: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            counter: 0,
        }
    }

    /// The flow as `node` sees it.
    pub fn flow(&self, node: usize) -> Flow {
        let address = |node: usize| SocketAddr::from(([192, 0, 2, node as u8 + 1], 5060));
        let connection = u64::from(self.transport.is_reliable()) * 7;
        Flow {
            transport: self.transport,
            local: address(node),
            remote: address(1 - node),
            connection,
        }
    }

    /// Lets time pass until `until` after the start, giving each event to `user`.
    pub fn run(&mut self, until: Duration, mut user: impl FnMut(&mut Net, usize, Event)) {
        let end = self.start + until;
        loop {
            self.settle(&mut user);
            let timers = self
                .layers
                .iter()
                .filter_map(|layer| layer.poll_timeout().map(|(at, _)| at));
            let arrival = self.in_flight.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = timers.chain(arrival).min().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self
                .in_flight
                .first_entry()
                .filter(|entry| entry.key().0 <= self.now)
            {
                let (node, bytes) = entry.remove();
                let flow = self.flow(node);
                self.layers[node].handle_message(self.now, flow, bytes);
            }
            for layer in &mut self.layers {
                layer.handle_timeout(self.now);
            }
        }
    }

    /// When `node` sent what begins with `what`, in milliseconds since the start.
    pub fn times(&self, node: usize, what: &str) -> Vec<u128> {
        let of = self
            .sent
            .iter()
            .filter(|(_, by, text)| *by == node && text.starts_with(what));
        of.map(|(at, _, _)| at.as_millis()).collect()
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// A number from 0 to `below` − 1 (SplitMix64).
    pub fn random(&mut self, below: u64) -> u64 {
        self.rng = self.rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.rng;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }

    /// Takes out what the layers want until they want nothing more.
    fn settle(&mut self, user: &mut impl FnMut(&mut Net, usize, Event)) {
        loop {
            let mut is_quiet = true;
            for node in [ALICE, BOB] {
                while let Some(transmit) = self.layers[node].poll_transmit() {
                    is_quiet = false;
                    self.post(node, transmit.bytes);
                }
                while let Some(event) = self.layers[node].poll_event() {
                    is_quiet = false;
                    user(self, node, event);
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    fn post(&mut self, node: usize, bytes: Bytes) {
        let text = describe(&bytes);
        let is_swallowed = (self.swallow)(node, &text);
        self.sent.push((self.elapsed(), node, text));
        if is_swallowed {
            return;
        }
        let copies = if self.transport.is_reliable() {
            1
        } else {
            1 + u64::from(self.random(100) < self.weather.duplication)
        };
        for _ in 0..copies {
            if !self.transport.is_reliable() && self.random(100) < self.weather.loss {
                continue;
            }
            let jitter =
                Duration::from_micros(self.random(self.weather.jitter.as_micros() as u64 + 1));
            let jitter = if self.transport.is_reliable() {
                Duration::ZERO
            } else {
                jitter
            };
            self.counter += 1;
            self.in_flight.insert(
                (self.now + Duration::from_millis(1) + jitter, self.counter),
                (1 - node, bytes.clone()),
            );
        }
    }
}

/// `INVITE` or `200 INVITE`.
fn describe(bytes: &Bytes) -> String {
    match Message::parse(bytes.clone()).expect("a layer sends good messages") {
        Message::Request(request) => request.method().to_string(),
        Message::Response(response) => {
            format!(
                "{} {}",
                response.code(),
                response.cseq().map_or("", |cseq| cseq.method)
            )
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do; only differences are looked at"
)]
fn start() -> Instant {
    Instant::now()
}
