//! Calling targets: who is next, what became of each, and the bridge to the one that answers.

use super::{Bridged, Call, Dialing, Origin, Phase};
use crate::cause::{Cause, Fault};
use crate::decision::{DialPlan, Strategy, Target};
use crate::flow::FlowEvent;
use crate::hunt::{Failure, Hunt, Verdict};
use crate::io::Timer;
use crate::journal::Kind;
use crate::key::LegId;
use crate::leg::{Ack, Established, Leaving, Leg, LegState};
use crate::leg_media::MediaError;
use crate::messages;
use crate::world::World;
use media::Command;
use std::time::{Duration, Instant};

impl Call {
    pub(super) fn dial_route(&mut self, now: Instant, w: &mut World, plan: &DialPlan) {
        self.dial(now, w, plan, Origin::Route);
    }

    pub(super) fn dial(&mut self, now: Instant, w: &mut World, plan: &DialPlan, origin: Origin) {
        self.phase = Phase::Dialing(Dialing {
            hunt: Hunt::new(plan),
            origin,
            max_duration_s: plan.max_duration_s,
            ringing: false,
        });
        self.call_next(now, w);
    }

    fn call_next(&mut self, now: Instant, w: &mut World) {
        let Phase::Dialing(dialing) = &mut self.phase else {
            return;
        };
        let targets = dialing.hunt.take_next();
        if targets.is_empty() {
            self.dial_failed(now, w);
            return;
        }
        // All legs first: one that fails at once must not look like the last one.
        let legs: Vec<LegId> = targets
            .into_iter()
            .map(|target| self.add_target(w, target))
            .collect();
        for leg in legs {
            self.prepare_target(now, w, leg);
        }
    }

