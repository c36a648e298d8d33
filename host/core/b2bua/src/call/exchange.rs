//! Requests that we sent inside a dialog: what is passed from one side to the other, and how
//! the answer finds its way back.

use super::Call;
use crate::cause::{Cause, Fault};
use crate::key::LegId;
use crate::leg::{Leg, LegState};
use crate::messages;
use crate::world::World;
use media::sdp::Direction;
use sip::Method;
use std::time::Instant;

/// A request that we sent inside a dialog.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// To this leg …
    pub(super) to: LegId,
    /// … because that one asked; none where it was our own idea.
    pub(super) asked: Option<Box<Asked>>,
    pub(super) request: sip::Request,
    /// It carries an offer.
    pub(super) offer: bool,
    pub(super) authorised: bool,
}

#[derive(Debug)]
pub(crate) struct Asked {
    pub(super) from: LegId,
    pub(super) server: sip::ServerKey,
    pub(super) request: sip::Request,
}

impl Call {
    pub(super) fn send_offer(
        &mut self,
        now: Instant,
        w: &mut World,
        to: LegId,
        method: Method,
        theirs: Option<&media::sdp::SessionDescription>,
        direction: Direction,
        asked: Option<Box<Asked>>,
    ) -> Result<(), (Option<Box<Asked>>, String)> {
        let Some(leg) = self.legs.get_mut(&to) else {
            return Err((asked, "the other leg is gone".to_owned()));
        };
        let (LegState::Established(established), Some(media)) = (&mut leg.state, &mut leg.media)
        else {
            return Err((asked, "the other leg is gone".to_owned()));
        };
        let body = match media.make_offer(theirs, direction) {
            Ok(body) => body,
            Err(error) => return Err((asked, error.to_string())),
        };
        // UPDATE where the peer knows it; else an INVITE says the same.
        let method = if method == Method::Update && leg.allows_update {
            Method::Update
        } else {
            Method::Invite
        };
        let contact = messages::contact(w, &leg.flow, leg.trunk.as_ref());
        let hop = messages::hop(w, &established.dialog, &leg.flow);
        let request = messages::modify(w, &mut established.dialog, &contact, method, body);
        let client = w.request(now, self.key, hop, request.clone());
        self.exchanges.insert(
            client,
            Exchange {
                to,
                asked,
                request,
                offer: true,
                authorised: false,
            },
        );
        Ok(())
    }

    /// A response to a request of ours that is not a B leg's first INVITE.
    pub(crate) fn handle_response(
        &mut self,
        now: Instant,
        w: &mut World,
        client: sip::ClientKey,
        response: &sip::Response,
    ) {
        let calling = |leg: &&Leg| {
            leg.invite
                .as_ref()
                .is_some_and(|invite| invite.client == client)
        };
        if let Some(id) = self.legs.values().find(calling).map(|leg| leg.id) {
            return self.handle_invite_response(now, w, id, response);
        }
        let status = response.code();
        if status < 200 {
            return;
        }
        if let Some(exchange) = self.exchanges.remove(&client) {
            w.forget_client(client);
            return self.handle_exchanged(now, w, client, exchange, response);
        }
        self.handle_left(now, w, client, Some(response));
    }

    pub(crate) fn handle_request_failed(
        &mut self,
        now: Instant,
        w: &mut World,
        client: sip::ClientKey,
        timed_out: bool,
    ) {
        w.forget_client(client);
        let calling = |leg: &&Leg| {
            leg.invite
                .as_ref()
                .is_some_and(|invite| invite.client == client)
        };
        if let Some(id) = self.legs.values().find(calling).map(|leg| leg.id) {
            return self.handle_invite_failed(now, w, id, timed_out);
        }
        if let Some(exchange) = self.exchanges.remove(&client) {
            let status = if timed_out { 408 } else { 500 };
            return self.exchange_failed(
                now,
                w,
                exchange,
                status,
                "the other side does not answer",
            );
        }
        self.handle_left(now, w, client, None);
    }

