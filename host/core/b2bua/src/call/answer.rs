//! The A leg rings, is answered or refused; and how any leg is hung up.

use super::{Call, Phase};
use crate::cause::{Cause, Fault};
use crate::flow::FlowEvent;
use crate::journal::Kind;
use crate::key::LegId;
use crate::leg::{Ack, Established, Leaving, Leg, LegState};
use crate::messages;
use crate::world::World;
use bytes::Bytes;
use media::sdp::Direction;
use std::time::Instant;

impl Call {
    /// 18x to the caller, with the early media of `early` if there is any. Each status once;
    /// a description once, because a second one would have to be the same (RFC 3261 §13.2.1).
    pub(super) fn ring(&mut self, now: Instant, w: &mut World, status: u16, early: Option<LegId>) {
        let body = early.and_then(|b| self.early_answer(now, w, b));
        let Some(a) = self.legs.get_mut(&LegId::A) else {
            return;
        };
        let LegState::Proceeding(proceeding) = &mut a.state else {
            return;
        };
        let with_media = body.is_some() && !proceeding.told_media;
        if proceeding.told >= status && !with_media {
            return;
        }
        proceeding.told = proceeding.told.max(status);
        proceeding.told_media |= with_media;
        let contact = messages::contact(w, &a.flow, a.trunk.as_ref());
        let response = messages::provisional(
            w,
            proceeding,
            &a.tag,
            &contact,
            status,
            body.filter(|_| with_media),
        );
        let server = proceeding.server;
        w.sip.respond(now, server, response);
        if with_media && let Some(b) = early {
            self.bridge(w, b);
        }
    }

    /// The flow answers: the caller's offer meets our own codecs.
    pub(super) fn answer_locally(&mut self, now: Instant, w: &mut World) {
        if self.answer(now, w, None) {
            self.tell_flow(now, w, FlowEvent::Answered);
        }
    }

    /// A target answered: so do we. False where the caller and we have nothing in common.
    pub(super) fn answer_for(&mut self, now: Instant, w: &mut World, b: LegId) -> bool {
        self.answer(now, w, Some(b))
    }

    /// Audio flows on this leg from now on, as agreed.
    pub(super) fn open_and_negotiate(&mut self, now: Instant, w: &mut World, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        leg.open_media(w, self.key);
        let Some(media) = &leg.media else { return };
        let Some(command) = media.negotiate() else {
            return;
        };
        let negotiated = media.negotiated();
        let line = Kind::Media {
            leg: id,
            port: media.port(),
            codec: negotiated
                .and_then(|n| n.primary())
                .map_or(String::new(), |agreed| agreed.codec.name.clone()),
            remote: negotiated.map(|n| n.remote.to_string()),
            direction: negotiated.map_or("", |n| n.direction.as_str()).to_owned(),
        };
        w.media(self.key, command);
        self.record(now, w, line);
    }

    /// The peer's ACK for our 2xx; with the answer, where the offer was ours.
    pub(crate) fn handle_ack(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        ack: &sip::Request,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let LegState::Established(established) = &mut leg.state else {
            return;
        };
        let Ack::Awaited { hang_up, .. } = std::mem::replace(&mut established.ack, Ack::Done)
        else {
            return;
        };
        if let Some(cause) = hang_up {
            self.hang_up_leg(now, w, id, &cause);
            return;
        }
        let Some(media) = leg.media.as_mut().filter(|media| media.is_offering()) else {
            return;
        };
        let answer = messages::sdp_body(ack);
        let agreed = match answer {
            Some(body) => media.take_answer(body).map_err(|error| error.to_string()),
            None => Err("the ACK has no answer to our offer".to_owned()),
        };
        match agreed {
            Ok(()) => {
                self.open_and_negotiate(now, w, id);
                self.align_other(now, w, id);
            }
            Err(why) => {
                let fault = if id == LegId::A {
                    Fault::Caller
                } else {
                    Fault::Callee
                };
                self.end(now, w, Cause::new(488, fault, why));
            }
        }
    }

