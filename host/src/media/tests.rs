//! Media threads on loopback, with real sockets at both ends, on every backend there is.

use super::*;
use media::codec::AudioCodec;
use media::sdp::{Agreed, Codec, Direction, Negotiated};
use media::{ConnectorCommand, Encoding, Event, Format, LegKey, PlayEnd, Prompt};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::AtomicU16;
use std::time::Duration;

#[test]
fn a_bridge_carries_audio_both_ways_and_tells_where_it_latched() {
    each_backend(|bench| {
        let (a, b) = (bench.leg(A), bench.leg(B));
        bench.order(Command::Bridge { a: A, b: B });
        bench.settle();
        for (from, to) in [(&a, &b), (&b, &a), (&a, &b)] {
            let payload: Vec<u8> = (0..160).map(|i| i as u8 ^ from.port as u8).collect();
            from.send(&payload);
            assert_eq!(to.receive().payload, payload);
        }
        let latched: Vec<_> = bench
            .events(2)
            .into_iter()
            .map(|e| match e {
                Event::Latched { leg, source } => (leg, source.port()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            latched,
            [
                (A, a.rtp.local_addr().unwrap().port()),
                (B, b.rtp.local_addr().unwrap().port())
            ]
        );
        bench.order(Command::Close { leg: A });
        let [Event::Closed { leg: A, stats }] = &bench.events(1)[..] else {
            panic!("no statistics")
        };
        assert_eq!((stats.received_packets, stats.sent_packets), (2, 1));
    });
}

#[test]
fn a_prompt_file_is_heard_sample_by_sample() {
    let folder = tempfile::tempdir().unwrap();
    // Values that G.711 keeps: what comes back must be equal, not similar.
    let ulaw: Vec<u8> = (0..480u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut samples = vec![0i16; ulaw.len()];
    AudioCodec::Pcmu.decode(&ulaw, &mut samples);
    std::fs::write(folder.path().join("hello.wav"), wav(&samples)).unwrap();
    let folder: Arc<Path> = folder.path().into();
    each_backend(|bench| {
        let leg = bench.leg(A);
        let prompts = vec![Prompt::File("hello".into())];
        let play = Command::Play {
            leg: A,
            id: 3,
            prompts,
            interruptible: true,
            repeat: 1,
        };
        assert!(
            bench
                .handle
                .send_with_prompts(Some(&folder), bench.session, play)
        );
        let mut heard = Vec::new();
        while heard.len() < samples.len() {
            let payload = leg.receive().payload;
            let mut decoded = vec![0; payload.len()];
            AudioCodec::Pcmu.decode(&payload, &mut decoded);
            heard.extend(decoded);
        }
        let start = heard
            .iter()
            .position(|s| *s != 0 && *s == samples[0])
            .unwrap_or(0);
        assert_eq!(&heard[start..][..samples.len()], &samples[..]);
        let [
            Event::Played {
                id: 3,
                end: PlayEnd::Finished,
                ..
            },
        ] = &bench.events(1)[..]
        else {
            panic!()
        };
    });
}

#[test]
fn a_prompt_that_is_missing_fails_and_commands_behind_it_keep_their_order() {
    let folder: Arc<Path> = tempfile::tempdir().unwrap().path().into();
    each_backend(|bench| {
        bench.leg(A);
        for id in [1, 2] {
            let prompts = match id {
                1 => vec![Prompt::File("missing".into())],
                _ => vec![Prompt::Silence(20)],
            };
            let play = Command::Play {
                leg: A,
                id,
                prompts,
                interruptible: true,
                repeat: 1,
            };
            assert!(
                bench
                    .handle
                    .send_with_prompts(Some(&folder), bench.session, play)
            );
        }
        let ends: Vec<_> = bench
            .events(2)
            .into_iter()
            .map(|e| match e {
                Event::Played { id, end, .. } => (id, end),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ends, [(1, PlayEnd::Failed), (2, PlayEnd::Finished)]);
    });
}

#[test]
fn both_legs_get_rtcp_reports() {
    each_backend(|bench| {
        let (a, b) = (bench.leg(A), bench.leg(B));
        bench.order(Command::Bridge { a: A, b: B });
        bench.settle();
        for leg in [&a, &b] {
            leg.send(&[0xff; 160]);
        }
        for leg in [&a, &b] {
            let mut packet = [0; 1500];
            let (len, from) = leg.rtcp.recv_from(&mut packet).unwrap();
            assert_eq!(from.port(), leg.port + 1);
            // RFC 3550 §6.4: version 2, and a sender or receiver report first.
            assert!(
                len >= 8 && packet[0] >> 6 == 2 && matches!(packet[1], 200 | 201),
                "{:?}",
                &packet[..len]
            );
        }
    });
}

#[test]
fn a_port_that_is_taken_fails_the_leg_and_serves_the_next_one_when_it_is_free() {
    each_backend(|bench| {
        let port = next_port();
        let taken = UdpSocket::bind((LOCAL, port)).unwrap();
        bench.order(Command::Open {
            leg: A,
            local: LOCAL,
            port,
        });
        assert_eq!(bench.events(1), [Event::OpenFailed { leg: A, port }]);
        drop(taken);
        let leg = bench.leg_on(B, port);
        bench.order(play(B, 1));
        assert_eq!(leg.receive().payload.len(), 160);
    });
}

#[test]
fn a_port_can_be_used_by_call_after_call() {
    each_backend(|bench| {
        let port = next_port();
        for call in 0..20 {
            bench.session = SessionKey(call << 70);
            let leg = bench.leg_on(A, port);
            bench.order(play(A, 1));
            assert_eq!(leg.receive().payload.len(), 160);
            bench.order(Command::Close { leg: A });
            while !bench
                .events(1)
                .iter()
                .any(|e| matches!(e, Event::Closed { .. }))
            {}
            leg.send(&[1; 160]);
        }
    });
}

#[test]
fn after_the_end_all_ports_are_free_at_once() {
    let pairs = (next_port(), next_port());
    for _ in 0..3 {
        each_backend(|bench| {
            for (leg, port) in [(A, pairs.0), (B, pairs.1)] {
                let peer = bench.leg_on(leg, port);
                bench.order(play(leg, 1));
                assert_eq!(peer.receive().payload.len(), 160);
            }
        });
    }
}

#[test]
fn a_connector_hears_the_caller_and_is_heard() {
    each_backend(|bench| {
        let leg = bench.leg(A);
        let format = Format {
            encoding: Encoding::Pcmu,
            rate: 8_000,
        };
        let (sender, mut heard) = tokio::sync::mpsc::channel(64);
        assert!(bench.handle.attach(bench.session, 9, sender));
        bench.order(Command::Attach {
            leg: A,
            id: 9,
            input: format,
            output: format,
            frame_ms: 20,
        });
        let audio = bytes::Bytes::from(vec![0x23; 320]);
        let say = |command| Command::Connector {
            leg: A,
            id: 9,
            command,
        };
        bench.order(say(ConnectorCommand::Enqueue {
            item: "i".into(),
            audio,
        }));
        bench.order(say(ConnectorCommand::Mark("m".into())));
        while leg.receive().payload != [0x23; 160] {}
        loop {
            if heard.blocking_recv().unwrap() == ConnectorEvent::Marked("m".into()) {
                break;
            }
        }
        for _ in 0..10 {
            leg.send(&[0x42; 160]);
        }
        loop {
            match heard.blocking_recv().unwrap() {
                ConnectorEvent::Audio(audio) if audio.contains(&0x42) => break,
                ConnectorEvent::Audio(_) => {}
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn sessions_stay_on_one_thread_and_use_all_of_them() {
    let mut used = [0; 4];
    for serial in 0..1_000u128 {
        used[lane(SessionKey((3 << 96) | (0xdead_beef << 32) | serial), 4)] += 1;
    }
    assert!(used.iter().all(|n| *n > 150), "{used:?}");
}

const A: LegKey = LegKey(0);
const B: LegKey = LegKey(1);
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Bench {
    // Ends the threads before the receiver of their events goes.
    _media: Media,
    handle: MediaHandle,
    events: mpsc::Receiver<(SessionKey, Event)>,
    session: SessionKey,
}

fn each_backend(test: impl Fn(&mut Bench)) {
    for backend in [Backend::Epoll, Backend::IoUring] {
        let (sender, events) = mpsc::channel();
        let report = Duration::from_millis(30);
        let config = MediaConfig {
            threads: 2,
            backend,
            engine: media::engine::Config {
                report_every: report,
                ..media::engine::Config::default()
            },
            ..MediaConfig::default()
        };
        let sink: EventSink = Arc::new(move |session, event| {
            let _ = sender.send((session, event));
        });
        let media = match Media::start(&config, sink) {
            Ok(media) => media,
            Err(error) if backend == Backend::IoUring => {
                eprintln!("no io_uring here: {error:#}");
                continue;
            }
            Err(error) => panic!("{error:#}"),
        };
        let handle = media.handle();
        test(&mut Bench {
            _media: media,
            handle,
            events,
            session: SessionKey(77),
        });
    }
}

impl Bench {
    fn order(&self, command: Command) {
        assert!(self.handle.send(self.session, command));
    }

    fn leg(&self, leg: LegKey) -> Peer {
        loop {
            let port = next_port();
            if ports::PortPair::bind(LOCAL, port).is_ok() {
                return self.leg_on(leg, port);
            }
        }
    }

    /// A leg that was opened and negotiated for PCMU with a peer on loopback.
    fn leg_on(&self, leg: LegKey, port: u16) -> Peer {
        let peer = Peer::new(port);
        self.order(Command::Open {
            leg,
            local: LOCAL,
            port,
        });
        let negotiated = Negotiated {
            remote: peer.rtp.local_addr().unwrap(),
            remote_rtcp: peer.rtcp.local_addr().unwrap(),
            alternate: None,
            codecs: vec![Agreed {
                codec: Codec::new("PCMU", 0, 8_000),
                send_payload: 0,
                receive_payload: 0,
            }],
            event: None,
            ptime_ms: 20,
            direction: Direction::SendRecv,
        };
        self.order(Command::Negotiate {
            leg,
            negotiated,
            direction: Direction::SendRecv,
        });
        peer
    }

    /// Until all orders were done: a leg of another session on the same thread was refused.
    fn settle(&self) {
        let odd = 1;
        self.order(Command::Open {
            leg: LegKey(99),
            local: LOCAL,
            port: odd,
        });
        assert_eq!(
            self.events(1),
            [Event::OpenFailed {
                leg: LegKey(99),
                port: odd
            }]
        );
    }

    fn events(&self, count: usize) -> Vec<Event> {
        (0..count)
            .map(|_| {
                let (session, event) = self.events.recv_timeout(Duration::from_secs(10)).unwrap();
                assert_eq!(session, self.session);
                event
            })
            .collect()
    }
}

fn play(leg: LegKey, id: u32) -> Command {
    Command::Play {
        leg,
        id,
        prompts: vec![Prompt::Silence(60)],
        interruptible: false,
        repeat: 1,
    }
}

/// Another one for each leg of each test, since tests run side by side.
fn next_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(30_000);
    NEXT.fetch_add(2, Ordering::Relaxed)
}

/// A telephone of sorts.
struct Peer {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// Gatepost's.
    port: u16,
    sequence: AtomicU16,
}

struct Heard {
    payload: Vec<u8>,
}

impl Peer {
    fn new(port: u16) -> Peer {
        let bind = || {
            let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            socket
        };
        Peer {
            rtp: bind(),
            rtcp: bind(),
            port,
            sequence: AtomicU16::new(1),
        }
    }

    fn send(&self, payload: &[u8]) {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let mut packet = vec![0x80, 0];
        packet.extend(sequence.to_be_bytes());
        packet.extend((u32::from(sequence) * 160).to_be_bytes());
        packet.extend(0x1234_5678u32.to_be_bytes());
        packet.extend(payload);
        self.rtp
            .send_to(&packet, SocketAddr::new(LOCAL, self.port))
            .unwrap();
    }

    fn receive(&self) -> Heard {
        let mut packet = [0; 1500];
        let (len, from) = self.rtp.recv_from(&mut packet).unwrap();
        assert_eq!(from.port(), self.port);
        assert_eq!(packet[0], 0x80);
        Heard {
            payload: packet[12..len].to_vec(),
        }
    }
}

/// 8 kHz, mono, 16 bits.
fn wav(samples: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    for field in [1u16, 1] {
        file.extend(field.to_le_bytes());
    }
    for field in [8_000u32, 16_000] {
        file.extend(field.to_le_bytes());
    }
    for field in [2u16, 16] {
        file.extend(field.to_le_bytes());
    }
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}
