//! What the layer does with client transactions: start, step, acknowledge, cancel.

use super::super::client;
use super::super::invite_client;
use super::super::machine::{Action, ClientInput, Failure, Step};
use super::super::matching::Fingerprint;
use super::super::timers::{Timer, Timers};
use super::{Answer, Cancel, Client, ClientKey, ClientMachine, Event, Owner, TransactionLayer};
use crate::message::uri::split_host_port;
use crate::message::{HeaderName, Message, Method, Request, Response, Via};
use crate::transport::Flow;
use bytes::Bytes;
use smallvec::SmallVec;
use std::time::Instant;

impl TransactionLayer {
    pub(super) fn start_client(
        &mut self,
        now: Instant,
        flow: Flow,
        bytes: Bytes,
        fingerprint: Fingerprint,
        is_invite: bool,
        cancel: Cancel,
    ) -> ClientKey {
        let mut timers = Timers::default();
        let timing = self.config.timing;
        let mut step = Step {
            now,
            timing: &timing,
            timers: &mut timers,
            reliable: flow.transport.is_reliable(),
        };
        let machine = if is_invite {
            ClientMachine::Invite(invite_client::State::start(&mut step))
        } else {
            ClientMachine::Other(client::State::start(&mut step))
        };
        let client = Client {
            machine,
            timers,
            queued: None,
            flow,
            sent: bytes.clone(),
            fingerprint,
            cancel,
            answers: SmallVec::new(),
        };
        let key = self.clients.insert(client);
        self.by_client.insert(fingerprint, key);
        self.transmit(flow, bytes);
        self.queue_client(key);
        ClientKey(key)
    }

    pub(super) fn step_client(
        &mut self,
        now: Instant,
        key: ClientKey,
        input: ClientInput,
        mut response: Option<Response>,
    ) {
        let timing = self.config.timing;
        let Some(client) = self.clients.get_mut(key.0) else {
            return;
        };
        let reliable = client.flow.transport.is_reliable();
        let mut step = Step {
            now,
            timing: &timing,
            timers: &mut client.timers,
            reliable,
        };
        let actions = match &mut client.machine {
            ClientMachine::Invite(state) => {
                let (next, actions) = state.on(input, &mut step);
                *state = next;
                actions
            }
            ClientMachine::Other(state) => {
                let (next, actions) = state.on(input, &mut step);
                *state = next;
                actions
            }
        };
        for action in actions {
            match action {
                Action::Ack => self.acknowledge_failure(key, response.as_ref()),
                Action::Cancel => self.cancel(now, key),
                Action::Deliver => {
                    if let Some(response) = response.take() {
                        self.deliver(key, response);
                    }
                }
                Action::End => self.end_client(key),
                Action::Fail(why) => self.fail(key, *why),
                Action::Resend => {
                    let again = self
                        .clients
                        .get(key.0)
                        .map(|client| (client.flow, client.sent.clone()));
                    if let Some((flow, bytes)) = again {
                        self.transmit(flow, bytes);
                    }
                }
                Action::AckMissing | Action::Send => {
                    debug_assert!(false, "a client does not {action:?}")
                }
            }
        }
        // What is never sent again need not be kept.
        if let Some(client) = self.clients.get_mut(key.0) {
            let is_done = match client.machine {
                ClientMachine::Invite(state) => state == invite_client::State::Accepted,
                ClientMachine::Other(state) => state == client::State::Completed,
            };
            if is_done {
                client.sent = Bytes::new();
            }
            let may_cancel = matches!(
                client.machine,
                ClientMachine::Invite(invite_client::State::Proceeding)
            );
            if may_cancel && let Cancel::Wanted(reason) = &mut client.cancel {
                let reason = reason.take();
                self.send_cancel(now, key, reason);
            }
        }
        self.queue_client(key.0);
    }

    pub(super) fn deliver(&mut self, key: ClientKey, response: Response) {
        let Some(client) = self.clients.get_mut(key.0) else {
            return;
        };
        if matches!(client.cancel, Cancel::Itself) {
            return;
        }
        if response.is_success() && matches!(client.machine, ClientMachine::Invite(_)) {
            let to_tag = response.to_tag().unwrap_or("");
            if let Some(answer) = client
                .answers
                .iter()
                .find(|answer| *answer.to_tag == *to_tag)
            {
                // The same 2xx again: the ACK was lost, or the user is still thinking.
                if let Some((flow, bytes)) = answer.ack.clone() {
                    self.transmit(flow, bytes);
                }
                return;
            }
            client.answers.push(Answer {
                to_tag: to_tag.into(),
                ack: None,
            });
        }
        self.events.push_back(Event::Response { key, response });
    }

    pub(super) fn fail(&mut self, key: ClientKey, why: Failure) {
        let is_heard = self
            .clients
            .get(key.0)
            .is_some_and(|client| !matches!(client.cancel, Cancel::Itself));
        if is_heard {
            self.events.push_back(Event::Failed { key, why });
        }
    }

