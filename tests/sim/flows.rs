//! A flow has the call: answer, play, gather, dial, connect, and what it may not do.

use b2bua::decision::{Decision, DecisionFailure, DialPlan, FlowRef, Strategy};
use b2bua::flow::{
    Connect, ConnectorEvent, Dial, FlowAction, FlowEvent, FunctionCall, FunctionResult, Gather,
    GatherEnd, Play, PlayEnd, Prompt,
};
use b2bua::journal::Kind;
use b2bua::{ConnectorOrder, Input};
use sip::Method;
use std::time::Duration;
use tests::sim::node::{self, Node, dial, reject};
use tests::sim::ua::Behaviour;
use tests::sim::{Sim, sdp};

#[test]
fn a_menu_answers_plays_takes_digits_and_hangs_up() {
    let mut sim = Sim::new(1, 1);
    sim.node.runs(|event| match event {
        FlowEvent::Started => vec![FlowAction::Answer],
        FlowEvent::Answered => vec![play(1), gather(2)],
        FlowEvent::Gathered { .. } => vec![FlowAction::Hangup(reject(480, "goodbye"))],
        _ => Vec::new(),
    });
    answered(&mut sim);
    for digit in ["1", "2", "#"] {
        info(&mut sim, digit);
    }
    sim.until("the flow hangs up", Duration::from_secs(2), |sim| {
        sim.uas[0].calls[0].over
    });
    sim.finish();
    let gathered = FlowEvent::Gathered {
        id: 2,
        digits: "12".into(),
        end: GatherEnd::Terminator,
    };
    assert!(
        sim.node.flow_events.contains(&gathered),
        "{:?}",
        sim.node.flow_events
    );
    let interrupted = |e: &FlowEvent| {
        matches!(
            e,
            FlowEvent::Played {
                id: 1,
                end: PlayEnd::Interrupted,
                ..
            }
        )
    };
    assert!(
        sim.node.flow_events.iter().any(interrupted),
        "{:?}",
        sim.node.flow_events
    );
    assert_eq!(sim.node.flow_events.last(), Some(&FlowEvent::Hangup(200)));
    assert_eq!(sim.node.ended().cause.text, "goodbye");
}

#[test]
fn the_first_digit_is_awaited_from_the_end_of_the_prompt() {
    let mut sim = Sim::new(2, 1);
    sim.node.prompt_ms = Some(7000);
    sim.node.runs(|event| match event {
        FlowEvent::Started => vec![FlowAction::Answer],
        FlowEvent::Answered => vec![play(1), gather(2)],
        FlowEvent::Gathered { .. } => vec![FlowAction::Hangup(reject(480, "nobody there"))],
        _ => Vec::new(),
    });
    answered(&mut sim);
    let start = sim.now;
    sim.until("the gather gives up", Duration::from_secs(20), |sim| {
        sim.uas[0].calls[0].over
    });
    let waited = sim.now - start;
    assert!(
        waited >= Duration::from_millis(11_900) && waited < Duration::from_millis(12_500),
        "{waited:?}"
    );
    assert!(sim.node.flow_events.contains(&FlowEvent::Gathered {
        id: 2,
        digits: String::new(),
        end: GatherEnd::Timeout
    }));
    sim.finish();
}

#[test]
fn digits_without_a_gather_are_events() {
    let mut sim = Sim::new(3, 1);
    sim.node.runs(answering);
    answered(&mut sim);
    let (now, call) = (sim.now, sim.node.call());
    let event = media::Event::Digit {
        leg: media::LegKey(0),
        digit: '7',
        duration_ms: 100,
    };
    sim.node.handle(now, Input::Media { call, event });
    assert_eq!(sim.node.flow_events.last(), Some(&FlowEvent::Digit('7')));
    hang_up(sim);
}

#[test]
fn a_flow_may_ring_first_and_refuse_after_a_while() {
    let mut sim = Sim::new(4, 1);
    sim.node.runs(|event| match event {
        FlowEvent::Started => vec![
            FlowAction::Ring,
            FlowAction::StartTimer {
                id: 9,
                after_ms: 3000,
            },
        ],
        FlowEvent::Timer(9) => vec![FlowAction::Hangup(reject(480, "nobody in"))],
        _ => Vec::new(),
    });
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the refusal", Duration::from_secs(4), |sim| {
        sim.uas[0].got(0, 480)
    });
    assert_eq!(sim.uas[0].statuses(0), [180, 480]);
    sim.finish();
}

