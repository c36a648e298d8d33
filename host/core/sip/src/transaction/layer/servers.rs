//! What the layer does with server transactions: start, step, end.

use super::super::invite_server;
use super::super::machine::{Action, ServerInput, Step};
use super::super::matching::Fingerprint;
use super::super::server;
use super::super::timers::Timers;
use super::{Event, Owner, Server, ServerKey, ServerMachine, TransactionLayer};
use crate::message::{Method, Request, Response};
use crate::transport::Flow;
use bytes::Bytes;
use std::time::Instant;

impl TransactionLayer {
    pub(super) fn start_server(
        &mut self,
        now: Instant,
        flow: Flow,
        request: &Request,
        fingerprint: Fingerprint,
        merge: Option<Fingerprint>,
    ) -> ServerKey {
        let to_tag: Box<str> = match request.to_tag() {
            Some(tag) => tag.into(),
            None => String::from(self.tokens.tag()).into_boxed_str(),
        };
        let mut timers = Timers::default();
        let timing = self.config.timing;
        let mut step = Step {
            now,
            timing: &timing,
            timers: &mut timers,
            reliable: flow.transport.is_reliable(),
        };
        let mut last = Bytes::new();
        let machine = if *request.method() == Method::Invite {
            if self.config.trying_after.is_some() {
                last = Response::to(request, 100, "").to_bytes();
            }
            ServerMachine::Invite(invite_server::State::start(
                &mut step,
                self.config.trying_after,
            ))
        } else {
            ServerMachine::Other(server::State::Trying)
        };
        let reply_port = request
            .via()
            .and_then(|via| via.port)
            .unwrap_or(flow.transport.default_port());
        let server = Server {
            machine,
            timers,
            queued: None,
            flow,
            reply_port,
            last,
            to_tag,
            fingerprint,
            merge,
            ack: None,
        };
        let key = self.servers.insert(server);
        self.by_server.insert(fingerprint, key);
        if let Some(merge) = merge {
            self.by_merge.insert(merge, key);
        }
        self.queue_server(key);
        ServerKey(key)
    }

    /// `response` is what `Action::Send` sends. Tells what was done.
    pub(super) fn step_server(
        &mut self,
        now: Instant,
        key: ServerKey,
        input: ServerInput,
        response: Bytes,
    ) -> &'static [Action] {
        let timing = self.config.timing;
        let Some(server) = self.servers.get_mut(key.0) else {
            return &[];
        };
        let reliable = server.flow.transport.is_reliable();
        let mut step = Step {
            now,
            timing: &timing,
            timers: &mut server.timers,
            reliable,
        };
        let actions = match &mut server.machine {
            ServerMachine::Invite(state) => {
                let (next, actions) = state.on(input, &mut step);
                *state = next;
                actions
            }
            ServerMachine::Other(state) => {
                let (next, actions) = state.on(input, &mut step);
                *state = next;
                actions
            }
        };
        for action in actions {
            let Some(server) = self.servers.get_mut(key.0) else {
                break;
            };
            match action {
                Action::Send => {
                    server.last = response.clone();
                    let flow = server.flow;
                    self.transmit(flow, response.clone());
                }
                Action::Resend => {
                    let (flow, bytes) = (server.flow, server.last.clone());
                    if !bytes.is_empty() {
                        self.transmit(flow, bytes);
                    }
                }
                // The caller has the request. The response need not be sent again.
                Action::Deliver => server.last = Bytes::new(),
                Action::AckMissing => self.events.push_back(Event::AckMissing { invite: key }),
                Action::End => self.end_server(key),
                Action::Ack | Action::Cancel | Action::Fail(_) => {
                    debug_assert!(false, "a server does not {action:?}")
                }
            }
        }
        self.queue_server(key.0);
        actions
    }

    pub(super) fn end_server(&mut self, key: ServerKey) {
        let Some(server) = self.servers.remove(key.0) else {
            return;
        };
        self.by_server.remove(&server.fingerprint);
        if let Some(merge) = server.merge {
            self.by_merge.remove(&merge);
        }
        if let Some(ack) = server.ack {
            self.by_ack.remove(&ack);
        }
        if let Some((at, timer)) = server.queued {
            self.queue.remove(&(at, timer, Owner::Server(key.0)));
        }
    }

    pub(super) fn queue_server(&mut self, key: u64) {
        let Some(server) = self.servers.get_mut(key) else {
            return;
        };
        let next = server.timers.next();
        let before = std::mem::replace(&mut server.queued, next);
        self.requeue(Owner::Server(key), before, next);
    }
}

impl Server {
    /// Whether a CANCEL can still change something.
    pub(super) fn is_pending_invite(&self) -> bool {
        matches!(
            self.machine,
            ServerMachine::Invite(invite_server::State::Proceeding)
        )
    }

    pub(super) fn is_invite(&self) -> bool {
        matches!(self.machine, ServerMachine::Invite(_))
    }

    pub(super) fn tag(&self) -> &str {
        &self.to_tag
    }

    pub(super) fn has_final(&self) -> bool {
        match self.machine {
            ServerMachine::Invite(state) => state != invite_server::State::Proceeding,
            ServerMachine::Other(state) => {
                !matches!(state, server::State::Trying | server::State::Proceeding)
            }
        }
    }
}
