use crate::OpenAiRealtime;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gatepost_sdk::connector::{Action, Event, MediaFormat};
use gatepost_sdk::testing::ConnectorTest;
use gatepost_sdk::types::Header;
use gatepost_sdk::{Value, json};

type Test = ConnectorTest<OpenAiRealtime>;

fn connected(settings: Value) -> Test {
    let mut test = Test::connect(settings).unwrap();
    test.opened();
    test.message(json!({ "type": "session.created", "session": {} }));
    let actions = test.message(json!({ "type": "session.updated", "session": {} }));
    assert!(actions.contains(&Action::Ready));
    test
}

/// `ms` of µ-law audio in one delta.
fn delta(response: &str, item: &str, ms: usize) -> Value {
    let audio = STANDARD.encode(vec![0xff; ms * 8]);
    json!({ "type": "response.output_audio.delta", "response_id": response, "item_id": item, "output_index": 0, "content_index": 0, "delta": audio })
}

fn created(response: &str) -> Value {
    json!({ "type": "response.created", "response": { "id": response, "status": "in_progress", "output": [] } })
}

fn done(response: &str) -> Value {
    json!({ "type": "response.done", "response": { "id": response, "status": "completed", "output": [] } })
}

fn speech() -> Value {
    json!({ "type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": "item_caller" })
}

fn sent(actions: &[Action]) -> Vec<Value> {
    Test::sent(actions)
}

#[test]
fn it_connects_with_the_model_in_the_url_and_the_key_by_reference() {
    let test = Test::connect(json!({})).unwrap();
    let connection = test.connection();
    assert_eq!(
        connection.url,
        "wss://api.openai.com/v1/realtime?model=gpt-realtime"
    );
    assert_eq!(
        connection.headers,
        [Header::new(
            "Authorization",
            "Bearer {secret:openai_api_key}"
        )]
    );
    assert_eq!(
        (connection.input, connection.output, connection.frame_ms),
        (MediaFormat::PCMU, MediaFormat::PCMU, 20)
    );

    let other = json!({ "url": "ws://127.0.0.1:9/v1?x=1", "model": "m", "api_key": "k", "format": "pcm", "project": "p", "frame_ms": 40 });
    let test = Test::connect(other).unwrap();
    assert_eq!(test.connection().url, "ws://127.0.0.1:9/v1?x=1&model=m");
    assert_eq!(test.connection().input, MediaFormat::pcm(24_000));
    assert_eq!(test.connection().headers[0].value, "Bearer {secret:k}");
    assert_eq!(
        test.connection().headers[1],
        Header::new("OpenAI-Project", "p")
    );
}

#[test]
fn an_unknown_setting_is_refused_by_name() {
    let Err(failure) = Test::connect(json!({ "vioce": "marin" })) else {
        panic!("it connects")
    };
    assert!(format!("{failure:?}").contains("vioce"));
}

#[test]
fn the_session_is_set_up_when_the_socket_opens() {
    let tool = json!({ "type": "function", "name": "f", "parameters": { "type": "object", "properties": {} } });
    let settings = json!({ "voice": "marin", "instructions": "Be kind.", "tools": [tool], "session": { "truncation": "disabled", "audio": { "output": { "speed": 1.2 } } } });
    let mut test = Test::connect(settings).unwrap();
    let opened = test.opened();
    assert_eq!(
        sent(&opened),
        [json!({ "type": "session.update", "session": {
            "type": "realtime",
            "model": "gpt-realtime",
            "output_modalities": ["audio"],
            "instructions": "Be kind.",
            "audio": {
                "input": {
                    "format": { "type": "audio/pcmu" },
                    "transcription": { "model": "whisper-1" },
                    "turn_detection": { "type": "server_vad", "create_response": true, "interrupt_response": true },
                },
                "output": { "format": { "type": "audio/pcmu" }, "voice": "marin", "speed": 1.2 },
            },
            "tools": [tool],
            "truncation": "disabled",
        } })]
    );
}

#[test]
fn caller_audio_flows_once_the_session_is_taken() {
    let mut test = Test::connect(json!({})).unwrap();
    test.opened();
    assert!(test.event(Event::Audio(vec![1, 2, 3])).is_empty());
    test.message(json!({ "type": "session.updated" }));
    let actions = test.event(Event::Audio(vec![1, 2, 3]));
    assert_eq!(
        sent(&actions),
        [json!({ "type": "input_audio_buffer.append", "audio": "AQID" })]
    );
}

#[test]
fn a_greeting_makes_the_ai_speak_first() {
    let mut test = Test::connect(json!({ "greeting": "Say hello." })).unwrap();
    test.opened();
    let actions = test.message(json!({ "type": "session.updated" }));
    assert_eq!(
        sent(&actions),
        [json!({ "type": "response.create", "response": { "instructions": "Say hello." } })]
    );
    assert!(
        !test
            .message(json!({ "type": "session.updated" }))
            .contains(&Action::Ready),
        "only the first makes it ready"
    );
}

