use crate::world::{A, A_PORT, B, World, agreed, pcmu};
use media::dtmf::EventPayload;
use media::{Command, ConnectorCommand, ConnectorEvent, Encoding, Event, Format};

const PCM24: Format = Format {
    encoding: Encoding::PcmS16le,
    rate: 24_000,
};
const PCMU: Format = Format {
    encoding: Encoding::Pcmu,
    rate: 8000,
};

#[test]
fn the_caller_is_heard_in_pieces_of_the_format_that_was_asked_for() {
    let mut world = attached(PCM24, PCM24, 40);
    for _ in 0..50 {
        world.a_sends(&[0x80; 160]); // full scale
        world.wait(20);
    }
    let audio = audio(&world);
    assert!(audio.iter().all(|piece| piece.len() == 24 * 40 * 2));
    assert!((23..=25).contains(&audio.len()), "{}", audio.len());
    let samples = |piece: &[u8]| {
        piece
            .chunks(2)
            .map(|s| i16::from_le_bytes([s[0], s[1]]))
            .collect::<Vec<_>>()
    };
    assert!(
        samples(&audio[10])
            .iter()
            .all(|s| (31_000..=32_767).contains(s))
    );
}

#[test]
fn lost_and_reordered_audio_keeps_its_place_and_silence_goes_on() {
    let mut world = attached(PCMU, PCMU, 20);
    let packets: Vec<Vec<u8>> = (0..20u8).map(|i| world.a.packet(&[i + 1; 160])).collect();
    let (port, from) = (world.a.port, world.a.address);
    for i in [0usize, 1, 2, 4, 3, 5, 6, 8, 9, 10] {
        world.deliver(port, from, &packets[i]);
        world.wait(20);
    }
    world.wait(400);
    let heard: Vec<u8> = audio(&world)
        .iter()
        .map(|piece| piece[80])
        .filter(|b| *b != 0xff)
        .collect();
    let clean: Vec<u8> = heard
        .iter()
        .copied()
        .filter(|b| (1..=20).contains(b))
        .collect();
    assert_eq!(clean, [1, 2, 3, 4, 5, 6, 7, 9, 10, 11]);
    assert_eq!(heard.len(), 11); // the lost one was concealed
    assert!(audio(&world).len() >= 28);
}

#[test]
fn what_the_platform_says_is_paced_and_marked() {
    let mut world = attached(PCMU, PCMU, 20);
    world.sent.clear();
    // A second of speech in one burst, as platforms do.
    enqueue(&mut world, "item_1", &[0x21; 8000]);
    connector(&mut world, ConnectorCommand::Mark("said".into()));
    world.wait(990);
    assert_eq!(marks(&world), Vec::<String>::new());
    world.wait(30);
    assert_eq!(marks(&world), ["said"]);
    let heard = world.heard_by(&world.a);
    assert_eq!(
        heard.iter().filter(|s| s.payload() == [0x21; 160]).count(),
        50
    );
    for pair in heard.windows(2) {
        assert_eq!(
            pair[1].at - pair[0].at,
            std::time::Duration::from_millis(20)
        );
        assert_eq!(pair[1].header().time, pair[0].header().time.plus(160));
    }
}

#[test]
fn barge_in_clears_and_tells_what_was_heard_of_which_utterance() {
    let mut world = attached(PCM24, PCM24, 20);
    enqueue(&mut world, "first", &vec![0; 24 * 2 * 200]);
    enqueue(&mut world, "second", &vec![0; 24 * 2 * 5000]);
    world.wait(505);
    let sent = frames_since_attach(&world);
    connector(&mut world, ConnectorCommand::Clear);
    assert_eq!(cleared(&world), [("second".to_owned(), sent * 20 - 200)]);
    connector(&mut world, ConnectorCommand::Clear);
    assert_eq!(cleared(&world)[1], (String::new(), 0));
    // The stream goes on with silence.
    let before = world.sent.len();
    world.wait(100);
    assert_eq!(world.sent.len() - before, 5);
}

#[test]
fn digits_reach_the_session_and_the_call() {
    let mut world = attached(PCMU, PCMU, 20);
    world.a_sends(&[0xff; 160]);
    let bytes = world.a.raw(
        101,
        world.a.seq.wrapping_add(1),
        9000,
        true,
        &EventPayload {
            event: 10,
            end: true,
            duration: 800,
        }
        .write(),
    );
    world.deliver(A_PORT, world.a.address, &bytes);
    assert!(world.events.contains(&Event::Connector {
        leg: A,
        id: 5,
        event: ConnectorEvent::Digit('*')
    }));
    assert!(world.events.contains(&Event::Digit {
        leg: A,
        digit: '*',
        duration_ms: 100
    }));
}

#[test]
fn a_connector_takes_the_place_of_the_bridge_and_gives_it_back() {
    let mut world = World::bridged(agreed(A, pcmu()), agreed(B, pcmu()));
    assert!(world.a_sends(&[1; 160]).is_some());
    world.command(Command::Attach {
        leg: A,
        id: 5,
        input: PCMU,
        output: PCMU,
        frame_ms: 20,
    });
    assert!(world.a_sends(&[1; 160]).is_none());
    assert!(world.b_sends(&[1; 160]).is_none());
    world.wait(100);
    // A session that is over may still say something.
    connector_with(&mut world, 4, ConnectorCommand::Clear);
    assert_eq!(cleared(&world), []);
    world.command(Command::Detach { leg: A, id: 5 });
    assert!(world.a_sends(&[1; 160]).is_some());
    assert!(world.b_sends(&[1; 160]).is_some());
}

fn attached(input: Format, output: Format, frame_ms: u32) -> World {
    let mut world = World::one_leg(agreed(A, pcmu()));
    world.command(Command::Attach {
        leg: A,
        id: 5,
        input,
        output,
        frame_ms,
    });
    world
}

fn frames_since_attach(world: &World) -> u32 {
    // The first frame went out before anything was enqueued.
    world.heard_by(&world.a).len() as u32 - 1
}

fn enqueue(world: &mut World, item: &str, audio: &[u8]) {
    connector(
        world,
        ConnectorCommand::Enqueue {
            item: item.into(),
            audio: audio.to_vec().into(),
        },
    );
}

fn connector(world: &mut World, command: ConnectorCommand) {
    connector_with(world, 5, command);
}

fn connector_with(world: &mut World, id: u32, command: ConnectorCommand) {
    world.command(Command::Connector {
        leg: A,
        id,
        command,
    });
}

fn told(world: &World) -> impl Iterator<Item = &ConnectorEvent> {
    world.events.iter().filter_map(|event| match event {
        Event::Connector {
            leg: A,
            id: 5,
            event,
        } => Some(event),
        _ => None,
    })
}

fn audio(world: &World) -> Vec<bytes::Bytes> {
    told(world)
        .filter_map(|e| {
            if let ConnectorEvent::Audio(a) = e {
                Some(a.clone())
            } else {
                None
            }
        })
        .collect()
}

fn marks(world: &World) -> Vec<String> {
    told(world)
        .filter_map(|e| {
            if let ConnectorEvent::Marked(m) = e {
                Some(m.clone())
            } else {
                None
            }
        })
        .collect()
}

fn cleared(world: &World) -> Vec<(String, u32)> {
    let cleared = |e: &ConnectorEvent| match e {
        ConnectorEvent::Cleared { item, played_ms } => Some((item.clone(), *played_ms)),
        _ => None,
    };
    told(world).filter_map(cleared).collect()
}
