//! All that goes into and comes out of the call machine.

use crate::call_info::CallInfo;
use crate::cause::Cause;
use crate::decision::{DecisionFailure, Routed, Step, Target};
use crate::directory::Directory;
use crate::flow::{Connect, ConnectorEvent, FlowAction, FlowEvent};
use crate::journal::CallEvent;
use crate::key::{AskId, CallKey, LegId};
use crate::provider::{Outgoing, Read, Shaped};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Something happened, or somebody asks for something.
#[derive(Debug)]
pub enum Input {
    Command {
        call: CallKey,
        command: Command,
    },
    /// A connector session that `Output::Connect` asked for; `id` is that of the connect.
    Connector {
        call: CallKey,
        id: u32,
        event: ConnectorEvent,
    },
    /// A new snapshot. Calls that run keep the one they started with.
    Directory(Arc<Directory>),
    /// From now on a new call gets 503 with Retry-After.
    Drain,
    /// What the flow answered to one `Output::FlowEvent`. `step` is the record of the plugin
    /// call, for the journal.
    FlowActions {
        call: CallKey,
        result: Result<Vec<FlowAction>, DecisionFailure>,
        step: Option<Box<Step>>,
    },
    /// A connection is gone, or nothing can be sent to this address.
    FlowFailed {
        flow: sip::Flow,
    },
    /// The flow of `Question::StartFlow` has an instance, or none.
    FlowStarted {
        call: CallKey,
        ask: AskId,
        result: Result<(), DecisionFailure>,
        step: Option<Box<Step>>,
    },
    /// Answer to `Output::Locate`: addresses in order of preference; empty where there is none.
    Located {
        query: QueryKey,
        addresses: Vec<SocketAddr>,
    },
    Media {
        call: CallKey,
        event: media::Event,
    },
    /// One datagram, or one framed message of a stream.
    Message {
        flow: sip::Flow,
        bytes: Bytes,
    },
    Read {
        call: CallKey,
        ask: AskId,
        result: Result<Read, DecisionFailure>,
        step: Option<Box<Step>>,
    },
    Routed {
        call: CallKey,
        ask: AskId,
        routed: Routed,
    },
    Shaped {
        call: CallKey,
        ask: AskId,
        result: Result<Shaped, DecisionFailure>,
        step: Option<Box<Step>>,
    },
    /// Milliseconds since 1970-01-01 UTC, for journals and call records. Once a second or more often.
    WallClock {
        now_ms: u64,
    },
}

/// What to do about it, in order.
#[derive(Debug)]
pub enum Output {
    Ask {
        call: CallKey,
        ask: AskId,
        question: Question,
        deadline: Instant,
    },
    /// Open a connector session for this leg.
    Connect {
        call: CallKey,
        leg: LegId,
        connect: Connect,
        info: Arc<CallInfo>,
    },
    ConnectorOrder {
        call: CallKey,
        id: u32,
        order: ConnectorOrder,
    },
    /// Tell the call's flow. Always after a good `Input::FlowStarted`; in order.
    FlowEvent {
        call: CallKey,
        event: FlowEvent,
    },
    /// A and AAAA (or SRV where there is no port) of `host`; answered by `Input::Located`.
    Locate {
        query: QueryKey,
        host: String,
        port: Option<u16>,
        transport: sip::Transport,
    },
    Media {
        call: CallKey,
        command: media::Command,
    },
    /// One line of the call's journal. `Ended` is the last of its call.
    Record {
        call: CallKey,
        event: CallEvent,
    },
    Transmit(sip::Transmit),
}

/// A question to the tenant's plugins, or whatever else decides.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "asked a few times in a call, and not kept"
)]
pub enum Question {
    Read {
        provider: String,
        info: Arc<CallInfo>,
    },
    Route(Arc<CallInfo>),
    Shape {
        provider: String,
        info: Arc<CallInfo>,
        target: Target,
        outgoing: Outgoing,
    },
    StartFlow {
        name: String,
        info: Arc<CallInfo>,
    },
}

/// For a connector session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectorOrder {
    FunctionResult {
        call: String,
        output: String,
        respond: bool,
    },
    /// Close it in good order; nothing more is heard of it.
    Stop,
    /// JSON from the flow.
    Update(String),
}

/// What an operator or the API may ask of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Hangup { cause: Cause },
}

/// One name to resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryKey {
    pub call: CallKey,
    pub leg: LegId,
}

/// Why the machine wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Nobody answered a question; the fallback is due.
    Ask(AskId),
    /// The gather of this flow waited long enough for a digit.
    Gather,
    /// The flow has not answered the events that it was told.
    FlowReply,
    /// A timer that the flow set.
    Flow(u32),
    /// The name of this leg's target does not resolve.
    Locate(LegId),
    /// Talk time is over.
    MaxDuration,
    /// This target rang long enough.
    Ring(LegId),
    /// One of SIP's own (RFC 3261 table 4).
    Sip(sip::Timer),
    /// An ended call waited long enough for its statistics.
    Stats,
}
