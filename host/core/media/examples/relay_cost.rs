//! What the core alone takes for one packet, in ns: `cargo run --release -p media --example
//! relay_cost [calls]`. Sockets and the kernel come on top.

#![expect(clippy::disallowed_methods, reason = "someone has to say when it is")]

use media::engine::{Config, Engine, Handled};
use media::packet::{Header, RtpTime, SeqNo, Ssrc, write_rtp};
use media::sdp::{Agreed, Codec, Direction, Negotiated};
use media::{Command, LegKey, Pcm, Prompt, SessionKey};
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const ROUNDS: u16 = 500;

fn main() {
    let calls: u16 = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(1000)
        .clamp(1, 10_000);
    println!("{calls} calls, {ROUNDS} packets of each caller, 172 bytes; best of 5");
    for (name, a, b) in [
        ("relay PCMU", 0, 0),
        ("PCMU to PCMA", 0, 8),
        ("PCMA to PCMU", 8, 0),
    ] {
        let best = (0..5)
            .map(|_| relayed(calls, a, b))
            .fold(f64::MAX, f64::min);
        println!("{name:>14}: {best:6.1} ns per packet");
    }
    let best = (0..5).map(|_| played(calls)).fold(f64::MAX, f64::min);
    println!("{:>14}: {best:6.1} ns per packet", "prompt");
}

/// ns per packet; making the packets is not counted.
fn relayed(calls: u16, a: u8, b: u8) -> f64 {
    let mut now = Instant::now();
    let mut engine = Engine::new(now, Config::default());
    for call in 0..calls {
        open(&mut engine, now, call, 0, a);
        open(&mut engine, now, call, 1, b);
        let bridge = Command::Bridge {
            a: LegKey(0),
            b: LegKey(1),
        };
        engine.handle_command(now, SessionKey(u128::from(call)), bridge);
    }
    let mut packets = vec![[0x55u8; 172]; usize::from(calls)];
    let mut spent = Duration::ZERO;
    for round in 0..ROUNDS {
        now += Duration::from_millis(20);
        let (seq, time) = (SeqNo(round), RtpTime(u32::from(round) * 160));
        for packet in &mut packets {
            write_rtp(
                packet,
                Header {
                    marker: false,
                    payload_type: a,
                    seq,
                    time,
                    ssrc: Ssrc(1),
                },
                &[0x55; 160],
            );
        }
        let began = Instant::now();
        for (call, packet) in (0..calls).zip(&mut packets) {
            let handled = engine.handle_rtp(now, port(call, 0), remote(call, 0), black_box(packet));
            assert!(matches!(
                black_box(handled),
                Handled::Forward { len: 172, .. }
            ));
        }
        spent += began.elapsed();
    }
    spent.as_nanos() as f64 / f64::from(ROUNDS) / f64::from(calls)
}

fn played(calls: u16) -> f64 {
    let start = Instant::now();
    let mut engine = Engine::new(start, Config::default());
    let pcm = Pcm {
        rate: 8000,
        samples: vec![1000; 8000 * 60].into(),
    };
    for call in 0..calls {
        open(&mut engine, start, call, 0, 0);
        let prompts = vec![Prompt::Pcm(pcm.clone())];
        let play = Command::Play {
            leg: LegKey(0),
            id: 1,
            prompts,
            interruptible: false,
            repeat: 0,
        };
        engine.handle_command(start, SessionKey(u128::from(call)), play);
    }
    let began = Instant::now();
    let mut packets = 0;
    for tick in 1..=100u64 {
        engine.handle_timeout(start + Duration::from_millis(20 * tick));
        packets += engine.transmits().map(black_box).count();
        engine.clear_transmits();
    }
    began.elapsed().as_nanos() as f64 / packets as f64
}

fn open(engine: &mut Engine, now: Instant, call: u16, leg: u16, payload: u8) {
    let session = SessionKey(u128::from(call));
    let local = [127, 0, 0, 1].into();
    engine.handle_command(
        now,
        session,
        Command::Open {
            leg: LegKey(leg),
            local,
            port: port(call, leg),
        },
    );
    while engine.poll_port().is_some() {}
    let same = |codec: Codec| Agreed {
        send_payload: codec.payload,
        receive_payload: codec.payload,
        codec,
    };
    let negotiated = Negotiated {
        remote: remote(call, leg),
        remote_rtcp: remote(call, leg),
        alternate: None,
        codecs: Codec::from_static(payload).map(same).into_iter().collect(),
        event: Some(same(Codec::new("telephone-event", 101, 8000))),
        ptime_ms: 20,
        direction: Direction::SendRecv,
    };
    let direction = Direction::SendRecv;
    engine.handle_command(
        now,
        session,
        Command::Negotiate {
            leg: LegKey(leg),
            negotiated,
            direction,
        },
    );
}

fn port(call: u16, leg: u16) -> u16 {
    10_000 + call * 4 + leg * 2
}

fn remote(call: u16, leg: u16) -> SocketAddr {
    ([10, (leg + 1) as u8, (call >> 8) as u8, call as u8], 4000).into()
}