    fn handle_exchanged(
        &mut self,
        now: Instant,
        w: &mut World,
        client: sip::ClientKey,
        mut exchange: Exchange,
        response: &sip::Response,
    ) {
        let status = response.code();
        let Some(leg) = self.legs.get_mut(&exchange.to) else {
            return;
        };
        if matches!(status, 401 | 407) && !exchange.authorised {
            let answer = messages::authorise(w, leg.trunk.as_ref(), &exchange.request, response);
            if let (Some(request), LegState::Established(established)) = (answer, &mut leg.state) {
                let request = messages::resequence(&mut established.dialog, request);
                let hop = messages::hop(w, &established.dialog, &leg.flow);
                let again = w.request(now, self.key, hop, request.clone());
                (exchange.request, exchange.authorised) = (request, true);
                self.exchanges.insert(again, exchange);
                return;
            }
        }
        if !(200..300).contains(&status) {
            return self.exchange_failed(now, w, exchange, status, response.reason());
        }
        let LegState::Established(established) = &mut leg.state else {
            return;
        };
        if *exchange.request.method() == Method::Invite {
            established.dialog.refresh_target(response.contact());
            let ack = messages::ack(w, &established.dialog, &exchange.request);
            let hop = messages::hop(w, &established.dialog, &leg.flow);
            w.sip.ack(client, hop, ack);
        } else if *exchange.request.method() == Method::Update {
            established.dialog.refresh_target(response.contact());
        }
        if !exchange.offer {
            if let Some(asked) = exchange.asked {
                let answer = messages::passed_back(w, &asked.request, response);
                w.sip.respond(now, asked.server, answer);
            }
            return;
        }
        let agreed = match (&mut leg.media, messages::sdp_body(response)) {
            (Some(media), Some(body)) => media.take_answer(body).map_err(|error| error.to_string()),
            (_, None) => Err("no answer came to the offer".to_owned()),
            (None, _) => return,
        };
        if let Err(why) = agreed {
            return self.exchange_failed(now, w, exchange, 488, &why);
        }
        let direction = leg
            .media
            .as_ref()
            .and_then(|m| m.negotiated())
            .map_or(Direction::SendRecv, |n| n.direction);
        self.open_and_negotiate(now, w, exchange.to);
        if let Some(asked) = exchange.asked {
            self.complete_modify(
                now,
                w,
                asked.from,
                asked.server,
                &asked.request,
                direction.mirrored(),
            );
        }
    }

    fn exchange_failed(
        &mut self,
        now: Instant,
        w: &mut World,
        exchange: Exchange,
        status: u16,
        why: &str,
    ) {
        if exchange.offer
            && let Some(media) = self
                .legs
                .get_mut(&exchange.to)
                .and_then(|leg| leg.media.as_mut())
        {
            media.give_up_exchange();
        }
        if let Some(asked) = &exchange.asked {
            if exchange.offer
                && let Some(media) = self
                    .legs
                    .get_mut(&asked.from)
                    .and_then(|leg| leg.media.as_mut())
            {
                media.give_up_exchange();
            }
            let cause = Cause::new(messages::passed_status(status), Fault::Callee, why);
            let response = messages::refuse_request(w, self.key, &asked.request, &cause);
            w.respond_finally(now, asked.server, response);
        }
        // RFC 3261 §12.2.1.2: the dialog is gone, or its peer is.
        if status == 481 || (status == 408 && exchange.offer) {
            let fault = if exchange.to == LegId::A {
                Fault::Caller
            } else {
                Fault::Callee
            };
            if let Some(leg) = self.legs.get_mut(&exchange.to).filter(|_| status == 481) {
                leg.state = LegState::Over;
                leg.close_media(w, self.key);
            }
            self.end(
                now,
                w,
                Cause::new(
                    status,
                    fault,
                    format!("a request in its dialog failed: {why}"),
                ),
            );
        }
    }

    /// The caller of a re-INVITE gave it up: so do we towards the other leg.
    pub(super) fn handle_modify_cancelled(
        &mut self,
        now: Instant,
        w: &mut World,
        server: sip::ServerKey,
    ) {
        let waits = |e: &&Exchange| e.asked.as_ref().is_some_and(|asked| asked.server == server);
        let client = self
            .exchanges
            .iter()
            .find(|(_, e)| waits(e))
            .map(|(client, _)| *client);
        if let Some(client) = client {
            w.sip.cancel(now, client);
        }
    }

    /// The call ends: nobody will answer what was asked.
    pub(super) fn refuse_exchanges(&mut self, now: Instant, w: &mut World, cause: &Cause) {
        for (client, exchange) in std::mem::take(&mut self.exchanges) {
            w.forget_client(client);
            if let Some(asked) = exchange.asked {
                let response = messages::refuse_request(
                    w,
                    self.key,
                    &asked.request,
                    &Cause {
                        status: 487,
                        ..cause.clone()
                    },
                );
                w.respond_finally(now, asked.server, response);
            }
        }
    }

    /// The end of our BYE, whatever it is; once more with credentials where they are wanted.
    fn handle_left(
        &mut self,
        now: Instant,
        w: &mut World,
        client: sip::ClientKey,
        response: Option<&sip::Response>,
    ) {
        let is_leaving = |leg: &&mut Leg| matches!(&leg.state, LegState::Leaving(leaving) if leaving.client == client);
        let Some(leg) = self.legs.values_mut().find(is_leaving) else {
            return;
        };
        let LegState::Leaving(leaving) = &mut leg.state else {
            return;
        };
        w.forget_client(client);
        if let Some(response) =
            response.filter(|r| matches!(r.code(), 401 | 407) && !leaving.authorised)
            && let Some(bye) = messages::authorise(w, leg.trunk.as_ref(), &leaving.bye, response)
        {
            leaving.client = w.request(now, self.key, leaving.hop, bye);
            leaving.authorised = true;
            return;
        }
        leg.state = LegState::Over;
        w.finish_later(self.key);
    }
}
