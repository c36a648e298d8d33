//! A flow has the call: its actions are done in order, what happens is told as events.

use super::{Call, Origin, Phase};
use crate::cause::{Cause, Fault};
use crate::decision::{DecisionFailure, Step};
use crate::flow::{Connect, Dial, FlowAction, FlowEvent, Gather, GatherEnd, Play, PlayEnd, Prompt};
use crate::gather::Gathering;
use crate::io::{ConnectorOrder, Output, Timer};
use crate::journal::Kind;
use crate::key::LegId;
use crate::world::World;
use media::{Command, LegKey};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// What a flow has going on.
#[derive(Debug, Default)]
pub(crate) struct FlowRun {
    pub(super) gather: Option<Gathering>,
    /// By the media's id: ours, so that a flow cannot collide with the ringback.
    pub(super) plays: BTreeMap<u32, Playing>,
    pub(super) last_play: u32,
    pub(super) timers: BTreeSet<u32>,
    pub(super) connect: Option<Connecting>,
    /// Events that it has not yet answered.
    pub(super) unanswered: u32,
}

#[derive(Debug)]
pub(super) struct Playing {
    pub(super) purpose: Purpose,
    pub(super) interruptible: bool,
    /// A digit that came by INFO stopped it; the media does not know why.
    pub(super) interrupted: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Flow(u32),
    Ringback,
}

#[derive(Debug)]
pub(super) struct Connecting {
    pub(super) id: u32,
    pub(super) connected: bool,
}

/// Why an action was not done.
type Refusal = &'static str;

impl Call {
    pub(crate) fn enter_flow(&mut self, now: Instant, w: &mut World) {
        self.flow = Some(FlowRun::default());
        self.phase = Phase::InFlow;
        self.tell_flow(now, w, FlowEvent::Started);
    }

    pub(crate) fn handle_flow_actions(
        &mut self,
        now: Instant,
        w: &mut World,
        result: Result<Vec<FlowAction>, DecisionFailure>,
        step: Option<Box<Step>>,
    ) {
        self.record_step(now, w, step);
        let Some(flow) = &mut self.flow else { return };
        flow.unanswered = flow.unanswered.saturating_sub(1);
        if flow.unanswered == 0 {
            w.timers.cancel(self.key, Timer::FlowReply);
        } else {
            w.timers
                .set(self.key, Timer::FlowReply, now + w.config.decision_deadline);
        }
        match result {
            Err(failure) => self.fail_flow(now, w, failure),
            Ok(actions) => {
                let refused_from = actions.len().min(MAX_ACTIONS);
                for (n, action) in actions.into_iter().enumerate() {
                    // An action before this one may have ended the call.
                    if self.flow.is_none() {
                        return;
                    }
                    let journaled = self.hide(action.clone());
                    let refused = if n >= refused_from {
                        Some("too many actions at once")
                    } else {
                        self.act(now, w, action).err()
                    };
                    self.record(
                        now,
                        w,
                        Kind::FlowAction {
                            action: journaled,
                            refused: refused.map(str::to_owned),
                        },
                    );
                    if n > MAX_ACTIONS {
                        break;
                    }
                }
            }
        }
    }

    /// The flow trapped, or does not answer: the caller has nobody to talk to.
    pub(crate) fn fail_flow(&mut self, now: Instant, w: &mut World, failure: DecisionFailure) {
        let status = failure.status().max(500);
        self.fall_back(
            now,
            w,
            format!("the flow failed: {failure}"),
            &format!("the call ends with {status}"),
        );
        self.end(
            now,
            w,
            Cause::new(status, Fault::Tenant, format!("the flow failed: {failure}")),
        );
    }

    pub(crate) fn handle_flow_silence(&mut self, now: Instant, w: &mut World) {
        let after_ms = w.config.decision_deadline.as_millis() as u32;
        self.fail_flow(now, w, DecisionFailure::Deadline { after_ms });
    }

