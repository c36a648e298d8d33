//! The transaction layer: owns all transactions, their timers and their index.

mod clients;
mod incoming;
mod servers;

use super::event::Event;
use super::machine::{ClientInput, ServerInput};
use super::matching::{Fingerprint, Index, Matcher};
use super::slots::Slots;
use super::timers::{Timer, Timers, Timing};
use super::{client, invite_client, invite_server, server};
use crate::message::{Limits, Method, Request, Response};
use crate::token::TokenSource;
use crate::transport::{Flow, Transmit};
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A request of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(u64);

/// A request of a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerKey(u64);

#[derive(Debug, Clone)]
pub struct Config {
    pub timing: Timing,
    /// When an INVITE that nobody answered gets 100 Trying by itself; `None`: never.
    pub trying_after: Option<Duration>, // 100 ms
    /// `host` or `host:port` for the Via of what leaves from this address, where that is not
    /// the address itself.
    pub advertise: Vec<(SocketAddr, String)>,
    /// Transactions at a time; beyond it new requests get 503.
    pub transactions: usize, // 200,000
    /// For that 503, in seconds.
    pub retry_after: u32, // 5 s
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            timing: Timing::default(),
            trying_after: Some(Duration::from_millis(100)),
            advertise: Vec::new(),
            transactions: 200_000,
            retry_after: 5,
            limits: Limits::default(),
        }
    }
}

#[derive(Debug)]
pub struct TransactionLayer {
    config: Config,
    tokens: TokenSource,
    matcher: Matcher,
    clients: Slots<Client>,
    servers: Slots<Server>,
    by_client: Index,
    by_server: Index,
    /// Requests outside of dialogs, to recognise merged ones.
    by_merge: Index,
    /// INVITEs answered with 2xx, by what their ACK has.
    by_ack: Index,
    /// The earliest timer of each transaction.
    queue: BTreeSet<(Instant, Timer, Owner)>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Client(u64),
    Server(u64),
}

#[derive(Debug)]
struct Client {
    machine: ClientMachine,
    timers: Timers,
    queued: Option<(Instant, Timer)>,
    flow: Flow,
    /// What is sent again: the request, or the ACK of a failure. Empty when nothing is.
    sent: Bytes,
    fingerprint: Fingerprint,
    cancel: Cancel,
    /// One for each To tag of a 2xx.
    answers: SmallVec<[Answer; 1]>,
}

#[derive(Debug, Clone, Copy)]
enum ClientMachine {
    Invite(invite_client::State),
    Other(client::State),
}

#[derive(Debug)]
enum Cancel {
    No,
    /// As soon as a provisional response came (RFC 3261 §9.1); with this Reason.
    Wanted(Option<Box<str>>),
    Sent,
    /// This transaction is itself a CANCEL: nobody hears of it.
    Itself,
}

/// A 2xx that was given to the user, and the ACK that it gets each time it comes again.
#[derive(Debug)]
struct Answer {
    to_tag: Box<str>,
    ack: Option<(Flow, Bytes)>,
}

#[derive(Debug)]
struct Server {
    machine: ServerMachine,
    timers: Timers,
    queued: Option<(Instant, Timer)>,
    flow: Flow,
    /// Where a new connection goes if the one of the request is gone (RFC 3261 §18.2.2).
    reply_port: u16,
    /// The last response; before the first one the 100 that may go out by itself.
    last: Bytes,
    /// What a response without a To tag gets, and the answer to a CANCEL.
    to_tag: Box<str>,
    fingerprint: Fingerprint,
    merge: Option<Fingerprint>,
    ack: Option<Fingerprint>,
}

#[derive(Debug, Clone, Copy)]
enum ServerMachine {
    Invite(invite_server::State),
    Other(server::State),
}

