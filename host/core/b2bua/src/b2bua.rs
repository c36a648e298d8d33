//! All calls of one worker. Finds the call that an input is about, lets it act, and hands out
//! what came of it.

use crate::admission::Arrival;
use crate::call::Call;
use crate::config::Config;
use crate::directory::Directory;
use crate::io::{Input, Output, Timer};
use crate::key::{CallKey, LegId};
use crate::messages;
use crate::world::World;
use bytes::Bytes;
use sip::Method;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// See the crate's text. After each `handle…` drain [`B2bua::poll_output`].
#[derive(Debug)]
pub struct B2bua {
    worker: u16,
    /// Makes the keys of this run differ from those of the last one.
    salt: u64,
    serial: u32,
    calls: BTreeMap<CallKey, Call>,
    world: World,
}

impl B2bua {
    /// `worker` is in every token that we make, `seed` makes them unguessable.
    pub fn new(config: Config, worker: u16, seed: u64, directory: Arc<Directory>) -> Self {
        let mut world = World::new(config, directory, worker, seed);
        let salt = world.tokens.random_u64();
        B2bua {
            worker,
            salt,
            serial: 0,
            calls: BTreeMap::new(),
            world,
        }
    }

    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Command { call, command } => {
                self.with_call(call, |call, w| call.handle_command(now, w, command))
            }
            Input::Connector { call, id, event } => {
                self.with_call(call, |call, w| call.handle_connector(now, w, id, event));
            }
            Input::Directory(directory) => self.world.directory = directory,
            Input::Drain => self.world.draining = true,
            Input::FlowActions { call, result, step } => {
                self.with_call(call, |call, w| {
                    call.handle_flow_actions(now, w, result, step)
                });
            }
            Input::FlowFailed { flow } => self.handle_flow_failed(now, flow),
            Input::FlowStarted {
                call,
                ask,
                result,
                step,
            } => {
                self.with_call(call, |call, w| {
                    call.handle_flow_started(now, w, ask, result, step)
                });
            }
            Input::Located { query, addresses } => {
                self.with_call(query.call, |call, w| {
                    call.handle_located(now, w, query.leg, addresses)
                });
            }
            Input::Media { call, event } => {
                self.with_call(call, |call, w| call.handle_media(now, w, event))
            }
            Input::Message { flow, bytes } => self.handle_message(now, flow, bytes),
            Input::Read {
                call,
                ask,
                result,
                step,
            } => {
                self.with_call(call, |call, w| call.handle_read(now, w, ask, result, step));
            }
            Input::Routed { call, ask, routed } => {
                self.with_call(call, |call, w| call.handle_routed(now, w, ask, routed))
            }
            Input::Shaped {
                call,
                ask,
                result,
                step,
            } => {
                self.with_call(call, |call, w| {
                    call.handle_shaped(now, w, ask, result, step)
                });
            }
            Input::WallClock { now_ms } => {
                self.world.wall_ms = now_ms;
                return;
            }
        }
        self.settle(now);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.world.sip.handle_timeout(now);
        self.settle(now);
        while let Some((call, timer)) = self.world.timers.pop(now) {
            self.with_call(call, |call, w| call.handle_timer(now, w, timer));
            self.settle(now);
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.world.poll_output()
    }

    /// When to call [`B2bua::handle_timeout`], and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.world.next_timeout()
    }

    /// Calls that are not wholly over.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// The same, by their keys.
    pub fn keys(&self) -> impl Iterator<Item = CallKey> {
        self.calls.keys().copied()
    }

    /// Nothing is held for any call: no index, port or timer. (Transactions linger by
    /// themselves, RFC 3261 table 4.)
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.world.is_empty()
    }

    fn handle_message(&mut self, now: Instant, flow: sip::Flow, bytes: Bytes) {
        self.journal_message(now, &flow, &bytes, false);
        self.world.sip.handle_message(now, flow, bytes.clone());
        self.settle_with(now, Some(&bytes));
    }

    fn handle_flow_failed(&mut self, now: Instant, flow: sip::Flow) {
        self.world.sip.handle_flow_failed(now, &flow);
        if flow.connection != 0 {
            for call in self.calls.values_mut() {
                call.forget_connection(&flow);
            }
        }
    }

    fn with_call(&mut self, key: CallKey, act: impl FnOnce(&mut Call, &mut World)) {
        // An answer for a call that is over is nobody's.
        if let Some(call) = self.calls.get_mut(&key) {
            act(call, &mut self.world);
        }
    }

    fn settle(&mut self, now: Instant) {
        self.settle_with(now, None);
    }

    /// Everything that follows: events of the transactions, messages out, ends of calls.
    fn settle_with(&mut self, now: Instant, received: Option<&Bytes>) {
        loop {
            self.transmit(now);
            if let Some(event) = self.world.sip.poll_event() {
                self.handle_event(now, event, received);
                continue;
            }
            let finishing = self.world.take_finishing();
            if finishing.is_empty() {
                return;
            }
            for key in finishing {
                let Some(call) = self.calls.get_mut(&key) else {
                    continue;
                };
                if call.finish(now, &mut self.world)
                    && let Some(mut call) = self.calls.remove(&key)
                {
                    call.release(&mut self.world);
                }
            }
        }
    }

    fn transmit(&mut self, now: Instant) {
        while let Some(transmit) = self.world.sip.poll_transmit() {
            self.journal_message(now, &transmit.flow, &transmit.bytes, true);
            self.world.output(Output::Transmit(transmit));
        }
    }

    /// Every message of a call, repeated ones too: its Call-ID says whose it is.
    fn journal_message(&mut self, now: Instant, flow: &sip::Flow, bytes: &Bytes, sent: bool) {
        if !self.world.config.journal_sip {
            return;
        }
        let Some(call_id) = messages::call_id_in(bytes) else {
            return;
        };
        let Some((key, leg)) = self.world.call_of_call_id(call_id) else {
            return;
        };
        let line = self.world.sip_line(leg, sent, flow, bytes);
        self.with_call(key, |call, w| call.record(now, w, line));
    }

    fn handle_event(&mut self, now: Instant, event: sip::Event, received: Option<&Bytes>) {
        match event {
            sip::Event::Request { key, flow, request } => {
                self.handle_request(now, key, flow, request, received)
            }
            sip::Event::Ack {
                invite, request, ..
            } => {
                if let Some((call, leg)) = self.world.call_of_server(invite) {
                    self.world.forget_server(invite);
                    self.with_call(call, |call, w| call.handle_ack(now, w, leg, &request));
                }
            }
            sip::Event::Cancel { invite, .. } => self.handle_cancel(now, invite),
            sip::Event::Response { key, response } => {
                if let Some(call) = self.world.call_of_client(key) {
                    self.with_call(call, |call, w| call.handle_response(now, w, key, &response));
                }
            }
            sip::Event::Failed { key, why } => {
                let timed_out = matches!(why, sip::Failure::Timeout);
                if let Some(call) = self.world.call_of_client(key) {
                    self.with_call(call, |call, w| {
                        call.handle_request_failed(now, w, key, timed_out)
                    });
                }
            }
            sip::Event::AckMissing { invite } => {
                if let Some((call, leg)) = self.world.call_of_server(invite) {
                    self.world.forget_server(invite);
                    self.with_call(call, |call, w| call.handle_ack_missing(now, w, leg));
                }
            }
            sip::Event::Dropped { .. } => {}
        }
    }

    fn handle_cancel(&mut self, now: Instant, invite: sip::ServerKey) {
        let Some((call, leg)) = self.world.call_of_server(invite) else {
            return;
        };
        self.with_call(call, |call, w| call.handle_cancel(now, w, leg, invite));
    }

    fn handle_request(
        &mut self,
        now: Instant,
        server: sip::ServerKey,
        flow: sip::Flow,
        request: sip::Request,
        received: Option<&Bytes>,
    ) {
        if request.is_in_dialog() {
            match self.find_dialog(&request) {
                Some((call, leg)) => {
                    self.with_call(call, |call, w| {
                        call.handle_in_dialog(now, w, leg, server, flow, request)
                    });
                }
                None => {
                    let response = messages::respond(&mut self.world, &request, 481);
                    self.world.sip.respond(now, server, response);
                }
            }
            return;
        }
        if *request.method() != Method::Invite {
            let response = messages::answer_without_call(&mut self.world, &request);
            self.world.sip.respond(now, server, response);
            return;
        }
        self.serial = self.serial.wrapping_add(1);
        let key = CallKey::new(self.worker, self.serial, self.salt);
        let line = received.map(|bytes| self.world.sip_line(LegId::A, false, &flow, bytes));
        let looped = self.is_loop(&request);
        let arrival = Arrival {
            key,
            flow,
            server,
            invite: request,
            calls: self.calls.len(),
            looped,
        };
        let call = Call::arrive(now, &mut self.world, arrival, line);
        self.calls.insert(key, call);
    }

    /// A call that we sent came back and asks for the same number again: it would go round
    /// until Max-Forwards is used up.
    fn is_loop(&self, invite: &sip::Request) -> bool {
        let Some((key, leg)) = invite
            .call_id()
            .and_then(|id| self.world.call_of_call_id(id))
        else {
            return false;
        };
        let Some(call) = self.calls.get(&key).filter(|_| leg != LegId::A) else {
            return false;
        };
        let uri = invite.sip_uri().ok();
        uri.and_then(|uri| uri.user_decoded())
            .is_some_and(|called| called == call.info.called)
    }

    /// By our own tag; Call-ID and the peer's tag must fit as well (RFC 3261 §12).
    fn find_dialog(&self, request: &sip::Request) -> Option<(CallKey, LegId)> {
        let (key, leg) = self.world.call_of_tag(request.to_tag()?)?;
        let fits = self
            .calls
            .get(&key)?
            .is_dialog(leg, request.call_id()?, request.from_tag());
        fits.then_some((key, leg))
    }
}
