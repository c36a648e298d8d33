//! The settings of a session and the platform's words for them.

use gatepost_sdk::Value;
use gatepost_sdk::connector::{Connection, MediaFormat};
use gatepost_sdk::json;
use serde::Deserialize;
use serde_json::Map;

#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) model: String,
    /// name of the tenant's secret that holds the key
    pub(crate) api_key: String,
    /// sent as `OpenAI-Project`
    pub(crate) project: Option<String>,
    /// of the audio, both ways
    pub(crate) format: Format,
    /// milliseconds of caller audio in each message, 20 to 200
    pub(crate) frame_ms: u32,
    pub(crate) instructions: Option<String>,
    pub(crate) voice: Option<String>,
    /// 0.25 to 1.5
    pub(crate) speed: Option<f64>,
    /// instructions for a first response, before the caller has said anything
    pub(crate) greeting: Option<String>,
    pub(crate) tools: Option<Vec<Value>>,
    pub(crate) tool_choice: Option<Value>,
    /// `server_vad` or `semantic_vad` as the platform has them
    pub(crate) turn_detection: Value,
    /// of the caller's words; `false` for none
    pub(crate) transcription: Value,
    /// `near_field`, `far_field`, or none
    pub(crate) noise_reduction: Option<String>,
    /// a number or `inf`
    pub(crate) max_output_tokens: Option<Value>,
    /// also transcripts of words that are still being said
    pub(crate) partial_transcripts: bool,
    /// what the caller presses is told to the AI
    pub(crate) digits: bool,
    /// digits that follow each other so fast are told together
    pub(crate) digit_timeout_ms: u64,
    /// goes over the session object as it is: what these settings have no word for
    pub(crate) session: Map<String, Value>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            url: "wss://api.openai.com/v1/realtime".to_owned(),
            model: "gpt-realtime".to_owned(),
            api_key: "openai_api_key".to_owned(),
            project: None,
            format: Format::Pcmu,
            frame_ms: 20,
            instructions: None,
            voice: None,
            speed: None,
            greeting: None,
            tools: None,
            tool_choice: None,
            turn_detection: json!({ "type": "server_vad", "create_response": true, "interrupt_response": true }),
            transcription: json!({ "model": "whisper-1" }),
            noise_reduction: None,
            max_output_tokens: None,
            partial_transcripts: false,
            digits: true,
            digit_timeout_ms: 1_500,
            session: Map::new(),
        }
    }
}

#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// 16-bit linear at 24 kHz
    Pcm,
    Pcma,
    Pcmu,
}

impl Format {
    fn media(self) -> MediaFormat {
        match self {
            Format::Pcm => MediaFormat::pcm(24_000),
            Format::Pcma => MediaFormat::PCMA,
            Format::Pcmu => MediaFormat::PCMU,
        }
    }

    fn named(self) -> Value {
        match self {
            Format::Pcm => json!({ "type": "audio/pcm", "rate": 24_000 }),
            Format::Pcma => json!({ "type": "audio/pcma" }),
            Format::Pcmu => json!({ "type": "audio/pcmu" }),
        }
    }

    pub(crate) fn bytes_per_ms(self) -> usize {
        match self {
            Format::Pcm => 48,
            Format::Pcma | Format::Pcmu => 8,
        }
    }
}

/// What an update asks for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Update {
    pub(crate) session: Option<Value>,
    /// instructions for a response at once
    pub(crate) say: Option<String>,
}

impl Settings {
    pub(crate) fn connection(&self) -> Connection {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        let has_query = |name: &str| {
            self.url
                .split(['?', '&'])
                .skip(1)
                .any(|pair| pair.split('=').next() == Some(name))
        };
        // A session of a SIP call is attached to by `call_id` and has its model already.
        let url = if has_query("model") || has_query("call_id") {
            self.url.clone()
        } else {
            format!("{}{separator}model={}", self.url, self.model)
        };
        let mut connection = Connection::new(url, self.format.media());
        connection = connection.header(
            "Authorization",
            format!("Bearer {{secret:{}}}", self.api_key),
        );
        if let Some(project) = &self.project {
            connection = connection.header("OpenAI-Project", project.as_str());
        }
        connection.frame_ms = self.frame_ms.clamp(20, 200);
        connection
    }