#[test]
fn a_flow_dials_and_goes_on_when_the_target_hangs_up() {
    let mut sim = Sim::new(5, 2);
    sim.node.runs(|event| match event {
        FlowEvent::Started => vec![FlowAction::Answer],
        FlowEvent::Answered => vec![dial_action(1, true)],
        FlowEvent::DialEnded { id: 1 } => vec![play(5)],
        FlowEvent::Played { id: 5, .. } => vec![FlowAction::Hangup(reject(480, "done"))],
        _ => Vec::new(),
    });
    answered(&mut sim);
    sim.until("the target talks", Duration::from_secs(2), |sim| {
        sim.uas[1].is_talking(0)
    });
    sim.run_for(Duration::from_secs(1));
    let now = sim.now;
    sim.uas[1].bye(now, 0);
    sim.until("the flow ends it", Duration::from_secs(4), |sim| {
        sim.uas[0].calls[0].over
    });
    sim.finish();
    let names: Vec<&FlowEvent> = sim
        .node
        .flow_events
        .iter()
        .filter(|e| format!("{e:?}").starts_with("Dial"))
        .collect();
    assert_eq!(
        names,
        [
            &FlowEvent::DialRinging { id: 1 },
            &FlowEvent::DialAnswered { id: 1 },
            &FlowEvent::DialEnded { id: 1 }
        ]
    );
}

#[test]
fn without_resume_the_targets_bye_ends_the_call() {
    let mut sim = Sim::new(6, 2);
    sim.node.runs(|event| {
        if *event == FlowEvent::Started {
            vec![dial_action(1, false)]
        } else {
            Vec::new()
        }
    });
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("they talk", Duration::from_secs(2), |sim| {
        sim.uas[0].is_talking(0) && sim.uas[1].is_talking(0)
    });
    let now = sim.now;
    sim.uas[1].bye(now, 0);
    sim.finish();
    assert!(sim.uas[0].calls[0].over);
}

#[test]
fn a_dial_that_fails_comes_back_to_the_flow_and_the_ringback_stops() {
    let mut sim = Sim::new(7, 2);
    sim.node.prompt_ms = None;
    sim.uas[1].behaviours = vec![Behaviour {
        end: Some((2000, 486)),
        ..Behaviour::answer(0)
    }];
    sim.node.runs(|event| match event {
        FlowEvent::Started => vec![FlowAction::Answer],
        FlowEvent::Answered => vec![dial_action(3, true)],
        FlowEvent::DialFailed { .. } => vec![FlowAction::Hangup(reject(486, "busy"))],
        _ => Vec::new(),
    });
    answered(&mut sim);
    sim.until("the flow hears it", Duration::from_secs(4), |sim| {
        sim.uas[0].calls[0].over
    });
    sim.finish();
    assert!(sim.node.flow_events.iter().any(|e| matches!(
        e,
        FlowEvent::DialFailed {
            id: 3,
            status: 486,
            ..
        }
    )));
    let ringback = sim.node.media.iter().filter(|(_, c)| {
        matches!(
            c,
            media::Command::Play { .. } | media::Command::StopPlay { .. }
        )
    });
    assert_eq!(ringback.count(), 2);
}

#[test]
fn a_flow_may_give_up_a_dial_before_and_after_the_answer() {
    for after_ms in [100, 1500] {
        let mut sim = Sim::new(8, 2);
        sim.uas[1].behaviours = vec![Behaviour::answer(1000)];
        sim.node.runs(move |event| match event {
            FlowEvent::Started => vec![FlowAction::Answer],
            FlowEvent::Answered => vec![
                dial_action(1, true),
                FlowAction::StartTimer { id: 1, after_ms },
            ],
            FlowEvent::Timer(1) => vec![FlowAction::StopDial(1)],
            FlowEvent::DialFailed { .. } | FlowEvent::DialEnded { .. } => vec![play(2)],
            _ => Vec::new(),
        });
        answered(&mut sim);
        sim.run_for(Duration::from_secs(4));
        assert!(sim.uas[1].calls[0].over, "{}", sim.node.story());
        assert!(sim.uas[0].is_talking(0));
        hang_up(sim);
    }
}

