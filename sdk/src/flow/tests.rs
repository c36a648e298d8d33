use super::*;
use crate::testing::{FakeHost, FlowTest, call_info};
use crate::{json, kv, select};

const SECOND: Duration = Duration::from_secs(1);

/// A flow of one function, so that a test can have its own.
macro_rules! flow {
    ($name:ident, |$call:ident| $body:block) => {
        struct $name;
        impl Flow for $name {
            async fn run($call: Call) -> Result<(), Exit> {
                $body
            }
        }
    };
}

fn kinds(actions: &[Action]) -> Vec<String> {
    let name = |action: &Action| {
        format!("{action:?}")
            .split(['(', ' '])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    actions
        .iter()
        .map(|action| name(action).trim_start_matches("Action::").to_owned())
        .collect()
}

#[test]
fn actions_come_in_the_order_of_the_code_and_wait_for_their_events() {
    flow!(Greeting, |call| {
        call.ring();
        call.answer().await?;
        let played = call.play(["a.wav", "b.wav"]).repeat(2).await?;
        assert_eq!((played.end, played.played_ms), (PlayEnd::Finished, 4_000));
        call.note("done", "greeting");
        Ok(())
    });
    let mut test = FlowTest::start::<Greeting>();
    let actions = test.actions();
    assert_eq!(actions[..2], [Action::Ring, Action::Answer]);
    assert!(
        matches!(&actions[2], Action::Play(play) if play.repeat == 2 && !play.interruptible && play.prompts.len() == 2)
    );
    test.advance(3 * SECOND);
    assert!(test.actions().is_empty());
    test.advance(SECOND);
    let actions = test.actions();
    assert_eq!(actions[0], Action::Note(("done".into(), "greeting".into())));
    assert!(
        matches!(&actions[1..], [Action::Hangup(_)]),
        "a flow that returns ends the call"
    );
}

#[test]
fn dropping_a_future_stops_what_it_started() {
    flow!(Hold, |call| {
        call.answer().await?;
        let mut digits = call.digits();
        select! {
            digit = digits.next() => call.note("digit", digit?),
            played = call.play("music.wav").forever() => drop(played?),
            slept = call.sleep(60 * SECOND) => slept?,
            gathered = call.gather(Gather::until("#")) => drop(gathered?),
            end = call.dial("sip:a@b") => drop(end?),
        }
        call.hung_up().await;
        Ok(())
    });
    let mut test = FlowTest::start::<Hold>();
    test.actions();
    test.press("5");
    let mut stopped = kinds(&test.actions());
    assert_eq!(
        stopped.pop().as_deref(),
        Some("Note"),
        "the losers are stopped before the branch runs"
    );
    stopped.sort();
    assert_eq!(
        stopped,
        ["CancelTimer", "StopDial", "StopGather", "StopPlay"]
    );
    assert!(test.playing().is_empty() && !test.is_gathering() && test.dialled().is_none());
    assert!(test.ended().is_none());
}

#[test]
fn a_hangup_resolves_what_waits_and_lets_the_flow_clean_up() {
    flow!(Counting, |call| {
        let result = async {
            call.answer().await?;
            call.sleep(60 * SECOND).await?;
            Ok(())
        }
        .await;
        kv::increment("calls", 1, None).map_err(|_| Failure::Upstream("kv".into()))?;
        result
    });
    let mut test = FlowTest::start::<Counting>();
    test.actions();
    test.hangup();
    assert_eq!(test.host().stored("calls"), Some(b"1".to_vec()));
    assert!(
        test.actions().is_empty(),
        "after a hangup nothing is done any more"
    );
    test.advance(120 * SECOND);
    test.event(Event::Digit("1".into()));
    assert!(test.actions().is_empty());
}

#[test]
fn after_a_hangup_nothing_starts() {
    flow!(Stubborn, |call| {
        let hangup = call.hung_up().await;
        assert_eq!(hangup.status, 200);
        assert_eq!(call.play("x.wav").await, Err(hangup));
        assert_eq!(call.answer().await, Err(hangup));
        assert_eq!(call.dial("sip:a@b").await, Err(hangup));
        call.note("kind", "text");
        Ok(())
    });
    let mut test = FlowTest::start::<Stubborn>();
    test.hangup();
    assert!(test.actions().is_empty());
}

#[test]
fn an_event_that_came_before_the_hangup_is_seen_before_it() {
    flow!(Collect, |call| {
        let mut digits = call.digits();
        let first = digits.next().await?;
        // Both are there when it looks again.
        let second = digits.next().await?;
        kv::set("digits", format!("{first}{second}"), None)
            .map_err(|_| Failure::Upstream("kv".into()))?;
        digits.next().await?;
        Ok(())
    });
    let mut test = FlowTest::start::<Collect>();
    test.press("42");
    test.hangup();
    assert_eq!(test.host().stored("digits"), Some(b"42".to_vec()));
}

#[test]
fn a_timeout_drops_what_it_waited_for() {
    flow!(Impatient, |call| {
        let end = call.timeout(5 * SECOND, call.dial("sip:a@b")).await?;
        assert!(end.is_none());
        call.hung_up().await;
        Ok(())
    });
    let mut test = FlowTest::start::<Impatient>();
    assert_eq!(test.dialled_uris(), ["sip:a@b"]);
    test.advance(5 * SECOND);
    assert!(test.dialled().is_none());
    assert_eq!(
        kinds(&test.actions()).last().map(String::as_str),
        Some("StopDial")
    );
}

#[test]
fn a_dialled_call_may_come_back_or_fail() {
    flow!(Hunt, |call| {
        call.answer().await?;
        for uri in ["sip:a@b", "sip:c@d"] {
            match call
                .dial(uri)
                .ringback(Prompt::tone("ringback"))
                .resume()
                .await?
            {
                DialEnd::Ended => call.note("ended", uri),
                DialEnd::Failed { status, reason } => {
                    call.note("failed", format!("{status} {reason}"))
                }
            }
        }
        Ok(())
    });
    let mut test = FlowTest::start::<Hunt>();
    test.dial_ringing();
    test.dial_failed(486, "Busy Here");
    assert_eq!(test.dialled_uris(), ["sip:c@d"]);
    test.dial_answered();
    test.dial_ended();
    let notes = test
        .actions()
        .into_iter()
        .filter_map(|action| match action {
            Action::Note((kind, text)) => Some(format!("{kind} {text}")),
            _ => None,
        });
    let notes: Vec<String> = notes.collect();
    assert_eq!(notes, ["failed 486 Busy Here", "ended sip:c@d"]);
    assert!(test.ended().is_some());
}

#[test]
fn an_ai_session_is_a_stream_of_events() {
    flow!(Assistant, |call| {
        call.answer().await?;
        let mut ai = call.connect("openai-realtime", json!({ "voice": "marin" }));
        while let Some(event) = ai.next().await? {
            match event {
                ConnectEvent::Connected => ai.update(json!({ "say": "hello" })),
                ConnectEvent::FunctionCall(function) => {
                    ai.respond(&function, json!({ "ok": true }))
                }
                ConnectEvent::Transcript(line) => call.note(line.speaker, line.text),
                ConnectEvent::Ended { normal, reason } => {
                    call.note("ended", format!("{normal} {reason}"))
                }
            }
        }
        Ok(())
    });
    let mut test = FlowTest::start::<Assistant>();
    assert_eq!(
        test.connect(),
        Some(("openai-realtime", json!({ "voice": "marin" })))
    );
    test.actions();
    test.connected();
    test.function_call("c1", "transfer", json!({}));
    test.transcript("agent", "hi");
    test.connect_ended(true, "bye");
    let actions = test.actions();
    assert!(
        matches!(&actions[0], Action::UpdateConnect((_, json)) if json == r#"{"say":"hello"}"#)
    );
    assert!(
        matches!(&actions[1], Action::FunctionResult(result) if result.call == "c1" && result.output == r#"{"ok":true}"# && result.respond)
    );
    assert_eq!(actions[2], Action::Note(("agent".into(), "hi".into())));
    assert_eq!(
        actions[3],
        Action::Note(("ended".into(), "true bye".into()))
    );
    assert!(
        !kinds(&actions).contains(&"Disconnect".to_owned()),
        "it was over already"
    );
}

#[test]
fn dropping_an_ai_session_disconnects_it() {
    flow!(Brief, |call| {
        let ai = call.connect("x", json!({}));
        call.sleep(SECOND).await?;
        drop(ai);
        call.hung_up().await;
        Ok(())
    });
    let mut test = FlowTest::start::<Brief>();
    test.connected();
    test.advance(SECOND);
    assert_eq!(
        kinds(&test.actions()).last().map(String::as_str),
        Some("Disconnect")
    );
    assert!(test.connect().is_none());
}

#[test]
fn a_gather_with_a_prompt_is_stopped_with_its_prompt() {
    flow!(Ask, |call| {
        let gathered = call
            .gather(Gather::digits(4).terminators("#").prompt("pin.wav"))
            .await?;
        call.note("pin", gathered.digits);
        let silent = call.gather(Gather::digits(1).timeout(2 * SECOND)).await?;
        assert!(silent.timed_out() && silent.is_empty());
        Ok(())
    });
    let mut test = FlowTest::start::<Ask>();
    test.press("12#");
    assert_eq!(kinds(&test.actions()), ["Play", "Gather", "Note", "Gather"]);
    test.advance(2 * SECOND);
    assert!(test.ended().is_some());
}

#[test]
fn late_events_of_what_was_stopped_are_nobodys() {
    flow!(Short, |call| {
        let _ = call.timeout(SECOND, call.play("long.wav")).await?;
        let played = call.play("next.wav").await?;
        call.note("id", played.id.to_string());
        Ok(())
    });
    let mut test = FlowTest::start::<Short>();
    test.prompt_length("long.wav", 10 * SECOND);
    test.event(Event::Played(Played {
        id: 999,
        end: PlayEnd::Finished,
        played_ms: 0,
    }));
    assert!(test.ended().is_none());
}

#[test]
fn a_flow_that_fails_says_why_and_refuses_the_call() {
    flow!(Broken, |_call| {
        Err(Failure::Config("no menu".into()).into())
    });
    let mut test = FlowTest::start::<Broken>();
    assert_eq!(test.ended(), Some(&Reject::new(500, "config: no menu")));
    assert_eq!(kinds(&test.actions()), ["Note", "Hangup"]);
    assert_eq!(
        test.host().logged(),
        [(
            crate::log::Level::Error,
            "the flow failed: config: no menu".to_owned()
        )]
    );
}

#[test]
fn a_rejection_is_told_once_with_its_code() {
    flow!(Screen, |call| {
        if call.info().caller == "spam" {
            return call.reject(603, "no thanks");
        }
        call.hangup()
    });
    let spam = CallInfo {
        caller: "spam".into(),
        ..call_info()
    };
    let mut test = FlowTest::start_on::<Screen>(FakeHost::new(), spam);
    assert_eq!(
        test.actions(),
        [Action::Hangup(Reject::new(603, "no thanks"))]
    );
    let mut test = FlowTest::start::<Screen>();
    assert_eq!(kinds(&test.actions()), ["Hangup"]);
}

#[test]
fn a_waker_that_is_called_while_polling_polls_again() {
    flow!(Yielding, |call| {
        let mut yielded = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return std::task::Poll::Ready(());
            }
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
        call.note("yielded", "once");
        Ok(())
    });
    assert_eq!(
        kinds(&FlowTest::start::<Yielding>().actions()),
        ["Note", "Hangup"]
    );
}