    /// The whole session, for the first `session.update`.
    pub(crate) fn session(&self) -> Value {
        let mut session = json!({
            "type": "realtime",
            "model": self.model,
            "output_modalities": ["audio"],
            "audio": {
                "input": { "format": self.format.named(), "turn_detection": self.turn_detection },
                "output": { "format": self.format.named() },
            },
        });
        let mut set = |path: &[&str], value: Option<Value>| {
            if let Some(value) = value {
                put(&mut session, path, value);
            }
        };
        set(
            &["instructions"],
            self.instructions.clone().map(Value::from),
        );
        set(
            &["audio", "output", "voice"],
            self.voice.clone().map(Value::from),
        );
        set(&["audio", "output", "speed"], self.speed.map(Value::from));
        set(
            &["audio", "input", "transcription"],
            self.transcription
                .is_object()
                .then(|| self.transcription.clone()),
        );
        set(
            &["audio", "input", "noise_reduction"],
            self.noise_reduction
                .as_ref()
                .map(|kind| json!({ "type": kind })),
        );
        set(&["tools"], self.tools.clone().map(Value::from));
        set(&["tool_choice"], self.tool_choice.clone());
        set(&["max_output_tokens"], self.max_output_tokens.clone());
        merge(&mut session, Value::Object(self.session.clone()));
        session
    }

    /// Takes in JSON of the flow: any settings, and `say`. The session gets only what the
    /// update names: a voice, for one, cannot be set again once it has spoken.
    pub(crate) fn update(&mut self, json: &str) -> Result<Update, String> {
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Changes {
            say: Option<String>,
            instructions: Option<String>,
            voice: Option<String>,
            speed: Option<f64>,
            tools: Option<Vec<Value>>,
            tool_choice: Option<Value>,
            turn_detection: Option<Value>,
            max_output_tokens: Option<Value>,
            session: Option<Map<String, Value>>,
        }
        let changes: Changes = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if let Some(turn_detection) = &changes.turn_detection {
            self.turn_detection = turn_detection.clone();
        }
        let mut session = json!({});
        let mut set = |path: &[&str], value: Option<Value>| {
            if let Some(value) = value {
                put(&mut session, path, value);
            }
        };
        set(&["instructions"], changes.instructions.map(Value::from));
        set(
            &["audio", "output", "voice"],
            changes.voice.map(Value::from),
        );
        set(
            &["audio", "output", "speed"],
            changes.speed.map(Value::from),
        );
        set(
            &["audio", "input", "turn_detection"],
            changes.turn_detection,
        );
        set(&["tools"], changes.tools.map(Value::from));
        set(&["tool_choice"], changes.tool_choice);
        set(&["max_output_tokens"], changes.max_output_tokens);
        if let Some(over) = changes.session {
            merge(&mut session, Value::Object(over));
        }
        let changed = session
            .as_object()
            .is_some_and(|session| !session.is_empty());
        if changed {
            put(&mut session, &["type"], "realtime".into());
        }
        Ok(Update {
            session: changed.then_some(session),
            say: changes.say,
        })
    }

    /// Whether the platform itself stops a response that the caller speaks into.
    pub(crate) fn server_interrupts(&self) -> bool {
        self.turn_detection
            .get("interrupt_response")
            .and_then(Value::as_bool)
            .unwrap_or(true)
    }
}

/// Sets a value inside objects, which are made on the way.
fn put(object: &mut Value, path: &[&str], value: Value) {
    let mut place = object;
    for key in path {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[*key];
    }
    *place = value;
}

/// Objects are merged, anything else is replaced.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