#[test]
fn an_ai_session_comes_and_goes_and_calls_functions() {
    let mut sim = Sim::new(9, 1);
    sim.node.runs(|event| match event {
        FlowEvent::Started => vec![FlowAction::Answer],
        FlowEvent::Answered => vec![FlowAction::Connect(Connect {
            id: 4,
            connector: "openai".into(),
            settings: "{}".into(),
        })],
        FlowEvent::FunctionCall(call) => vec![FlowAction::FunctionResult(FunctionResult {
            id: call.id,
            call: call.call.clone(),
            output: "42".into(),
            respond: true,
        })],
        FlowEvent::Transcript(_) => vec![FlowAction::Disconnect(4)],
        FlowEvent::ConnectEnded { .. } => vec![play(1)],
        _ => Vec::new(),
    });
    answered(&mut sim);
    assert_eq!(sim.node.connects.len(), 1);
    for event in [
        ConnectorEvent::Connected,
        ConnectorEvent::FunctionCall(FunctionCall {
            id: 4,
            call: "c1".into(),
            name: "f".into(),
            arguments: "{}".into(),
        }),
        ConnectorEvent::Transcript(b2bua::flow::Transcript {
            id: 4,
            speaker: "agent".into(),
            text: "bye".into(),
            r#final: true,
        }),
        ConnectorEvent::Ended {
            normal: true,
            reason: "late".into(),
        },
    ] {
        let (now, call) = (sim.now, sim.node.call());
        sim.node
            .handle(now, Input::Connector { call, id: 4, event });
        sim.run_for(Duration::from_millis(50));
    }
    let result = ConnectorOrder::FunctionResult {
        call: "c1".into(),
        output: "42".into(),
        respond: true,
    };
    assert_eq!(sim.node.orders, [result, ConnectorOrder::Stop]);
    let ends = sim
        .node
        .flow_events
        .iter()
        .filter(|e| matches!(e, FlowEvent::ConnectEnded { normal: true, .. }));
    assert_eq!(ends.count(), 1);
    hang_up(sim);
}

#[test]
fn a_caller_who_hangs_up_ends_the_ai_session_too() {
    let mut sim = Sim::new(10, 1);
    sim.node.runs(|event| match event {
        FlowEvent::Started => vec![FlowAction::Answer],
        FlowEvent::Answered => vec![FlowAction::Connect(Connect {
            id: 4,
            connector: "openai".into(),
            settings: "{}".into(),
        })],
        _ => Vec::new(),
    });
    answered(&mut sim);
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
    assert_eq!(sim.node.orders, [ConnectorOrder::Stop]);
    assert_eq!(sim.node.flow_events.last(), Some(&FlowEvent::Hangup(200)));
}

#[test]
fn what_may_not_be_done_is_refused_in_the_journal_and_nothing_breaks() {
    let mut sim = Sim::new(11, 1);
    let flood: Vec<FlowAction> = (0..200)
        .map(|n| FlowAction::StartTimer {
            id: n,
            after_ms: 60_000,
        })
        .collect();
    sim.node.runs(move |event| match event {
        FlowEvent::Started => vec![
            play(1),
            gather(1),
            FlowAction::SendDigits("1".into()),
            FlowAction::StopPlay(7),
            FlowAction::StopGather(7),
            FlowAction::StopDial(7),
            FlowAction::CancelTimer(7),
            FlowAction::Disconnect(7),
            FlowAction::UpdateConnect {
                id: 7,
                json: "{}".into(),
            },
            FlowAction::Connect(Connect {
                id: 1,
                connector: "x".into(),
                settings: "{}".into(),
            }),
            FlowAction::Other {
                name: "teleport".into(),
                ext: Vec::new(),
            },
            FlowAction::Answer,
            FlowAction::Answer,
            FlowAction::Ring,
            FlowAction::SendDigits("1\r\n".into()),
        ],
        FlowEvent::Answered => flood.clone(),
        _ => Vec::new(),
    });
    answered(&mut sim);
    sim.run_for(Duration::from_millis(100));
    let refused = sim
        .node
        .events()
        .filter(|e| {
            matches!(
                e.kind,
                Kind::FlowAction {
                    refused: Some(_),
                    ..
                }
            )
        })
        .count();
    // 14 of the first list; of the second all but the 32 timers, as far as they are looked at.
    assert!(refused >= 14 + 32, "{refused}");
    hang_up(sim);
}

#[test]
fn a_flow_that_traps_ends_the_call_with_a_reason() {
    for before_answer in [true, false] {
        let mut sim = Sim::new(12, 1);
        sim.node.decides(Decision::RunFlow(FlowRef {
            name: "menu".into(),
            ext: Vec::new(),
        }));
        sim.node.flow = Box::new(move |event| {
            let trap = Err(DecisionFailure::Trap {
                message: "unreachable".into(),
            });
            match event {
                FlowEvent::Started if before_answer => Some(trap),
                FlowEvent::Started => Some(Ok(vec![FlowAction::Answer])),
                FlowEvent::Answered => Some(trap),
                _ => Some(Ok(Vec::new())),
            }
        });
        let now = sim.now;
        sim.uas[0].call(now, "1000");
        sim.until("the end", Duration::from_secs(2), |sim| {
            sim.uas[0].calls[0].over
        });
        sim.finish();
        assert_eq!(sim.uas[0].got(0, 500), before_answer);
        assert_eq!(sim.node.ended().cause.status, 500);
        assert_eq!(sim.node.ended().cause.fault, b2bua::Fault::Tenant);
    }
}

