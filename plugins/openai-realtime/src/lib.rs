//! The OpenAI Realtime API (GA) over a WebSocket.
//!
//! ```toml
//! [grants]
//! allow = ["http:api.openai.com", "secret:openai_api_key"]
//!
//! [config]
//! model = "gpt-realtime"
//! voice = "marin"
//! instructions = "You answer the telephone of a bakery."
//! greeting = "Say hello and ask how you can help."
//! ```
//!
//! A flow gives the same keys with `connect`, and changes them with `update`; see
//! [`settings::Settings`] for all of them. Tools of the AI reach the flow as function calls.
//!
//! Playback is the host's. When the caller speaks into it, what is queued is dropped, the
//! host tells how much was heard, and the conversation is truncated to that.

mod playback;
mod server;
mod settings;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gatepost_sdk::connector::{Actions, Cleared, Connection, Connector, FunctionResult, Speaker};
use gatepost_sdk::json;
use gatepost_sdk::types::{CallInfo, Failure};
use playback::Playback;
use server::ServerEvent;
use settings::Settings;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

struct OpenAiRealtime {
    settings: Settings,
    /// the platform has taken our session
    ready: bool,
    playback: Playback,
    /// id of the response that is being made
    response: Option<String>,
    /// responses whose audio is not played: the caller spoke into them
    silenced: Option<String>,
    /// a response is to be asked for, as soon as that is possible
    respond: bool,
    /// function calls that the flow has not answered
    unanswered: BTreeSet<String>,
    /// function calls by item, until their name is known
    functions: BTreeMap<String, String>,
    /// function calls of the present response that the flow has
    delivered: BTreeSet<String>,
    /// digits that were pressed one after the other
    digits: String,
}

// With `*` it is the operator's grants alone that decide: the platform may be another
// region's, and the key may have another name.
gatepost_sdk::export!(
    OpenAiRealtime as connector;
    capabilities: ["http:api.openai.com", "http:*", "secret:openai_api_key", "secret:*"],
);

/// No `session.updated` so long after opening is a failure.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
const TIMER_READY: u32 = 1;
const TIMER_DIGITS: u32 = 2;

impl Connector for OpenAiRealtime {
    type Settings = Settings;

    fn connect(_call: CallInfo, settings: Settings) -> Result<(Self, Connection), Failure> {
        let connection = settings.connection();
        let session = OpenAiRealtime {
            playback: Playback::new(settings.format),
            settings,
            ready: false,
            response: None,
            silenced: None,
            respond: false,
            unanswered: BTreeSet::new(),
            functions: BTreeMap::new(),
            delivered: BTreeSet::new(),
            digits: String::new(),
        };
        Ok((session, connection))
    }

    fn on_opened(&mut self, out: &mut Actions) {
        out.send_json(&json!({ "type": "session.update", "session": self.settings.session() }));
        out.start_timer(TIMER_READY, READY_TIMEOUT);
    }

    fn on_text(&mut self, text: String, out: &mut Actions) {
        match serde_json::from_str::<ServerEvent>(&text) {
            Ok(event) => self.on_server_event(event, out),
            Err(error) => out.note(
                "platform-error",
                format!("a message that is no event: {error}"),
            ),
        }
    }

    fn on_audio(&mut self, audio: Vec<u8>, out: &mut Actions) {
        if self.ready {
            out.send_text(format!(
                r#"{{"type":"input_audio_buffer.append","audio":"{}"}}"#,
                STANDARD.encode(audio)
            ));
        }
    }

    fn on_digit(&mut self, digit: String, out: &mut Actions) {
        if !self.settings.digits || !self.ready {
            return;
        }
        if digit == "#" && !self.digits.is_empty() {
            out.cancel_timer(TIMER_DIGITS);
            return self.tell_digits(out);
        }
        if !self.digits.is_empty() {
            out.cancel_timer(TIMER_DIGITS);
        }
        self.digits.push_str(&digit);
        out.start_timer(
            TIMER_DIGITS,
            Duration::from_millis(self.settings.digit_timeout_ms),
        );
    }

