//! A call with two peers. Ports, addresses and numbers are fixed; only time moves.

use media::command::{Command, Event, LegKey, SessionKey};
use media::engine::{Config, Engine, Handled};
use media::packet::{Header, RtpTime, SeqNo, Ssrc, write_rtp};
use media::sdp::{Agreed, Codec, Direction, Negotiated};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub const CALL: SessionKey = SessionKey(7);
pub const A: LegKey = LegKey(0);
pub const B: LegKey = LegKey(1);
pub const A_PORT: u16 = 10_000;
pub const B_PORT: u16 = 10_002;

pub struct World {
    pub engine: Engine,
    pub now: Instant,
    pub a: Peer,
    pub b: Peer,
    /// Packets of the engine's own and forwarded ones, in the order they went out.
    pub sent: Vec<Sent>,
    pub events: Vec<Event>,
}

#[derive(Debug, Clone)]
pub struct Sent {
    pub at: Instant,
    pub port: u16,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// A phone: sends 20 ms packets of one stream.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    pub port: u16,
    pub payload_type: u8,
    pub ssrc: u32,
    pub seq: u16,
    pub time: u32,
}

impl Sent {
    pub fn header(&self) -> Header {
        Header::try_from(&self.bytes[..]).unwrap()
    }

    pub fn payload(&self) -> &[u8] {
        &self.bytes[12..]
    }
}

impl World {
    /// Both legs open, negotiated and bridged.
    pub fn bridged(a: Negotiated, b: Negotiated) -> World {
        let mut world = World::one_leg(a);
        world.open(B, B_PORT);
        world.negotiate(B, b);
        world.command(Command::Bridge { a: A, b: B });
        world
    }

    /// Only the A leg, negotiated.
    pub fn one_leg(a: Negotiated) -> World {
        let start = Instant::now();
        let engine = Engine::new(
            start,
            Config {
                seed: 42,
                ..Config::default()
            },
        );
        let peer = |address: &str, port, ssrc| Peer {
            address: address.parse().unwrap(),
            port,
            payload_type: a.codecs[0].receive_payload,
            ssrc,
            seq: 65_530,
            time: u32::MAX - 400,
        };
        let (sent, events) = (Vec::new(), Vec::new());
        let (peer_a, peer_b) = (
            peer("198.51.100.1:4000", A_PORT, 0xa),
            peer("198.51.100.2:5000", B_PORT, 0xb),
        );
        let mut world = World {
            engine,
            now: start,
            a: peer_a,
            b: peer_b,
            sent,
            events,
        };
        world.open(A, A_PORT);
        world.negotiate(A, a);
        world
    }

    pub fn command(&mut self, command: Command) {
        self.engine.handle_command(self.now, CALL, command);
        self.run();
    }

    pub fn open(&mut self, leg: LegKey, port: u16) {
        self.command(Command::Open {
            leg,
            local: "203.0.113.1".parse().unwrap(),
            port,
        });
        while self.engine.poll_port().is_some() {}
    }

    pub fn negotiate(&mut self, leg: LegKey, negotiated: Negotiated) {
        if leg == B {
            self.b.payload_type = negotiated.codecs[0].receive_payload;
        }
        let direction = negotiated.direction;
        self.command(Command::Negotiate {
            leg,
            negotiated,
            direction,
        });
    }

    /// What the peer sends goes into the engine, and what comes out is kept.
    pub fn deliver(&mut self, port: u16, from: SocketAddr, bytes: &[u8]) -> Option<Sent> {
        let mut buffer = bytes.to_vec();
        let forwarded = match self.engine.handle_rtp(self.now, port, from, &mut buffer) {
            Handled::Forward { port, to, len } => Some(Sent {
                at: self.now,
                port,
                to,
                bytes: buffer[..len].to_vec(),
            }),
            Handled::Consumed => None,
        };
        self.sent.extend(forwarded.clone());
        self.run();
        forwarded
    }

    pub fn a_sends(&mut self, payload: &[u8]) -> Option<Sent> {
        let bytes = self.a.packet(payload);
        self.deliver(self.a.port, self.a.address, &bytes)
    }

    pub fn b_sends(&mut self, payload: &[u8]) -> Option<Sent> {
        let bytes = self.b.packet(payload);
        self.deliver(self.b.port, self.b.address, &bytes)
    }

    /// Time passes; every timer fires when it is due.
    pub fn wait(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while let Some((at, _)) = self.engine.poll_timeout().filter(|(at, _)| *at <= until) {
            self.now = at.max(self.now);
            self.engine.handle_timeout(self.now);
            self.run();
        }
        self.now = until;
    }

    /// RTP that went to this leg's peer, events and audio.
    pub fn heard_by(&self, peer: &Peer) -> Vec<&Sent> {
        self.sent.iter().filter(|s| s.to == peer.address).collect()
    }

    fn run(&mut self) {
        // What is due at this very instant belongs to what caused it.
        while self
            .engine
            .poll_timeout()
            .is_some_and(|(at, _)| at <= self.now)
        {
            self.engine.handle_timeout(self.now);
        }
        let now = self.now;
        let made = self.engine.transmits().map(|t| Sent {
            at: now,
            port: t.port,
            to: t.to,
            bytes: t.bytes.to_vec(),
        });
        self.sent.extend(made.collect::<Vec<_>>());
        self.engine.clear_transmits();
        while let Some((session, event)) = self.engine.poll_event() {
            assert_eq!(session, CALL);
            self.events.push(event);
        }
    }
}

impl Peer {
    pub fn packet(&mut self, payload: &[u8]) -> Vec<u8> {
        self.seq = self.seq.wrapping_add(1);
        self.time = self.time.wrapping_add(160);
        self.raw(self.payload_type, self.seq, self.time, false, payload)
    }

    pub fn raw(
        &self,
        payload_type: u8,
        seq: u16,
        time: u32,
        marker: bool,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut out = vec![0; 12 + payload.len()];
        let header = Header {
            marker,
            payload_type,
            seq: SeqNo(seq),
            time: RtpTime(time),
            ssrc: Ssrc(self.ssrc),
        };
        let len = write_rtp(&mut out, header, payload);
        assert_eq!(len, out.len());
        out
    }
}

pub fn pcmu() -> Codec {
    Codec::from_static(0).unwrap()
}

pub fn pcma() -> Codec {
    Codec::from_static(8).unwrap()
}

/// The A leg's, with telephone-event 101; the B leg's differs in address.
pub fn agreed(leg: LegKey, codec: Codec) -> Negotiated {
    let remote: SocketAddr = if leg == A {
        "198.51.100.1:4000"
    } else {
        "198.51.100.2:5000"
    }
    .parse()
    .unwrap();
    let same = |codec: Codec| Agreed {
        send_payload: codec.payload,
        receive_payload: codec.payload,
        codec,
    };
    Negotiated {
        remote,
        remote_rtcp: SocketAddr::new(remote.ip(), remote.port() + 1),
        alternate: None,
        codecs: vec![same(codec)],
        event: Some(same(Codec::new("telephone-event", 101, 8000))),
        ptime_ms: 20,
        direction: Direction::SendRecv,
    }
}