#[test]
fn a_flow_that_never_answers_is_not_waited_for() {
    let mut sim = Sim::new(13, 1);
    sim.node.decides(Decision::RunFlow(FlowRef {
        name: "menu".into(),
        ext: Vec::new(),
    }));
    sim.node.flow = Box::new(|_| None);
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the end", Duration::from_secs(4), |sim| {
        sim.uas[0].got(0, 500)
    });
    sim.finish();
}

#[test]
fn a_hold_in_a_flow_is_answered_by_us() {
    let mut sim = Sim::new(14, 1);
    sim.node.runs(answering);
    answered(&mut sim);
    let now = sim.now;
    sim.uas[0].modify(now, 0, Method::Invite, "sendonly");
    sim.run_for(Duration::from_secs(1));
    assert_eq!(
        sdp::direction(sim.uas[0].calls[0].described.last().unwrap()),
        "recvonly"
    );
    hang_up(sim);
}

#[test]
fn a_late_offer_can_be_answered_by_a_flow() {
    let mut sim = Sim::new(15, 1);
    sim.node.runs(answering);
    let now = sim.now;
    sim.uas[0].call_with(now, "1000", None, |_| {});
    sim.until("audio is agreed", Duration::from_secs(2), |sim| {
        sim.node.agreed(0).is_some()
    });
    hang_up(sim);
}

#[test]
fn digits_of_a_pin_are_not_written_down() {
    let mut sim = Sim::new(16, 1);
    sim.node = Node::with(
        16,
        b2bua::Config {
            hide_digits: true,
            ..node::config()
        },
        node::directory(),
    );
    sim.node.runs(|event| match event {
        FlowEvent::Started => vec![FlowAction::Answer],
        FlowEvent::Answered => vec![gather(2)],
        _ => Vec::new(),
    });
    answered(&mut sim);
    for digit in ["7", "3", "#"] {
        info(&mut sim, digit);
    }
    sim.run_for(Duration::from_secs(1));
    assert!(sim.node.flow_events.contains(&FlowEvent::Gathered {
        id: 2,
        digits: "73".into(),
        end: GatherEnd::Terminator
    }));
    let json = serde_json::to_string(&sim.node.journals[&sim.node.call()]).unwrap();
    for secret in ["Signal=7", "Signal=3", "\"73\"", "\"digit\":\"7\""] {
        assert!(!json.contains(secret), "{secret}");
    }
    hang_up(sim);
}

fn answering(event: &FlowEvent) -> Vec<FlowAction> {
    if *event == FlowEvent::Started {
        vec![FlowAction::Answer]
    } else {
        Vec::new()
    }
}

fn answered(sim: &mut Sim) {
    let now = sim.now;
    sim.uas[0].call(now, "1000");
    sim.until("the flow answers", Duration::from_secs(1), |sim| {
        sim.uas[0].is_talking(0)
    });
    sim.run_for(Duration::from_millis(50));
}

fn hang_up(mut sim: Sim) {
    let now = sim.now;
    sim.uas[0].bye(now, 0);
    sim.finish();
}

fn info(sim: &mut Sim, digit: &str) {
    let now = sim.now;
    sim.uas[0].send(
        now,
        0,
        Method::Info,
        Some((
            "application/dtmf-relay",
            format!("Signal={digit}\r\nDuration=100\r\n"),
        )),
    );
    sim.run_for(Duration::from_millis(100));
}

fn play(id: u32) -> FlowAction {
    FlowAction::Play(Play {
        id,
        prompts: vec![Prompt::File("welcome.wav".into())],
        interruptible: true,
        repeat: 1,
    })
}

fn gather(id: u32) -> FlowAction {
    FlowAction::Gather(Gather {
        id,
        max_digits: 4,
        terminators: "#".into(),
        first_timeout_ms: 5000,
        inter_timeout_ms: 3000,
    })
}

fn dial_action(id: u32, resume: bool) -> FlowAction {
    let Decision::Dial(plan) = dial(Strategy::Serial, &[1]) else {
        unreachable!("it is a plan")
    };
    let plan = DialPlan {
        max_duration_s: Some(60),
        ..plan
    };
    FlowAction::Dial(Dial {
        id,
        plan,
        ringback: Some(Prompt::Tone("ringback".into())),
        resume,
    })
}