    fn on_marked(&mut self, mark: String, _out: &mut Actions) {
        self.playback.heard(&mark);
    }

    fn on_cleared(&mut self, cleared: Cleared, out: &mut Actions) {
        for cut in self.playback.cut(&cleared.item, cleared.played_ms) {
            out.send_json(&json!({
                "type": "conversation.item.truncate",
                "item_id": cut.item,
                "content_index": cut.content_index,
                "audio_end_ms": cut.heard_ms,
            }));
        }
    }

    fn on_function_result(&mut self, result: FunctionResult, out: &mut Actions) {
        self.unanswered.remove(&result.call);
        out.send_json(&json!({
            "type": "conversation.item.create",
            "item": { "type": "function_call_output", "call_id": result.call, "output": result.output },
        }));
        self.respond |= result.respond;
        self.respond_if_possible(out);
    }

    fn on_update(&mut self, json: String, out: &mut Actions) {
        match self.settings.update(&json) {
            Ok(update) => {
                if let Some(session) = update.session {
                    out.send_json(&json!({ "type": "session.update", "session": session }));
                }
                if let Some(say) = update.say {
                    out.send_json(
                        &json!({ "type": "response.create", "response": { "instructions": say } }),
                    );
                }
            }
            Err(error) => out.note("update-refused", error),
        }
    }

    fn on_timer(&mut self, id: u32, out: &mut Actions) {
        match id {
            TIMER_READY if !self.ready => {
                out.fail(format!(
                    "no session.updated in {} s",
                    READY_TIMEOUT.as_secs()
                ));
            }
            TIMER_DIGITS => self.tell_digits(out),
            _ => {}
        }
    }

    fn on_closed(&mut self, code: u16, reason: String, out: &mut Actions) {
        // RFC 6455 §7.4.1: 1000 is a normal end.
        if !self.ready || code != 1_000 {
            out.fail(format!(
                "the platform closed the connection: {code} {reason}"
            ));
        }
    }
}

impl OpenAiRealtime {
    /// The names are those of GA; where there are two, the second is the beta's.
    fn on_server_event(&mut self, event: ServerEvent, out: &mut Actions) {
        match event.kind() {
            "session.updated" if !self.ready => {
                self.ready = true;
                out.cancel_timer(TIMER_READY);
                out.ready();
                if let Some(greeting) = &self.settings.greeting {
                    out.send_json(&json!({ "type": "response.create", "response": { "instructions": greeting } }));
                }
            }
            "response.output_audio.delta" | "response.audio.delta" => self.on_delta(&event, out),
            "response.output_audio.done" | "response.audio.done" => {
                if let Some(item) = event.item_id.as_deref()
                    && self.playback.complete(item)
                {
                    out.mark(item);
                }
            }
            "input_audio_buffer.speech_started" => self.on_barge_in(out),
            "response.created" => {
                self.response = event.response_id().map(str::to_owned);
                self.delivered.clear();
            }
            "response.done" => {
                for item in event.response.iter().flat_map(|response| &response.output) {
                    self.on_function_item(item, out);
                }
                if let Some(problem) = event.response.as_ref().and_then(server::Response::problem) {
                    out.note("response-failed", problem);
                }
                self.response = None;
                self.functions.clear();
                self.respond_if_possible(out);
            }
            "response.output_item.added" => {
                if let Some(item) = &event.item
                    && let (Some(id), Some(name)) = (&item.id, &item.name)
                {
                    self.functions.insert(id.to_string(), name.to_string());
                }
            }
            "response.output_item.done" => {
                if let Some(item) = &event.item {
                    self.on_function_item(item, out);
                }
            }
            "response.function_call_arguments.done" => {
                let by_item = event
                    .item_id
                    .as_deref()
                    .and_then(|item| self.functions.get(item).cloned());
                let name = event.name.as_deref().map(str::to_owned).or(by_item);
                // Without its name the call waits for `response.output_item.done`.
                if let (Some(call), Some(name)) = (&event.call_id, name) {
                    self.deliver(call, &name, event.arguments.as_deref().unwrap_or("{}"), out);
                }
            }
            "conversation.item.input_audio_transcription.completed" => {
                out.transcript(
                    Speaker::Caller,
                    event.transcript.as_deref().unwrap_or_default(),
                    true,
                );
            }
            "response.output_audio_transcript.done" | "response.audio_transcript.done" => {
                out.transcript(
                    Speaker::Agent,
                    event.transcript.as_deref().unwrap_or_default(),
                    true,
                );
            }
            "response.output_text.done" | "response.text.done" => {
                out.transcript(
                    Speaker::Agent,
                    event.text.as_deref().unwrap_or_default(),
                    true,
                );
            }
            "conversation.item.input_audio_transcription.delta"
                if self.settings.partial_transcripts =>
            {
                out.transcript(
                    Speaker::Caller,
                    event.delta.as_deref().unwrap_or_default(),
                    false,
                );
            }
            "response.output_audio_transcript.delta" | "response.audio_transcript.delta"
                if self.settings.partial_transcripts =>
            {
                out.transcript(
                    Speaker::Agent,
                    event.delta.as_deref().unwrap_or_default(),
                    false,
                );
            }
            "conversation.item.input_audio_transcription.failed" => {
                out.note(
                    "transcription-failed",
                    event.error.map_or(String::new(), |error| error.describe()),
                );
            }
            "error" => {
                let text = event.error.map_or_else(
                    || "an error without text".to_owned(),
                    |error| error.describe(),
                );
                // Refused before it began, a session has nothing to offer.
                if self.ready {
                    out.note("platform-error", text)
                } else {
                    out.fail(text)
                }
            }
            _ => {}
        }
    }

