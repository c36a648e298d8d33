//! Requests inside the dialogs: hold and resume, INFO, BYE. What one side asks is passed to
//! the other as a request of its own, and the answer comes back the same way.

use super::exchange::{Asked, Exchange};
use super::{Call, Origin, Phase};
use crate::cause::{Cause, Fault};
use crate::journal::{DigitSource, Kind};
use crate::key::LegId;
use crate::leg::{Ack, Leg, LegState};
use crate::messages;
use crate::world::World;
use media::sdp::Direction;
use sip::Method;
use std::time::Instant;

impl Call {
    /// A request with our tag in To. The transaction waits for our final response.
    pub(crate) fn handle_in_dialog(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        server: sip::ServerKey,
        flow: sip::Flow,
        request: sip::Request,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let method = request.method().clone();
        if let LegState::Proceeding(_) = &leg.state {
            // RFC 3261 §15: the caller may BYE its early dialog.
            let status = if method == Method::Bye { 200 } else { 481 };
            let response = messages::respond(w, &request, status);
            w.sip.respond(now, server, response);
            if method == Method::Bye {
                self.end(now, w, Cause::cancelled());
            }
            return;
        }
        let LegState::Established(established) = &mut leg.state else {
            // Our own BYE is on its way: so is theirs, and both are right.
            let status = if method == Method::Bye && matches!(leg.state, LegState::Leaving(_)) {
                200
            } else {
                481
            };
            let response = messages::respond(w, &request, status);
            w.sip.respond(now, server, response);
            return;
        };
        if let Err(refused) = established.dialog.handle_request(&request) {
            let response = messages::respond(w, &request, refused.status());
            w.sip.respond(now, server, response);
            return;
        }
        if matches!(method, Method::Invite | Method::Update) {
            established.dialog.refresh_target(request.contact());
        }
        // RFC 5626: the dialog goes on over the connection that the peer uses now.
        if leg.flow.transport == flow.transport {
            leg.flow = flow;
        }
        match method {
            Method::Bye => self.handle_bye(now, w, id, server, &request),
            Method::Invite | Method::Update => self.handle_modify(now, w, id, server, request),
            Method::Info => self.handle_info(now, w, id, server, request),
            Method::Message => self.pass(now, w, id, server, request),
            Method::Options => {
                let response = messages::options_ok(w, &request);
                w.sip.respond(now, server, response);
            }
            _ => {
                let response = messages::not_allowed(w, &request);
                w.sip.respond(now, server, response);
            }
        }
    }

