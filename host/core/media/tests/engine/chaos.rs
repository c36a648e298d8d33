//! Commands and packets in any order, with any content: nothing panics, nothing piles up.

use crate::world::{A, A_PORT, B, B_PORT, CALL, agreed, pcma, pcmu};
use media::command::{Command, ConnectorCommand, Prompt};
use media::engine::{Config, Engine};
use media::sdp::{Codec, Direction};
use media::{Encoding, Format, LegKey, Pcm};
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[derive(Debug, Clone)]
enum Move {
    Command(Command),
    Rtp {
        port: u16,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Rtcp {
        port: u16,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Wait(u32),
    PortFailed(u16),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_order_of_events_panics(moves in prop::collection::vec(a_move(), 1..120)) {
        let mut now = Instant::now();
        let mut engine = Engine::new(now, Config::default());
        for a_move in moves {
            match a_move {
                Move::Command(command) => engine.handle_command(now, CALL, command),
                Move::Rtp { port, from, mut bytes } => { engine.handle_rtp(now, port, from, &mut bytes); }
                Move::Rtcp { port, from, bytes } => engine.handle_rtcp(now, port, from, &bytes),
                Move::Wait(ms) => {
                    now += Duration::from_millis(ms.into());
                    engine.handle_timeout(now);
                }
                Move::PortFailed(port) => engine.port_failed(now, port),
            }
            engine.clear_transmits();
        }
        for leg in [A, B] {
            engine.handle_command(now, CALL, Command::Close { leg });
        }
        let counters = engine.counters();
        prop_assert_eq!((counters.legs, counters.sessions), (0, 0));
        // The timers of legs that are gone run out.
        now += Duration::from_secs(3600);
        engine.handle_timeout(now);
        prop_assert_eq!(engine.poll_timeout(), None);
    }
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => command().prop_map(Move::Command),
        6 => (port(), address(), packet()).prop_map(|(port, from, bytes)| Move::Rtp { port, from, bytes }),
        1 => (port(), address(), prop::collection::vec(any::<u8>(), 0..64)).prop_map(|(port, from, mut bytes)| {
            if let [first, second, ..] = &mut bytes[..] {
                (*first, *second) = (0x81, 200 + *second % 8);
            }
            Move::Rtcp { port, from, bytes }
        }),
        3 => (0u32..300).prop_map(Move::Wait),
        1 => port().prop_map(Move::PortFailed),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let leg = || prop::sample::select(vec![A, B]);
    let codec = || {
        prop::sample::select(vec![
            pcmu(),
            pcma(),
            Codec::from_static(18).unwrap(),
            Codec::from_static(9).unwrap(),
        ])
    };
    let direction = prop::sample::select(vec![
        Direction::SendRecv,
        Direction::SendOnly,
        Direction::RecvOnly,
        Direction::Inactive,
    ]);
    let format = || {
        let encoding =
            prop::sample::select(vec![Encoding::PcmS16le, Encoding::Pcma, Encoding::Pcmu]);
        (
            encoding,
            prop::sample::select(vec![0u32, 8000, 16_000, 24_000, 48_000, u32::MAX]),
        )
            .prop_map(|(encoding, rate)| Format { encoding, rate })
    };
    let prompt = prop_oneof![
        Just(Prompt::File("x".into())),
        (0u32..200).prop_map(Prompt::Silence),
        prop::sample::select(vec!["busy", "beep", "440:50", "x"])
            .prop_map(|t| Prompt::Tone(t.into())),
        (
            0usize..2000,
            prop::sample::select(vec![0u32, 8000, 11_025, 48_000])
        )
            .prop_map(|(len, rate)| Prompt::Pcm(Pcm {
                rate,
                samples: vec![99; len].into()
            })),
    ];
    let connector = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..900).prop_map(|audio| ConnectorCommand::Enqueue {
            item: audio.len().to_string(),
            audio: audio.into()
        }),
        Just(ConnectorCommand::Mark("m".into())),
        Just(ConnectorCommand::Clear),
    ];
    prop_oneof![
        3 => (leg(), port()).prop_map(|(leg, port)| Command::Open { leg, local: [127, 0, 0, 1].into(), port }),
        4 => (leg(), codec(), direction, any::<bool>(), 0u8..90).prop_map(|(leg, codec, direction, event, ptime_ms)| {
            let mut negotiated = agreed(leg, codec);
            negotiated.ptime_ms = ptime_ms;
            negotiated.direction = direction;
            if !event {
                negotiated.event = None;
            }
            Command::Negotiate { leg, negotiated, direction }
        }),
        2 => (leg(), leg()).prop_map(|(a, b)| Command::Bridge { a, b }),
        1 => (leg(), leg()).prop_map(|(a, b)| Command::Unbridge { a, b }),
        3 => (leg(), 0u32..4, prop::collection::vec(prompt, 0..3), any::<bool>(), 0u32..3)
            .prop_map(|(leg, id, prompts, interruptible, repeat)| Command::Play { leg, id, prompts, interruptible, repeat }),
        1 => (leg(), 0u32..4).prop_map(|(leg, id)| Command::StopPlay { leg, id }),
        1 => (leg(), "[0-9wx#*]{0,5}").prop_map(|(leg, digits)| Command::SendDigits { leg, digits }),
        2 => (leg(), 0u32..3, format(), format(), 0u32..300)
            .prop_map(|(leg, id, input, output, frame_ms)| Command::Attach { leg, id, input, output, frame_ms }),
        1 => (leg(), 0u32..3).prop_map(|(leg, id)| Command::Detach { leg, id }),
        3 => (leg(), 0u32..3, connector).prop_map(|(leg, id, command)| Command::Connector { leg, id, command }),
        1 => prop::sample::select(vec![A, B, LegKey(9)]).prop_map(|leg| Command::Close { leg }),
    ]
}

fn port() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![A_PORT, B_PORT, A_PORT + 1, 65_534, 65_535, 0])
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let all = [
        "198.51.100.1:4000",
        "198.51.100.2:5000",
        "198.51.100.1:65535",
        "192.0.2.66:1",
        "[2001:db8::1]:9",
    ];
    prop::sample::select(all.map(|a| a.parse().unwrap()).to_vec())
}

/// Mostly RTP, with wild numbers.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let first = prop::sample::select(vec![0x80u8, 0x80, 0x80, 0x90, 0xa0, 0x81, 0x00]);
    let second = prop::sample::select(vec![0u8, 8, 101, 229, 128, 18, 200]);
    let seq = prop_oneof![0u16..50, any::<u16>()];
    (
        first,
        second,
        seq,
        any::<u32>(),
        0u32..2,
        prop::collection::vec(any::<u8>(), 0..400),
    )
        .prop_map(|(first, second, seq, time, ssrc, payload)| {
            let mut bytes = vec![first, second];
            bytes.extend(seq.to_be_bytes());
            bytes.extend(time.to_be_bytes());
            bytes.extend(ssrc.to_be_bytes());
            bytes.extend(payload);
            bytes
        })
}
