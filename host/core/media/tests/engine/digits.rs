use crate::world::{A, A_PORT, B, B_PORT, CALL, World, agreed, pcma, pcmu};
use media::dtmf::EventPayload;
use media::{Command, Event, SessionKey};

#[test]
fn a_digit_is_relayed_with_the_other_legs_number_and_told_once() {
    let mut b = agreed(B, pcma());
    let event = b.event.as_mut().unwrap();
    (event.send_payload, event.receive_payload) = (96, 96);
    let mut world = World::bridged(agreed(A, pcmu()), b);
    let audio = world.a_sends(&[1; 160]).unwrap().header();
    let out = press(&mut world, 5, 5);
    assert_eq!(out.len(), 7);
    assert!(
        out.iter()
            .all(|s| s.header().payload_type == 96 && s.payload()[0] == 5)
    );
    assert!(out[0].header().marker && !out[1].header().marker);
    assert!(out.iter().all(|s| s.header().time == out[0].header().time));
    assert!(out.iter().filter(|s| s.payload()[1] & 0x80 != 0).count() == 3);
    assert_eq!(out[6].header().seq.distance(audio.seq), 7);
    assert_eq!(digits(&world), [('5', 100)]);
}

#[test]
fn a_digit_without_its_ends_is_told_after_a_while() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    world.a_sends(&[1; 160]);
    for duration in [160, 320] {
        send_event(&mut world, 9, false, duration, false);
        world.wait(20);
    }
    assert_eq!(digits(&world), []);
    world.wait(200);
    assert_eq!(digits(&world), [('9', 40)]);
    send_event(&mut world, 9, true, 800, false);
    world.wait(1000);
    assert_eq!(digits(&world), [('9', 40)]);
}

#[test]
fn digits_are_sent_as_events_while_the_bridge_waits() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    let before = world.a_sends(&[1; 160]).unwrap().header();
    world.sent.clear();
    world.command(Command::SendDigits {
        leg: B,
        digits: "1w#".into(),
    });
    assert_eq!(
        world.engine.plane(CALL, B),
        Some(media::MediaPlane::Terminate)
    );
    for _ in 0..50 {
        world.wait(20);
        world.a_sends(&[1; 160]);
    }
    let heard = world.heard_by(&world.b);
    let events: Vec<_> = heard
        .iter()
        .filter(|s| s.header().payload_type == 101)
        .collect();
    assert_eq!(events.len(), 14);
    assert!(
        events[..7]
            .iter()
            .all(|s| s.payload()[0] == 1 && s.port == B_PORT)
    );
    assert!(events[7..].iter().all(|s| s.payload()[0] == 11));
    assert_eq!(events.iter().filter(|s| s.header().marker).count(), 2);
    // 100 ms of tone and as much of pause, then half a second.
    let gap = events[7].header().time.distance(events[0].header().time);
    assert!((gap - 700 * 8).abs() <= 40, "{gap}");
    for pair in heard.windows(2) {
        assert_eq!(pair[1].header().seq, pair[0].header().seq.plus(1));
    }
    assert_eq!(heard[0].header().seq, before.seq.plus(1));
    // And the bridge is back.
    let last = heard.last().unwrap().header();
    assert_eq!(last.payload_type, 0);
    assert!(last.time.distance(events[13].header().time) > 800);
}

#[test]
fn a_peer_without_events_hears_tones() {
    let mut a = agreed(A, pcmu());
    a.event = None;
    let mut world = World::one_leg(a);
    world.command(Command::SendDigits {
        leg: A,
        digits: "5".into(),
    });
    world.wait(300);
    let heard = world.heard_by(&world.a);
    let loud: Vec<bool> = heard
        .iter()
        .map(|s| s.payload().iter().any(|b| *b != 0xff))
        .collect();
    assert_eq!(loud.iter().filter(|l| **l).count(), 5);
    assert_eq!(heard[0].header().payload_type, 0);
}

#[test]
fn what_is_no_digit_is_passed_on_and_not_told() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    world.a_sends(&[1; 160]);
    assert!(send_event(&mut world, 255, true, 160, true).is_some());
    world.wait(1000);
    assert_eq!(digits(&world), []);
    // Commands for a call that is not there do nothing.
    world.engine.handle_command(
        world.now,
        SessionKey(1),
        Command::SendDigits {
            leg: A,
            digits: "1".into(),
        },
    );
}

/// A digit of so many 20 ms updates and three ends.
fn press(world: &mut World, event: u8, updates: u16) -> Vec<crate::world::Sent> {
    world.a.time = world.a.time.wrapping_add(160);
    let mut out = Vec::new();
    for i in 1..=updates + 2 {
        let (duration, end) = (160 * i.min(updates), i >= updates);
        out.extend(send_event(world, event, end, duration, i == 1));
        world.wait(20);
    }
    out
}

fn send_event(
    world: &mut World,
    event: u8,
    end: bool,
    duration: u16,
    marker: bool,
) -> Option<crate::world::Sent> {
    world.a.seq = world.a.seq.wrapping_add(1);
    let payload = EventPayload {
        event,
        end,
        duration,
    }
    .write();
    let bytes = world
        .a
        .raw(101, world.a.seq, world.a.time, marker, &payload);
    world.deliver(A_PORT, world.a.address, &bytes)
}

fn digits(world: &World) -> Vec<(char, u32)> {
    let told = |event: &Event| match event {
        Event::Digit {
            leg: A,
            digit,
            duration_ms,
        } => Some((*digit, *duration_ms)),
        _ => None,
    };
    world.events.iter().filter_map(told).collect()
}
