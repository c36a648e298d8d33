use crate::world::{A, A_PORT, B, CALL, World, agreed, pcmu};
use media::Event;
use media::command::Command;
use media::engine::PortOrder;
use std::net::SocketAddr;

#[test]
fn an_attacker_who_sends_first_gets_nothing_and_is_not_heard() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    let evil: SocketAddr = "192.0.2.66:4000".parse().unwrap();
    for seq in 0..50 {
        let bytes = world
            .a
            .raw(0, seq, u32::from(seq) * 160, false, &[0x66; 160]);
        assert!(world.deliver(A_PORT, evil, &bytes).is_none());
    }
    assert!(world.a_sends(&[1; 160]).is_some());
    let answer = world.b_sends(&[2; 160]).unwrap();
    assert_eq!(answer.to, world.a.address);
    assert!(world.sent.iter().all(|s| s.to != evil));
    let stats = world.engine.stats(CALL, A).unwrap();
    assert_eq!((stats.dropped_source, stats.received_packets), (50, 1));
    assert_eq!(world.engine.counters().dropped_source, 50);
}

#[test]
fn an_injector_in_a_running_call_is_not_heard_even_with_the_same_ssrc() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    let evil: SocketAddr = "192.0.2.66:4000".parse().unwrap();
    for i in 0..50 {
        assert!(world.a_sends(&[i; 160]).is_some());
        let bytes = world.a.raw(
            0,
            world.a.seq.wrapping_add(1),
            world.a.time.wrapping_add(160),
            false,
            &[0x66; 160],
        );
        assert!(world.deliver(A_PORT, evil, &bytes).is_none());
        world.wait(20);
    }
    assert_eq!(world.engine.stats(CALL, A).unwrap().lost_packets, 0);
}

#[test]
fn a_phone_behind_a_nat_is_answered_where_it_sends_from() {
    let mut a = agreed(A, pcmu());
    a.remote = "192.168.1.5:4000".parse().unwrap();
    let a = a.with_signalling_source("198.51.100.1".parse().unwrap());
    let mut world = World::bridged(a, agreed(B, pcmu()));
    world.a.address = "198.51.100.1:61234".parse().unwrap();
    assert!(world.a_sends(&[1; 160]).is_none()); // probation
    assert!(world.a_sends(&[1; 160]).is_some());
    assert_eq!(world.b_sends(&[1; 160]).unwrap().to, world.a.address);
    assert!(world.events.contains(&Event::Latched {
        leg: A,
        source: world.a.address
    }));
}

/// Every malformed packet comes from the right address in the middle of a good stream.
#[test]
fn malformed_packets_are_counted_and_the_good_stream_goes_on() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    let good = world.a.raw(0, 30_000, 160, false, &[0x56; 160]);
    let with = |changes: &[(usize, u8)], len: usize| {
        let mut packet = good.clone();
        changes.iter().for_each(|(at, byte)| packet[*at] = *byte);
        packet.truncate(len);
        packet
    };
    let hostile = [
        with(&[(0, 0x00)], 172), // version 0
        with(&[(0, 0xc0)], 172), // version 3
        with(&[], 11),           // header cut
        with(&[], 1),
        with(&[(0, 0x8f)], 20),              // 15 CSRCs missing
        with(&[(0, 0x90), (14, 0xff)], 172), // extension beyond the end
        with(&[(0, 0x90)], 14),
        with(&[(0, 0xa0), (31, 0xff)], 32), // padding beyond the start
        with(&[(0, 0xa0), (31, 0)], 32),    // padding of nothing
        with(&[(1, 0xc8)], 172),            // looks like RTCP
        with(&[(1, 101)], 15),              // event of three octets
        with(&[(1, 101)], 12),
        with(&[], 12), // far out of sequence
        Vec::new(),
    ];
    for i in 0..20 {
        assert!(world.a_sends(&[i; 160]).is_some());
    }
    for packet in &hostile {
        for _ in 0..3 {
            assert!(
                world.deliver(A_PORT, world.a.address, packet).is_none(),
                "{packet:x?}"
            );
            assert!(world.a_sends(&[1; 160]).is_some());
        }
    }
    let stats = world.engine.stats(CALL, A).unwrap();
    assert_eq!(stats.dropped_malformed, 3 * hostile.len() as u64);
    assert_eq!((stats.lost_packets, stats.duplicate_packets), (0, 0));
}

#[test]
fn ports_without_a_leg_answer_nothing() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    let bytes = world.a.raw(0, 1, 160, false, &[0; 160]);
    for port in [0, 1, 9_998, 10_004, 65_535] {
        assert!(
            world
                .deliver(port, "192.0.2.66:4000".parse().unwrap(), &bytes)
                .is_none()
        );
    }
    world.engine.handle_rtcp(
        world.now,
        20_001,
        "192.0.2.66:4000".parse().unwrap(),
        &[0x80, 200, 0, 1],
    );
    assert_eq!(world.engine.counters().dropped_no_leg, 6);
}

#[test]
fn a_port_that_cannot_be_had_is_told_and_can_be_used_by_another() {
    let mut world = World::one_leg(agreed(A, pcmu()));
    let local = "203.0.113.1".parse().unwrap();
    for (leg, port) in [(B, A_PORT), (B, 10_003)] {
        world.command(Command::Open { leg, local, port });
        assert_eq!(world.events.pop(), Some(Event::OpenFailed { leg, port }));
    }
    world.command(Command::Open {
        leg: B,
        local,
        port: 10_006,
    });
    assert_eq!(
        world.engine.poll_port(),
        Some(PortOrder::Open {
            session: CALL,
            leg: B,
            local,
            port: 10_006
        })
    );
    world.engine.port_failed(world.now, 10_006);
    world.wait(0);
    world.command(Command::Open {
        leg: B,
        local,
        port: 10_008,
    });
    assert_eq!(
        world.events,
        [Event::OpenFailed {
            leg: B,
            port: 10_006
        }]
    );
    assert_eq!(world.engine.counters().legs, 2);
}
