//! The INVITE server transaction: RFC 3261 §17.2.1 with figure 7 as RFC 6026 §7.1 has it.
//! The repetition of a 2xx (RFC 3261 §13.3.1.4), which the RFC gives to the UAS core, is here
//! too: every response goes through its server transaction.

use super::machine::{Action, ServerInput, Step};
use super::timers::Timer;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Proceeding,
    Accepted {
        interval: Duration,
        acknowledged: bool,
    },
    Completed {
        interval: Duration,
    },
    Confirmed,
    Terminated,
}

impl State {
    /// `trying_after`: when 100 Trying goes out by itself.
    pub(super) fn start(step: &mut Step<'_>, trying_after: Option<Duration>) -> Self {
        if let Some(after) = trying_after {
            step.timers.set(Timer::Trying, step.now + after);
        }
        State::Proceeding
    }

    /// The next state, and what to do.
    pub(super) fn on(self, input: ServerInput, step: &mut Step<'_>) -> (Self, &'static [Action]) {
        use Action::{AckMissing, Deliver, End, Resend, Send};
        use ServerInput::{Ack, Provisional, Refused, Retransmission, Success, TimedOut};
        let t1 = step.timing.t1;
        match (self, input) {
            (State::Proceeding, Retransmission | TimedOut(Timer::Trying)) => {
                step.timers.stop(Timer::Trying);
                (State::Proceeding, &[Resend])
            }
            (State::Proceeding, Provisional) => {
                step.timers.stop(Timer::Trying);
                (State::Proceeding, &[Send])
            }
            (State::Proceeding, Success) => {
                step.timers.clear();
                step.timers.set(Timer::L, step.now + step.timing.lifetime());
                step.timers.set(Timer::Resend, step.now + t1);
                (
                    State::Accepted {
                        interval: t1,
                        acknowledged: false,
                    },
                    &[Send],
                )
            }
            (State::Proceeding, Refused) => {
                step.timers.clear();
                step.timers.set(Timer::H, step.now + step.timing.lifetime());
                if !step.reliable {
                    step.timers.set(Timer::G, step.now + t1);
                }
                (State::Completed { interval: t1 }, &[Send])
            }
            (
                State::Accepted {
                    interval,
                    acknowledged,
                },
                TimedOut(Timer::Resend),
            ) => {
                let interval = (interval * 2).min(step.timing.t2);
                step.timers.set(Timer::Resend, step.now + interval);
                (
                    State::Accepted {
                        interval,
                        acknowledged,
                    },
                    &[Resend],
                )
            }
            (
                State::Accepted {
                    interval,
                    acknowledged: false,
                },
                Ack,
            ) => {
                step.timers.stop(Timer::Resend);
                (
                    State::Accepted {
                        interval,
                        acknowledged: true,
                    },
                    &[Deliver],
                )
            }
            (
                State::Accepted {
                    acknowledged: false,
                    ..
                },
                TimedOut(Timer::L),
            ) => (State::Terminated, &[AckMissing, End]),
            (
                State::Accepted {
                    acknowledged: true, ..
                },
                TimedOut(Timer::L),
            ) => (State::Terminated, &[End]),
            (State::Completed { interval }, TimedOut(Timer::G)) => {
                let interval = (interval * 2).min(step.timing.t2);
                step.timers.set(Timer::G, step.now + interval);
                (State::Completed { interval }, &[Resend])
            }
            (State::Completed { interval }, Retransmission) => {
                (State::Completed { interval }, &[Resend])
            }
            (State::Completed { .. }, Ack) => {
                step.timers.clear();
                if step.reliable {
                    return (State::Terminated, &[End]);
                }
                step.timers.set(Timer::I, step.now + step.timing.t4);
                (State::Confirmed, &[])
            }
            (State::Completed { .. }, TimedOut(Timer::H)) => (State::Terminated, &[End]),
            (State::Confirmed, TimedOut(Timer::I)) => (State::Terminated, &[End]),
            (state, Ack | Provisional | Refused | Retransmission | Success | TimedOut(_)) => {
                (state, &[])
            }
        }
    }
}
