//! What the four machines have in common: what can happen to them and what they can want.

use super::timers::{Timer, Timers, Timing};
use std::time::Instant;

/// What a machine may look at and set while it makes one step.
pub(super) struct Step<'a> {
    pub(super) now: Instant,
    pub(super) timing: &'a Timing,
    pub(super) timers: &'a mut Timers,
    /// Whether the transport repeats by itself.
    pub(super) reliable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientInput {
    FlowFailed,
    /// 1xx
    Provisional,
    /// 3xx to 6xx
    Refused,
    /// 2xx
    Success,
    TimedOut(Timer),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerInput {
    Ack,
    /// We answer 1xx.
    Provisional,
    /// We answer 3xx to 6xx.
    Refused,
    /// The peer sent the request again.
    Retransmission,
    /// We answer 2xx.
    Success,
    TimedOut(Timer),
}

impl ClientInput {
    pub(super) fn of(code: u16) -> Self {
        match code {
            ..200 => ClientInput::Provisional,
            200..300 => ClientInput::Success,
            300.. => ClientInput::Refused,
        }
    }
}

impl ServerInput {
    pub(super) fn of(code: u16) -> Self {
        match code {
            ..200 => ServerInput::Provisional,
            200..300 => ServerInput::Success,
            300.. => ServerInput::Refused,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Acknowledge a failure.
    Ack,
    /// Tell the user that nobody acknowledged the success.
    AckMissing,
    Cancel,
    /// Give the message to the transaction's user.
    Deliver,
    /// Forget the transaction.
    End,
    Fail(Failure),
    /// Send the last message again.
    Resend,
    /// Send the response that is at hand.
    Send,
}

/// Why a request got no final response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    /// Nobody answered in time: as 408 (RFC 3261 §8.1.3.1).
    Timeout,
    /// The flow is gone: as 503 (RFC 3261 §8.1.3.1).
    Transport,
}
