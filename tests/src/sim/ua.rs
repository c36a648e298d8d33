//! A user agent that does as it is told. Its transactions are those of our own `sip`: what is
//! under test here are calls.

use super::link::Packet;
use super::{node, sdp};
use bytes::Bytes;
use sip::message::HeaderName;
use sip::token::TokenSource;
use sip::{
    ClientKey, Dialog, Event, Flow, Method, Request, Response, ServerKey, TransactionLayer,
    Transmit, Transport,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub struct Ua {
    pub address: SocketAddr,
    pub transport: Transport,
    layer: TransactionLayer,
    tokens: TokenSource,
    /// What it does with the next calls; the last one is used again.
    pub behaviours: Vec<Behaviour>,
    /// Payload types that it knows.
    pub payloads: Vec<u8>,
    /// What it answers to re-INVITE and UPDATE; 200 as a rule.
    pub modify_status: u16,
    pub calls: Vec<UaCall>,
    /// Requests that came, first tries only.
    pub requests: Vec<Request>,
    todo: BTreeMap<(Instant, u64), Todo>,
    scheduled: u64,
}

/// What it does when it is called. Times in ms after the INVITE.
#[derive(Debug, Clone)]
pub struct Behaviour {
    pub ring: Option<u64>,
    /// 183 with a description in place of 180.
    pub early: bool,
    pub end: Option<(u64, u16)>,
    /// A 407 first.
    pub challenge: bool,
    /// The 200 has no Contact.
    pub no_contact: bool,
    pub contacts: Vec<String>,
}

impl Behaviour {
    pub fn answer(after_ms: u64) -> Behaviour {
        Behaviour::end(after_ms, 200)
    }

    pub fn refuse(status: u16) -> Behaviour {
        Behaviour::end(20, status)
    }

    pub fn ring_for_ever() -> Behaviour {
        Behaviour {
            end: None,
            ..Behaviour::answer(0)
        }
    }

    pub fn silence() -> Behaviour {
        Behaviour {
            ring: None,
            ..Behaviour::ring_for_ever()
        }
    }

    fn end(after_ms: u64, status: u16) -> Behaviour {
        let ring = Some(10);
        Behaviour {
            ring,
            early: false,
            end: Some((after_ms, status)),
            challenge: false,
            no_contact: false,
            contacts: Vec::new(),
        }
    }
}

pub struct UaCall {
    pub call_id: String,
    client: Option<ClientKey>,
    server: Option<ServerKey>,
    invite: Request,
    tag: String,
    pub dialog: Option<Dialog>,
    behaviour: Option<Behaviour>,
    /// Status codes that came (or went) for its INVITE, without repetitions.
    pub statuses: Vec<u16>,
    /// The final response to its INVITE, where it called.
    pub last_response: Option<Response>,
    /// Descriptions that came, in order.
    pub described: Vec<String>,
    /// Final statuses of its other requests.
    pub answers: Vec<(Method, u16)>,
    /// The answer is sent in the ACK.
    pub late: bool,
    pub acknowledged: bool,
    pub over: bool,
    version: u32,
}

#[derive(Debug)]
enum Todo {
    Ring(ServerKey),
    End(ServerKey, u16),
}

impl Ua {
    pub fn new(address: SocketAddr, seed: u64) -> Ua {
        Ua {
            address,
            transport: Transport::Udp,
            layer: TransactionLayer::new(sip::Config::default(), TokenSource::new(100, seed)),
            tokens: TokenSource::new(101, seed),
            behaviours: vec![Behaviour::answer(200)],
            payloads: vec![0, 8],
            modify_status: 200,
            calls: Vec::new(),
            requests: Vec::new(),
            todo: BTreeMap::new(),
            scheduled: 0,
        }
    }

    /// Calls a number at our node; gives the call's place in `calls`.
    pub fn call(&mut self, now: Instant, called: &str) -> usize {
        let offer = sdp::describe(self.address, 1, &self.payloads, "sendrecv");
        self.call_with(now, called, Some(offer), |_| {})
    }

    pub fn call_with(
        &mut self,
        now: Instant,
        called: &str,
        offer: Option<String>,
        edit: impl FnOnce(&mut Request),
    ) -> usize {
        let (tag, call_id) = (
            self.tokens.tag().as_str().to_owned(),
            self.tokens.call_id().as_str().to_owned(),
        );
        let mut invite = Request::builder(Method::Invite, format!("sip:{called}@demo.example"))
            .header(HeaderName::MaxForwards, 70)
            .header(
                HeaderName::From,
                format_args!("\"Caller\" <sip:caller@{}>;tag={tag}", self.address.ip()),
            )
            .header(HeaderName::To, format_args!("<sip:{called}@demo.example>"))
            .header(HeaderName::CallId, &call_id)
            .header(HeaderName::CSeq, "1 INVITE")
            .header(HeaderName::Contact, self.contact())
            .header(HeaderName::UserAgent, "SecretPhone/1.0")
            .build();
        if let Some(offer) = &offer {
            invite.set_body("application/sdp", offer.clone());
        }
        edit(&mut invite);
        let client = self.layer.request(now, self.flow(), invite.clone());
        let call = UaCall::new(call_id, tag, invite, Some(client), None, offer.is_none());
        self.calls.push(call);
        self.calls.len() - 1
    }

    pub fn cancel(&mut self, now: Instant, call: usize) {
        if let Some(client) = self.calls[call].client {
            self.layer.cancel(now, client);
        }
    }

    pub fn bye(&mut self, now: Instant, call: usize) {
        self.send(now, call, Method::Bye, None);
        self.calls[call].over = true;
    }

    pub fn modify(&mut self, now: Instant, call: usize, method: Method, direction: &str) {
        self.calls[call].version += 1;
        let body = sdp::describe(
            self.address,
            self.calls[call].version,
            &self.payloads,
            direction,
        );
        self.send(now, call, method, Some(("application/sdp", body)));
    }

    /// Any request inside the dialog.
    pub fn send(
        &mut self,
        now: Instant,
        call: usize,
        method: Method,
        body: Option<(&str, String)>,
    ) {
        let (flow, contact) = (self.flow(), self.contact());
        let Some(dialog) = &mut self.calls[call].dialog else {
            return;
        };
        let mut request = dialog.request(method);
        request.set(HeaderName::Contact, contact);
        if let Some((kind, body)) = body {
            request.set_body(kind, body);
        }
        let client = self.layer.request(now, flow, request.clone());
        let call = &mut self.calls[call];
        if *request.method() == Method::Invite {
            call.client = Some(client);
            call.invite = request;
        }
    }

    pub fn receive(&mut self, now: Instant, packet: &Packet) {
        let flow = Flow {
            transport: packet.transport,
            local: self.address,
            remote: packet.from,
            connection: 0,
        };
        self.layer.handle_message(now, flow, packet.bytes.clone());
        self.drain(now);
    }

    pub fn next(&self) -> Option<Instant> {
        let todo = self.todo.first_key_value().map(|((at, _), _)| *at);
        [todo, self.layer.poll_timeout().map(|(at, _)| at)]
            .into_iter()
            .flatten()
            .min()
    }

    pub fn pass_time(&mut self, now: Instant) {
        self.layer.handle_timeout(now);
        self.drain(now);
        while let Some((&(at, _), _)) = self.todo.first_key_value() {
            if at > now {
                break;
            }
            match self.todo.pop_first() {
                Some((_, Todo::Ring(server))) => self.ring(now, server),
                Some((_, Todo::End(server, status))) => self.end(now, server, status),
                None => {}
            }
        }
    }

    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.layer.poll_transmit()
    }

    /// Statuses of the call's INVITE.
    pub fn statuses(&self, call: usize) -> &[u16] {
        &self.calls[call].statuses
    }

    pub fn got(&self, call: usize, status: u16) -> bool {
        self.calls
            .get(call)
            .is_some_and(|call| call.statuses.contains(&status))
    }

    /// How many requests of this method came.
    pub fn count(&self, method: &Method) -> usize {
        self.requests
            .iter()
            .filter(|request| request.method() == method)
            .count()
    }

    pub fn is_talking(&self, call: usize) -> bool {
        self.calls
            .get(call)
            .is_some_and(|call| call.dialog.is_some() && call.acknowledged && !call.over)
    }

    fn flow(&self) -> Flow {
        Flow {
            transport: self.transport,
            local: self.address,
            remote: node::address(),
            connection: 0,
        }
    }

    fn contact(&self) -> String {
        match self.transport {
            Transport::Udp => format!("<sip:agent@{}>", self.address),
            other => format!(
                "<sip:agent@{};transport={}>",
                self.address,
                other.as_str().to_ascii_lowercase()
            ),
        }
    }

    fn drain(&mut self, now: Instant) {
        while let Some(event) = self.layer.poll_event() {
            match event {
                Event::Request { key, request, .. } => self.handle_request(now, key, request),
                Event::Ack {
                    invite, request, ..
                } => {
                    if let Some(call) = self
                        .calls
                        .iter_mut()
                        .find(|call| call.server == Some(invite))
                    {
                        call.acknowledged = true;
                        call.note_description(request.body());
                    }
                }
                Event::Cancel { invite, .. } => self.end(now, invite, 487),
                Event::Response { key, response } => self.handle_response(now, key, &response),
                Event::Failed { key, .. } => {
                    if let Some(call) = self.calls.iter_mut().find(|call| call.client == Some(key))
                    {
                        call.statuses.push(408);
                        call.over = call.dialog.is_none();
                    }
                }
                Event::AckMissing { .. } | Event::Dropped { .. } => {}
            }
        }
    }

    fn handle_request(&mut self, now: Instant, server: ServerKey, request: Request) {
        self.requests.push(request.clone());
        if !request.is_in_dialog() {
            if *request.method() == Method::Invite {
                self.handle_invite(now, server, request);
            } else {
                self.layer
                    .respond(now, server, Response::to(&request, 405, ""));
            }
            return;
        }
        let id = request.call_id().unwrap_or("");
        let Some(n) = self
            .calls
            .iter()
            .position(|call| call.call_id == id && call.dialog.is_some())
        else {
            self.layer
                .respond(now, server, Response::to(&request, 481, ""));
            return;
        };
        let taken = self.calls[n]
            .dialog
            .as_mut()
            .map(|dialog| dialog.handle_request(&request));
        if let Some(Err(error)) = taken {
            // On a bad network it overtook, or was overtaken.
            self.layer
                .respond(now, server, Response::to(&request, error.status(), ""));
            return;
        }
        match request.method() {
            Method::Bye => {
                self.calls[n].over = true;
                self.layer
                    .respond(now, server, Response::to(&request, 200, ""));
            }
            Method::Invite | Method::Update => self.answer_modify(now, n, server, &request),
            _ => {
                self.layer
                    .respond(now, server, Response::to(&request, 200, ""));
            }
        }
    }

    fn answer_modify(&mut self, now: Instant, n: usize, server: ServerKey, request: &Request) {
        let contact = self.contact();
        let mut response = Response::to(request, self.modify_status, "");
        response.set(HeaderName::Contact, contact);
        if self.modify_status == 200 {
            let body = String::from_utf8_lossy(request.body()).into_owned();
            self.calls[n].note_description(request.body());
            self.calls[n].version += 1;
            let direction = sdp::mirrored(sdp::direction(&body));
            let answer = self.answer_to(&body, self.calls[n].version, direction);
            response.set_body("application/sdp", answer);
            if *request.method() == Method::Invite {
                (self.calls[n].server, self.calls[n].acknowledged) = (Some(server), false);
            }
        }
        self.layer.respond(now, server, response);
    }

    fn handle_invite(&mut self, now: Instant, server: ServerKey, invite: Request) {
        let behaviour = if self.behaviours.len() > 1 {
            self.behaviours.remove(0)
        } else {
            self.behaviours[0].clone()
        };
        let has_credentials = invite.has(HeaderName::ProxyAuthorization);
        if behaviour.challenge && !has_credentials {
            self.behaviours.insert(0, behaviour);
            let mut response = Response::to(&invite, 407, "");
            response.set(
                HeaderName::ProxyAuthenticate,
                "Digest realm=\"x\", nonce=\"abc\", qop=\"auth\", algorithm=MD5",
            );
            self.layer.respond(now, server, response);
            return;
        }
        let tag = self.tokens.tag().as_str().to_owned();
        let call_id = invite.call_id().unwrap_or("").to_owned();
        let mut call = UaCall::new(call_id, tag, invite.clone(), None, Some(server), false);
        call.note_description(invite.body());
        call.behaviour = Some(behaviour.clone());
        self.calls.push(call);
        if let Some(after) = behaviour.ring {
            self.later(now, after, Todo::Ring(server));
        }
        if let Some((after, status)) = behaviour.end {
            self.later(now, after, Todo::End(server, status));
        }
    }

    fn ring(&mut self, now: Instant, server: ServerKey) {
        let (contact, address, payloads) = (self.contact(), self.address, self.payloads.clone());
        let Some(call) = self
            .calls
            .iter_mut()
            .find(|call| call.server == Some(server))
        else {
            return;
        };
        if call.over || call.statuses.iter().any(|status| *status >= 200) {
            return;
        }
        let early = call.behaviour.as_ref().is_some_and(|b| b.early);
        let mut response = Response::to(&call.invite, if early { 183 } else { 180 }, "");
        response.set_to_tag(&call.tag);
        response.set(HeaderName::Contact, contact);
        if early {
            let offered = call
                .described
                .last()
                .map_or(Vec::new(), |body| sdp::payloads(body));
            let common: Vec<u8> = payloads
                .into_iter()
                .filter(|pt| offered.contains(pt))
                .collect();
            response.set_body(
                "application/sdp",
                sdp::describe(address, call.version, &common, "sendrecv"),
            );
        }
        call.statuses.push(response.code());
        self.layer.respond(now, server, response);
    }

    fn end(&mut self, now: Instant, server: ServerKey, status: u16) {
        let contact = self.contact();
        let Some(n) = self
            .calls
            .iter()
            .position(|call| call.server == Some(server))
        else {
            return;
        };
        let call = &mut self.calls[n];
        if call.over || call.statuses.iter().any(|status| *status >= 200) {
            return;
        }
        let (behaviour, tag, invite) = (
            call.behaviour.clone(),
            call.tag.clone(),
            call.invite.clone(),
        );
        let mut response = Response::to(&invite, status, "");
        response.set_to_tag(&tag);
        call.statuses.push(status);
        if status == 200 {
            if !behaviour.as_ref().is_some_and(|b| b.no_contact) {
                response.set(HeaderName::Contact, contact);
            }
            let offer = call.described.last().cloned();
            let version = call.version;
            call.dialog = Dialog::uas(&invite, &tag).ok().map(|mut dialog| {
                dialog.confirm();
                dialog
            });
            let body = match offer {
                Some(offer) => {
                    self.answer_to(&offer, version, sdp::mirrored(sdp::direction(&offer)))
                }
                None => sdp::describe(self.address, version, &self.payloads, "sendrecv"),
            };
            response.set_body("application/sdp", body);
        } else {
            call.over = true;
            for contact in behaviour.iter().flat_map(|b| &b.contacts) {
                response.push(HeaderName::Contact, contact);
            }
        }
        self.layer.respond(now, server, response);
    }

    fn handle_response(&mut self, now: Instant, key: ClientKey, response: &Response) {
        let (flow, address, payloads) = (self.flow(), self.address, self.payloads.clone());
        let id = response.call_id().unwrap_or("");
        let method = response.cseq().map_or("", |cseq| cseq.method);
        let Some(call) = self.calls.iter_mut().find(|call| call.call_id == id) else {
            return;
        };
        if call.client != Some(key) {
            if response.is_final() {
                call.answers.push((Method::from(method), response.code()));
            }
            return;
        }
        let body = response.body();
        if response.code() != 100 {
            call.statuses.push(response.code());
            call.note_description(body);
        }
        if !response.is_final() {
            return;
        }
        call.last_response = Some(response.clone());
        if !response.is_success() {
            call.over = call.dialog.is_none();
            return;
        }
        if call.dialog.is_none() {
            call.dialog = Dialog::uac(&call.invite, response).ok();
        }
        let Some(dialog) = &mut call.dialog else {
            return;
        };
        dialog.refresh_target(response.contact());
        let mut ack = dialog.ack(call.invite.cseq().map_or(1, |cseq| cseq.number));
        if call.late || call.invite.body().is_empty() {
            let offered = sdp::payloads(&String::from_utf8_lossy(body));
            let common: Vec<u8> = payloads
                .into_iter()
                .filter(|pt| offered.contains(pt))
                .collect();
            ack.set_body(
                "application/sdp",
                sdp::describe(address, call.version, &common, "sendrecv"),
            );
        }
        call.acknowledged = true;
        self.layer.ack(key, flow, ack);
        let _ = now;
    }

    fn answer_to(&self, offer: &str, version: u32, direction: &str) -> String {
        let offered = sdp::payloads(offer);
        let common: Vec<u8> = self
            .payloads
            .iter()
            .copied()
            .filter(|pt| offered.contains(pt))
            .collect();
        sdp::describe(self.address, version, &common, direction)
    }

    fn later(&mut self, now: Instant, ms: u64, todo: Todo) {
        self.scheduled += 1;
        self.todo
            .insert((now + Duration::from_millis(ms), self.scheduled), todo);
    }
}

impl UaCall {
    fn new(
        call_id: String,
        tag: String,
        invite: Request,
        client: Option<ClientKey>,
        server: Option<ServerKey>,
        late: bool,
    ) -> Self {
        UaCall {
            call_id,
            client,
            server,
            invite,
            tag,
            dialog: None,
            behaviour: None,
            statuses: Vec::new(),
            last_response: None,
            described: Vec::new(),
            answers: Vec::new(),
            late,
            acknowledged: false,
            over: false,
            version: 1,
        }
    }

    fn note_description(&mut self, body: &Bytes) {
        if !body.is_empty() {
            self.described
                .push(String::from_utf8_lossy(body).into_owned());
        }
    }
}