    /// RFC 3261 §13.3.1.4: no ACK within 64·T1; the dialog is there, so BYE ends it.
    pub(crate) fn handle_ack_missing(&mut self, now: Instant, w: &mut World, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let LegState::Established(established) = &mut leg.state else {
            return;
        };
        match std::mem::replace(&mut established.ack, Ack::Done) {
            Ack::Awaited {
                hang_up: Some(cause),
                ..
            } => self.hang_up_leg(now, w, id, &cause),
            Ack::Awaited { hang_up: None, .. } => {
                let fault = if id == LegId::A {
                    Fault::Caller
                } else {
                    Fault::Callee
                };
                self.end(now, w, Cause::new(408, fault, "the ACK never came"));
            }
            Ack::Done => {}
        }
    }

    /// The peer takes its INVITE back. A re-INVITE that is cancelled is cancelled on the other
    /// side as well.
    pub(crate) fn handle_cancel(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        server: sip::ServerKey,
    ) {
        match self.legs.get(&id).map(|leg| &leg.state) {
            Some(LegState::Proceeding(proceeding)) if proceeding.server == server => {
                self.end(now, w, Cause::cancelled());
            }
            _ => self.handle_modify_cancelled(now, w, server),
        }
    }

    /// 302 with the decision's contacts.
    pub(super) fn redirect(&mut self, now: Instant, w: &mut World, contacts: &[String]) {
        let contacts: Vec<&String> = contacts
            .iter()
            .filter(|uri| messages::is_sip_uri(uri))
            .take(16)
            .collect();
        if contacts.is_empty() {
            self.end(
                now,
                w,
                Cause::new(500, Fault::Tenant, "the redirection names no SIP URI"),
            );
            return;
        }
        let text = format!("redirected to {} contacts", contacts.len());
        if let Some(a) = self.legs.get_mut(&LegId::A)
            && let LegState::Proceeding(proceeding) = &a.state
        {
            let cause = Cause::new(302, Fault::Nobody, text.clone());
            let contacts: Vec<String> =
                contacts.into_iter().map(|uri| format!("<{uri}>")).collect();
            let response = messages::refusal(w, self.key, proceeding, &a.tag, &cause, &contacts);
            w.respond_finally(now, proceeding.server, response);
            a.state = LegState::Over;
        }
        self.end(now, w, Cause::new(302, Fault::Nobody, text));
    }

