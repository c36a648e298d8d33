use crate::world::{A, A_PORT, B, CALL, World, agreed, pcmu};
use media::packet::{Report, ReportBlock, SenderInfo, Ssrc, read_reports, write_report};
use media::{Command, Event};

#[test]
fn each_leg_reports_every_five_seconds_what_it_sent_and_received() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    for i in 0..1000u16 {
        if i % 10 == 4 {
            world.a.packet(&[]); // lost on the way
        } else {
            world.a_sends(&[0; 160]);
        }
        world.b_sends(&[0; 160]);
        world.wait(20);
    }
    let to_a: Vec<Report> = rtcp(&world, "198.51.100.1:4001");
    assert!((3..=5).contains(&to_a.len()), "{}", to_a.len());
    let last = to_a.last().unwrap();
    assert_eq!(last.from, world.heard_by(&world.a)[0].header().ssrc);
    let block = last.blocks[0];
    assert_eq!((block.ssrc, block.fraction_lost / 4), (Ssrc(0xa), 25 / 4)); // 10 % of 256
    assert!((80..=100).contains(&block.cumulative_lost));
    let sender = last.sender.unwrap();
    assert_eq!(sender.octets, sender.packets * 160);
    assert!(sender.packets > 700);
    // Their timestamps tell the same time as the RTP's (RFC 3550 §6.4.1).
    let pace = |r: &Report| (r.sender.unwrap().ntp, r.sender.unwrap().rtp_time);
    let ((ntp0, rtp0), (ntp1, rtp1)) = (pace(&to_a[0]), pace(last));
    let seconds = (ntp1 - ntp0) as f64 / 4_294_967_296.0;
    assert!((f64::from(rtp1.wrapping_sub(rtp0)) / 8000.0 - seconds).abs() < 0.03);
}

#[test]
fn the_round_trip_comes_from_the_peers_receiver_reports() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    world.b_sends(&[0; 160]);
    world.wait(5000);
    let ours = rtcp(&world, "198.51.100.1:4001").pop().unwrap();
    let sent = world
        .sent
        .iter()
        .rev()
        .find(|s| s.to == "198.51.100.1:4001".parse().unwrap())
        .unwrap()
        .at;
    world.now = sent + std::time::Duration::from_millis(250);
    let block = ReportBlock {
        ssrc: ours.from,
        fraction_lost: 0,
        cumulative_lost: 0,
        highest_seq: 1,
        jitter: 0,
        last_sr: (ours.sender.unwrap().ntp >> 16) as u32,
        delay_since_last_sr: 65_536 / 10, // 100 ms
    };
    let sender = Some(SenderInfo {
        ntp: 77 << 32,
        rtp_time: 0,
        packets: 0,
        octets: 0,
    });
    let report = Report {
        from: Ssrc(0xa),
        sender,
        blocks: [block].into_iter().collect(),
    };
    let mut buffer = [0; 200];
    let len = write_report(&mut buffer, &report, "phone");
    world.engine.handle_rtcp(
        world.now,
        A_PORT + 1,
        "198.51.100.1:4001".parse().unwrap(),
        &buffer[..len],
    );
    let round_trip = world.engine.stats(CALL, A).unwrap().round_trip_ms.unwrap();
    assert!((round_trip - 150.0).abs() < 1.0, "{round_trip}");

    // From elsewhere nothing is believed, and garbage is counted.
    world.engine.handle_rtcp(
        world.now,
        A_PORT + 1,
        "192.0.2.66:4001".parse().unwrap(),
        &buffer[..len],
    );
    world.engine.handle_rtcp(
        world.now,
        A_PORT + 1,
        "198.51.100.1:4001".parse().unwrap(),
        &buffer[..len - 3],
    );
    let stats = world.engine.stats(CALL, A).unwrap();
    assert_eq!((stats.dropped_source, stats.dropped_malformed), (1, 1));
}

#[test]
fn silence_is_told_once_until_something_comes_again() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    for _ in 0..50 {
        world.b_sends(&[0; 160]);
        world.wait(20);
    }
    world.wait(60_000);
    let told = |world: &World, leg| {
        world
            .events
            .iter()
            .filter(|e| matches!(e, Event::Silent { leg: l, .. } if *l == leg))
            .count()
    };
    assert_eq!((told(&world, A), told(&world, B)), (1, 1));
    world.b_sends(&[0; 160]);
    world.wait(60_000);
    assert_eq!((told(&world, A), told(&world, B)), (1, 2));
}

#[test]
fn the_last_statistics_come_with_the_close() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    for _ in 0..10 {
        world.a_sends(&[0; 160]);
        world.wait(20);
    }
    world.command(Command::Close { leg: A });
    let Some(Event::Closed { leg: A, stats }) = world.events.last() else {
        panic!("{:?}", world.events)
    };
    assert_eq!(
        (stats.received_packets, stats.source),
        (10, Some(world.a.address))
    );
    assert!(stats.jitter_ms < 0.1);
}

fn rtcp(world: &World, to: &str) -> Vec<Report> {
    let to = to.parse().unwrap();
    world
        .sent
        .iter()
        .filter(|s| s.to == to)
        .flat_map(|s| read_reports(&s.bytes).unwrap())
        .collect()
}
