//! What a relayed packet costs a media thread, by io_uring and by epoll, in turns in one run.
//!
//! `cargo run --release -p host --example media_io_cost -- [CALLS [SECONDS [ROUNDS]]]`
//!
//! Calls are bridged on loopback; both ends of each send 50 packets a second of 172 bytes and
//! read nothing, so a send costs the way into the receiver's full buffer as well. CPU is that
//! of the media thread alone, from `/proc`.

use host::media::io::Backend;
use host::media::{Media, MediaConfig, MediaHandle};
use media::sdp::{Agreed, Codec, Direction, Negotiated};
use media::{Command, LegKey, SessionKey};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let mut next = |default| numbers.next().unwrap_or(Ok(default));
    let (calls, seconds, rounds) = (next(100)?, next(3)?, next(5)?);
    host::media::sys::raise_open_files()?;
    println!(
        "{calls} calls, {} packets/s, {rounds} rounds of {seconds} s",
        calls * 100
    );
    let (mut epoll, mut uring) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let e = measure(Backend::Epoll, calls, Duration::from_secs(seconds.into()))?;
        let u = measure(Backend::IoUring, calls, Duration::from_secs(seconds.into()))?;
        println!(
            "round {round}: epoll {:.0} ns/packet, io_uring {:.0} ns/packet, ratio {:.2}",
            e.ns_per_packet,
            u.ns_per_packet,
            u.ns_per_packet / e.ns_per_packet
        );
        epoll.push(e);
        uring.push(u);
    }
    for (name, runs) in [("epoll", &mut epoll), ("io_uring", &mut uring)] {
        runs.sort_by(|a, b| a.ns_per_packet.total_cmp(&b.ns_per_packet));
        let middle = &runs[runs.len() / 2];
        println!(
            "{name:>8}: median {:.0} ns/packet, best {:.0}; {:.2} CPU-s per 1000 stream-s; {:.2} % lost",
            middle.ns_per_packet,
            runs[0].ns_per_packet,
            middle.ns_per_packet * 50.0 * 1e-6,
            middle.lost * 100.0
        );
    }
    let median = |runs: &[Cost]| runs[runs.len() / 2].ns_per_packet;
    println!("io_uring / epoll: {:.2}", median(&uring) / median(&epoll));
    Ok(())
}

struct Cost {
    ns_per_packet: f64,
    /// Share of the packets sent that were not relayed.
    lost: f64,
}

fn measure(backend: Backend, calls: u32, time: Duration) -> anyhow::Result<Cost> {
    let config = MediaConfig {
        threads: 1,
        backend,
        orders: 65_536,
        idle_ports: 0,
        ..MediaConfig::default()
    };
    let media = Media::start(&config, Arc::new(|_, _| {}))?;
    let handle = media.handle();
    let mut phones = Vec::new();
    for call in 0..calls {
        for leg in 0..2 {
            let port = FIRST_PORT + (call * 2 + leg) as u16 * 2;
            phones.push(Phone::call(
                &handle,
                SessionKey(call.into()),
                LegKey(leg as u16),
                port,
            )?);
        }
        handle.send(
            SessionKey(call.into()),
            Command::Bridge {
                a: LegKey(0),
                b: LegKey(1),
            },
        );
    }
    let patience = Instant::now() + Duration::from_secs(10);
    while handle.stats().legs < u64::from(calls * 2) {
        anyhow::ensure!(
            Instant::now() < patience,
            "ports from {FIRST_PORT} are in use: {:?}",
            handle.stats()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    run(&mut phones, Duration::from_millis(300));
    let before = settled(&handle);
    let cpu_before = media_thread_cpu_ns()?;
    let sent = run(&mut phones, time);
    let after = settled(&handle);
    let cpu_after = media_thread_cpu_ns()?;
    let relayed = after.sent - before.sent;
    anyhow::ensure!(relayed > 0, "nothing was relayed: {after:?}");
    Ok(Cost {
        ns_per_packet: (cpu_after - cpu_before) as f64 / relayed as f64,
        lost: 1.0 - relayed as f64 / sent as f64,
    })
}

/// The figures once nothing more is relayed: what is behind by then is lost.
fn settled(handle: &MediaHandle) -> host::media::stats::MediaStats {
    loop {
        let before = handle.stats();
        std::thread::sleep(Duration::from_millis(50));
        let after = handle.stats();
        if before.received == after.received {
            return after;
        }
    }
}

/// Each phone once in 20 ms, spread evenly.
fn run(phones: &mut [Phone], time: Duration) -> u64 {
    const STEPS: usize = 40;
    let start = Instant::now();
    let mut sent = 0;
    for step in 0.. {
        let due = start + Duration::from_micros(20_000 / STEPS as u64) * step as u32;
        if due.duration_since(start) >= time {
            return sent;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        for phone in phones.iter_mut().skip(step % STEPS).step_by(STEPS) {
            phone.send();
            sent += 1;
        }
    }
    sent
}

struct Phone {
    socket: UdpSocket,
    packet: [u8; 172],
    sequence: u16,
}

impl Phone {
    fn call(
        handle: &MediaHandle,
        session: SessionKey,
        leg: LegKey,
        port: u16,
    ) -> anyhow::Result<Phone> {
        let socket = UdpSocket::bind((LOCAL, 0))?;
        let remote = socket.local_addr()?;
        handle.send(
            session,
            Command::Open {
                leg,
                local: LOCAL,
                port,
            },
        );
        let negotiated = Negotiated {
            remote,
            remote_rtcp: SocketAddr::new(LOCAL, 9),
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
        handle.send(
            session,
            Command::Negotiate {
                leg,
                negotiated,
                direction: Direction::SendRecv,
            },
        );
        socket.connect((LOCAL, port))?;
        let mut packet = [0x55; 172];
        packet[..2].copy_from_slice(&[0x80, 0]);
        packet[8..12].copy_from_slice(&u32::from(port).to_be_bytes());
        Ok(Phone {
            socket,
            packet,
            sequence: 0,
        })
    }

    fn send(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
        self.packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        self.packet[4..8].copy_from_slice(&(u32::from(self.sequence) * 160).to_be_bytes());
        // Before the port is open this is refused, which is no harm.
        let _ = self.socket.send(&self.packet);
    }
}

fn media_thread_cpu_ns() -> anyhow::Result<u64> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        if std::fs::read_to_string(path.join("comm"))?.trim() == "media-0" {
            let text = std::fs::read_to_string(path.join("schedstat"))?;
            let first = text.split_whitespace().next().unwrap_or_default();
            return Ok(first.parse()?);
        }
    }
    anyhow::bail!("there is no media thread")
}

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const FIRST_PORT: u16 = 12_000;
