//! One call: the A leg, the B legs dialled for it, and what is being done about them.
//!
//! - [`ask`]: questions, and their fallbacks. - [`dial`], [`target`]: calling targets.
//! - [`answer`]: ringing, answering, refusing the A leg; media of both legs.
//! - [`in_dialog`]: requests inside the dialogs. - [`exchange`]: our own, and their answers.
//! - [`flow_run`]: what a flow wants done. - [`flow_events`]: what it is told.

mod answer;
mod ask;
mod dial;
mod exchange;
mod flow_events;
mod flow_run;
mod in_dialog;
mod target;

use crate::call_info::CallInfo;
use crate::cause::{Cause, Fault};
use crate::directory::{Directory, Trunk};
use crate::flow::FlowEvent;
use crate::hunt::Hunt;
use crate::io::{Command, Timer};
use crate::journal::{CallEvent, DigitSource, Ended, Kind, MAX_EVENTS};
use crate::key::{AskId, CallKey, LegId};
use crate::leg::{Leg, LegState};
use crate::world::World;
use exchange::Exchange;
use flow_run::FlowRun;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) key: CallKey,
    started: Instant,
    next_seq: u32,
    last_ask: u32,
    last_leg: u16,
    /// The snapshot that the call began with.
    pub(crate) directory: Arc<Directory>,
    pub(crate) info: Arc<CallInfo>,
    hide_digits: bool,
    phase: Phase,
    pub(crate) legs: BTreeMap<LegId, Leg>,
    flow: Option<FlowRun>,
    /// In-dialog requests that we sent and that are not yet answered.
    exchanges: BTreeMap<sip::ClientKey, Exchange>,
    outcome: Outcome,
    /// Tenants and trunks that count this call.
    pub(crate) counted: Vec<(String, Option<String>)>,
}

/// What is being done about the call.
#[derive(Debug)]
pub(crate) enum Phase {
    Reading {
        ask: AskId,
    },
    Routing {
        ask: AskId,
    },
    StartingFlow {
        ask: AskId,
    },
    /// A flow has the caller, and no target is called.
    InFlow,
    Dialing(Dialing),
    Bridged(Bridged),
    Ending(Ending),
}

#[derive(Debug)]
pub(crate) struct Dialing {
    pub(crate) hunt: Hunt,
    pub(crate) origin: Origin,
    max_duration_s: Option<u32>,
    /// The caller, or the flow, knows that a target rings.
    ringing: bool,
}

#[derive(Debug)]
pub(crate) struct Bridged {
    pub(crate) b: LegId,
    pub(crate) origin: Origin,
}

/// Who wanted the target called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Flow { id: u32, resume: bool },
    Route,
}

impl Origin {
    fn flow_id(self) -> Option<u32> {
        match self {
            Origin::Flow { id, .. } => Some(id),
            Origin::Route => None,
        }
    }
}

/// It is over; SIP and media are still being put away.
#[derive(Debug)]
pub(crate) struct Ending {
    cause: Cause,
    ended_us: u64,
    /// Legs whose statistics have not come.
    stats: BTreeSet<LegId>,
    reported: bool,
}

/// For the call record.
#[derive(Debug, Default)]
struct Outcome {
    answered_us: Option<u64>,
    target: Option<String>,
    target_trunk: Option<String>,
    flow: Option<String>,
    digest: Option<String>,
}

impl Call {
    pub(crate) fn new(
        now: Instant,
        w: &mut World,
        key: CallKey,
        info: Arc<CallInfo>,
        a: Leg,
    ) -> Self {
        let mut call = Call {
            key,
            started: now,
            next_seq: 0,
            last_ask: 0,
            last_leg: 0,
            directory: w.directory.clone(),
            info: info.clone(),
            hide_digits: w.config.hide_digits,
            phase: Phase::Routing { ask: AskId(0) },
            legs: BTreeMap::from([(LegId::A, a)]),
            flow: None,
            exchanges: BTreeMap::new(),
            outcome: Outcome::default(),
            counted: Vec::new(),
        };
        call.record(now, w, Kind::Arrived { info });
        call
    }

    pub(crate) fn handle_timer(&mut self, now: Instant, w: &mut World, timer: Timer) {
        match timer {
            Timer::Ask(ask) => self.handle_ask_timeout(now, w, ask),
            Timer::Flow(id) => self.handle_flow_timer(now, w, id),
            Timer::FlowReply => self.handle_flow_silence(now, w),
            Timer::Gather => self.handle_gather_timeout(now, w),
            Timer::Locate(leg) => self.handle_locate_timeout(now, w, leg),
            Timer::MaxDuration => {
                let text = "the call reached its longest duration";
                self.end(
                    now,
                    w,
                    Cause::new(200, Fault::Nobody, text).with_q850(Some(102)),
                );
            }
            Timer::Ring(leg) => self.handle_ring_timeout(now, w, leg),
            Timer::Stats => self.stop_waiting(now, w),
            // The transaction layer has its own table.
            Timer::Sip(_) => {}
        }
    }