impl TransactionLayer {
    /// `tokens` makes the branches; its seed must be secret.
    pub fn new(config: Config, mut tokens: TokenSource) -> Self {
        let secret = [
            tokens.random_u64(),
            tokens.random_u64(),
            tokens.random_u64(),
            tokens.random_u64(),
        ];
        TransactionLayer {
            config,
            tokens,
            matcher: Matcher::new(secret),
            clients: Slots::default(),
            servers: Slots::default(),
            by_client: Index::default(),
            by_server: Index::default(),
            by_merge: Index::default(),
            by_ack: Index::default(),
            queue: BTreeSet::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Nothing can be sent on this flow any more. Requests that wait for an answer on it fail;
    /// responses will go by a new connection.
    pub fn handle_flow_failed(&mut self, now: Instant, flow: &Flow) {
        for key in self.clients.keys_where(|client| client.flow == *flow) {
            self.step_client(now, ClientKey(key), ClientInput::FlowFailed, None);
        }
        if flow.connection != 0 {
            for key in self.servers.keys_where(|server| server.flow == *flow) {
                if let Some(server) = self.servers.get_mut(key) {
                    server.flow.connection = 0;
                    server.flow.remote.set_port(server.reply_port);
                }
            }
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, _, owner)) = self.queue.first().copied() {
            if at > now {
                break;
            }
            match owner {
                Owner::Client(key) => {
                    let due = self
                        .clients
                        .get_mut(key)
                        .and_then(|client| client.timers.take_due(now));
                    if let Some(timer) = due {
                        self.step_client(now, ClientKey(key), ClientInput::TimedOut(timer), None);
                    } else {
                        self.queue.pop_first();
                    }
                }
                Owner::Server(key) => {
                    let due = self
                        .servers
                        .get_mut(key)
                        .and_then(|server| server.timers.take_due(now));
                    if let Some(timer) = due {
                        self.step_server(
                            now,
                            ServerKey(key),
                            ServerInput::TimedOut(timer),
                            Bytes::new(),
                        );
                    } else {
                        self.queue.pop_first();
                    }
                }
            }
        }
    }

    /// Sends a request in a new client transaction. The layer adds Via, and Max-Forwards where
    /// there is none. Not for ACK ([`TransactionLayer::ack`]) and CANCEL
    /// ([`TransactionLayer::cancel`]).
    pub fn request(&mut self, now: Instant, flow: Flow, mut request: Request) -> ClientKey {
        let branch = self.tokens.branch();
        self.push_via(&flow, &mut request, branch.as_str());
        let fingerprint = self
            .matcher
            .client(branch.as_str(), request.method().as_str());
        let is_invite = *request.method() == Method::Invite;
        self.start_client(
            now,
            flow,
            request.to_bytes(),
            fingerprint,
            is_invite,
            Cancel::No,
        )
    }

    /// Cancels an INVITE: at once if a provisional response came, else when one comes
    /// (RFC 3261 §9.1). The INVITE still ends with a response (487 as a rule, but a 200 that
    /// crossed the CANCEL is possible) or a failure. Nothing happens if it has ended.
    pub fn cancel(&mut self, now: Instant, key: ClientKey) {
        self.cancel_for(now, key, None);
    }

    /// Like `cancel`, with the value of a Reason header (RFC 3326).
    pub fn cancel_with_reason(&mut self, now: Instant, key: ClientKey, reason: &str) {
        self.cancel_for(now, key, Some(reason.into()));
    }

    /// Acknowledges a 2xx (RFC 3261 §13.2.2.4). `ack` comes from `Dialog::ack`; it goes by
    /// `flow`, and again each time the same 2xx comes again, while the transaction lives.
    pub fn ack(&mut self, key: ClientKey, flow: Flow, ack: Request) {
        let to_tag: Option<Box<str>> = ack.to_tag().map(Into::into);
        let bytes = self.send_ack(flow, ack);
        let Some(client) = self.clients.get_mut(key.0) else {
            return;
        };
        if let Some(answer) = client
            .answers
            .iter_mut()
            .find(|answer| Some(&answer.to_tag) == to_tag.as_ref())
        {
            answer.ack = Some((flow, bytes));
        }
    }

    /// Sends an ACK for a 2xx once, with a branch of its own.
    pub fn send_ack(&mut self, flow: Flow, mut ack: Request) -> Bytes {
        let branch = self.tokens.branch();
        self.push_via(&flow, &mut ack, branch.as_str());
        let bytes = ack.to_bytes();
        self.transmit(flow, bytes.clone());
        bytes
    }

    /// Answers a request. A response beyond 100 without a To tag gets one. `false` if the
    /// transaction is over or has its final response.
    pub fn respond(&mut self, now: Instant, key: ServerKey, mut response: Response) -> bool {
        let Some(server) = self.servers.get_mut(key.0) else {
            return false;
        };
        if server.has_final() {
            return false;
        }
        if response.code() > 100 {
            match response.to_tag() {
                Some(tag) if *tag == *server.to_tag => {}
                Some(tag) => server.to_tag = tag.into(),
                None => response.set_to_tag(&server.to_tag),
            }
        }
        if response.is_success() && matches!(server.machine, ServerMachine::Invite(_)) {
            server.ack = self.matcher.acknowledged(&response);
            if let Some(fingerprint) = server.ack {
                self.by_ack.insert(fingerprint, key.0);
            }
        }
        self.step_server(
            now,
            key,
            ServerInput::of(response.code()),
            response.to_bytes(),
        );
        true
    }

    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call `handle_timeout`, and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.queue.first().map(|&(at, timer, _)| (at, timer))
    }

    /// The tag that responses to this request get where they have none of their own. The
    /// dialog of a UAS uses it.
    pub fn to_tag(&self, key: ServerKey) -> Option<&str> {
        self.servers.get(key.0).map(|server| &*server.to_tag)
    }

    /// For Call-IDs, tags and numbers from the same source as the branches.
    pub fn tokens(&mut self) -> &mut TokenSource {
        &mut self.tokens
    }

    /// Transactions alive, in both directions.
    pub fn len(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl TransactionLayer {
    /// Brings the queue in line with a transaction's own timers.
    fn requeue(
        &mut self,
        owner: Owner,
        before: Option<(Instant, Timer)>,
        next: Option<(Instant, Timer)>,
    ) {
        if before == next {
            return;
        }
        if let Some((at, timer)) = before {
            self.queue.remove(&(at, timer, owner));
        }
        if let Some((at, timer)) = next {
            self.queue.insert((at, timer, owner));
        }
    }

    fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        self.transmits.push_back(Transmit { flow, bytes });
    }

    fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }
}
