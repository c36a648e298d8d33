use crate::AutoAttendant;
use gatepost_sdk::flow::Action;
use gatepost_sdk::testing::{FakeHost, FlowTest, call_info};
use gatepost_sdk::{Value, json};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn call(config: Value) -> FlowTest {
    FlowTest::start_on::<AutoAttendant>(FakeHost::new().config(config), call_info())
}

fn bakery() -> Value {
    json!({
        "timeout_s": 4,
        "operator": "sip:0@10.0.0.1",
        "menu": {
            "1": { "dial": ["sip:1001@10.0.0.1", "sip:1002@10.0.0.1"], "prompt": "connecting.wav", "timeout_s": 20 },
            "2": { "play": "hours.wav" },
            "3": { "connect": "openai-realtime", "settings": { "voice": "marin" } },
            "9": { "hangup": true },
        }
    })
}

#[test]
fn a_digit_during_the_prompt_stops_it_and_dials() {
    let mut call = call(bakery());
    assert!(call.actions().contains(&Action::Answer));
    assert_eq!(call.playing(), ["welcome.wav"]);
    call.advance(SECOND / 2);
    call.press("1");
    assert_eq!(call.playing(), ["connecting.wav"]);
    call.advance(SECOND);
    assert_eq!(
        call.dialled_uris(),
        ["sip:1001@10.0.0.1", "sip:1002@10.0.0.1"]
    );
    assert_eq!(call.dialled().unwrap().targets[0].timeout_ms, 20_000);
    call.dial_answered();
    call.hangup();
    assert_eq!(
        call.actions()
            .iter()
            .filter(|action| matches!(action, Action::StopDial(_)))
            .count(),
        0
    );
}

#[test]
fn a_wrong_digit_is_said_to_be_wrong_and_the_menu_comes_again() {
    let mut call = call(bakery());
    call.press("7");
    assert_eq!(call.playing(), ["invalid.wav"]);
    call.advance(SECOND);
    assert_eq!(call.playing(), ["welcome.wav"]);
    assert!(call.is_gathering());
}

#[test]
fn silence_is_asked_again_then_put_through_to_the_operator() {
    let mut call = call(bakery());
    for _ in 0..2 {
        // 1 s of prompt, 4 s of silence
        call.advance(5 * SECOND);
        assert_eq!(call.playing(), ["no-input.wav"]);
        call.advance(SECOND);
        assert_eq!(call.playing(), ["welcome.wav"]);
    }
    call.advance(5 * SECOND);
    call.advance(SECOND);
    assert_eq!(call.dialled_uris(), ["sip:0@10.0.0.1"]);
    call.dial_failed(486, "Busy Here");
    assert_eq!(call.playing(), ["unavailable.wav"]);
    call.advance(SECOND);
    assert_eq!(call.playing(), ["goodbye.wav"]);
    call.advance(SECOND);
    assert!(call.ended().is_some());
}

#[test]
fn without_an_operator_the_caller_hears_goodbye() {
    let mut call = call(json!({ "tries": 1, "menu": { "1": { "dial": "sip:1@h" } } }));
    call.press("2");
    call.advance(SECOND);
    assert_eq!(call.playing(), ["goodbye.wav"]);
    call.advance(SECOND);
    assert!(call.ended().is_some());
}

#[test]
fn information_is_played_and_the_menu_comes_again_as_often_as_asked_for() {
    let mut call = call(bakery());
    for _ in 0..10 {
        call.press("2");
        assert_eq!(call.playing(), ["hours.wav"]);
        call.advance(SECOND);
        assert_eq!(call.playing(), ["welcome.wav"]);
    }
}

#[test]
fn a_choice_may_lead_to_an_ai() {
    let mut call = call(bakery());
    call.press("3");
    assert_eq!(
        call.connect(),
        Some(("openai-realtime", json!({ "voice": "marin" })))
    );
    call.connected();
    call.function_call("c1", "anything", json!({}));
    assert!(call.actions().iter().any(|action| matches!(action, Action::FunctionResult(result) if result.output.contains("no such tool"))));
    call.connect_ended(true, "bye");
    assert!(call.ended().is_some());
}

#[test]
fn when_the_ai_cannot_be_had_the_menu_comes_again() {
    let mut call = call(bakery());
    call.press("3");
    call.connect_ended(false, "no route");
    assert_eq!(call.playing(), ["unavailable.wav"]);
    call.advance(SECOND);
    assert_eq!(call.playing(), ["welcome.wav"]);
}

#[test]
fn nobody_there_is_said_and_the_menu_comes_again() {
    let mut call = call(bakery());
    call.press("1");
    call.advance(SECOND);
    call.dial_failed(408, "nobody answered");
    assert_eq!(call.playing(), ["unavailable.wav"]);
    call.advance(SECOND);
    assert_eq!(call.playing(), ["welcome.wav"]);
}

#[test]
fn a_choice_may_have_several_digits() {
    let mut call =
        call(json!({ "menu": { "1": { "dial": "sip:1@h" }, "12": { "dial": "sip:12@h" } } }));
    call.press("1");
    assert!(call.dialled().is_none(), "a second digit may follow");
    call.press("2");
    assert_eq!(call.dialled_uris(), ["sip:12@h"]);
    let mut other =
        self::call(json!({ "menu": { "1": { "dial": "sip:1@h" }, "12": { "dial": "sip:12@h" } } }));
    other.press("1#");
    assert_eq!(other.dialled_uris(), ["sip:1@h"]);
}

#[test]
fn wrong_settings_end_the_call_and_say_which_choice_is_wrong() {
    let mut wrong = call(
        json!({ "menu": { "1": { "dial": "sip:1@h" }, "2": { "dial": "sip:1@h", "hangup": true } } }),
    );
    let ended = wrong.ended().expect("the call is refused");
    assert_eq!(ended.code, 500);
    assert!(
        ended.reason.contains("menu 2: it needs exactly one of"),
        "{}",
        ended.reason
    );
    assert!(!wrong.actions().contains(&Action::Answer));
    assert!(
        call(json!({}))
            .ended()
            .unwrap()
            .reason
            .contains("`menu` has no choices")
    );
}