    pub(crate) fn handle_command(&mut self, now: Instant, w: &mut World, command: Command) {
        match command {
            Command::Hangup { cause } => self.end(now, w, cause),
        }
    }

    pub(crate) fn handle_media(&mut self, now: Instant, w: &mut World, event: media::Event) {
        match event {
            media::Event::Closed { leg, stats } => self.handle_stats(now, w, LegId(leg.0), stats),
            media::Event::Digit {
                leg,
                digit,
                duration_ms,
            } => {
                self.handle_digit(now, w, LegId(leg.0), digit, duration_ms, DigitSource::Rtp);
            }
            media::Event::OpenFailed { leg, port } => {
                if self
                    .legs
                    .get_mut(&LegId(leg.0))
                    .is_some_and(|l| l.lose_port(w, port))
                {
                    let cause = Cause::new(
                        500,
                        Fault::Host,
                        format!("the RTP port {port} cannot be opened"),
                    );
                    self.end(now, w, cause);
                }
            }
            media::Event::Played {
                leg,
                id,
                end,
                played_ms,
            } if leg.0 == LegId::A.0 => {
                self.handle_played(now, w, id, flow_run::play_end(end), played_ms);
            }
            media::Event::Latched { leg, source } => {
                let text = format!("leg {} receives audio from {source}", leg.0);
                self.record(
                    now,
                    w,
                    Kind::Note {
                        topic: "media".to_owned(),
                        text,
                    },
                );
            }
            media::Event::Silent { leg, for_ms } => {
                let text = format!("leg {} has received nothing for {for_ms} ms", leg.0);
                self.record(
                    now,
                    w,
                    Kind::Note {
                        topic: "media".to_owned(),
                        text,
                    },
                );
            }
            // Between the media thread and the connector's session.
            media::Event::Connector { .. } | media::Event::Played { .. } => {}
        }
    }

    pub(crate) fn handle_digit(
        &mut self,
        now: Instant,
        w: &mut World,
        leg: LegId,
        digit: char,
        duration_ms: u32,
        by: DigitSource,
    ) {
        let shown = if self.hide_digits { '*' } else { digit };
        self.record(
            now,
            w,
            Kind::Digit {
                leg,
                digit: shown,
                duration_ms,
                by,
            },
        );
        if leg == LegId::A && matches!(self.phase, Phase::InFlow | Phase::Dialing(_)) {
            self.flow_digit(now, w, digit, by == DigitSource::Info);
        }
    }

    /// The one way to end a call: refuses or hangs up every leg, leaves the flow, gives back
    /// what it holds. What comes after the first time changes nothing.
    pub(crate) fn end(&mut self, now: Instant, w: &mut World, cause: Cause) {
        if matches!(self.phase, Phase::Ending(_)) {
            return;
        }
        let ended_us = self.elapsed_us(now);
        self.leave_flow(now, w, cause.status);
        w.timers.cancel_all(self.key);
        let stats = self
            .legs
            .values()
            .filter(|leg| leg.has_media())
            .map(|leg| leg.id)
            .collect();
        self.phase = Phase::Ending(Ending {
            cause: cause.clone(),
            ended_us,
            stats,
            reported: false,
        });
        self.refuse_exchanges(now, w, &cause);
        let legs: Vec<LegId> = self.legs.keys().copied().collect();
        for leg in legs {
            self.hang_up_leg(now, w, leg, &cause);
        }
        w.timers
            .set(self.key, Timer::Stats, now + w.config.stats_wait);
        w.finish_later(self.key);
    }

    /// After everything that an input caused went out: writes the last line when it is due, and
    /// tells whether nothing is left of the call.
    pub(crate) fn finish(&mut self, now: Instant, w: &mut World) -> bool {
        self.forget_old_legs(w);
        let settled = self.legs.values().all(Leg::is_over);
        let Phase::Ending(ending) = &mut self.phase else {
            return false;
        };
        if !ending.reported && settled && ending.stats.is_empty() {
            self.report(now, w);
        }
        matches!(&self.phase, Phase::Ending(ending) if ending.reported)
            && self.legs.values().all(Leg::is_over)
    }

    /// Takes the call out of every index.
    pub(crate) fn release(&mut self, w: &mut World) {
        w.timers.cancel_all(self.key);
        for leg in self.legs.values_mut() {
            leg.release(w, self.key);
        }
        for client in std::mem::take(&mut self.exchanges).into_keys() {
            w.forget_client(client);
        }
        w.uncount(&std::mem::take(&mut self.counted));
    }

