use crate::world::{A, A_PORT, B, World, agreed, pcma, pcmu};
use media::codec::AudioCodec;
use media::dtmf::EventPayload;
use media::{Command, Event, Pcm, PlayEnd, Prompt};

#[test]
fn a_prompt_reaches_the_phone_sample_by_sample_at_its_pace() {
    let mut world = World::one_leg(agreed(A, pcma()));
    let clip = ramp(1000);
    play(&mut world, 3, vec![pcm(&clip)], false, 1);
    world.wait(200);
    let heard = world.heard_by(&world.a);
    assert_eq!(heard.len(), 7);
    for (i, pair) in heard.windows(2).enumerate() {
        assert_eq!(
            pair[1].at - pair[0].at,
            std::time::Duration::from_millis(20),
            "{i}"
        );
        assert_eq!(pair[1].header().time, pair[0].header().time.plus(160));
        assert_eq!(pair[1].header().seq, pair[0].header().seq.plus(1));
        assert!(!pair[1].header().marker);
    }
    assert!(heard[0].header().marker);
    let payload: Vec<u8> = heard.iter().flat_map(|s| s.payload()).copied().collect();
    let mut expected = vec![0; 1120];
    let mut samples = clip;
    samples.resize(1120, 0);
    AudioCodec::Pcma.encode(&samples, &mut expected);
    assert_eq!(payload, expected);
    assert_eq!(ends(&world), [(3, PlayEnd::Finished, 125)]);
}

#[test]
fn a_digit_interrupts_at_its_first_packet_and_what_was_heard_is_told() {
    let mut world = World::one_leg(agreed(A, pcmu()));
    world.a_sends(&[0xff; 160]);
    play(
        &mut world,
        1,
        vec![Prompt::Tone("ringback".into())],
        true,
        1,
    );
    play(&mut world, 2, vec![Prompt::Silence(500)], false, 1);
    world.wait(99); // frames at 0, 20, 40, 60, 80
    let bytes = world.a.raw(
        101,
        world.a.seq.wrapping_add(1),
        5000,
        true,
        &EventPayload {
            event: 1,
            end: false,
            duration: 160,
        }
        .write(),
    );
    world.deliver(A_PORT, world.a.address, &bytes);
    assert_eq!(ends(&world), [(1, PlayEnd::Interrupted, 100)]);
    world.wait(1000);
    assert_eq!(ends(&world)[1..], [(2, PlayEnd::Finished, 500)]);
}

#[test]
fn a_prompt_takes_the_place_of_the_bridge_and_gives_it_back() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    for _ in 0..5 {
        world.b_sends(&[0x11; 160]).unwrap();
        world.wait(20);
    }
    play(&mut world, 1, vec![Prompt::Tone("beep".into())], false, 1);
    for _ in 0..20 {
        world.wait(20);
        world.b_sends(&[0x11; 160]);
        assert!(world.a_sends(&[0x22; 160]).is_some()); // the other direction is not disturbed
    }
    let heard = world.heard_by(&world.a);
    let bridged: Vec<bool> = heard.iter().map(|s| s.payload() == [0x11; 160]).collect();
    let switches = bridged.windows(2).filter(|w| w[0] != w[1]).count();
    assert_eq!((switches, bridged.iter().filter(|b| !**b).count()), (2, 10));
    for pair in heard.windows(2) {
        let (first, second) = (pair[0].header(), pair[1].header());
        assert_eq!((second.ssrc, second.seq), (first.ssrc, first.seq.plus(1)));
        assert!(second.time.distance(first.time) > 0);
        let switched = (pair[0].payload() == [0x11; 160]) != (pair[1].payload() == [0x11; 160]);
        assert_eq!(second.marker, switched);
    }
}

#[test]
fn repeat_for_ever_stops_when_it_is_told_to() {
    let mut world = World::one_leg(agreed(A, pcmu()));
    play(&mut world, 9, vec![Prompt::Silence(30)], false, 0);
    world.wait(10_009);
    assert_eq!(ends(&world), []);
    world.command(Command::StopPlay { leg: A, id: 8 });
    world.command(Command::StopPlay { leg: A, id: 9 });
    assert_eq!(ends(&world), [(9, PlayEnd::Stopped, 10_020)]);
    let sent = world.sent.len();
    world.wait(1000);
    assert_eq!(world.sent.len(), sent);
}

#[test]
fn what_cannot_be_played_fails_and_the_next_one_plays() {
    let mut world = World::one_leg(agreed(A, pcmu()));
    play(
        &mut world,
        1,
        vec![Prompt::File("missing.wav".into())],
        false,
        1,
    );
    play(
        &mut world,
        2,
        vec![Prompt::Tone("no such tone".into())],
        false,
        1,
    );
    play(&mut world, 3, vec![Prompt::Silence(40)], false, 2);
    world.wait(200);
    assert_eq!(
        ends(&world),
        [
            (1, PlayEnd::Failed, 0),
            (2, PlayEnd::Failed, 0),
            (3, PlayEnd::Finished, 80)
        ]
    );
}

#[test]
fn a_prompt_waits_for_the_negotiation_and_stops_with_the_leg() {
    let mut world = World::one_leg(agreed(A, pcmu()));
    world.open(B, 10_002);
    world.command(Command::Play {
        leg: B,
        id: 4,
        prompts: vec![Prompt::Silence(100)],
        interruptible: false,
        repeat: 1,
    });
    world.wait(500);
    assert_eq!(ends(&world), []);
    world.negotiate(B, agreed(B, pcmu()));
    world.wait(60);
    world.command(Command::Close { leg: B });
    let [(4, PlayEnd::Stopped, played_ms)] = ends(&world)[..] else {
        panic!("{:?}", world.events)
    };
    assert!((60..=80).contains(&played_ms));
}

#[test]
fn packets_have_the_duration_that_the_peer_likes() {
    let mut a = agreed(A, pcmu());
    a.ptime_ms = 30;
    let mut world = World::one_leg(a);
    play(&mut world, 1, vec![Prompt::Silence(90)], false, 1);
    world.wait(200);
    let heard = world.heard_by(&world.a);
    assert_eq!(heard.len(), 3);
    assert!(heard.iter().all(|s| s.payload().len() == 240));
    assert_eq!(ends(&world), [(1, PlayEnd::Finished, 90)]);
}

fn play(world: &mut World, id: u32, prompts: Vec<Prompt>, interruptible: bool, repeat: u32) {
    world.command(Command::Play {
        leg: A,
        id,
        prompts,
        interruptible,
        repeat,
    });
}

fn pcm(samples: &[i16]) -> Prompt {
    Prompt::Pcm(Pcm {
        rate: 8000,
        samples: samples.into(),
    })
}

fn ramp(count: i16) -> Vec<i16> {
    (0..count).map(|n| (n - 500) * 60).collect()
}

fn ends(world: &World) -> Vec<(u32, PlayEnd, u32)> {
    let end = |event: &Event| match event {
        Event::Played {
            id, end, played_ms, ..
        } => Some((*id, *end, *played_ms)),
        _ => None,
    };
    world.events.iter().filter_map(end).collect()
}
