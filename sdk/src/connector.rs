//! Connectors: the wire protocol of an AI platform. The host owns the WebSocket, TLS,
//! pacing and resampling; a connector turns audio, digits and results into that platform's
//! messages and back.

pub use crate::bindings::connector::exports::gatepost::plugin::connector::{
    Action, Chunk, Cleared, Connection, Encoding, Event, FunctionCall, FunctionResult, MediaFormat,
    Transcript,
};

use crate::bindings::connector::exports::gatepost::plugin::connector::{
    Guest, GuestSession, Timer,
};
use crate::types::{CallInfo, Failure, Header};
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::time::Duration;

/// One session with an AI platform. Every method but [`Connector::connect`] has a default
/// that does nothing; each puts what it wants done into `out`.
pub trait Connector: Sized + 'static {
    /// The plugin's configuration with the flow's settings over it.
    type Settings: DeserializeOwned;

    /// What is to be opened, and the session that will hear of it.
    fn connect(call: CallInfo, settings: Self::Settings) -> Result<(Self, Connection), Failure>;

    /// The WebSocket is open.
    fn on_opened(&mut self, out: &mut Actions) {
        let _ = out;
    }

    fn on_text(&mut self, text: String, out: &mut Actions) {
        let _ = (text, out);
    }

    fn on_binary(&mut self, bytes: Vec<u8>, out: &mut Actions) {
        let _ = (bytes, out);
    }

    /// Caller audio in the input format of the connection.
    fn on_audio(&mut self, audio: Vec<u8>, out: &mut Actions) {
        let _ = (audio, out);
    }

    fn on_digit(&mut self, digit: String, out: &mut Actions) {
        let _ = (digit, out);
    }

    /// Everything before this mark was played.
    fn on_marked(&mut self, mark: String, out: &mut Actions) {
        let _ = (mark, out);
    }

    /// The answer to [`Actions::clear`].
    fn on_cleared(&mut self, cleared: Cleared, out: &mut Actions) {
        let _ = (cleared, out);
    }

    /// The flow's answer to a function call.
    fn on_function_result(&mut self, result: FunctionResult, out: &mut Actions) {
        let _ = (result, out);
    }

    /// JSON from the flow while the session runs.
    fn on_update(&mut self, json: String, out: &mut Actions) {
        let _ = (json, out);
    }

    fn on_timer(&mut self, id: u32, out: &mut Actions) {
        let _ = (id, out);
    }

    /// The WebSocket is gone: code and reason of RFC 6455. Only `fail` is still heard.
    fn on_closed(&mut self, code: u16, reason: String, out: &mut Actions) {
        let _ = (code, reason, out);
    }
}

/// What a connector wants done, in order.
#[derive(Debug, Default)]
pub struct Actions(Vec<Action>);

impl Actions {
    pub fn send_text(&mut self, text: impl Into<String>) {
        self.0.push(Action::SendText(text.into()));
    }

    /// Sends a JSON value as a text message.
    pub fn send_json(&mut self, value: &serde_json::Value) {
        self.send_text(value.to_string());
    }

    pub fn send_binary(&mut self, bytes: Vec<u8>) {
        self.0.push(Action::SendBinary(bytes));
    }

    /// Audio for the caller in the output format, any length; `item` is the platform's
    /// name of the utterance.
    pub fn play(&mut self, item: impl Into<String>, audio: Vec<u8>) {
        self.0.push(Action::Play(Chunk {
            item: item.into(),
            audio,
        }));
    }

    /// Asks for [`Connector::on_marked`] when everything before it was played.
    pub fn mark(&mut self, name: impl Into<String>) {
        self.0.push(Action::Mark(name.into()));
    }

    /// Drops what is queued and not yet played; [`Connector::on_cleared`] answers.
    pub fn clear(&mut self) {
        self.0.push(Action::Clear);
    }

    /// The platform is ready: the flow hears that it is connected.
    pub fn ready(&mut self) {
        self.0.push(Action::Ready);
    }

    /// Hands a tool call to the flow; `arguments` is JSON.
    pub fn function_call(
        &mut self,
        call: impl Into<String>,
        name: impl Into<String>,
        arguments: impl Into<String>,
    ) {
        self.0.push(Action::FunctionCall(FunctionCall {
            call: call.into(),
            name: name.into(),
            arguments: arguments.into(),
        }));
    }

    pub fn transcript(&mut self, speaker: Speaker, text: impl Into<String>, final_: bool) {
        self.0.push(Action::Transcript(Transcript {
            speaker: speaker.name().into(),
            text: text.into(),
            final_,
        }));
    }

    pub fn start_timer(&mut self, id: u32, after: Duration) {
        self.0.push(Action::StartTimer(Timer {
            id,
            after_ms: crate::types::millis(after),
        }));
    }