    /// RFC 3261 §17.1.1.3: on the same flow, with the same branch, and To as in the response.
    pub(super) fn acknowledge_failure(&mut self, key: ClientKey, response: Option<&Response>) {
        let Some(client) = self.clients.get_mut(key.0) else {
            return;
        };
        if let (Some(invite), Some(response)) = (parse_own(&client.sent, Method::Invite), response)
        {
            let mut ack = hop_by_hop(&invite, Method::Ack);
            ack.remove(HeaderName::To);
            ack.copy(HeaderName::To, response);
            client.sent = ack.to_bytes();
        }
        let (flow, bytes) = (client.flow, client.sent.clone());
        self.transmit(flow, bytes);
    }

    pub(super) fn cancel_for(&mut self, now: Instant, key: ClientKey, reason: Option<Box<str>>) {
        let Some(client) = self.clients.get_mut(key.0) else {
            return;
        };
        match (client.machine, &client.cancel) {
            (ClientMachine::Invite(invite_client::State::Calling { .. }), Cancel::No) => {
                client.cancel = Cancel::Wanted(reason);
            }
            (ClientMachine::Invite(invite_client::State::Proceeding), Cancel::No) => {
                self.send_cancel(now, key, reason)
            }
            (ClientMachine::Invite(_) | ClientMachine::Other(_), _) => {}
        }
    }

    pub(super) fn send_cancel(&mut self, now: Instant, key: ClientKey, reason: Option<Box<str>>) {
        let lifetime = self.config.timing.lifetime();
        let Some(client) = self.clients.get_mut(key.0) else {
            return;
        };
        let Some(invite) = parse_own(&client.sent, Method::Invite) else {
            return;
        };
        client.cancel = Cancel::Sent;
        client.timers.stop(Timer::C);
        client.timers.set(Timer::WaitAfterCancel, now + lifetime);
        let flow = client.flow;
        self.queue_client(key.0);
        let mut cancel = hop_by_hop(&invite, Method::Cancel);
        if let Some(reason) = reason {
            cancel.push(HeaderName::Reason, reason);
        }
        let Some(branch) = invite.via().and_then(|via| via.branch().map(str::to_owned)) else {
            return;
        };
        let fingerprint = self.matcher.client(&branch, "CANCEL");
        self.start_client(
            now,
            flow,
            cancel.to_bytes(),
            fingerprint,
            false,
            Cancel::Itself,
        );
    }

    pub(super) fn end_client(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.remove(key.0) {
            self.by_client.remove(&client.fingerprint);
            if let Some((at, timer)) = client.queued {
                self.queue.remove(&(at, timer, Owner::Client(key.0)));
            }
        }
    }

    /// Brings the queue in line with the transaction's own timers.
    pub(super) fn queue_client(&mut self, key: u64) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let next = client.timers.next();
        let before = std::mem::replace(&mut client.queued, next);
        self.requeue(Owner::Client(key), before, next);
    }

    pub(super) fn push_via(&self, flow: &Flow, request: &mut Request, branch: &str) {
        if !request.has(HeaderName::MaxForwards) {
            request.push_front(HeaderName::MaxForwards, 70);
        }
        let transport = flow.transport;
        // RFC 3581 §3: asked for always, it does no harm on a stream.
        match self.advertised(flow) {
            Some(host) => request.push_front(
                HeaderName::Via,
                format_args!("SIP/2.0/{transport} {host};branch={branch};rport"),
            ),
            None => {
                let local = flow.local;
                request.push_front(
                    HeaderName::Via,
                    format_args!("SIP/2.0/{transport} {local};branch={branch};rport"),
                );
            }
        }
    }

    pub(super) fn advertised(&self, flow: &Flow) -> Option<&str> {
        self.config
            .advertise
            .iter()
            .find(|(local, _)| *local == flow.local)
            .map(|(_, host)| host.as_str())
    }

    /// RFC 3261 §18.1.2: a response whose sent-by is not what we put there is none of ours.
    pub(super) fn is_our_sent_by(&self, flow: &Flow, via: &Via<'_>) -> bool {
        match self.advertised(flow) {
            Some(own) => split_host_port(own)
                .is_ok_and(|(host, port)| host.eq_ignore_ascii_case(via.host) && port == via.port),
            None => via.host_ip() == Some(flow.local.ip()) && via.port == Some(flow.local.port()),
        }
    }
}

/// A request that goes the same way as the INVITE and is named by its branch (RFC 3261 §9.1,
/// §17.1.1.3).
fn hop_by_hop(invite: &Request, method: Method) -> Request {
    let cseq = invite.cseq().map_or(0, |cseq| cseq.number);
    let mut request = Request::builder(method, invite.uri()).build();
    for name in [
        HeaderName::Via,
        HeaderName::Route,
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
    ] {
        request.copy(name, invite);
    }
    let method = request.method().clone();
    request.push(HeaderName::CSeq, format_args!("{cseq} {method}"));
    request.push(HeaderName::MaxForwards, 70);
    request
}

/// What we sent ourselves, if it is of that method.
fn parse_own(bytes: &Bytes, method: Method) -> Option<Request> {
    match Message::parse(bytes.clone()).ok()? {
        Message::Request(request) if *request.method() == method => Some(request),
        Message::Request(_) | Message::Response(_) => None,
    }
}
