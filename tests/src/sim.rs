//! Calls in virtual time: user agents, a lossy link with a seed, and our node between them.
//! The clock jumps from event to event, so timer B's 32 s take microseconds.
//!
//! - [`link`]: what becomes of a packet on its way. - [`ua`]: a user agent that follows a
//!   script. - [`node`]: the call machine with scripted deciders, flows and media.

pub mod link;
pub mod node;
pub mod sdp;
pub mod ua;

use link::Link;
use node::Node;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use ua::Ua;

pub struct Sim {
    pub now: Instant,
    pub started: Instant,
    pub link: Link,
    pub node: Node,
    pub uas: Vec<Ua>,
    seed: u64,
}

impl Sim {
    /// A node and `agents` user agents. Everything that happens depends on the seed alone.
    // Any instant will do: the simulation only adds to it.
    pub fn new(seed: u64, agents: usize) -> Sim {
        let now = Instant::now();
        Sim {
            now,
            started: now,
            link: Link::new(seed),
            node: Node::new(seed),
            uas: (0..agents)
                .map(|n| Ua::new(agent_address(n), seed + 1 + n as u64))
                .collect(),
            seed,
        }
    }

    /// Lets time pass until `done`, or panics after `within`.
    pub fn until(&mut self, what: &str, within: Duration, mut done: impl FnMut(&Sim) -> bool) {
        let end = self.now + within;
        while !done(self) {
            if !self.step(end) {
                panic!(
                    "seed {}: not within {within:?}: {what}\n{}",
                    self.seed,
                    self.node.story()
                );
            }
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Everything is over: nothing is left of any call, and every journal has its end.
    pub fn finish(&mut self) {
        self.run_for(Duration::from_secs(300));
        let story = || format!("seed {}\n{}", self.seed, self.node.story());
        assert_eq!(
            self.node.b2bua.calls(),
            0,
            "calls are left over: {}",
            story()
        );
        assert!(
            self.node.b2bua.is_empty(),
            "something is left of a call: {}",
            story()
        );
        assert!(
            self.node.open_legs.is_empty(),
            "media legs are left open {:?}: {}",
            self.node.open_legs,
            story()
        );
        self.node.check_journals();
    }

    /// The next thing that happens, if it is not after `end`.
    fn step(&mut self, end: Instant) -> bool {
        self.flush();
        let next = [
            self.link.next(),
            self.node.next(),
            self.uas.iter().filter_map(Ua::next).min(),
        ];
        let Some(at) = next.into_iter().flatten().min().filter(|at| *at <= end) else {
            return false;
        };
        self.now = self.now.max(at);
        let now = self.now;
        if let Some(packet) = self.link.deliver(now) {
            if packet.to.ip() == node::address().ip() {
                self.node.receive(now, &packet);
            } else if let Some(ua) = self.uas.iter_mut().find(|ua| ua.address == packet.to) {
                ua.receive(now, &packet);
            }
        }
        self.node.pass_time(now);
        for ua in &mut self.uas {
            ua.pass_time(now);
        }
        true
    }

    fn flush(&mut self) {
        let now = self.now;
        for transmit in self.node.transmits.drain(..) {
            self.link.send(now, transmit);
        }
        for ua in &mut self.uas {
            while let Some(transmit) = ua.poll_transmit() {
                self.link.send(now, transmit);
            }
        }
    }
}

pub fn agent_address(n: usize) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 10 + n as u8], 5060))
}
