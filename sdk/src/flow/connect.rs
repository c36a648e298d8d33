//! Talking to an AI platform from a flow.

use super::executor::{Running, Shared};
use super::{Action, Event, FunctionCall, Hangup, Transcript, raw};
use serde_json::{Value, json};

/// A session with an AI platform, from `connect` to its end. Dropping it disconnects.
#[must_use = "dropping it disconnects"]
pub struct Connect {
    running: Running,
    over: bool,
}

/// What a session tells.
#[derive(Debug, Clone, PartialEq)]
pub enum ConnectEvent {
    /// The platform is ready and audio flows both ways.
    Connected,
    /// It is over; nothing follows. `normal` is false where it failed.
    Ended {
        normal: bool,
        reason: String,
    },
    /// The AI asks for a tool to be run: give [`Connect::respond`] the result.
    FunctionCall(FunctionCall),
    Transcript(Transcript),
}

impl Connect {
    pub(super) fn start(shared: Shared, connector: String, settings: String) -> Connect {
        let running = Running::start(&shared, Action::Disconnect, |id| {
            Action::Connect(raw::Connect {
                id,
                connector,
                settings,
            })
        });
        Connect {
            running,
            over: false,
        }
    }

    /// The next event; `None` after [`ConnectEvent::Ended`].
    pub async fn next(&mut self) -> Result<Option<ConnectEvent>, Hangup> {
        while !self.over {
            let event = match self.running.next().await? {
                Event::Connected(_) => ConnectEvent::Connected,
                Event::FunctionCall(call) => ConnectEvent::FunctionCall(call),
                Event::Transcript(transcript) => ConnectEvent::Transcript(transcript),
                Event::ConnectEnded(ended) => {
                    self.over = true;
                    self.running.finish();
                    ConnectEvent::Ended {
                        normal: ended.normal,
                        reason: ended.reason,
                    }
                }
                _ => continue,
            };
            return Ok(Some(event));
        }
        Ok(None)
    }

    /// Lets the AI talk to the caller until the session ends; tells whether it ended
    /// normally, and why. Tools that the AI asks for are refused.
    pub async fn ended(&mut self) -> Result<(bool, String), Hangup> {
        while let Some(event) = self.next().await? {
            match event {
                ConnectEvent::Ended { normal, reason } => return Ok((normal, reason)),
                ConnectEvent::FunctionCall(call) => {
                    self.respond(&call, json!({ "error": "there is no such tool" }))
                }
                ConnectEvent::Connected | ConnectEvent::Transcript(_) => {}
            }
        }
        Ok((true, String::new()))
    }

    /// The result of a tool; the AI speaks next.
    pub fn respond(&self, call: &FunctionCall, output: Value) {
        self.give(call, output, true);
    }

    /// The result of a tool; the AI takes note and stays silent.
    pub fn note_result(&self, call: &FunctionCall, output: Value) {
        self.give(call, output, false);
    }

    /// JSON for the connector, e.g. new instructions.
    pub fn update(&self, settings: Value) {
        self.running.shared().act(Action::UpdateConnect((
            self.running.id(),
            settings.to_string(),
        )));
    }

    /// Ends the session in good order; [`Connect::next`] then tells its end.
    pub fn disconnect(&self) {
        self.running
            .shared()
            .act(Action::Disconnect(self.running.id()));
    }

    fn give(&self, call: &FunctionCall, output: Value, respond: bool) {
        let output = match output {
            Value::String(text) => text,
            other => other.to_string(),
        };
        self.running
            .shared()
            .act(Action::FunctionResult(raw::FunctionResult {
                id: self.running.id(),
                call: call.call.clone(),
                output,
                respond,
            }));
    }
}