    fn on_delta(&mut self, event: &ServerEvent, out: &mut Actions) {
        let (Some(item), Some(delta)) = (&event.item_id, &event.delta) else {
            return;
        };
        if event.response_id.is_some() && event.response_id.as_deref() == self.silenced.as_deref() {
            return;
        }
        match STANDARD.decode(delta.as_bytes()) {
            Ok(audio) => {
                self.playback.queue(item, event.content_index, audio.len());
                out.play(item.as_str(), audio);
            }
            Err(error) => out.note(
                "platform-error",
                format!("audio that is no base64: {error}"),
            ),
        }
    }

    /// The caller speaks: what is still to be heard of the answer is dropped.
    fn on_barge_in(&mut self, out: &mut Actions) {
        if let Some(response) = &self.response {
            self.silenced = Some(response.clone());
            if !self.settings.server_interrupts() {
                out.send_json(&json!({ "type": "response.cancel", "response_id": response }));
            }
        }
        if self.playback.is_busy() {
            out.clear();
        }
    }

    fn on_function_item(&mut self, item: &server::Item, out: &mut Actions) {
        if let (Some("function_call"), Some(call), Some(name)) =
            (item.kind.as_deref(), &item.call_id, &item.name)
        {
            self.deliver(call, name, item.arguments.as_deref().unwrap_or("{}"), out);
        }
    }

    /// The same call is told by up to three events.
    fn deliver(&mut self, call: &str, name: &str, arguments: &str, out: &mut Actions) {
        if self.delivered.insert(call.to_owned()) {
            self.unanswered.insert(call.to_owned());
            out.function_call(call, name, arguments);
        }
    }

    /// There is one response at a time, and it should know the results of all functions.
    fn respond_if_possible(&mut self, out: &mut Actions) {
        if self.respond && self.response.is_none() && self.unanswered.is_empty() {
            self.respond = false;
            out.send_json(&json!({ "type": "response.create" }));
        }
    }

    fn tell_digits(&mut self, out: &mut Actions) {
        let digits = std::mem::take(&mut self.digits);
        if digits.is_empty() {
            return;
        }
        out.send_json(&json!({
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "user",
                "content": [{ "type": "input_text", "text": format!("The caller pressed {digits} on the telephone keypad.") }],
            },
        }));
        self.respond = true;
        self.respond_if_possible(out);
    }
}

#[cfg(test)]
mod tests;
