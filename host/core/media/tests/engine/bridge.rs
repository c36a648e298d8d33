use crate::world::{A, A_PORT, B, B_PORT, CALL, World, agreed, pcma, pcmu};
use media::command::Command;
use media::sdp::{Agreed, Codec, Direction};
use media::{MediaPlane, Prompt};

#[test]
fn packets_go_both_ways_with_one_continuous_stream_each() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    for i in 0..200u8 {
        let out = world.a_sends(&[i; 160]).unwrap();
        assert_eq!(
            (out.port, out.to, out.payload()),
            (B_PORT, world.b.address, &[i; 160][..])
        );
        let back = world.b_sends(&[!i; 160]).unwrap();
        assert_eq!(
            (back.port, back.to, back.payload()),
            (A_PORT, world.a.address, &[!i; 160][..])
        );
        world.wait(20);
    }
    for peer in [&world.a, &world.b] {
        let heard = world.heard_by(peer);
        assert!(heard[0].header().marker);
        for pair in heard.windows(2) {
            let (first, second) = (pair[0].header(), pair[1].header());
            assert_eq!(second.ssrc, first.ssrc);
            assert_eq!(second.seq, first.seq.plus(1));
            assert_eq!(second.time, first.time.plus(160));
            assert!(!second.marker);
        }
    }
    let stats = world.engine.stats(CALL, A).unwrap();
    assert_eq!(
        (
            stats.received_packets,
            stats.sent_packets,
            stats.lost_packets
        ),
        (200, 200, 0)
    );
    assert_eq!(
        (stats.received_bytes, stats.codec.as_str()),
        (200 * 172, "PCMU")
    );
    assert_eq!(world.engine.plane(CALL, A), Some(MediaPlane::Aware));
}

#[test]
fn loss_and_reordering_reach_the_other_side_as_they_are_and_duplicates_do_not() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    let first = world.a_sends(&[0; 160]).unwrap().header().seq;
    let packets: Vec<Vec<u8>> = (0..6).map(|i| world.a.packet(&[i; 160])).collect();
    let (port, from) = (world.a.port, world.a.address);
    for i in [0usize, 0, 2, 1, 5, 5] {
        world.deliver(port, from, &packets[i]);
    }
    let seqs: Vec<i16> = world
        .heard_by(&world.b)
        .iter()
        .map(|s| s.header().seq.distance(first))
        .collect();
    assert_eq!(seqs, [0, 1, 3, 2, 6]);
    let stats = world.engine.stats(CALL, A).unwrap();
    assert_eq!(
        (
            stats.lost_packets,
            stats.duplicate_packets,
            stats.reordered_packets
        ),
        (2, 2, 1)
    );
}

/// G.711's own tables (ITU-T G.711) written out from their definition, as the oracle.
#[test]
fn mu_law_becomes_a_law_sample_by_sample() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcma()));
    let all: Vec<u8> = (0..=255).collect();
    let out = world.a_sends(&all).unwrap();
    assert_eq!(out.header().payload_type, 8);
    assert_eq!(out.bytes.len(), 12 + 256);
    for (mu, a) in all.iter().zip(out.payload()) {
        let (before, after) = (expand_mu(*mu), expand_a(*a));
        // The quantisation error of A-law is at most half its step.
        assert!(
            (before - after).abs() <= step_a(before) / 2,
            "{mu:#x}: {before} became {after}"
        );
    }
    let back = world.b_sends(&all).unwrap();
    assert_eq!(back.header().payload_type, 0);
    for (a, mu) in all.iter().zip(back.payload()) {
        let (before, after) = (expand_a(*a), expand_mu(*mu));
        assert!(
            (before - after).abs() <= step_mu(before) / 2,
            "{a:#x}: {before} became {after}"
        );
    }
}

#[test]
fn each_leg_has_its_own_payload_numbers() {
    let mut a = agreed(
        A,
        Codec {
            channels: 2,
            ..Codec::new("opus", 96, 48_000)
        },
    );
    a.event = None;
    let mut b = agreed(
        B,
        Codec {
            channels: 2,
            ..Codec::new("opus", 111, 48_000)
        },
    );
    b.event = None;
    let mut world = World::bridged(a, b);
    assert_eq!(world.a_sends(b"opaque").unwrap().header().payload_type, 111);
    assert_eq!(
        world.b_sends(b"opaque too").unwrap().header().payload_type,
        96
    );
    assert_eq!(world.engine.plane(CALL, A), Some(MediaPlane::Relay));
}

