//! The INVITE client transaction: RFC 3261 §17.1.1 with figure 5 as RFC 6026 §7.2 has it.

use super::machine::{Action, ClientInput, Failure, Step};
use super::timers::Timer;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Calling { interval: Duration },
    Proceeding,
    Completed,
    Accepted,
    Terminated,
}

impl State {
    pub(super) fn start(step: &mut Step<'_>) -> Self {
        let t1 = step.timing.t1;
        if !step.reliable {
            step.timers.set(Timer::A, step.now + t1);
        }
        step.timers.set(Timer::B, step.now + step.timing.lifetime());
        State::Calling { interval: t1 }
    }

    /// The next state, and what to do.
    pub(super) fn on(self, input: ClientInput, step: &mut Step<'_>) -> (Self, &'static [Action]) {
        use Action::{Ack, Cancel, Deliver, End, Fail, Resend};
        use ClientInput::{FlowFailed, Provisional, Refused, Success, TimedOut};
        match (self, input) {
            (State::Calling { interval }, TimedOut(Timer::A)) => {
                let interval = interval * 2;
                step.timers.set(Timer::A, step.now + interval);
                (State::Calling { interval }, &[Resend])
            }
            (State::Calling { .. }, TimedOut(Timer::B)) => {
                (State::Terminated, &[Fail(Failure::Timeout), End])
            }
            (State::Calling { .. } | State::Proceeding, Provisional) => {
                step.timers.stop(Timer::A);
                step.timers.stop(Timer::B);
                step.timers.set(Timer::C, step.now + step.timing.c);
                (State::Proceeding, &[Deliver])
            }
            (State::Calling { .. } | State::Proceeding, Success) => {
                step.timers.clear();
                step.timers.set(Timer::M, step.now + step.timing.lifetime());
                (State::Accepted, &[Deliver])
            }
            (State::Calling { .. } | State::Proceeding, Refused) => {
                step.timers.clear();
                if step.reliable {
                    return (State::Terminated, &[Ack, Deliver, End]);
                }
                step.timers.set(Timer::D, step.now + step.timing.lifetime());
                (State::Completed, &[Ack, Deliver])
            }
            // A proxy cancels and a B2BUA too; the 487 then ends it (RFC 3261 §16.8).
            (State::Proceeding, TimedOut(Timer::C)) => (State::Proceeding, &[Cancel]),
            // RFC 3261 §9.1: after 64·T1 the client considers the original cancelled.
            (State::Calling { .. } | State::Proceeding, TimedOut(Timer::WaitAfterCancel)) => {
                (State::Terminated, &[Fail(Failure::Timeout), End])
            }
            (State::Calling { .. } | State::Proceeding, FlowFailed) => {
                (State::Terminated, &[Fail(Failure::Transport), End])
            }
            (State::Completed, Refused) => (State::Completed, &[Ack]),
            (State::Completed, TimedOut(Timer::D) | FlowFailed) => (State::Terminated, &[End]),
            // RFC 6026 §8.4: every 2xx, of any fork and repeated, goes up.
            (State::Accepted, Success) => (State::Accepted, &[Deliver]),
            (State::Accepted, TimedOut(Timer::M)) => (State::Terminated, &[End]),
            (state, Provisional | Success | Refused | FlowFailed | TimedOut(_)) => (state, &[]),
        }
    }
}
