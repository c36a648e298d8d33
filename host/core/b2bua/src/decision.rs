//! What may be decided about a new call, and how the decision came about.

use crate::call_info::{CallInfo, Ext, Header};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where a new call goes. Mirrors `router.decision` of `wit/router.wit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Dial(DialPlan),
    Redirect(Vec<String>),
    Reject(Reject),
    RunFlow(FlowRef),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialPlan {
    pub targets: Vec<Target>,
    pub strategy: Strategy,
    /// seconds of talk
    pub max_duration_s: Option<u32>,
    pub ext: Ext,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    Parallel,
    Serial,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub uri: String,
    pub trunk: Option<String>,
    pub caller_id: Option<String>,
    pub headers: Vec<Header>,
    /// Codec names in order of preference; empty means the default.
    pub codecs: Vec<String>,
    /// 0 means the default
    pub timeout_ms: u32,
    pub ext: Ext,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// SIP status, 400 to 699
    pub code: u16,
    pub reason: String,
    pub retry_after_s: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRef {
    pub name: String,
    pub ext: Ext,
}

/// The answer to a question about where a call goes.
#[derive(Debug, Clone)]
pub struct Routed {
    pub decision: Result<Decision, DecisionFailure>,
    /// Everyone who was asked, in order, for the journal.
    pub trail: Vec<Step>,
}

/// Why nobody decided. Picks the SIP status by [`DecisionFailure::status`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "failure", rename_all = "snake_case")]
pub enum DecisionFailure {
    #[error("the deadline of {after_ms} ms passed")]
    Deadline { after_ms: u32 },
    #[error("it has no export {name}")]
    MissingExport { name: String },
    #[error("no router is bound for this call")]
    NoRouter,
    #[error("the answer breaks a limit: {what}")]
    OutputLimit { what: String },
    #[error("all {limit} instances of the tenant are busy")]
    Overload { limit: u32 },
    /// the plugin itself reported a failure
    #[error("it reports: {text}")]
    Reported { text: String },
    #[error("it trapped: {message}")]
    Trap { message: String },
    #[error("there is no {what} named {name}")]
    Unknown { what: String, name: String },
}

impl DecisionFailure {
    /// The SIP status for a caller whose call nobody could decide.
    pub fn status(&self) -> u16 {
        match self {
            DecisionFailure::NoRouter | DecisionFailure::Unknown { .. } => 404,
            DecisionFailure::Overload { .. } => 503,
            DecisionFailure::Deadline { .. }
            | DecisionFailure::MissingExport { .. }
            | DecisionFailure::OutputLimit { .. }
            | DecisionFailure::Reported { .. }
            | DecisionFailure::Trap { .. } => 500,
        }
    }
}

/// One decider that was asked: enough to explain it, and to replay it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// e.g. `binding:default`, `fallback:static-routes`, `last-good`, `static`
    pub decider: String,
    /// plugin name
    pub plugin: String,
    /// SHA-256 of the component, hexadecimal; empty where no component decided
    pub digest: String,
    /// e.g. `router.on-invite`
    pub export: String,
    /// What it was asked, shared with the call.
    pub input: Arc<CallInfo>,
    /// Host imports that it called, in order, with arguments and results.
    pub imports: Vec<Import>,
    pub outcome: Outcome,
    /// wall time, µs
    pub wall_us: u32,
    /// CPU time in the guest, µs
    pub cpu_us: u32,
}

/// One host import that a decider called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Import {
    /// e.g. `kv.get`
    pub name: String,
    pub args: serde_json::Value,
    pub result: serde_json::Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It answered what decides nothing about the call: an event of a flow, or a provider's
    /// question. The journal has the effects.
    Answered,
    Decided(Decision),
    Failed(DecisionFailure),
    /// It had no opinion; the next binding was asked.
    Next,
    /// It was not asked, and why (disabled, breaker open, …).
    Skipped(String),
}