#[test]
fn audio_is_played_by_item_under_both_names_of_the_event() {
    let mut test = connected(json!({}));
    test.message(created("r1"));
    let played = test.message(delta("r1", "i1", 20));
    assert!(
        matches!(&played[..], [Action::Play(chunk)] if chunk.item == "i1" && chunk.audio.len() == 160)
    );
    let mut beta = delta("r1", "i1", 20);
    beta["type"] = "response.audio.delta".into();
    assert!(matches!(&test.message(beta)[..], [Action::Play(_)]));
    let over = test.message(
        json!({ "type": "response.output_audio.done", "response_id": "r1", "item_id": "i1" }),
    );
    assert_eq!(over, [Action::Mark("i1".into())]);
}

#[test]
fn speaking_into_an_answer_clears_it_and_truncates_to_what_was_heard() {
    let mut test = connected(json!({}));
    test.message(created("r1"));
    test.message(delta("r1", "i1", 3_000));
    assert_eq!(
        test.message(speech()),
        [Action::Clear],
        "the platform cancels by itself"
    );
    assert_eq!(
        sent(&test.cleared("i1", 1_240)),
        [
            json!({ "type": "conversation.item.truncate", "item_id": "i1", "content_index": 0, "audio_end_ms": 1_240 })
        ]
    );
    assert!(
        test.message(delta("r1", "i1", 20)).is_empty(),
        "what is late of that response is not played"
    );
    test.message(done("r1"));
    test.message(created("r2"));
    assert_eq!(test.message(delta("r2", "i2", 20)).len(), 1);
}

#[test]
fn the_platform_is_never_told_more_than_it_sent() {
    let mut test = connected(json!({}));
    test.message(created("r1"));
    test.message(delta("r1", "i1", 100));
    test.message(delta("r1", "i2", 100));
    test.message(speech());
    let truncated: Vec<_> = sent(&test.cleared("i1", 5_000))
        .iter()
        .map(|event| (event["item_id"].clone(), event["audio_end_ms"].clone()))
        .collect();
    assert_eq!(
        truncated,
        [(json!("i1"), json!(100)), (json!("i2"), json!(0))]
    );
    assert!(test.cleared("i1", 10).is_empty(), "once is enough");
}

#[test]
fn what_was_heard_to_its_end_is_neither_cleared_nor_truncated() {
    let mut test = connected(json!({}));
    test.message(created("r1"));
    test.message(delta("r1", "i1", 100));
    test.message(
        json!({ "type": "response.output_audio.done", "response_id": "r1", "item_id": "i1" }),
    );
    test.message(done("r1"));
    test.event(Event::Marked("i1".into()));
    assert!(test.message(speech()).is_empty());
}

#[test]
fn where_the_platform_does_not_interrupt_we_cancel() {
    let mut test = connected(
        json!({ "turn_detection": { "type": "server_vad", "interrupt_response": false } }),
    );
    test.message(created("r1"));
    test.message(delta("r1", "i1", 100));
    let actions = test.message(speech());
    assert_eq!(
        sent(&actions),
        [json!({ "type": "response.cancel", "response_id": "r1" })]
    );
    assert!(actions.contains(&Action::Clear));
}

