//! Which failure of a target ends the hunt, and what the caller is told when all failed.
//!
//! | a target answers | the hunt |
//! |---|---|
//! | 486, 487, any 6xx | ends: a person (or the whole network) has said no |
//! | any other 4xx | goes on: this gateway cannot, another may |
//! | 5xx | goes on |
//! | 3xx | goes on; with `follow_redirects` to the Contacts of the answer first |
//! | nothing in time, no connection, no address | goes on |

use crate::cause::{Cause, Fault};
use crate::decision::{DialPlan, Strategy, Target};

/// How a target failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A final response that is not a success.
    Answered {
        status: u16,
        phrase: String,
        q850: Option<u8>,
    },
    /// It did not answer the INVITE at all (timer B), or rang for too long.
    Timeout(&'static str),
    /// Nothing could be sent to it, or not even tried, and why.
    Unreachable(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Next,
    Stop,
}

impl Failure {
    pub fn verdict(&self) -> Verdict {
        match self {
            Failure::Answered {
                status: 486 | 487 | 600..=699,
                ..
            } => Verdict::Stop,
            Failure::Answered { .. } | Failure::Timeout(_) | Failure::Unreachable(_) => {
                Verdict::Next
            }
        }
    }

    /// What the target said, as a status.
    pub fn status(&self) -> u16 {
        match self {
            Failure::Answered { status, .. } => *status,
            Failure::Timeout(_) => 408,
            Failure::Unreachable(_) => 503,
        }
    }

    /// What the caller is told if this failure is the best of all.
    pub fn cause(&self) -> Cause {
        match self {
            Failure::Answered {
                status,
                phrase,
                q850,
            } => {
                let said = format!("the target answered {status} {phrase}");
                let told =
                    |status| Cause::new(status, Fault::Callee, said.clone()).with_q850(*q850);
                match status {
                    // RFC 3261 §16.7: a challenge is for us, and we had no (right) password.
                    401 | 407 => told(502),
                    // §16.7 item 6: 503 would make the caller avoid us, not the target.
                    503 => told(500),
                    300..=399 => told(502),
                    _ => told(*status),
                }
            }
            Failure::Timeout(what) => Cause::new(408, Fault::Callee, *what),
            Failure::Unreachable(why) => Cause::new(
                500,
                Fault::Callee,
                format!("the target cannot be reached: {why}"),
            ),
        }
    }

    pub fn text(&self) -> String {
        match self {
            Failure::Answered { status, phrase, .. } => format!("{status} {phrase}"),
            Failure::Timeout(what) => (*what).to_owned(),
            Failure::Unreachable(why) => why.clone(),
        }
    }
}

/// The targets of one dial: who is next, and how the others failed.
#[derive(Debug)]
pub struct Hunt {
    strategy: Strategy,
    /// In reverse order, so that the next one is popped.
    waiting: Vec<Target>,
    tried: usize,
    /// The best failure so far.
    best: Option<Failure>,
    stopped: bool,
}

impl Hunt {
    pub fn new(plan: &DialPlan) -> Self {
        let mut waiting: Vec<Target> = plan.targets.iter().take(MAX_TARGETS).cloned().collect();
        waiting.reverse();
        Hunt {
            strategy: plan.strategy,
            waiting,
            tried: 0,
            best: None,
            stopped: false,
        }
    }

    /// The next targets to call: all of them, or one.
    pub fn take_next(&mut self) -> Vec<Target> {
        if self.stopped {
            return Vec::new();
        }
        let targets: Vec<Target> = match self.strategy {
            Strategy::Parallel => std::iter::from_fn(|| self.waiting.pop()).collect(),
            Strategy::Serial => self.waiting.pop().into_iter().collect(),
        };
        self.tried += targets.len();
        targets
    }

    /// Where a 3xx points to, tried before what is waiting.
    pub fn redirect(&mut self, targets: Vec<Target>) {
        let room = MAX_TARGETS.saturating_sub(self.tried + self.waiting.len());
        self.waiting.extend(targets.into_iter().take(room).rev());
    }

    pub fn failed(&mut self, failure: Failure) -> Verdict {
        let verdict = failure.verdict();
        self.stopped |= verdict == Verdict::Stop;
        if self
            .best
            .as_ref()
            .is_none_or(|best| rank(&failure) <= rank(best))
        {
            self.best = Some(failure);
        }
        verdict
    }

    pub fn best(&self) -> Option<&Failure> {
        self.best.as_ref()
    }

    pub fn strategy(&self) -> Strategy {
        self.strategy
    }
}

/// RFC 3261 §16.7 item 6: a 6xx wins, else the lowest class; the last one among equals. What
/// somebody said is better than silence.
fn rank(failure: &Failure) -> u16 {
    match failure {
        Failure::Answered { status, .. } if *status >= 600 => 0,
        // Final for the hunt, so better than any other refusal.
        Failure::Answered {
            status: 486 | 487, ..
        } => 1,
        // A redirection that was not followed and a challenge tell the caller nothing.
        Failure::Answered {
            status: 401 | 407 | 300..=399,
            ..
        } => 6,
        Failure::Answered { status, .. } => status / 100,
        Failure::Timeout(_) => 5,
        Failure::Unreachable(_) => 7,
    }
}

/// Targets of one dial, those of redirections included.
pub const MAX_TARGETS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_who_says_no_ends_the_hunt_and_a_gateway_that_cannot_does_not() {
        for status in [486, 487, 600, 603, 604, 607] {
            assert_eq!(answered(status).verdict(), Verdict::Stop, "{status}");
        }
        for status in [
            302, 400, 401, 403, 404, 407, 408, 480, 488, 500, 502, 503, 504,
        ] {
            assert_eq!(answered(status).verdict(), Verdict::Next, "{status}");
        }
        assert_eq!(Failure::Timeout("x").verdict(), Verdict::Next);
    }

    #[test]
    fn neither_503_nor_a_challenge_of_a_target_is_passed_to_the_caller() {
        assert_eq!(answered(503).cause().status, 500);
        assert_eq!(answered(401).cause().status, 502);
        assert_eq!(answered(407).cause().status, 502);
        assert_eq!(answered(302).cause().status, 502);
        assert_eq!(answered(480).cause().status, 480);
    }

    #[test]
    fn the_caller_hears_the_best_of_all_failures() {
        let best = |statuses: &[u16]| {
            let mut hunt = Hunt::new(&plan(Strategy::Serial, 3));
            for status in statuses {
                hunt.failed(answered(*status));
            }
            hunt.best().unwrap().status()
        };
        assert_eq!(best(&[503, 404, 500]), 404);
        assert_eq!(best(&[404, 603]), 603);
        assert_eq!(best(&[404, 486, 480]), 486);
        assert_eq!(best(&[404, 480]), 480);
    }

    #[test]
    fn a_serial_hunt_goes_one_by_one_and_a_parallel_one_at_once() {
        let mut serial = Hunt::new(&plan(Strategy::Serial, 2));
        assert_eq!(serial.take_next()[0].uri, "sip:0@x");
        assert_eq!(serial.take_next()[0].uri, "sip:1@x");
        assert!(serial.take_next().is_empty());
        let mut parallel = Hunt::new(&plan(Strategy::Parallel, 3));
        assert_eq!(parallel.take_next().len(), 3);
        let mut stopped = Hunt::new(&plan(Strategy::Serial, 2));
        stopped.take_next();
        stopped.failed(answered(486));
        assert!(stopped.take_next().is_empty());
    }

    #[test]
    fn redirections_cannot_go_on_for_ever() {
        let mut hunt = Hunt::new(&plan(Strategy::Serial, 1));
        let mut calls = 0;
        while let Some(target) = hunt.take_next().pop() {
            calls += 1;
            hunt.redirect(vec![target.clone(), target]);
        }
        assert_eq!(calls, MAX_TARGETS);
    }

    fn answered(status: u16) -> Failure {
        Failure::Answered {
            status,
            phrase: "x".into(),
            q850: None,
        }
    }

    fn plan(strategy: Strategy, targets: usize) -> DialPlan {
        let target = |n| Target {
            uri: format!("sip:{n}@x"),
            trunk: None,
            caller_id: None,
            headers: Vec::new(),
            codecs: Vec::new(),
            timeout_ms: 0,
            ext: Vec::new(),
        };
        DialPlan {
            targets: (0..targets).map(target).collect(),
            strategy,
            max_duration_s: None,
            ext: Vec::new(),
        }
    }
}
