//! One call in a few words: what lists show, made of its events as they come.

use b2bua::decision::{Decision, Outcome};
use b2bua::journal::{CallEvent, Ended, Kind};
use b2bua::key::LegId;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallSummary {
    pub call_id: String,
    pub tenant: Option<String>,
    pub trunk: Option<String>,
    pub state: State,
    /// `inbound` or `outbound`
    pub direction: String,
    /// User part of the caller's address.
    pub from: String,
    /// User part of the address that was called.
    pub to: String,
    /// wall clock, ms since 1970-01-01 UTC, as are the others
    pub received_ms: u64,
    pub answered_ms: Option<u64>,
    pub ended_ms: Option<u64>,
    /// What was decided: `dial`, `redirect`, `reject`, `run_flow`.
    pub decision: Option<String>,
    pub target: Option<String>,
    pub target_trunk: Option<String>,
    pub flow: Option<String>,
    /// Plugin that decided, and the SHA-256 of its component.
    pub plugin: Option<String>,
    pub digest: Option<String>,
    /// Final SIP status; 200 for a call that ended as calls do.
    pub status: Option<u16>,
    pub cause: Option<String>,
    /// Whose fault: `callee`, `caller`, `host`, `nobody`, `operator`, `tenant`.
    pub fault: Option<String>,
    pub q850: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Answered,
    Ended,
    Ringing,
    Routing,
}

impl CallSummary {
    pub fn new(call_id: String) -> Self {
        CallSummary {
            call_id,
            tenant: None,
            trunk: None,
            state: State::Routing,
            direction: "inbound".to_owned(),
            from: String::new(),
            to: String::new(),
            received_ms: 0,
            answered_ms: None,
            ended_ms: None,
            decision: None,
            target: None,
            target_trunk: None,
            flow: None,
            plugin: None,
            digest: None,
            status: None,
            cause: None,
            fault: None,
            q850: None,
        }
    }

    pub fn read(&mut self, event: &CallEvent) {
        let at_ms = self.received_ms + event.t_us / 1000;
        match &event.kind {
            Kind::Arrived { info } => {
                self.from.clone_from(&info.caller);
                self.to.clone_from(&info.called);
                self.received_ms = info.received_ms;
                self.direction = match info.direction {
                    b2bua::call_info::Direction::Inbound => "inbound".to_owned(),
                    b2bua::call_info::Direction::Outbound => "outbound".to_owned(),
                };
                if !info.tenant.is_empty() {
                    self.tenant = Some(info.tenant.clone());
                }
            }
            Kind::Admitted { tenant, trunk } => {
                self.tenant = Some(tenant.clone());
                self.trunk.clone_from(trunk);
            }
            Kind::Decided { decision } => {
                self.decision = Some(name(decision).to_owned());
                if let Decision::RunFlow(flow) = decision {
                    self.flow = Some(flow.name.clone());
                }
            }
            Kind::Step { step } => {
                if matches!(step.outcome, Outcome::Decided(_)) && !step.plugin.is_empty() {
                    self.plugin = Some(step.plugin.clone());
                    self.digest = Some(step.digest.clone()).filter(|digest| !digest.is_empty());
                }
            }
            Kind::Dialed { target, trunk, .. } => {
                self.target = Some(target.clone());
                self.target_trunk.clone_from(trunk);
            }
            Kind::Ringing { .. } => {
                if self.state == State::Routing {
                    self.state = State::Ringing;
                }
            }
            Kind::Answered { leg: LegId::A } => {
                self.state = State::Answered;
                self.answered_ms = Some(at_ms);
            }
            Kind::Ended(ended) => self.end(ended),
            Kind::Answered { .. }
            | Kind::Asked { .. }
            | Kind::Connector { .. }
            | Kind::Digit { .. }
            | Kind::Fallback { .. }
            | Kind::FlowAction { .. }
            | Kind::FlowEvent { .. }
            | Kind::Media { .. }
            | Kind::MediaStats { .. }
            | Kind::Note { .. }
            | Kind::Refused { .. }
            | Kind::SipReceived { .. }
            | Kind::SipSent { .. }
            | Kind::TargetFailed { .. }
            | Kind::Truncated { .. } => {}
        }
    }

    fn end(&mut self, ended: &Ended) {
        self.state = State::Ended;
        self.received_ms = ended.received_ms;
        self.answered_ms = ended.answered_us.map(|us| ended.received_ms + us / 1000);
        self.ended_ms = Some(ended.received_ms + ended.ended_us / 1000);
        self.from.clone_from(&ended.caller);
        self.to.clone_from(&ended.called);
        let known =
            |told: &Option<String>, seen: &Option<String>| told.clone().or_else(|| seen.clone());
        self.tenant = known(&ended.tenant, &self.tenant);
        self.trunk = known(&ended.trunk, &self.trunk);
        self.target = known(&ended.target, &self.target);
        self.target_trunk = known(&ended.target_trunk, &self.target_trunk);
        self.flow = known(&ended.flow, &self.flow);
        self.digest = known(&ended.digest, &self.digest);
        self.status = Some(ended.cause.status);
        self.cause = Some(ended.cause.text.clone());
        self.fault = Some(ended.cause.fault.as_str().to_owned());
        self.q850 = ended.cause.q850;
    }

    /// For how long it was answered; none while it runs or where nobody answered.
    pub fn talk_ms(&self) -> Option<u64> {
        Some(self.ended_ms?.saturating_sub(self.answered_ms?))
    }
}

fn name(decision: &Decision) -> &'static str {
    match decision {
        Decision::Dial(_) => "dial",
        Decision::Redirect(_) => "redirect",
        Decision::Reject(_) => "reject",
        Decision::RunFlow(_) => "run_flow",
    }
}
