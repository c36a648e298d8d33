//! What comes from the network: which transaction it belongs to, and what is dealt with
//! before anybody is told.

use super::super::event::{Drop, Event};
use super::super::machine::{Action, ClientInput, ServerInput};
use super::{ClientKey, ServerKey, TransactionLayer};
use crate::message::{Defect, HeaderName, Message, Method, Request, Response};
use crate::transport::Flow;
use bytes::Bytes;
use std::fmt::Write as _;
use std::time::Instant;

impl TransactionLayer {
    /// One datagram, or one message of a stream.
    pub fn handle_message(&mut self, now: Instant, flow: Flow, bytes: Bytes) {
        match Message::parse_with(bytes, &self.config.limits) {
            Ok(Message::Request(request)) => self.handle_request(now, flow, request),
            Ok(Message::Response(response)) => self.handle_response(now, flow, response),
            Err(crate::message::ParseError::KeepAlive) => self.dropped(flow, Drop::KeepAlive),
            Err(error) => self.dropped(flow, Drop::Unreadable(error)),
        }
    }

    fn handle_response(&mut self, now: Instant, flow: Flow, response: Response) {
        if let Err(defect) = response.check() {
            return self.dropped(flow, Drop::BadResponse(defect));
        }
        // RFC 3261 §8.1.3.3: more than one Via means that it is not for us.
        let key = match (response.via(), response.cseq()) {
            (Some(via), Some(cseq)) if response.vias().count() == 1 => {
                via.branch().and_then(|branch| {
                    let key = *self
                        .by_client
                        .get(&self.matcher.client(branch, cseq.method))?;
                    let client = self.clients.get(key)?;
                    self.is_our_sent_by(&client.flow, &via).then_some(key)
                })
            }
            _ => None,
        };
        match key {
            Some(key) => self.step_client(
                now,
                ClientKey(key),
                ClientInput::of(response.code()),
                Some(response),
            ),
            None => self.dropped(flow, Drop::StrayResponse),
        }
    }

    fn handle_request(&mut self, now: Instant, flow: Flow, mut request: Request) {
        mark_source(&flow, &mut request);
        if let Err(defect) = request.check() {
            return self.refuse_malformed(flow, &request, defect);
        }
        let Some(fingerprint) = self.matcher.server(&request) else {
            return self.refuse_malformed(flow, &request, Defect::Via);
        };
        match request.method() {
            Method::Ack => self.handle_ack(
                now,
                flow,
                request,
                self.by_server.get(&fingerprint).copied(),
            ),
            Method::Cancel => self.handle_cancel(
                now,
                flow,
                request,
                self.by_server.get(&fingerprint).copied(),
            ),
            _ => match self.by_server.get(&fingerprint).copied() {
                Some(key) => {
                    self.step_server(
                        now,
                        ServerKey(key),
                        ServerInput::Retransmission,
                        Bytes::new(),
                    );
                    self.dropped(flow, Drop::Repeated);
                }
                None => self.handle_new(now, flow, request, fingerprint),
            },
        }
    }

    fn handle_new(
        &mut self,
        now: Instant,
        flow: Flow,
        request: Request,
        fingerprint: super::super::matching::Fingerprint,
    ) {
        let merge = if request.is_in_dialog() {
            None
        } else {
            self.matcher.merged(&request)
        };
        if merge.is_some_and(|merge| self.by_merge.contains_key(&merge)) {
            self.refuse(flow, &request, 482, "Merged Request");
            return self.dropped(flow, Drop::Merged);
        }
        if self.len() >= self.config.transactions {
            let retry_after = self.config.retry_after;
            let response = self
                .refusal(&request, 503, "")
                .with(HeaderName::RetryAfter, retry_after);
            self.transmit(flow, response.to_bytes());
            return self.dropped(flow, Drop::Overload);
        }
        let key = self.start_server(now, flow, &request, fingerprint, merge);
        self.tell(Event::Request { key, flow, request });
    }

