//! The journal: everything that entered and left one call, in order. Explain, the ladder,
//! replay and the call record are readings of it.

mod text;

pub use text::{Path, SipText};

use crate::call_info::CallInfo;
use crate::cause::Cause;
use crate::decision::{Decision, Step};
use crate::flow::{ConnectorEvent, FlowAction, FlowEvent};
use crate::key::LegId;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One line. `seq` counts from 0 without gaps; a journal that reached its limit skips to
/// the lines that a reader needs most (see [`Kind::is_vital`]) and says so once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallEvent {
    pub seq: u32,
    /// µs since the call began, on the monotonic clock.
    pub t_us: u64,
    #[serde(flatten)]
    pub kind: Kind,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// Whose call it is.
    Admitted {
        tenant: String,
        trunk: Option<String>,
    },
    Answered {
        leg: LegId,
    },
    /// Always first.
    Arrived {
        info: Arc<CallInfo>,
    },
    /// A question went out: `route`, `read`, `shape` or `start_flow`.
    Asked {
        ask: u32,
        question: String,
        of: String,
        deadline_ms: u64,
    },
    Connector {
        id: u32,
        event: ConnectorEvent,
    },
    /// What was applied.
    Decided {
        decision: Decision,
    },
    Dialed {
        leg: LegId,
        target: String,
        trunk: Option<String>,
        to: String,
    },
    Digit {
        leg: LegId,
        digit: char,
        duration_ms: u32,
        by: DigitSource,
    },
    /// Always last.
    Ended(Box<Ended>),
    /// Nobody answered in time, or all failed, and what happens instead.
    Fallback {
        why: String,
        then: String,
    },
    FlowAction {
        action: FlowAction,
        refused: Option<String>,
    },
    FlowEvent {
        event: FlowEvent,
    },
    /// Offer and answer of a leg came to this.
    Media {
        leg: LegId,
        port: u16,
        codec: String,
        remote: Option<String>,
        direction: String,
    },
    MediaStats {
        leg: LegId,
        stats: Box<media::LegStats>,
    },
    Note {
        topic: String,
        text: String,
    },
    /// Not admitted.
    Refused {
        why: String,
        near_miss: Option<String>,
    },
    Ringing {
        leg: LegId,
        status: u16,
    },
    SipReceived {
        leg: LegId,
        path: Path,
        message: SipText,
    },
    SipSent {
        leg: LegId,
        path: Path,
        message: SipText,
    },
    /// Somebody was asked; the whole of it, for replay.
    Step {
        step: Box<Step>,
    },
    TargetFailed {
        leg: LegId,
        status: u16,
        why: String,
        hunt: String,
    },
    Truncated {
        kept: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DigitSource {
    Info,
    Rtp,
}

/// The end, with what a call record needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ended {
    pub cause: Cause,
    pub tenant: Option<String>,
    pub trunk: Option<String>,
    pub caller: String,
    pub called: String,
    /// wall clock, ms since 1970-01-01 UTC
    pub received_ms: u64,
    /// µs since the call began; none where nobody answered
    pub answered_us: Option<u64>,
    pub ended_us: u64,
    /// The target that was answered, or the last one tried.
    pub target: Option<String>,
    pub target_trunk: Option<String>,
    pub flow: Option<String>,
    /// Digest of the component that decided.
    pub digest: Option<String>,
}

impl Kind {
    /// Kept even when the journal is full: without them nobody can tell what the call was.
    pub fn is_vital(&self) -> bool {
        match self {
            Kind::Admitted { .. }
            | Kind::Answered { .. }
            | Kind::Arrived { .. }
            | Kind::Decided { .. }
            | Kind::Ended(_)
            | Kind::Fallback { .. }
            | Kind::MediaStats { .. }
            | Kind::Refused { .. }
            | Kind::Truncated { .. } => true,
            Kind::Asked { .. }
            | Kind::Connector { .. }
            | Kind::Dialed { .. }
            | Kind::Digit { .. }
            | Kind::FlowAction { .. }
            | Kind::FlowEvent { .. }
            | Kind::Media { .. }
            | Kind::Note { .. }
            | Kind::Ringing { .. }
            | Kind::SipReceived { .. }
            | Kind::SipSent { .. }
            | Kind::Step { .. }
            | Kind::TargetFailed { .. } => false,
        }
    }
}

/// Lines of one call before only vital ones are kept.
pub const MAX_EVENTS: u32 = 10_000;