    pub(crate) fn tell_flow(&mut self, now: Instant, w: &mut World, event: FlowEvent) {
        let Some(flow) = &mut self.flow else { return };
        flow.unanswered += 1;
        if flow.unanswered == 1 {
            w.timers
                .set(self.key, Timer::FlowReply, now + w.config.decision_deadline);
        }
        let journaled = self.hide_event(event.clone());
        self.record(now, w, Kind::FlowEvent { event: journaled });
        w.output(Output::FlowEvent {
            call: self.key,
            event,
        });
    }

    /// The call is over: stops what the flow has going on, and tells it last of all.
    pub(crate) fn leave_flow(&mut self, now: Instant, w: &mut World, status: u16) {
        let Some(flow) = &self.flow else { return };
        if let Some(connecting) = &flow.connect {
            let id = connecting.id;
            w.output(Output::ConnectorOrder {
                call: self.key,
                id,
                order: ConnectorOrder::Stop,
            });
        }
        for id in &flow.timers {
            w.timers.cancel(self.key, Timer::Flow(*id));
        }
        w.timers.cancel(self.key, Timer::Gather);
        self.tell_flow(now, w, FlowEvent::Hangup(status));
        w.timers.cancel(self.key, Timer::FlowReply);
        self.flow = None;
    }

    fn act(&mut self, now: Instant, w: &mut World, action: FlowAction) -> Result<(), Refusal> {
        match action {
            FlowAction::Answer => {
                if self.is_answered() {
                    return Err("the call is already answered");
                }
                if !matches!(self.phase, Phase::InFlow) {
                    return Err("a target is being called; its answer answers the call");
                }
                self.answer_locally(now, w);
            }
            FlowAction::CancelTimer(id) => {
                let flow = self.flow.as_mut().ok_or(OVER)?;
                if !flow.timers.remove(&id) {
                    return Err("there is no such timer");
                }
                w.timers.cancel(self.key, Timer::Flow(id));
            }
            FlowAction::Connect(connect) => return self.connect(w, connect),
            FlowAction::Dial(dial) => return self.dial_from_flow(now, w, dial),
            FlowAction::Disconnect(id) => {
                self.connected_as(id)?;
                w.output(Output::ConnectorOrder {
                    call: self.key,
                    id,
                    order: ConnectorOrder::Stop,
                });
                self.end_connect(now, w, true, "the flow disconnected".to_owned());
            }
            FlowAction::FunctionResult(result) => {
                self.connected_as(result.id)?;
                let order = ConnectorOrder::FunctionResult {
                    call: result.call,
                    output: result.output,
                    respond: result.respond,
                };
                w.output(Output::ConnectorOrder {
                    call: self.key,
                    id: result.id,
                    order,
                });
            }
            FlowAction::Gather(gather) => return self.gather(now, w, gather),
            FlowAction::Hangup(reject) => {
                let cause = if self.is_answered() {
                    Cause::new(200, Fault::Nobody, reject.reason).with_q850(Some(16))
                } else {
                    Cause::new(
                        super::ask::status_of_refusal(reject.code),
                        Fault::Tenant,
                        reject.reason,
                    )
                    .with_retry_after(reject.retry_after_s)
                };
                self.end(now, w, cause);
            }
            // It is in the journal as an action, and that is all it is for.
            FlowAction::Note { .. } => {}
            FlowAction::Other { .. } => return Err("this version does not know the action"),
            FlowAction::Play(play) => return self.play(now, w, play),
            FlowAction::Ring => {
                if self.is_answered() {
                    return Err("the call is already answered");
                }
                self.ring(now, w, 180, None);
            }
            FlowAction::SendDigits(digits) => {
                self.audible()?;
                if digits.len() > 64 || !digits.chars().all(|c| "0123456789*#ABCDabcdw".contains(c))
                {
                    return Err(
                        "only 0 to 9, *, #, A to D and w are digits, and at most 64 of them",
                    );
                }
                w.media(
                    self.key,
                    Command::SendDigits {
                        leg: LegKey(LegId::A.0),
                        digits: digits.to_ascii_uppercase().replace('W', "w"),
                    },
                );
            }
            FlowAction::StartTimer { id, after_ms } => {
                let flow = self.flow.as_mut().ok_or(OVER)?;
                if flow.timers.len() >= MAX_TIMERS && !flow.timers.contains(&id) {
                    return Err("too many timers");
                }
                flow.timers.insert(id);
                w.timers.set(
                    self.key,
                    Timer::Flow(id),
                    now + Duration::from_millis(u64::from(after_ms)),
                );
            }
            FlowAction::StopDial(id) => return self.stop_dial(now, w, id),
            FlowAction::StopGather(id) => {
                let flow = self.flow.as_ref().ok_or(OVER)?;
                if flow.gather.as_ref().is_none_or(|gather| gather.id() != id) {
                    return Err("there is no such gather");
                }
                self.end_gather(now, w, GatherEnd::Stopped);
            }
            FlowAction::StopPlay(id) => {
                let flow = self.flow.as_ref().ok_or(OVER)?;
                let playing = flow
                    .plays
                    .iter()
                    .find(|(_, playing)| playing.purpose == Purpose::Flow(id));
                let (&media_id, _) = playing.ok_or("there is no such play")?;
                w.media(
                    self.key,
                    Command::StopPlay {
                        leg: LegKey(LegId::A.0),
                        id: media_id,
                    },
                );
            }
            FlowAction::UpdateConnect { id, json } => {
                self.connected_as(id)?;
                w.output(Output::ConnectorOrder {
                    call: self.key,
                    id,
                    order: ConnectorOrder::Update(json),
                });
            }
        }
        Ok(())
    }