    /// An ACK belongs to a failure by its branch, to a success by its dialog.
    fn handle_ack(&mut self, now: Instant, flow: Flow, request: Request, by_branch: Option<u64>) {
        let by_dialog = || {
            self.matcher
                .acknowledged(&request)
                .and_then(|found| self.by_ack.get(&found).copied())
        };
        let Some(key) = by_branch
            .or_else(by_dialog)
            .filter(|key| self.servers.get(*key).is_some_and(|s| s.is_invite()))
        else {
            return self.dropped(flow, Drop::StrayAck);
        };
        let invite = ServerKey(key);
        let actions = self.step_server(now, invite, ServerInput::Ack, Bytes::new());
        if actions.contains(&Action::Deliver) {
            self.tell(Event::Ack {
                flow,
                invite,
                request,
            });
        } else {
            self.dropped(flow, Drop::Repeated);
        }
    }

    /// RFC 3261 §9.2. The CANCEL has a server transaction of its own for its repetitions.
    fn handle_cancel(&mut self, now: Instant, flow: Flow, request: Request, invite: Option<u64>) {
        let Some(own) = self.matcher.server_as(&request, "CANCEL") else {
            return;
        };
        if let Some(key) = self.by_server.get(&own).copied() {
            self.step_server(
                now,
                ServerKey(key),
                ServerInput::Retransmission,
                Bytes::new(),
            );
            return self.dropped(flow, Drop::Repeated);
        }
        let Some((invite, server)) =
            invite.and_then(|key| Some((ServerKey(key), self.servers.get(key)?)))
        else {
            self.refuse(flow, &request, 481, "");
            return self.dropped(flow, Drop::StrayCancel);
        };
        let is_pending = server.is_pending_invite();
        let mut response = Response::to(&request, 200, "");
        response.set_to_tag(server.tag());
        let key = self.start_server(now, flow, &request, own, None);
        self.respond(now, key, response);
        if is_pending {
            self.tell(Event::Cancel { invite, request });
        }
    }

    /// An answer without a transaction: the same to each repetition (RFC 3261 §8.2.7).
    fn refuse(&mut self, flow: Flow, request: &Request, code: u16, reason: &str) {
        let bytes = self.refusal(request, code, reason).to_bytes();
        self.transmit(flow, bytes);
    }

    fn refusal(&self, request: &Request, code: u16, reason: &str) -> Response {
        let mut response = Response::to(request, code, reason);
        let name = |name| request.get(name).unwrap_or("");
        let parts = [
            name(HeaderName::Via),
            name(HeaderName::CallId),
            name(HeaderName::From),
            name(HeaderName::CSeq),
        ];
        let tag = self.tokens.tag_for(&parts);
        response.set_to_tag(tag.as_str());
        response
    }

    fn refuse_malformed(&mut self, flow: Flow, request: &Request, defect: Defect) {
        // An ACK is never answered; without a Via nobody can tell what is answered.
        if *request.method() == Method::Ack || !request.has(HeaderName::Via) {
            return self.dropped(flow, Drop::Unanswerable(defect));
        }
        self.refuse(flow, request, defect.status(), &defect.to_string());
        self.dropped(flow, Drop::Malformed(defect));
    }

    fn dropped(&mut self, flow: Flow, reason: Drop) {
        self.tell(Event::Dropped { flow, reason });
    }
}

/// Notes in the topmost Via where the request came from (RFC 3261 §18.2.1, RFC 3581 §4).
fn mark_source(flow: &Flow, request: &mut Request) {
    let Some(via) = request.via() else { return };
    let asks_rport = via.rport().is_some();
    let source = flow.remote.ip().to_canonical();
    if !asks_rport
        && via
            .host_ip()
            .is_some_and(|host| host.to_canonical() == source)
    {
        return;
    }
    let port = flow.remote.port();
    let Some(text) = request.list(HeaderName::Via).next() else {
        return;
    };
    let head = text.split(';').next().unwrap_or(text).trim_end();
    let mut marked = String::with_capacity(text.len() + 48);
    marked.push_str(head);
    for param in via.params.raw() {
        let name = param.split('=').next().unwrap_or(param).trim();
        if name.eq_ignore_ascii_case("received") || name.eq_ignore_ascii_case("rport") {
            continue;
        }
        marked.push(';');
        marked.push_str(param);
    }
    // Writing to a String does not fail.
    let _ = write!(marked, ";received={source}");
    if asks_rport {
        let _ = write!(marked, ";rport={port}");
    }
    request.set_first(HeaderName::Via, &marked);
}
