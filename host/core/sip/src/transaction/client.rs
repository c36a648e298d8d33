//! The client transaction of all other requests: RFC 3261 §17.1.2, figure 6.

use super::machine::{Action, ClientInput, Failure, Step};
use super::timers::Timer;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Trying { interval: Duration },
    Proceeding,
    Completed,
    Terminated,
}

impl State {
    pub(super) fn start(step: &mut Step<'_>) -> Self {
        let t1 = step.timing.t1;
        if !step.reliable {
            step.timers.set(Timer::E, step.now + t1);
        }
        step.timers.set(Timer::F, step.now + step.timing.lifetime());
        State::Trying { interval: t1 }
    }

    /// The next state, and what to do.
    pub(super) fn on(self, input: ClientInput, step: &mut Step<'_>) -> (Self, &'static [Action]) {
        use Action::{Deliver, End, Fail, Resend};
        use ClientInput::{FlowFailed, Provisional, Refused, Success, TimedOut};
        match (self, input) {
            (State::Trying { interval }, TimedOut(Timer::E)) => {
                let interval = (interval * 2).min(step.timing.t2);
                step.timers.set(Timer::E, step.now + interval);
                (State::Trying { interval }, &[Resend])
            }
            (State::Proceeding, TimedOut(Timer::E)) => {
                step.timers.set(Timer::E, step.now + step.timing.t2);
                (State::Proceeding, &[Resend])
            }
            (State::Trying { .. } | State::Proceeding, TimedOut(Timer::F)) => {
                (State::Terminated, &[Fail(Failure::Timeout), End])
            }
            (State::Trying { .. } | State::Proceeding, Provisional) => {
                (State::Proceeding, &[Deliver])
            }
            (State::Trying { .. } | State::Proceeding, Success | Refused) => {
                step.timers.clear();
                if step.reliable {
                    return (State::Terminated, &[Deliver, End]);
                }
                step.timers.set(Timer::K, step.now + step.timing.t4);
                (State::Completed, &[Deliver])
            }
            (State::Trying { .. } | State::Proceeding, FlowFailed) => {
                (State::Terminated, &[Fail(Failure::Transport), End])
            }
            (State::Completed, TimedOut(Timer::K)) => (State::Terminated, &[End]),
            (state, Provisional | Success | Refused | FlowFailed | TimedOut(_)) => (state, &[]),
        }
    }
}