    fn play(&mut self, now: Instant, w: &mut World, play: Play) -> Result<(), Refusal> {
        self.audible()?;
        let flow = self.flow.as_mut().ok_or(OVER)?;
        if play.prompts.is_empty() {
            return Err("there is nothing to play");
        }
        if flow
            .plays
            .values()
            .any(|playing| playing.purpose == Purpose::Flow(play.id))
        {
            return Err("a play with this id goes on");
        }
        if flow.plays.len() >= MAX_PLAYS {
            return Err("too many plays");
        }
        flow.start_play(
            self.key,
            w,
            Purpose::Flow(play.id),
            play.prompts,
            play.interruptible,
            play.repeat,
        );
        // The first digit is awaited from the end of the prompt.
        w.timers.cancel(self.key, Timer::Gather);
        if let Some(gather) = flow.gather.as_ref().filter(|gather| gather.has_digits()) {
            w.timers
                .set(self.key, Timer::Gather, now + gather.timeout());
        }
        Ok(())
    }

    fn gather(&mut self, now: Instant, w: &mut World, gather: Gather) -> Result<(), Refusal> {
        self.audible()?;
        let flow = self.flow.as_mut().ok_or(OVER)?;
        if flow.gather.is_some() {
            return Err("another gather goes on");
        }
        let gathering = Gathering::new(gather);
        if flow.plays.is_empty() {
            w.timers
                .set(self.key, Timer::Gather, now + gathering.timeout());
        }
        flow.gather = Some(gathering);
        Ok(())
    }

    fn connect(&mut self, w: &mut World, connect: Connect) -> Result<(), Refusal> {
        self.audible()?;
        if !matches!(self.phase, Phase::InFlow) {
            return Err("a target is being called or connected");
        }
        let flow = self.flow.as_mut().ok_or(OVER)?;
        if flow.connect.is_some() {
            return Err("another connector session goes on");
        }
        flow.connect = Some(Connecting {
            id: connect.id,
            connected: false,
        });
        w.output(Output::Connect {
            call: self.key,
            leg: LegId::A,
            connect,
            info: self.info.clone(),
        });
        Ok(())
    }

    fn dial_from_flow(&mut self, now: Instant, w: &mut World, dial: Dial) -> Result<(), Refusal> {
        if !matches!(self.phase, Phase::InFlow) {
            return Err("another target is being called or connected");
        }
        let answered = self.is_answered();
        let flow = self.flow.as_mut().ok_or(OVER)?;
        if flow.connect.is_some() {
            return Err("a connector session goes on; disconnect it first");
        }
        if let Some(prompt) = dial.ringback.filter(|_| answered) {
            flow.start_play(self.key, w, Purpose::Ringback, vec![prompt], false, 0);
        }
        self.dial(
            now,
            w,
            &dial.plan,
            Origin::Flow {
                id: dial.id,
                resume: dial.resume,
            },
        );
        Ok(())
    }

