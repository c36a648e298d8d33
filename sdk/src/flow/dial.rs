//! Dialling from a flow.

use super::executor::{Running, Shared};
use super::{Action, Event, Hangup, Prompt, raw};
use crate::types::{DialPlan, Target};
use std::future::{Future, IntoFuture};
use std::pin::Pin;

/// A call to somebody else, bridged to the caller when it is answered.
///
/// Awaiting it waits until that call is over. When the dialled party hangs up, the
/// caller's call ends too, unless [`Dial::resume`] asks to come back. Dropping it stops
/// the ringing, or hangs up on the dialled party.
#[must_use = "nothing is dialled until it is awaited"]
pub struct Dial {
    shared: Shared,
    plan: DialPlan,
    ringback: Option<Prompt>,
    resume: bool,
}

/// How a dialled call ended, where the caller is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialEnd {
    /// The dialled party hung up (only with [`Dial::resume`]).
    Ended,
    /// Nobody answered: the best SIP status of all targets, 408 where none came in time.
    Failed { status: u16, reason: String },
}

impl Dial {
    pub(super) fn new(shared: Shared, plan: DialPlan) -> Dial {
        Dial {
            shared,
            plan,
            ringback: None,
            resume: false,
        }
    }

    /// What the caller hears until somebody answers.
    pub fn ringback(mut self, prompt: impl Into<Prompt>) -> Dial {
        self.ringback = Some(prompt.into());
        self
    }

    /// When the dialled party hangs up, the flow goes on with the caller.
    pub fn resume(mut self) -> Dial {
        self.resume = true;
        self
    }
}

impl IntoFuture for Dial {
    type Output = Result<DialEnd, Hangup>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        let Dial {
            shared,
            plan,
            ringback,
            resume,
        } = self;
        Box::pin(async move {
            let mut running = Running::start(&shared, Action::StopDial, |id| {
                Action::Dial(raw::Dial {
                    id,
                    plan,
                    ringback,
                    resume,
                })
            });
            let end = loop {
                match running.next().await? {
                    Event::DialEnded(_) => break DialEnd::Ended,
                    Event::DialFailed(failed) => {
                        break DialEnd::Failed {
                            status: failed.status,
                            reason: failed.reason,
                        };
                    }
                    // Ringing and answered: the host bridges by itself.
                    _ => {}
                }
            };
            running.finish();
            Ok(end)
        })
    }
}

impl From<Target> for DialPlan {
    fn from(target: Target) -> DialPlan {
        DialPlan::serial([target])
    }
}

impl From<&str> for DialPlan {
    fn from(uri: &str) -> DialPlan {
        DialPlan::serial([uri])
    }
}

impl From<String> for DialPlan {
    fn from(uri: String) -> DialPlan {
        DialPlan::serial([uri])
    }
}

impl<T: Into<Target>> From<Vec<T>> for DialPlan {
    fn from(targets: Vec<T>) -> DialPlan {
        DialPlan::serial(targets)
    }
}

impl<T: Into<Target>, const N: usize> From<[T; N]> for DialPlan {
    fn from(targets: [T; N]) -> DialPlan {
        DialPlan::serial(targets)
    }
}
