//! Flows that do anything at any time, callers and targets that hang up in the middle, media
//! that reports nonsense: whatever happens, nothing panics and nothing is left over.

use b2bua::decision::{Decision, Strategy};
use b2bua::flow::{Connect, ConnectorEvent, Dial, FlowAction, FlowEvent, Gather, Play, Prompt};
use b2bua::{Cause, Command, Input};
use media::LegKey;
use sip::Method;
use std::time::Duration;
use tests::sim::Sim;
use tests::sim::link::Random;
use tests::sim::node::{dial, reject};
use tests::sim::ua::Behaviour;

#[test]
fn a_flow_may_do_anything_at_any_time() {
    for seed in 0..120 {
        let mut random = Random(seed);
        let mut sim = Sim::new(seed, 4);
        (sim.link.lost, sim.link.repeated, sim.link.jitter_ms) =
            (random.below(20), random.below(20), 30);
        sim.node.prompt_ms = Some(random.below(3000));
        for n in 1..4 {
            sim.uas[n].behaviours = (0..5).map(|_| behaviour(&mut random)).collect();
        }
        let mut inside = Random(seed ^ 0xabcd);
        sim.node.runs(move |event| match event {
            FlowEvent::Started if inside.below(2) == 0 => {
                vec![FlowAction::Answer, any_action(&mut inside)]
            }
            _ => (0..inside.below(3))
                .map(|_| any_action(&mut inside))
                .collect(),
        });
        let now = sim.now;
        sim.uas[0].call(now, "1000");
        for _ in 0..random.below(40) {
            sim.run_for(Duration::from_millis(random.below(700)));
            something(&mut sim, &mut random);
        }
        end_all(&mut sim);
    }
}

#[test]
fn a_routed_call_survives_anything_too() {
    for seed in 1000..1120 {
        let mut random = Random(seed);
        let mut sim = Sim::new(seed, 4);
        (sim.link.lost, sim.link.repeated, sim.link.jitter_ms) =
            (random.below(25), random.below(25), 50);
        for n in 1..4 {
            sim.uas[n].behaviours = vec![behaviour(&mut random)];
        }
        let strategy = if seed.is_multiple_of(2) {
            Strategy::Serial
        } else {
            Strategy::Parallel
        };
        sim.node.decides(dial(strategy, &[1, 2, 3]));
        let now = sim.now;
        sim.uas[0].call(now, "1000");
        for _ in 0..random.below(30) {
            sim.run_for(Duration::from_millis(random.below(900)));
            something(&mut sim, &mut random);
        }
        end_all(&mut sim);
    }
}

/// The journal is bounded, and so is what a flow can make us keep.
#[test]
fn a_flow_that_never_rests_fills_no_memory() {
    let mut sim = Sim::new(1, 2);
    sim.uas[1].behaviours = vec![Behaviour::refuse(404)];
    sim.node.runs(|event| match event {
        FlowEvent::Started => vec![FlowAction::Answer],
        FlowEvent::Answered | FlowEvent::DialFailed { .. } => vec![any_dial(1, 1), note(), note()],
        _ => Vec::new(),
    });
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.run_for(Duration::from_secs(120));
    let lines = sim.node.journals[&sim.node.call()].len();
    assert!(lines > 9_000 && lines < 13_000, "{lines} lines");
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
}

fn end_all(sim: &mut Sim) {
    (sim.link.lost, sim.link.repeated) = (0, 0);
    // The first INVITE may still be on its way.
    sim.run_for(Duration::from_secs(4));
    let now = sim.now;
    let calls: Vec<_> = sim.node.journals.keys().copied().collect();
    for call in calls {
        let cause = Cause::operator("the test is over");
        sim.node.handle(
            now,
            Input::Command {
                call,
                command: Command::Hangup { cause },
            },
        );
    }
    sim.finish();
}

