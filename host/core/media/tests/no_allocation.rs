//! STYLE: no allocation per packet. A counting allocator watches the relay.

#![expect(clippy::disallowed_methods, reason = "someone has to say when it is")]

use media::engine::{Config, Engine, Handled};
use media::packet::{Header, RtpTime, SeqNo, Ssrc, write_rtp};
use media::sdp::{Agreed, Codec, Direction, Negotiated};
use media::{Command, LegKey, SessionKey};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: hands everything to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn relaying_and_transcoding_allocate_nothing() {
    for (a, b) in [(0, 0), (0, 8), (8, 0)] {
        let mut now = Instant::now();
        let mut engine = Engine::new(now, Config::default());
        let local = "203.0.113.1".parse().unwrap();
        let call = SessionKey(1);
        for (leg, port, remote, payload) in [
            (0, 10_000, "198.51.100.1:4000", a),
            (1, 10_002, "198.51.100.2:5000", b),
        ] {
            let leg = LegKey(leg);
            engine.handle_command(now, call, Command::Open { leg, local, port });
            let negotiated = negotiated(remote.parse().unwrap(), payload);
            engine.handle_command(
                now,
                call,
                Command::Negotiate {
                    leg,
                    negotiated,
                    direction: Direction::SendRecv,
                },
            );
        }
        engine.handle_command(
            now,
            call,
            Command::Bridge {
                a: LegKey(0),
                b: LegKey(1),
            },
        );
        let from: SocketAddr = "198.51.100.1:4000".parse().unwrap();
        let evil: SocketAddr = "192.0.2.66:4000".parse().unwrap();
        let mut packet = [0u8; 172];
        let mut relayed = 0;
        let mut counted = None;
        for i in 0..2000u16 {
            // Queues have found their size by then.
            if i == 100 {
                counted = Some(ALLOCATIONS.with(Cell::get));
            }
            now += Duration::from_millis(20);
            // Events now and then, as a caller presses digits; losses, duplicates, strangers.
            let event = i % 50 == 30;
            let payload_type = if event { 101 } else { a };
            let payload: &[u8] = if event {
                &[5, 10, 0, 160]
            } else {
                &[0x55; 160]
            };
            let time = RtpTime(u32::from(i) * 160);
            let header = Header {
                marker: false,
                payload_type,
                seq: SeqNo(i - i % 7 / 6),
                time,
                ssrc: Ssrc(1),
            };
            let len = write_rtp(&mut packet, header, payload);
            engine.handle_rtp(now, 10_000, evil, &mut packet[..len]);
            let handled = engine.handle_rtp(now, 10_000, from, &mut packet[..len]);
            relayed += u32::from(matches!(handled, Handled::Forward { .. }));
            while engine.poll_event().is_some() {}
        }
        let allocated = ALLOCATIONS.with(Cell::get) - counted.unwrap();
        assert!(relayed > 1600, "{relayed}");
        assert_eq!(allocated, 0, "from {a} to {b}");
    }
}

fn negotiated(remote: SocketAddr, payload: u8) -> Negotiated {
    let same = |codec: Codec| Agreed {
        send_payload: codec.payload,
        receive_payload: codec.payload,
        codec,
    };
    Negotiated {
        remote,
        remote_rtcp: remote,
        alternate: None,
        codecs: vec![same(Codec::from_static(payload).unwrap())],
        event: Some(same(Codec::new("telephone-event", 101, 8000))),
        ptime_ms: 20,
        direction: Direction::SendRecv,
    }
}