    /// A target is out of the race. Goes on with the next, or gives up.
    pub(super) fn target_failed(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        failure: Failure,
    ) {
        w.timers.cancel(self.key, Timer::Ring(id));
        w.timers.cancel(self.key, Timer::Locate(id));
        self.unbridge(w, id);
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.close_media(w, self.key);
        }
        let verdict = match &mut self.phase {
            Phase::Dialing(dialing) => Some(dialing.hunt.failed(failure.clone())),
            _ => None,
        };
        let hunt = match verdict {
            Some(Verdict::Stop) => "this ends the hunt",
            Some(Verdict::Next) => "the next target is tried, if there is one",
            None => "nobody waits for it",
        };
        self.record(
            now,
            w,
            Kind::TargetFailed {
                leg: id,
                status: failure.status(),
                why: failure.text(),
                hunt: hunt.to_owned(),
            },
        );
        match verdict {
            Some(Verdict::Stop) => {
                self.hang_up_targets(now, w, None, &failure.cause());
                self.dial_failed(now, w);
            }
            Some(Verdict::Next) if self.targets_in_play().is_empty() => self.call_next(now, w),
            Some(Verdict::Next) | None => {}
        }
    }

    /// Where a 3xx points to becomes the next targets, if that is allowed.
    pub(super) fn follow(&mut self, w: &World, target: &Target, contacts: Vec<String>) {
        if !w.config.follow_redirects {
            return;
        }
        if let Phase::Dialing(dialing) = &mut self.phase {
            let targets = contacts
                .into_iter()
                .map(|uri| Target {
                    uri,
                    ..target.clone()
                })
                .collect();
            dialing.hunt.redirect(targets);
        }
    }

    fn dial_failed(&mut self, now: Instant, w: &mut World) {
        let Phase::Dialing(dialing) = &self.phase else {
            return;
        };
        let cause = match dialing.hunt.best() {
            Some(failure) => failure.cause(),
            None => Cause::new(500, Fault::Tenant, "the plan has no target to dial"),
        };
        match dialing.origin {
            Origin::Route => self.end(now, w, cause),
            Origin::Flow { id, .. } => {
                self.stop_ringback(w);
                self.phase = Phase::InFlow;
                self.tell_flow(
                    now,
                    w,
                    FlowEvent::DialFailed {
                        id,
                        status: cause.status,
                        reason: cause.text,
                    },
                );
            }
        }
    }

    /// The flow no longer wants the targets.
    pub(super) fn give_up_dial(&mut self, now: Instant, w: &mut World, cause: &Cause) {
        self.hang_up_targets(now, w, None, cause);
        if let Phase::Dialing(dialing) = &mut self.phase {
            let status = cause.status;
            dialing.hunt.failed(Failure::Answered {
                status,
                phrase: cause.text.clone(),
                q850: None,
            });
        }
        self.dial_failed(now, w);
    }

    pub(super) fn handle_ring_timeout(&mut self, now: Instant, w: &mut World, id: LegId) {
        let cause = Cause::new(408, Fault::Callee, "no answer in time");
        self.hang_up_leg(now, w, id, &cause);
        self.target_failed(now, w, id, Failure::Timeout("no answer in time"));
    }

    /// A response to the INVITE of a B leg.
    pub(crate) fn handle_invite_response(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        response: &sip::Response,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let status = response.code();
        match &mut leg.state {
            LegState::Calling(_) => match status {
                0..=100 => {}
                101..=199 => self.target_rings(now, w, id, response),
                200..=299 => self.target_answered(now, w, id, response),
                401 | 407 => self.target_challenges(now, w, id, response),
                _ => self.target_refuses(now, w, id, response),
            },
            LegState::Cancelling if status >= 200 => {
                if status < 300 {
                    // The 200 crossed our CANCEL: the target is in a call that nobody wants.
                    self.hang_up_fork(
                        now,
                        w,
                        id,
                        response,
                        &Cause::new(487, Fault::Caller, "the call was cancelled"),
                    );
                } else {
                    leg.state = LegState::Over;
                }
                w.finish_later(self.key);
            }
            LegState::Established(_) | LegState::Leaving(_) | LegState::Over
                if (200..300).contains(&status) =>
            {
                // Another branch of a forking proxy answered as well (RFC 3261 §13.2.2.4).
                let elsewhere = Cause::new(200, Fault::Nobody, ELSEWHERE);
                self.hang_up_fork(now, w, id, response, &elsewhere);
            }
            LegState::Cancelling
            | LegState::Established(_)
            | LegState::Leaving(_)
            | LegState::Over
            | LegState::Preparing(_)
            | LegState::Proceeding(_) => {}
        }
    }

    /// No response at all, or no way to send.
    pub(crate) fn handle_invite_failed(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        timed_out: bool,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        match &mut leg.state {
            LegState::Calling(calling) => {
                if let Some(address) = calling.addresses.pop_front().filter(|_| !calling.rang) {
                    if let Some(invite) = leg.invite.take() {
                        w.forget_client(invite.client);
                        self.send_invite(now, w, id, address, invite.request);
                    }
                    return;
                }
                leg.state = LegState::Over;
                let failure = if timed_out {
                    Failure::Timeout("the target did not answer the INVITE")
                } else {
                    Failure::Unreachable("nothing can be sent to its address".to_owned())
                };
                self.target_failed(now, w, id, failure);
            }
            LegState::Cancelling => leg.state = LegState::Over,
            LegState::Established(_)
            | LegState::Leaving(_)
            | LegState::Over
            | LegState::Preparing(_)
            | LegState::Proceeding(_) => {}
        }
        w.finish_later(self.key);
    }

    fn target_rings(&mut self, now: Instant, w: &mut World, id: LegId, response: &sip::Response) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let LegState::Calling(calling) = &mut leg.state else {
            return;
        };
        let first = !std::mem::replace(&mut calling.rang, true);
        let body = messages::sdp_body(response);
        let mut early = false;
        if let (Some(body), Some(media)) = (body, &mut leg.media) {
            early = media.take_early_answer(body).is_ok();
        }
        if first || early {
            self.record(
                now,
                w,
                Kind::Ringing {
                    leg: id,
                    status: response.code(),
                },
            );
        }
        let Phase::Dialing(dialing) = &mut self.phase else {
            return;
        };
        // Early media of several targets cannot be mixed (RFC 3960 §3.1).
        let early = early && (dialing.hunt.strategy() == Strategy::Serial || self.legs.len() == 2);
        let (told, origin) = (
            std::mem::replace(&mut dialing.ringing, true),
            dialing.origin,
        );
        if early {
            self.open_and_negotiate(now, w, id);
        }
        if self.is_answered() {
            if early {
                self.stop_ringback(w);
                self.bridge(w, id);
            }
        } else {
            self.ring(now, w, response.code(), early.then_some(id));
        }
        if let (Origin::Flow { id, .. }, false) = (origin, told) {
            self.tell_flow(now, w, FlowEvent::DialRinging { id });
        }
    }

    fn target_answered(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        response: &sip::Response,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let (LegState::Calling(_), Some(invite)) = (&leg.state, &leg.invite) else {
            return;
        };
        let Some(dialog) = messages::uac_dialog(&invite.request, response) else {
            // Without Contact or tag there is no dialog to acknowledge in (RFC 3261 §12.1.2).
            leg.state = LegState::Over;
            let phrase = "OK, but without Contact or To tag".to_owned();
            self.target_failed(
                now,
                w,
                id,
                Failure::Answered {
                    status: 502,
                    phrase,
                    q850: None,
                },
            );
            return;
        };
        let ack = messages::ack(w, &dialog, &invite.request);
        let hop = messages::hop(w, &dialog, &leg.flow);
        leg.allows_update = messages::allows(response, "UPDATE");
        w.sip.ack(invite.client, hop, ack);
        leg.state = LegState::Established(Established {
            dialog,
            ack: Ack::Done,
        });
        w.timers.cancel(self.key, Timer::Ring(id));
        let agreed = match (&mut leg.media, messages::sdp_body(response)) {
            (Some(media), Some(body)) => media.take_answer(body),
            (Some(media), None) => media.settle_early_answer(),
            (None, _) => Err(MediaError::Unexpected),
        };
        if let Err(error) = agreed {
            let cause = Cause::new(
                488,
                Fault::Callee,
                format!("its answer cannot be used: {error}"),
            );
            self.hang_up_leg(now, w, id, &cause);
            self.target_failed(
                now,
                w,
                id,
                Failure::Answered {
                    status: 488,
                    phrase: cause.text,
                    q850: None,
                },
            );
            return;
        }
        self.record(now, w, Kind::Answered { leg: id });
        let elsewhere = Cause::new(200, Fault::Nobody, ELSEWHERE);
        self.hang_up_targets(now, w, Some(id), &elsewhere);
        self.connect_target(now, w, id);
    }

    fn connect_target(&mut self, now: Instant, w: &mut World, b: LegId) {
        let Phase::Dialing(dialing) = &self.phase else {
            return;
        };
        let (origin, max_duration_s) = (dialing.origin, dialing.max_duration_s);
        self.phase = Phase::Bridged(Bridged { b, origin });
        self.open_and_negotiate(now, w, b);
        self.stop_ringback(w);
        if self.is_answered() {
            // The caller may have held the call while the target rang.
            self.align_other(now, w, LegId::A);
        } else if !self.answer_for(now, w, b) {
            return;
        }
        self.bridge(w, b);
        let tenant = self
            .directory
            .tenant(&self.info.tenant)
            .and_then(|t| t.limits.max_duration_s);
        let seconds = [max_duration_s, tenant].into_iter().flatten().min();
        let longest = seconds.map_or(w.config.max_duration, |s| Duration::from_secs(u64::from(s)));
        w.timers.set(
            self.key,
            Timer::MaxDuration,
            now + longest.min(w.config.max_duration),
        );
        if let Origin::Flow { id, .. } = origin {
            self.tell_flow(now, w, FlowEvent::DialAnswered { id });
        }
    }

    fn target_refuses(&mut self, now: Instant, w: &mut World, id: LegId, response: &sip::Response) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let status = response.code();
        let LegState::Calling(calling) = std::mem::replace(&mut leg.state, LegState::Over) else {
            return;
        };
        if (300..400).contains(&status) {
            self.follow(w, &calling.target, messages::contacts(response));
        }
        let failure = Failure::Answered {
            status,
            phrase: response.reason().to_owned(),
            q850: messages::reason_q850(response),
        };
        self.target_failed(now, w, id, failure);
    }

    /// RFC 3261 §22.2: once more with the trunk's credentials, or it is a refusal.
    fn target_challenges(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        response: &sip::Response,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let (LegState::Calling(calling), Some(invite)) = (&leg.state, &leg.invite) else {
            return;
        };
        let answer = (!calling.authorised)
            .then(|| messages::authorise(w, leg.trunk.as_ref(), &invite.request, response))
            .flatten();
        let Some(request) = answer else {
            self.target_refuses(now, w, id, response);
            return;
        };
        let remote = leg.flow.remote;
        w.forget_client(invite.client);
        self.send_invite(now, w, id, remote, request);
        if let Some(Leg {
            state: LegState::Calling(calling),
            ..
        }) = self.legs.get_mut(&id)
        {
            calling.authorised = true;
        }
    }

    /// ACK and BYE for a dialog that we do not want.
    fn hang_up_fork(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        response: &sip::Response,
        cause: &Cause,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let Some(invite) = leg.invite.as_ref() else {
            return;
        };
        let Some(mut dialog) = messages::uac_dialog(&invite.request, response) else {
            leg.state = LegState::Over;
            return;
        };
        let hop = messages::hop(w, &dialog, &leg.flow);
        let ack = messages::ack(w, &dialog, &invite.request);
        w.sip.ack(invite.client, hop, ack);
        let bye = messages::bye(w, &mut dialog, cause);
        let client = w.request(now, self.key, hop, bye.clone());
        if !matches!(leg.state, LegState::Established(_)) {
            leg.state = LegState::Leaving(Leaving {
                client,
                bye,
                hop,
                authorised: false,
            });
        }
    }

    /// CANCEL for everybody else, and BYE where the answer has crossed it.
    fn hang_up_targets(
        &mut self,
        now: Instant,
        w: &mut World,
        except: Option<LegId>,
        cause: &Cause,
    ) {
        for id in self.targets_in_play() {
            if Some(id) != except {
                w.timers.cancel(self.key, Timer::Ring(id));
                w.timers.cancel(self.key, Timer::Locate(id));
                self.hang_up_leg(now, w, id, cause);
            }
        }
    }

    /// Targets that may still answer.
    fn targets_in_play(&self) -> Vec<LegId> {
        let waiting =
            |leg: &&Leg| matches!(leg.state, LegState::Preparing(_) | LegState::Calling(_));
        self.legs
            .values()
            .filter(waiting)
            .map(|leg| leg.id)
            .collect()
    }

    pub(super) fn bridge(&mut self, w: &mut World, b: LegId) {
        if let Some(b) = self.legs.get_mut(&b).filter(|leg| !leg.bridged) {
            b.bridged = true;
            let (a, b) = (media::LegKey(LegId::A.0), media::LegKey(b.id.0));
            w.media(self.key, Command::Bridge { a, b });
        }
    }

    pub(super) fn unbridge(&mut self, w: &mut World, b: LegId) {
        if let Some(b) = self.legs.get_mut(&b).filter(|leg| leg.bridged) {
            b.bridged = false;
            let (a, b) = (media::LegKey(LegId::A.0), media::LegKey(b.id.0));
            w.media(self.key, Command::Unbridge { a, b });
        }
    }
}

/// What a phone looks for before it writes down a missed call (RFC 3326 §2).
const ELSEWHERE: &str = "Call completed elsewhere";