    fn handle_bye(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        server: sip::ServerKey,
        request: &sip::Request,
    ) {
        let response = messages::respond(w, request, 200);
        w.sip.respond(now, server, response);
        let q850 = messages::reason_q850(request);
        let who = if id == LegId::A {
            "the caller"
        } else {
            "the callee"
        };
        let cause = Cause::bye(who).with_q850(q850.or(Some(16)));
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.state = LegState::Over;
            leg.close_media(w, self.key);
        }
        match &self.phase {
            Phase::Bridged(bridged) if bridged.b == id => match bridged.origin {
                Origin::Flow {
                    id: dial,
                    resume: true,
                } => {
                    self.refuse_exchanges(now, w, &cause);
                    self.resume_flow(now, w, id, dial);
                }
                Origin::Flow { resume: false, .. } | Origin::Route => self.end(now, w, cause),
            },
            _ if id == LegId::A => self.end(now, w, cause),
            // A target that nobody talks to any more.
            _ => {}
        }
        w.finish_later(self.key);
    }

    /// INVITE or UPDATE: a new offer, a new target, or just a sign of life.
    fn handle_modify(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        server: sip::ServerKey,
        request: sip::Request,
    ) {
        if let Some((status, retry)) = self.glare(w, id) {
            let response = messages::try_later(w, &request, status, retry);
            w.sip.respond(now, server, response);
            return;
        }
        let is_invite = *request.method() == Method::Invite;
        let has_body = !request.body().is_empty();
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let Some(media) = &mut leg.media else { return };
        if !has_body {
            // An offerless INVITE asks for our offer. An UPDATE without one only refreshes.
            let offer = is_invite.then(|| {
                let other = self
                    .other_leg(id)
                    .and_then(|other| self.legs.get(&other))
                    .and_then(|other| other.media.as_ref());
                other.and_then(|other| other.theirs()).cloned()
            });
            self.answer_offerless(now, w, id, server, &request, offer);
            return;
        }
        let taken = match messages::sdp_body(&request) {
            Some(body) => media.take_offer(body).map_err(|error| error.to_string()),
            None => Err("the body is no session description".to_owned()),
        };
        if let Err(why) = taken {
            media.give_up_exchange();
            self.refuse_offer(now, w, &request, server, &why);
            return;
        }
        match self.other_leg(id) {
            Some(other) => self.pass_offer(now, w, id, other, server, request),
            None => self.complete_modify(now, w, id, server, &request, Direction::SendRecv),
        }
    }

    /// Only one offer at a time, across both legs (RFC 3261 §14.2, RFC 3311 §5.2).
    fn glare(&self, w: &World, id: LegId) -> Option<(u16, Option<u32>)> {
        let ours = |e: &&Exchange| e.offer && e.to == id;
        let theirs =
            |e: &&Exchange| e.offer && e.asked.as_ref().is_some_and(|asked| asked.from == id);
        if self.exchanges.values().any(|e| theirs(&e)) {
            return Some((500, Some(1 + (w.wall_ms % 9) as u32)));
        }
        let awaits_ack = |id: LegId| matches!(self.legs.get(&id).map(|l| &l.state), Some(LegState::Established(e)) if matches!(e.ack, Ack::Awaited { .. }));
        let other_waits = self.other_leg(id).is_some_and(awaits_ack);
        let offering = self
            .legs
            .get(&id)
            .and_then(|leg| leg.media.as_ref())
            .is_some_and(|media| media.is_offering());
        (offering || other_waits || awaits_ack(id) || self.exchanges.values().any(|e| ours(&e)))
            .then_some((491, None))
    }

    fn answer_offerless(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        server: sip::ServerKey,
        request: &sip::Request,
        offer: Option<Option<media::sdp::SessionDescription>>,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let body = match (&mut leg.media, offer) {
            (Some(media), Some(from)) => match media.make_offer(from.as_ref(), Direction::SendRecv)
            {
                Ok(body) => Some(body),
                Err(error) => {
                    return self.refuse_offer(now, w, request, server, &error.to_string());
                }
            },
            (_, None) | (None, _) => None,
        };
        self.accept_modify(now, w, id, server, request, body);
    }

    fn pass_offer(
        &mut self,
        now: Instant,
        w: &mut World,
        from: LegId,
        to: LegId,
        server: sip::ServerKey,
        request: sip::Request,
    ) {
        let Some(asking) = self.legs.get(&from).and_then(|leg| leg.media.as_ref()) else {
            return;
        };
        let (theirs, direction) = (asking.theirs().cloned(), asking.offered_direction());
        let method = request.method().clone();
        let asked = Box::new(Asked {
            from,
            server,
            request,
        });
        match self.send_offer(now, w, to, method, theirs.as_ref(), direction, Some(asked)) {
            Ok(()) => w.watch_server(server, self.key, from),
            Err((asked, why)) => {
                if let Some(media) = self.legs.get_mut(&from).and_then(|leg| leg.media.as_mut()) {
                    media.give_up_exchange();
                }
                if let Some(asked) = asked {
                    self.refuse_offer(now, w, &asked.request, server, &why);
                }
            }
        }
    }

    /// After an answer that came late, in an ACK: the other leg learns the new direction.
    pub(super) fn align_other(&mut self, now: Instant, w: &mut World, id: LegId) {
        let Some(other) = self.other_leg(id) else {
            return;
        };
        let Some(media) = self.legs.get(&id).and_then(|leg| leg.media.as_ref()) else {
            return;
        };
        let (theirs, direction) = (media.theirs().cloned(), media.offered_direction());
        let told = self
            .legs
            .get(&other)
            .and_then(|leg| leg.media.as_ref())
            .and_then(|m| m.negotiated())
            .map(|n| n.direction);
        if told.is_some_and(|told| told != direction) {
            // A refusal leaves the other side as it was.
            let _ = self.send_offer(
                now,
                w,
                other,
                Method::Invite,
                theirs.as_ref(),
                direction,
                None,
            );
        }
    }

    fn handle_info(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        server: sip::ServerKey,
        request: sip::Request,
    ) {
        if let Some((digit, duration_ms)) = messages::dtmf(&request) {
            self.handle_digit(now, w, id, digit, duration_ms, DigitSource::Info);
        }
        self.pass(now, w, id, server, request);
    }

    /// To the other leg as it is; answered by ourselves where there is none.
    fn pass(
        &mut self,
        now: Instant,
        w: &mut World,
        from: LegId,
        server: sip::ServerKey,
        request: sip::Request,
    ) {
        let other = self
            .other_leg(from)
            .filter(|_| self.exchanges.len() < MAX_EXCHANGES);
        let other = other.and_then(|other| self.legs.get_mut(&other));
        let Some(Leg {
            id: to,
            state: LegState::Established(established),
            flow,
            ..
        }) = other
        else {
            let status = if self.other_leg(from).is_some() {
                503
            } else {
                200
            };
            let response = messages::respond(w, &request, status);
            w.sip.respond(now, server, response);
            return;
        };
        let hop = messages::hop(w, &established.dialog, flow);
        let passed = messages::passed(w, &mut established.dialog, &request);
        let to = *to;
        let client = w.request(now, self.key, hop, passed.clone());
        let asked = Some(Box::new(Asked {
            from,
            server,
            request,
        }));
        self.exchanges.insert(
            client,
            Exchange {
                to,
                asked,
                request: passed,
                offer: false,
                authorised: false,
            },
        );
    }

    /// Our answer to the peer's offer, once the other side has agreed.
    pub(super) fn complete_modify(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        server: sip::ServerKey,
        request: &sip::Request,
        direction: Direction,
    ) {
        let other = self
            .other_leg(id)
            .and_then(|other| self.legs.get(&other))
            .and_then(|other| other.media.as_ref());
        let negotiated = other.and_then(|media| media.negotiated()).cloned();
        let Some(media) = self.legs.get_mut(&id).and_then(|leg| leg.media.as_mut()) else {
            return;
        };
        match media.make_answer(negotiated.as_ref(), direction) {
            Ok(body) => {
                self.accept_modify(now, w, id, server, request, Some(body));
                self.open_and_negotiate(now, w, id);
            }
            Err(error) => {
                media.give_up_exchange();
                self.refuse_offer(now, w, request, server, &error.to_string());
            }
        }
    }

    pub(super) fn accept_modify(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        server: sip::ServerKey,
        request: &sip::Request,
        body: Option<bytes::Bytes>,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let LegState::Established(established) = &mut leg.state else {
            return;
        };
        let response = messages::accept_modify(w, request, &leg.flow, leg.trunk.as_ref(), body);
        if *request.method() == Method::Invite {
            established.ack = Ack::Awaited {
                server,
                hang_up: None,
            };
            w.watch_server(server, self.key, id);
        } else {
            w.forget_server(server);
        }
        w.sip.respond(now, server, response);
    }

    pub(super) fn refuse_offer(
        &mut self,
        now: Instant,
        w: &mut World,
        request: &sip::Request,
        server: sip::ServerKey,
        why: &str,
    ) {
        let cause = Cause::new(488, Fault::Caller, why);
        let response = messages::refuse_request(w, self.key, request, &cause);
        w.respond_finally(now, server, response);
        self.record(
            now,
            w,
            Kind::Note {
                topic: "offer refused".to_owned(),
                text: why.to_owned(),
            },
        );
    }
}

/// In-dialog requests that wait for the other side, per call.
const MAX_EXCHANGES: usize = 16;