    /// Whatever ends this leg where it stands: final response, CANCEL or BYE.
    pub(super) fn hang_up_leg(&mut self, now: Instant, w: &mut World, id: LegId, cause: &Cause) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        match &mut leg.state {
            LegState::Proceeding(proceeding) => {
                let response = messages::refusal(w, self.key, proceeding, &leg.tag, cause, &[]);
                w.respond_finally(now, proceeding.server, response);
                leg.state = LegState::Over;
            }
            LegState::Preparing(_) => leg.state = LegState::Over,
            LegState::Calling(_) => {
                if let Some(invite) = &leg.invite {
                    w.sip
                        .cancel_with_reason(now, invite.client, &cause.reason());
                }
                leg.state = LegState::Cancelling;
            }
            LegState::Established(Established {
                ack: Ack::Awaited { hang_up, .. },
                ..
            }) => *hang_up = Some(cause.clone()),
            LegState::Established(established) => {
                let hop = messages::hop(w, &established.dialog, &leg.flow);
                let bye = messages::bye(w, &mut established.dialog, cause);
                let client = w.request(now, self.key, hop, bye.clone());
                leg.state = LegState::Leaving(Leaving {
                    client,
                    bye,
                    hop,
                    authorised: false,
                });
            }
            LegState::Cancelling | LegState::Leaving(_) | LegState::Over => {}
        }
        leg.close_media(w, self.key);
    }

    /// The port, author and codecs of the A leg's media; before anything is said about it.
    pub(crate) fn prepare_a_media(&mut self, w: &mut World) -> Result<(), Cause> {
        let codecs = self
            .trunk()
            .map(|trunk| trunk.codecs.clone())
            .unwrap_or_default();
        let Some(a) = self.legs.get_mut(&LegId::A) else {
            return Ok(());
        };
        let Some(port) = w.ports.take() else {
            return Err(Cause::new(503, Fault::Host, "all RTP ports are taken")
                .with_retry_after(Some(w.config.retry_after_s)));
        };
        let capabilities = if codecs.is_empty() {
            messages::default_capabilities(&w.config)
        } else {
            media::sdp::Capabilities::only(&codecs)
        };
        let (session, source) = (w.tokens.random_u64(), a.source());
        a.media = Some(crate::leg_media::LegMedia::new(
            a.id,
            port,
            w.config.media_advertise,
            source,
            capabilities,
            session,
        ));
        Ok(())
    }

    fn answer(&mut self, now: Instant, w: &mut World, b: Option<LegId>) -> bool {
        let body = match self.final_description(b) {
            Ok(body) => body,
            Err(why) => {
                self.end(now, w, Cause::new(488, Fault::Caller, why));
                return false;
            }
        };
        let Some(a) = self.legs.get_mut(&LegId::A) else {
            return false;
        };
        let LegState::Proceeding(proceeding) = &mut a.state else {
            return false;
        };
        let contact = messages::contact(w, &a.flow, a.trunk.as_ref());
        let Some((dialog, response)) =
            messages::accept_invite(w, proceeding, &a.tag, &contact, body)
        else {
            let cause = Cause::new(400, Fault::Caller, "its INVITE has no usable Contact");
            self.end(now, w, cause);
            return false;
        };
        let server = proceeding.server;
        w.sip.respond(now, server, response);
        a.state = LegState::Established(Established {
            dialog,
            ack: Ack::Awaited {
                server,
                hang_up: None,
            },
        });
        self.outcome.answered_us = Some(self.elapsed_us(now));
        self.record(now, w, Kind::Answered { leg: LegId::A });
        self.open_and_negotiate(now, w, LegId::A);
        true
    }

    /// Our answer to the caller's offer, our own offer where it made none (RFC 3261 §13.3.1),
    /// or what an 18x said already.
    fn final_description(&mut self, b: Option<LegId>) -> Result<Bytes, String> {
        let bridged = b
            .and_then(|b| self.legs.get(&b))
            .and_then(|leg| leg.media.as_ref());
        let negotiated = bridged.and_then(|media| media.negotiated()).cloned();
        let theirs = bridged.and_then(|media| media.theirs()).cloned();
        let Some(media) = self.legs.get_mut(&LegId::A).and_then(|a| a.media.as_mut()) else {
            return Err("the leg has no media".to_owned());
        };
        let direction = negotiated
            .as_ref()
            .map_or(Direction::SendRecv, |n| n.direction.mirrored());
        let body = if media.open_offer().is_some() {
            media.make_answer(negotiated.as_ref(), direction)
        } else if let Some(ours) = media.ours() {
            Ok(ours.clone())
        } else {
            media.make_offer(theirs.as_ref(), direction)
        };
        body.map_err(|error| error.to_string())
    }

    /// The answer to the caller's offer while a target rings. None where there is none to give:
    /// no offer, or nothing in common (the final answer will say so).
    fn early_answer(&mut self, now: Instant, w: &mut World, b: LegId) -> Option<Bytes> {
        let negotiated = self.legs.get(&b)?.media.as_ref()?.negotiated().cloned()?;
        let a: &mut Leg = self.legs.get_mut(&LegId::A)?;
        let media = a.media.as_mut()?;
        media.open_offer()?;
        let body = media
            .make_answer(Some(&negotiated), negotiated.direction.mirrored())
            .ok()?;
        self.open_and_negotiate(now, w, LegId::A);
        Some(body)
    }

    /// The leg that this one talks to.
    pub(super) fn other_leg(&self, id: LegId) -> Option<LegId> {
        match &self.phase {
            Phase::Bridged(bridged) if id == LegId::A => Some(bridged.b),
            Phase::Bridged(bridged) if id == bridged.b => Some(LegId::A),
            Phase::Bridged(_)
            | Phase::Dialing(_)
            | Phase::Ending(_)
            | Phase::InFlow
            | Phase::Reading { .. }
            | Phase::Routing { .. }
            | Phase::StartingFlow { .. } => None,
        }
    }
}
