//! The server transaction of all other requests: RFC 3261 §17.2.2, figure 8.

use super::machine::{Action, ServerInput, Step};
use super::timers::Timer;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

impl State {
    /// The next state, and what to do.
    pub(super) fn on(self, input: ServerInput, step: &mut Step<'_>) -> (Self, &'static [Action]) {
        use Action::{End, Resend, Send};
        use ServerInput::{Ack, Provisional, Refused, Retransmission, Success, TimedOut};
        match (self, input) {
            (State::Trying | State::Proceeding, Provisional) => (State::Proceeding, &[Send]),
            (State::Trying | State::Proceeding, Success | Refused) => {
                if step.reliable {
                    return (State::Terminated, &[Send, End]);
                }
                step.timers.set(Timer::J, step.now + step.timing.lifetime());
                (State::Completed, &[Send])
            }
            (State::Proceeding, Retransmission) => (State::Proceeding, &[Resend]),
            (State::Completed, Retransmission) => (State::Completed, &[Resend]),
            (State::Completed, TimedOut(Timer::J)) => (State::Terminated, &[End]),
            (state, Ack | Provisional | Refused | Retransmission | Success | TimedOut(_)) => {
                (state, &[])
            }
        }
    }
}