fn something(sim: &mut Sim, random: &mut Random) {
    let now = sim.now;
    let Some(call) = sim.node.journals.keys().next().copied() else {
        return;
    };
    let who = random.below(4) as usize;
    let leg = LegKey(random.below(4) as u16);
    let directions = ["sendonly", "sendrecv", "inactive"];
    let input = match random.below(12) {
        0 if !sim.uas[who].calls.is_empty() => return sim.uas[who].bye(now, 0),
        1 => return sim.uas[0].cancel(now, 0),
        2 if !sim.uas[who].calls.is_empty() => {
            let direction = directions[random.below(3) as usize];
            let method = if random.below(2) == 0 {
                Method::Invite
            } else {
                Method::Update
            };
            return sim.uas[who].modify(now, 0, method, direction);
        }
        3 if !sim.uas[who].calls.is_empty() => {
            let body = ("application/dtmf-relay", "Signal=1\r\n".to_owned());
            return sim.uas[who].send(now, 0, Method::Info, Some(body));
        }
        4 if !sim.uas[who].calls.is_empty() => {
            return sim.uas[who].send(now, 0, Method::Invite, None);
        }
        5 => media(
            media::Event::Digit {
                leg,
                digit: '5',
                duration_ms: 1,
            },
            call,
        ),
        6 => {
            let (id, end) = (random.below(5) as u32, media::PlayEnd::Finished);
            media(
                media::Event::Played {
                    leg,
                    id,
                    end,
                    played_ms: 1,
                },
                call,
            )
        }
        7 => media(
            media::Event::Silent {
                leg,
                for_ms: 10_000,
            },
            call,
        ),
        8 => {
            let id = random.below(4) as u32;
            let event = match random.below(3) {
                0 => ConnectorEvent::Connected,
                1 => ConnectorEvent::Ended {
                    normal: false,
                    reason: "x".into(),
                },
                _ => ConnectorEvent::Note {
                    kind: "x".into(),
                    text: "y".into(),
                },
            };
            Input::Connector { call, id, event }
        }
        9 => {
            let flow = sip::Flow::udp(tests::sim::node::address(), tests::sim::agent_address(who));
            Input::FlowFailed { flow }
        }
        _ => return,
    };
    sim.node.handle(now, input);
}

fn media(event: media::Event, call: b2bua::key::CallKey) -> Input {
    Input::Media { call, event }
}

fn behaviour(random: &mut Random) -> Behaviour {
    let base = match random.below(5) {
        0 => Behaviour::refuse([404, 486, 503, 603, 302][random.below(5) as usize]),
        1 => Behaviour::ring_for_ever(),
        2 => Behaviour::silence(),
        _ => Behaviour::answer(random.below(3000)),
    };
    Behaviour {
        early: random.below(3) == 0,
        no_contact: random.below(10) == 0,
        ..base
    }
}

fn any_action(random: &mut Random) -> FlowAction {
    let id = random.below(4) as u32;
    match random.below(17) {
        0 => FlowAction::Answer,
        1 => FlowAction::Ring,
        2 | 3 => FlowAction::Play(Play {
            id,
            prompts: vec![Prompt::Tone("beep".into())],
            interruptible: random.below(2) == 0,
            repeat: 1,
        }),
        4 => FlowAction::StopPlay(id),
        5 | 6 => FlowAction::Gather(Gather {
            id,
            max_digits: 2,
            terminators: "#".into(),
            first_timeout_ms: random.below(3000) as u32,
            inter_timeout_ms: 500,
        }),
        7 => FlowAction::StopGather(id),
        8 => FlowAction::StartTimer {
            id,
            after_ms: random.below(2000) as u32,
        },
        9 => FlowAction::CancelTimer(id),
        10 | 11 => any_dial(id, 1 + random.below(3) as usize),
        12 => FlowAction::StopDial(id),
        13 => FlowAction::Connect(Connect {
            id,
            connector: "x".into(),
            settings: "{}".into(),
        }),
        14 => FlowAction::Disconnect(id),
        15 => FlowAction::SendDigits("12".into()),
        _ if random.below(10) == 0 => FlowAction::Hangup(reject(480, "enough")),
        _ => note(),
    }
}

fn any_dial(id: u32, target: usize) -> FlowAction {
    let Decision::Dial(plan) = dial(Strategy::Serial, &[target]) else {
        unreachable!("it is a plan")
    };
    FlowAction::Dial(Dial {
        id,
        plan,
        ringback: Some(Prompt::Tone("ringback".into())),
        resume: id.is_multiple_of(2),
    })
}

fn note() -> FlowAction {
    FlowAction::Note {
        kind: "k".into(),
        text: "t".into(),
    }
}
