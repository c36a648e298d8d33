//! The conversation between a call and the flow that runs it. Mirrors `wit/flow.wit`.

use crate::call_info::Ext;
use crate::decision::{DialPlan, Reject};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    File(String),
    Say(String),
    /// milliseconds
    Silence(u32),
    Tone(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Play {
    pub id: u32,
    pub prompts: Vec<Prompt>,
    pub interruptible: bool,
    /// 0 means until stopped
    pub repeat: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gather {
    pub id: u32,
    /// 0 means no maximum
    pub max_digits: u8,
    pub terminators: String,
    pub first_timeout_ms: u32,
    pub inter_timeout_ms: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatherEnd {
    MaxDigits,
    Stopped,
    Terminator,
    Timeout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlayEnd {
    Failed,
    Finished,
    Interrupted,
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dial {
    pub id: u32,
    pub plan: DialPlan,
    pub ringback: Option<Prompt>,
    pub resume: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    pub id: u32,
    pub connector: String,
    /// JSON object
    pub settings: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCall {
    pub id: u32,
    pub call: String,
    pub name: String,
    /// JSON
    pub arguments: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionResult {
    pub id: u32,
    pub call: String,
    pub output: String,
    pub respond: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcript {
    pub id: u32,
    pub speaker: String,
    pub text: String,
    pub r#final: bool,
}

/// What happened, for the flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowEvent {
    Answered,
    ConnectEnded {
        id: u32,
        normal: bool,
        reason: String,
    },
    Connected {
        id: u32,
    },
    DialAnswered {
        id: u32,
    },
    DialEnded {
        id: u32,
    },
    DialFailed {
        id: u32,
        status: u16,
        reason: String,
    },
    DialRinging {
        id: u32,
    },
    Digit(char),
    FunctionCall(FunctionCall),
    Gathered {
        id: u32,
        digits: String,
        end: GatherEnd,
    },
    /// SIP status or 200 for a BYE
    Hangup(u16),
    Played {
        id: u32,
        end: PlayEnd,
        played_ms: u32,
    },
    Started,
    Timer(u32),
    Transcript(Transcript),
}

/// What the flow wants done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowAction {
    Answer,
    CancelTimer(u32),
    Connect(Connect),
    Dial(Dial),
    Disconnect(u32),
    FunctionResult(FunctionResult),
    Gather(Gather),
    Hangup(Reject),
    Note { kind: String, text: String },
    Other { name: String, ext: Ext },
    Play(Play),
    Ring,
    SendDigits(String),
    StartTimer { id: u32, after_ms: u32 },
    StopDial(u32),
    StopGather(u32),
    StopPlay(u32),
    UpdateConnect { id: u32, json: String },
}

/// What the call hears of a connector session that the shell runs for it. Audio does not
/// pass here: it goes between the media thread and the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorEvent {
    Connected,
    Ended { normal: bool, reason: String },
    FunctionCall(FunctionCall),
    Note { kind: String, text: String },
    Transcript(Transcript),
}