    pub(crate) fn record(&mut self, now: Instant, w: &mut World, kind: Kind) {
        let is_reported = matches!(&self.phase, Phase::Ending(ending) if ending.reported);
        if is_reported || (self.next_seq >= MAX_EVENTS && !kind.is_vital()) {
            return;
        }
        let t_us = self.elapsed_us(now);
        let event = CallEvent {
            seq: self.next_seq,
            t_us,
            kind,
        };
        self.next_seq += 1;
        w.record(self.key, event);
        if self.next_seq == MAX_EVENTS {
            self.record(now, w, Kind::Truncated { kept: MAX_EVENTS });
        }
    }

    pub(crate) fn trunk(&self) -> Option<&Trunk> {
        self.directory
            .trunk(&self.info.tenant, self.info.trunk.as_deref()?)
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.legs
            .get(&LegId::A)
            .is_some_and(|a| matches!(a.state, LegState::Established(_)))
    }

    /// A flow may dial all day: what is left of legs long over goes, before the call does.
    fn forget_old_legs(&mut self, w: &mut World) {
        if self.legs.len() <= MAX_LEGS_KEPT {
            return;
        }
        let key = self.key;
        self.legs.retain(|id, leg| {
            let goes = *id != LegId::A && leg.is_over() && leg.media.is_none();
            if goes {
                leg.release(w, key);
            }
            !goes
        });
    }

    /// The peer's Call-ID and tag fit the leg that our tag names.
    pub(crate) fn is_dialog(&self, id: LegId, call_id: &str, remote_tag: Option<&str>) -> bool {
        let Some(leg) = self.legs.get(&id) else {
            return false;
        };
        leg.call_id == call_id
            && match &leg.state {
                LegState::Established(established) => {
                    *established.dialog.id().remote_tag == *remote_tag.unwrap_or("")
                }
                LegState::Proceeding(proceeding) => proceeding.invite.from_tag() == remote_tag,
                LegState::Calling(_)
                | LegState::Cancelling
                | LegState::Leaving(_)
                | LegState::Over
                | LegState::Preparing(_) => true,
            }
    }

    /// A connection is gone: what is to be sent needs another one.
    pub(crate) fn forget_connection(&mut self, flow: &sip::Flow) {
        for leg in self.legs.values_mut().filter(|leg| leg.flow == *flow) {
            leg.flow.connection = 0;
        }
    }

    fn handle_stats(&mut self, now: Instant, w: &mut World, leg: LegId, stats: media::LegStats) {
        self.record(
            now,
            w,
            Kind::MediaStats {
                leg,
                stats: Box::new(stats),
            },
        );
        if let Some(leg) = self.legs.get_mut(&leg) {
            leg.free_port(w);
        }
        if let Phase::Ending(ending) = &mut self.phase {
            ending.stats.remove(&leg);
            w.finish_later(self.key);
        }
    }

    /// The media does not answer, or a peer does not: the record is written without them.
    fn stop_waiting(&mut self, now: Instant, w: &mut World) {
        let Phase::Ending(ending) = &mut self.phase else {
            return;
        };
        for leg in std::mem::take(&mut ending.stats) {
            if let Some(leg) = self.legs.get_mut(&leg) {
                leg.free_port(w);
            }
        }
        if !ending.reported {
            self.report(now, w);
        }
        w.finish_later(self.key);
    }

    fn report(&mut self, now: Instant, w: &mut World) {
        let Phase::Ending(ending) = &self.phase else {
            return;
        };
        let (info, outcome) = (&self.info, &self.outcome);
        let ended = Ended {
            cause: ending.cause.clone(),
            tenant: (!info.tenant.is_empty()).then(|| info.tenant.clone()),
            trunk: info.trunk.clone(),
            caller: info.caller.clone(),
            called: info.called.clone(),
            received_ms: info.received_ms,
            answered_us: outcome.answered_us,
            ended_us: ending.ended_us,
            target: outcome.target.clone(),
            target_trunk: outcome.target_trunk.clone(),
            flow: outcome.flow.clone(),
            digest: outcome.digest.clone(),
        };
        self.record(now, w, Kind::Ended(Box::new(ended)));
        if let Phase::Ending(ending) = &mut self.phase {
            ending.reported = true;
        }
    }

    fn elapsed_us(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_micros() as u64
    }

    /// The target that the flow dialled is gone, and the flow goes on with the caller.
    fn resume_flow(&mut self, now: Instant, w: &mut World, b: LegId, id: u32) {
        self.unbridge(w, b);
        w.timers.cancel(self.key, Timer::MaxDuration);
        self.phase = Phase::InFlow;
        self.tell_flow(now, w, FlowEvent::DialEnded { id });
    }
}

/// With late answers of cancelled targets in mind, some legs outlive their end.
const MAX_LEGS_KEPT: usize = 40;
