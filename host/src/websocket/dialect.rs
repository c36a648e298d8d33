//! What a session asks of the one who speaks a platform's dialect. Mirrors
//! `wit/connector.wit`; that it is a Wasm component is known to one implementation only.

use b2bua::call_info::CallInfo;
use b2bua::flow::{Connect, FunctionCall};
use bytes::Bytes;
use futures::future::BoxFuture;
use media::Format;
use std::sync::Arc;

/// Starts dialects: one for each `connect` of a flow.
pub trait Dialects: Send + Sync {
    /// An error says what is wrong, for the flow and the journal.
    fn start(
        &self,
        connect: &Connect,
        info: &Arc<CallInfo>,
    ) -> BoxFuture<'static, Result<Started, String>>;
}

pub struct Started {
    pub dialect: Box<dyn Dialect>,
    pub connection: Connection,
    /// The plugin's: `http:HOST`, `secret:NAME`, …
    pub grants: Vec<String>,
}

pub trait Dialect: Send {
    /// An error ends the session.
    fn on_event(&mut self, event: Event) -> BoxFuture<'_, Result<Vec<Action>, String>>;
}

/// What is to be opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    pub url: String,
    /// `{secret:NAME}` in a value stands for a secret of the tenant.
    pub headers: Vec<(String, String)>,
    pub subprotocols: Vec<String>,
    /// From the caller to the platform.
    pub input: Format,
    /// From the platform to the caller.
    pub output: Format,
    pub frame_ms: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Audio(Bytes),
    Binary(Bytes),
    Cleared {
        item: String,
        played_ms: u32,
    },
    Closed {
        code: u16,
        reason: String,
    },
    Digit(char),
    FunctionResult {
        call: String,
        output: String,
        respond: bool,
    },
    Marked(String),
    Opened,
    Text(String),
    Timer(u32),
    Update(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    CancelTimer(u32),
    Clear,
    Close(String),
    Fail(String),
    /// Its `id` is set by the session.
    FunctionCall(FunctionCall),
    Mark(String),
    Note {
        kind: String,
        text: String,
    },
    /// Of a later version; ignored.
    Other(String),
    Play {
        item: String,
        audio: Bytes,
    },
    Ready,
    SendBinary(Vec<u8>),
    SendText(String),
    StartTimer {
        id: u32,
        after_ms: u32,
    },
    Transcript {
        speaker: String,
        text: String,
        r#final: bool,
    },
}