    fn stop_dial(&mut self, now: Instant, w: &mut World, id: u32) -> Result<(), Refusal> {
        match &self.phase {
            Phase::Dialing(dialing) if dialing.origin.flow_id() == Some(id) => {
                self.give_up_dial(
                    now,
                    w,
                    &Cause::new(487, Fault::Nobody, "the flow stopped the dial"),
                );
                Ok(())
            }
            Phase::Bridged(bridged) if bridged.origin.flow_id() == Some(id) => {
                let b = bridged.b;
                self.hang_up_leg(
                    now,
                    w,
                    b,
                    &Cause::new(200, Fault::Nobody, "the flow stopped the dial"),
                );
                self.resume_flow(now, w, b, id);
                Ok(())
            }
            _ => Err("there is no such dial"),
        }
    }

    fn audible(&self) -> Result<(), Refusal> {
        if self.is_answered() {
            Ok(())
        } else {
            Err("the call is not answered; answer it first")
        }
    }

    pub(super) fn connected_as(&self, id: u32) -> Result<(), Refusal> {
        let connect = self.flow.as_ref().and_then(|flow| flow.connect.as_ref());
        if connect.is_some_and(|c| c.id == id) {
            Ok(())
        } else {
            Err("there is no such connector session")
        }
    }

    fn hide(&self, action: FlowAction) -> FlowAction {
        match action {
            FlowAction::SendDigits(digits) if self.hide_digits => {
                FlowAction::SendDigits("*".repeat(digits.len().min(64)))
            }
            other => other,
        }
    }

    fn hide_event(&self, event: FlowEvent) -> FlowEvent {
        match event {
            FlowEvent::Digit(_) if self.hide_digits => FlowEvent::Digit('*'),
            FlowEvent::Gathered { id, digits, end } if self.hide_digits => FlowEvent::Gathered {
                id,
                digits: "*".repeat(digits.len()),
                end,
            },
            other => other,
        }
    }
}

impl FlowRun {
    fn start_play(
        &mut self,
        call: crate::key::CallKey,
        w: &mut World,
        purpose: Purpose,
        prompts: Vec<Prompt>,
        interruptible: bool,
        repeat: u32,
    ) {
        self.last_play += 1;
        let id = self.last_play;
        self.plays.insert(
            id,
            Playing {
                purpose,
                interruptible,
                interrupted: false,
            },
        );
        let prompts = prompts
            .into_iter()
            .take(MAX_PROMPTS)
            .map(media_prompt)
            .collect();
        w.media(
            call,
            Command::Play {
                leg: LegKey(LegId::A.0),
                id,
                prompts,
                interruptible,
                repeat,
            },
        );
    }
}

fn media_prompt(prompt: Prompt) -> media::Prompt {
    match prompt {
        Prompt::File(name) => media::Prompt::File(name),
        // There is no speech engine: the name of a file that cannot exist plays as a failure.
        Prompt::Say(text) => media::Prompt::File(format!("say:{text}")),
        Prompt::Silence(ms) => media::Prompt::Silence(ms),
        Prompt::Tone(tone) => media::Prompt::Tone(tone),
    }
}

pub(crate) fn play_end(end: media::PlayEnd) -> PlayEnd {
    match end {
        media::PlayEnd::Failed => PlayEnd::Failed,
        media::PlayEnd::Finished => PlayEnd::Finished,
        media::PlayEnd::Interrupted => PlayEnd::Interrupted,
        media::PlayEnd::Stopped => PlayEnd::Stopped,
    }
}

const OVER: Refusal = "the flow is over";
/// Actions in answer to one event.
const MAX_ACTIONS: usize = 64;
const MAX_TIMERS: usize = 32;
const MAX_PLAYS: usize = 16;
const MAX_PROMPTS: usize = 64;