#[test]
fn a_payload_number_that_was_not_agreed_goes_nowhere() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    world.a_sends(&[0; 160]).unwrap();
    world.a.payload_type = 127;
    assert!(world.a_sends(&[0; 160]).is_none());
    assert_eq!(world.engine.stats(CALL, A).unwrap().dropped_malformed, 1);
}

#[test]
fn codecs_with_nothing_in_common_are_dropped_not_garbled() {
    let mut world = World::bridged(
        agreed(A, pcmu()),
        agreed(B, Codec::from_static(18).unwrap()),
    );
    assert!(world.a_sends(&[0; 160]).is_none());
}

#[test]
fn hold_stops_what_it_must_and_resume_goes_on_in_the_same_stream() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    let before = world.a_sends(&[1; 160]).unwrap().header();
    // B puts us on hold: it sends, we may not.
    let mut held = agreed(B, pcmu());
    held.direction = Direction::RecvOnly;
    world.negotiate(B, held);
    world.wait(20);
    assert!(world.a_sends(&[2; 160]).is_none());
    assert!(world.b_sends(&[3; 160]).is_some());
    world.wait(1000);
    world.negotiate(B, agreed(B, pcmu()));
    let after = world.a_sends(&[4; 160]).unwrap().header();
    assert_eq!(after.ssrc, before.ssrc);
    assert!(after.seq.distance(before.seq) > 0 && after.time.distance(before.time) > 0);
}

#[test]
fn a_renegotiated_codec_changes_the_bridge() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    assert_eq!(
        world.a_sends(&[0xff; 160]).unwrap().header().payload_type,
        0
    );
    world.negotiate(B, agreed(B, pcma()));
    let out = world.a_sends(&[0xff; 160]).unwrap();
    assert_eq!((out.header().payload_type, out.payload()[0]), (8, 0xd5));
}

#[test]
fn the_peer_may_choose_among_the_agreed_codecs_in_each_packet() {
    let mut b = agreed(B, pcma());
    b.codecs.push(Agreed {
        codec: pcmu(),
        send_payload: 0,
        receive_payload: 0,
    });
    let mut world = World::bridged(agreed(A, pcmu()), b);
    // B lists PCMA first, but A's PCMU needs no transcoding.
    assert_eq!(world.a_sends(&[7; 160]).unwrap().payload(), [7; 160]);
    assert_ne!(world.b_sends(&[7; 160]).unwrap().payload(), [7; 160]);
    world.b.payload_type = 0;
    assert_eq!(world.b_sends(&[7; 160]).unwrap().payload(), [7; 160]);
}

#[test]
fn nothing_goes_through_after_the_leg_is_closed() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    world.a_sends(&[1; 160]).unwrap();
    world.command(Command::Play {
        leg: B,
        id: 1,
        prompts: vec![Prompt::Silence(1000)],
        interruptible: false,
        repeat: 1,
    });
    world.command(Command::Close { leg: B });
    assert!(world.a_sends(&[1; 160]).is_none());
    assert!(world.b_sends(&[1; 160]).is_none());
    assert_eq!(world.engine.counters().dropped_no_leg, 1);
    world.command(Command::Close { leg: A });
    let sent = world.sent.len();
    world.wait(60_000);
    assert_eq!(world.sent.len(), sent);
    let counters = world.engine.counters();
    assert_eq!((counters.legs, counters.sessions), (0, 0));
}

fn expand_mu(code: u8) -> i32 {
    let code = !code;
    let magnitude = (((i32::from(code & 15) << 3) + 132) << ((code >> 4) & 7)) - 132;
    if code & 0x80 != 0 {
        -magnitude
    } else {
        magnitude
    }
}

fn expand_a(code: u8) -> i32 {
    let code = code ^ 0x55;
    let segment = code >> 4 & 7;
    let mantissa = i32::from(code & 15) << 4;
    let magnitude = if segment == 0 {
        mantissa + 8
    } else {
        (mantissa + 264) << (segment - 1)
    };
    if code & 0x80 != 0 {
        magnitude
    } else {
        -magnitude
    }
}

fn step_a(sample: i32) -> i32 {
    let segment = (sample.abs() >> 8).max(1).ilog2();
    (16 << segment) + 2
}

fn step_mu(sample: i32) -> i32 {
    // The top of the A-law range lies beyond the µ-law one.
    if sample.abs() > 32_124 {
        return 2 * (32_256 - 32_124);
    }
    let segment = (sample.abs() + 132) >> 8;
    if segment == 0 {
        8 + 2
    } else {
        (8 << (segment.ilog2() + 1)) + 2
    }
}
