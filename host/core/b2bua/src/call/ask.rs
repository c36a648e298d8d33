//! Asking others what to do with the call, and what happens when nobody answers.

use super::{Call, Phase};
use crate::call_info::CallInfo;
use crate::cause::{Cause, Fault};
use crate::decision::{Decision, DecisionFailure, Outcome, Routed, Step};
use crate::io::{Output, Question, Timer};
use crate::journal::Kind;
use crate::key::AskId;
use crate::provider::Read;
use crate::world::World;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Call {
    /// The first question: the trunk's adapter reads the INVITE, else straight to the router.
    pub(crate) fn begin(&mut self, now: Instant, w: &mut World) {
        let provider = self.trunk().and_then(|trunk| trunk.provider.clone());
        match provider {
            Some(provider) => {
                let question = Question::Read {
                    provider,
                    info: self.info.clone(),
                };
                let ask = self.ask(now, w, question, w.config.provider_deadline);
                self.phase = Phase::Reading { ask };
            }
            None => self.route(now, w),
        }
    }

    pub(crate) fn handle_read(
        &mut self,
        now: Instant,
        w: &mut World,
        ask: AskId,
        result: Result<Read, DecisionFailure>,
        step: Option<Box<Step>>,
    ) {
        self.record_step(now, w, step);
        if !matches!(self.phase, Phase::Reading { ask: open } if open == ask) {
            return;
        }
        w.timers.cancel(self.key, Timer::Ask(ask));
        match result {
            Ok(read) => {
                let info = Arc::make_mut(&mut self.info);
                if let Some(called) = read.called {
                    info.called = called;
                }
                if let Some(caller) = read.caller {
                    info.caller = caller;
                }
                info.ext.extend(read.ext);
            }
            Err(failure) => self.fall_back(
                now,
                w,
                format!("the provider failed: {failure}"),
                "the INVITE is taken as it is",
            ),
        }
        self.route(now, w);
    }

    pub(crate) fn handle_routed(
        &mut self,
        now: Instant,
        w: &mut World,
        ask: AskId,
        routed: Routed,
    ) {
        let decided_by = routed
            .trail
            .iter()
            .rev()
            .find(|step| matches!(step.outcome, Outcome::Decided(_)));
        let digest = decided_by
            .map(|step| step.digest.clone())
            .filter(|digest| !digest.is_empty());
        for step in routed.trail {
            self.record_step(now, w, Some(Box::new(step)));
        }
        if !matches!(self.phase, Phase::Routing { ask: open } if open == ask) {
            return;
        }
        w.timers.cancel(self.key, Timer::Ask(ask));
        self.outcome.digest = digest;
        match routed.decision {
            Ok(decision) => self.apply(now, w, decision),
            Err(failure) => self.end_undecided(now, w, failure),
        }
    }

    pub(crate) fn handle_flow_started(
        &mut self,
        now: Instant,
        w: &mut World,
        ask: AskId,
        result: Result<(), DecisionFailure>,
        step: Option<Box<Step>>,
    ) {
        self.record_step(now, w, step);
        if !matches!(self.phase, Phase::StartingFlow { ask: open } if open == ask) {
            return;
        }
        w.timers.cancel(self.key, Timer::Ask(ask));
        match result {
            Ok(()) => self.enter_flow(now, w),
            Err(failure) => self.end_undecided(now, w, failure),
        }
    }

    /// Nobody answered. The decider has its own, shorter deadline and its own fallback: to get
    /// here means that an answer was lost or the decider is stuck.
    pub(crate) fn handle_ask_timeout(&mut self, now: Instant, w: &mut World, ask: AskId) {
        let failure = |deadline: Duration| DecisionFailure::Deadline {
            after_ms: deadline.as_millis() as u32,
        };
        match &self.phase {
            Phase::Reading { ask: open } if *open == ask => {
                let why = format!(
                    "the provider did not answer within {} ms",
                    w.config.provider_deadline.as_millis()
                );
                self.fall_back(now, w, why, "the INVITE is taken as it is");
                self.route(now, w);
            }
            Phase::Routing { ask: open } | Phase::StartingFlow { ask: open } if *open == ask => {
                self.end_undecided(now, w, failure(w.config.decision_deadline));
            }
            _ => self.handle_shape_timeout(now, w, ask),
        }
    }

    pub(crate) fn ask(
        &mut self,
        now: Instant,
        w: &mut World,
        question: Question,
        within: Duration,
    ) -> AskId {
        self.last_ask += 1;
        let ask = AskId(self.last_ask);
        let (name, of) = match &question {
            Question::Read { provider, .. } => ("read", provider.clone()),
            Question::Route(_) => ("route", String::new()),
            Question::Shape { provider, .. } => ("shape", provider.clone()),
            Question::StartFlow { name, .. } => ("start_flow", name.clone()),
        };
        let deadline_ms = within.as_millis() as u64;
        self.record(
            now,
            w,
            Kind::Asked {
                ask: ask.0,
                question: name.to_owned(),
                of,
                deadline_ms,
            },
        );
        let deadline = now + within;
        w.timers.set(self.key, Timer::Ask(ask), deadline);
        w.output(Output::Ask {
            call: self.key,
            ask,
            question,
            deadline,
        });
        ask
    }

    pub(crate) fn record_step(&mut self, now: Instant, w: &mut World, step: Option<Box<Step>>) {
        if let Some(step) = step {
            self.record(now, w, Kind::Step { step });
        }
    }

    pub(crate) fn fall_back(&mut self, now: Instant, w: &mut World, why: String, then: &str) {
        self.record(
            now,
            w,
            Kind::Fallback {
                why,
                then: then.to_owned(),
            },
        );
    }

    fn route(&mut self, now: Instant, w: &mut World) {
        let question = Question::Route(self.info.clone());
        let ask = self.ask(now, w, question, w.config.decision_deadline);
        self.phase = Phase::Routing { ask };
    }

    fn apply(&mut self, now: Instant, w: &mut World, decision: Decision) {
        self.record(
            now,
            w,
            Kind::Decided {
                decision: decision.clone(),
            },
        );
        match decision {
            Decision::Reject(reject) => {
                let cause =
                    Cause::new(status_of_refusal(reject.code), Fault::Tenant, reject.reason);
                self.end(now, w, cause.with_retry_after(reject.retry_after_s));
            }
            Decision::Redirect(contacts) => self.redirect(now, w, &contacts),
            Decision::Dial(plan) => self.dial_route(now, w, &plan),
            Decision::RunFlow(flow) => {
                let mut info = CallInfo::clone(&self.info);
                info.ext.extend(flow.ext);
                self.info = Arc::new(info);
                self.outcome.flow = Some(flow.name.clone());
                let question = Question::StartFlow {
                    name: flow.name,
                    info: self.info.clone(),
                };
                let ask = self.ask(now, w, question, w.config.decision_deadline);
                self.phase = Phase::StartingFlow { ask };
            }
        }
    }

    fn end_undecided(&mut self, now: Instant, w: &mut World, failure: DecisionFailure) {
        let status = failure.status();
        self.fall_back(
            now,
            w,
            format!("nobody decided: {failure}"),
            &format!("the call is refused with {status}"),
        );
        let retry = (status == 503).then_some(w.config.retry_after_s);
        self.end(
            now,
            w,
            Cause::new(status, Fault::Tenant, failure.to_string()).with_retry_after(retry),
        );
    }
}

/// A plugin may refuse with any final status that refuses.
pub(crate) fn status_of_refusal(code: u16) -> u16 {
    if (400..=699).contains(&code) {
        code
    } else {
        500
    }
}