    pub fn cancel_timer(&mut self, id: u32) {
        self.0.push(Action::CancelTimer(id));
    }

    /// Closes the WebSocket in good order.
    pub fn close(&mut self, reason: impl Into<String>) {
        self.0.push(Action::Close(reason.into()));
    }

    /// The session cannot go on; the flow hears why.
    pub fn fail(&mut self, reason: impl Into<String>) {
        self.0.push(Action::Fail(reason.into()));
    }

    /// A line in the call's journal.
    pub fn note(&mut self, kind: impl Into<String>, text: impl Into<String>) {
        self.0.push(Action::Note((kind.into(), text.into())));
    }
}

/// Whose words a transcript has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    Agent,
    Caller,
}

impl Speaker {
    fn name(self) -> &'static str {
        match self {
            Speaker::Agent => "agent",
            Speaker::Caller => "caller",
        }
    }
}

impl Connection {
    /// A connection whose audio has the same format both ways, in events of 20 ms.
    pub fn new(url: impl Into<String>, format: MediaFormat) -> Connection {
        Connection {
            url: url.into(),
            headers: Vec::new(),
            subprotocols: Vec::new(),
            input: format,
            output: format,
            frame_ms: 20,
        }
    }

    /// `{secret:NAME}` in the value is replaced by the host.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Connection {
        self.headers.push(Header::new(name, value));
        self
    }
}

impl MediaFormat {
    /// G.711 µ-law, 8 kHz.
    pub const PCMU: MediaFormat = MediaFormat {
        encoding: Encoding::Pcmu,
        rate: 8_000,
    };
    /// G.711 A-law, 8 kHz.
    pub const PCMA: MediaFormat = MediaFormat {
        encoding: Encoding::Pcma,
        rate: 8_000,
    };

    /// 16-bit linear; `rate` is 8000, 16000, 24000 or 48000 Hz.
    pub const fn pcm(rate: u32) -> MediaFormat {
        MediaFormat {
            encoding: Encoding::PcmS16le,
            rate,
        }
    }
}

/// A connector session as the host drives it, from settings to actions.
pub(crate) enum Running<T> {
    Configured {
        call: Box<CallInfo>,
        settings: String,
    },
    Connected(T),
    /// It failed to connect; nothing more is heard.
    Over,
}

impl<T: Connector> Running<T> {
    pub(crate) fn new(call: CallInfo, settings: String) -> Running<T> {
        Running::Configured {
            call: Box::new(call),
            settings,
        }
    }

    pub(crate) fn connect(&mut self) -> Result<Connection, Failure> {
        match std::mem::replace(self, Running::Over) {
            Running::Configured { call, settings } => {
                let settings = crate::config::parse(&settings)?;
                let (session, connection) = T::connect(*call, settings)?;
                *self = Running::Connected(session);
                Ok(connection)
            }
            Running::Connected(_) | Running::Over => {
                Err(Failure::Input("connect was called twice".into()))
            }
        }
    }

    pub(crate) fn on_event(&mut self, event: Event) -> Vec<Action> {
        let Running::Connected(session) = self else {
            return Vec::new();
        };
        let mut out = Actions::default();
        match event {
            Event::Opened => session.on_opened(&mut out),
            Event::Text(text) => session.on_text(text, &mut out),
            Event::Binary(bytes) => session.on_binary(bytes, &mut out),
            Event::Audio(audio) => session.on_audio(audio, &mut out),
            Event::Digit(digit) => session.on_digit(digit, &mut out),
            Event::Marked(mark) => session.on_marked(mark, &mut out),
            Event::Cleared(cleared) => session.on_cleared(cleared, &mut out),
            Event::FunctionResult(result) => session.on_function_result(result, &mut out),
            Event::Update(json) => session.on_update(json, &mut out),
            Event::Timer(id) => session.on_timer(id, &mut out),
            Event::Closed((code, reason)) => session.on_closed(code, reason, &mut out),
            // The contract: what this version does not know is ignored.
            Event::Other(_) => {}
        }
        out.0
    }
}

#[doc(hidden)]
pub struct Adapter<T>(PhantomData<T>);

#[doc(hidden)]
pub struct Session<T>(RefCell<Running<T>>);

impl<T: Connector> Guest for Adapter<T> {
    type Session = Session<T>;
}

impl<T: Connector> GuestSession for Session<T> {
    fn new(call: CallInfo, settings: String) -> Session<T> {
        crate::export::enter();
        Session(RefCell::new(Running::new(call, settings)))
    }

    fn connect(&self) -> Result<Connection, Failure> {
        self.0.borrow_mut().connect()
    }

    fn on_event(&self, event: Event) -> Vec<Action> {
        self.0.borrow_mut().on_event(event)
    }
}