#[test]
fn a_function_call_reaches_the_flow_once_and_its_result_asks_for_a_response() {
    let mut test = connected(json!({}));
    test.message(created("r1"));
    let call = json!({ "type": "response.function_call_arguments.done", "response_id": "r1", "item_id": "i1", "call_id": "c1", "name": "transfer", "arguments": "{\"to\":\"1\"}" });
    let actions = test.message(call);
    assert!(
        matches!(&actions[..], [Action::FunctionCall(call)] if call.call == "c1" && call.name == "transfer" && call.arguments == r#"{"to":"1"}"#)
    );
    let item = json!({ "type": "function_call", "id": "i1", "call_id": "c1", "name": "transfer", "arguments": "{\"to\":\"1\"}" });
    assert!(
        test.message(json!({ "type": "response.output_item.done", "item": item }))
            .is_empty()
    );
    // The flow is faster than `response.done`: there is one response at a time.
    assert_eq!(
        sent(&test.function_result("c1", "ok", true)),
        [
            json!({ "type": "conversation.item.create", "item": { "type": "function_call_output", "call_id": "c1", "output": "ok" } })
        ]
    );
    let over = json!({ "type": "response.done", "response": { "id": "r1", "status": "completed", "output": [item] } });
    assert_eq!(
        sent(&test.message(over)),
        [json!({ "type": "response.create" })]
    );
}

#[test]
fn a_function_call_without_a_name_takes_it_from_its_item() {
    let mut test = connected(json!({}));
    test.message(created("r1"));
    test.message(json!({ "type": "response.output_item.added", "item": { "id": "i1", "type": "function_call", "name": "f", "call_id": "c1" } }));
    let actions = test.message(json!({ "type": "response.function_call_arguments.done", "item_id": "i1", "call_id": "c1", "arguments": "{}" }));
    assert!(matches!(&actions[..], [Action::FunctionCall(call)] if call.name == "f"));
}

#[test]
fn a_response_waits_for_the_results_of_all_functions() {
    let mut test = connected(json!({}));
    test.message(created("r1"));
    for call in ["c1", "c2"] {
        test.message(json!({ "type": "response.function_call_arguments.done", "item_id": call, "call_id": call, "name": "f", "arguments": "{}" }));
    }
    test.message(done("r1"));
    assert_eq!(sent(&test.function_result("c1", "1", true)).len(), 1);
    assert_eq!(sent(&test.function_result("c2", "2", false)).len(), 2);
}

#[test]
fn both_sides_are_transcribed() {
    let mut test = connected(json!({}));
    let caller = test.message(json!({ "type": "conversation.item.input_audio_transcription.completed", "item_id": "i", "transcript": "hello" }));
    assert!(
        matches!(&caller[..], [Action::Transcript(line)] if line.speaker == "caller" && line.text == "hello" && line.final_)
    );
    for name in [
        "response.output_audio_transcript.done",
        "response.audio_transcript.done",
    ] {
        let agent =
            test.message(json!({ "type": name, "item_id": "i", "transcript": "good \"day\"" }));
        assert!(
            matches!(&agent[..], [Action::Transcript(line)] if line.speaker == "agent" && line.text == "good \"day\"")
        );
    }
    let partial =
        json!({ "type": "response.output_audio_transcript.delta", "item_id": "i", "delta": "go" });
    assert!(test.message(partial.clone()).is_empty());
    let mut test = connected(json!({ "partial_transcripts": true }));
    assert!(matches!(&test.message(partial)[..], [Action::Transcript(line)] if !line.final_));
}

#[test]
fn an_update_changes_only_what_it_names() {
    let mut test = connected(json!({ "voice": "marin" }));
    let actions = test.event(Event::Update(
        r#"{"instructions":"Be brief.","say":"Tell the time."}"#.into(),
    ));
    assert_eq!(
        sent(&actions),
        [
            json!({ "type": "session.update", "session": { "type": "realtime", "instructions": "Be brief." } }),
            json!({ "type": "response.create", "response": { "instructions": "Tell the time." } }),
        ]
    );
    let refused = test.event(Event::Update(r#"{"instructons":"x"}"#.into()));
    assert!(
        matches!(&refused[..], [Action::Note((kind, text))] if kind == "update-refused" && text.contains("instructons"))
    );
}

#[test]
fn digits_are_told_together_when_the_caller_pauses() {
    let mut test = connected(json!({}));
    test.event(Event::Digit("1".into()));
    assert!(sent(&test.event(Event::Digit("2".into()))).is_empty());
    let told = sent(&test.event(Event::Timer(2)));
    assert_eq!(
        told[0]["item"]["content"][0],
        json!({ "type": "input_text", "text": "The caller pressed 12 on the telephone keypad." })
    );
    assert_eq!(told[1], json!({ "type": "response.create" }));
    assert!(sent(&test.event(Event::Timer(2))).is_empty());
    test.event(Event::Digit("3".into()));
    assert_eq!(
        sent(&test.event(Event::Digit("#".into()))).len(),
        2,
        "a # ends them"
    );
    let mut silent = connected(json!({ "digits": false }));
    assert!(silent.event(Event::Digit("1".into())).is_empty());
}

#[test]
fn an_error_before_the_session_began_ends_it_and_a_later_one_is_noted() {
    let error = json!({ "type": "error", "error": { "type": "invalid_request_error", "code": "invalid_api_key", "message": "no", "param": null } });
    let mut test = Test::connect(json!({})).unwrap();
    test.opened();
    assert_eq!(
        test.message(error.clone()),
        [Action::Fail(
            "invalid_request_error: invalid_api_key: no".into()
        )]
    );
    let mut test = connected(json!({}));
    assert!(
        matches!(&test.message(error)[..], [Action::Note((kind, _))] if kind == "platform-error")
    );
    assert!(matches!(
        &test.event(Event::Text("{".into()))[..],
        [Action::Note(_)]
    ));
}

#[test]
fn a_platform_that_goes_away_is_a_failure_unless_it_said_goodbye() {
    let mut test = connected(json!({}));
    assert!(test.event(Event::Closed((1_000, String::new()))).is_empty());
    assert!(matches!(
        &test.event(Event::Closed((1_006, String::new())))[..],
        [Action::Fail(_)]
    ));
    let mut test = Test::connect(json!({})).unwrap();
    test.opened();
    assert!(
        matches!(&test.event(Event::Timer(1))[..], [Action::Fail(why)] if why.contains("session.updated"))
    );
}
