//! The transaction layer: owns all transactions, their timers and their index.

use super::event::Event;
use super::machine::{Action, ClientInput, Failure, ServerInput, Step};
use super::matching::{Fingerprint, Index, Matcher};
use super::slots::Slots;
use super::timers::{Timer, Timers, Timing};
use super::{client, invite_client, invite_server, server};
use crate::message::uri::split_host_port;
use crate::message::{HeaderName, Limits, Message, Method, Request, Response, Via};
use crate::token::TokenSource;
use crate::transport::{Flow, Transmit};
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A request of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(pub(super) u64);

/// A request of a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerKey(pub(super) u64);

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
    pub(super) config: Config,
    pub(super) tokens: TokenSource,
    pub(super) matcher: Matcher,
    pub(super) clients: Slots<Client>,
    pub(super) servers: Slots<Server>,
    pub(super) by_client: Index,
    pub(super) by_server: Index,
    /// Requests outside of dialogs, to recognise merged ones.
    pub(super) by_merge: Index,
    /// INVITEs answered with 2xx, by what their ACK has.
    pub(super) by_ack: Index,
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
pub(super) struct Client {
    machine: ClientMachine,
    timers: Timers,
    queued: Option<(Instant, Timer)>,
    pub(super) flow: Flow,
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
pub(super) struct Server {
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
        let secret = [tokens.random_u64(), tokens.random_u64(), tokens.random_u64(), tokens.random_u64()];
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
                    let due = self.clients.get_mut(key).and_then(|client| client.timers.take_due(now));
                    if let Some(timer) = due {
                        self.step_client(now, ClientKey(key), ClientInput::TimedOut(timer), None);
                    } else {
                        self.queue.pop_first();
                    }
                }
                Owner::Server(key) => {
                    let due = self.servers.get_mut(key).and_then(|server| server.timers.take_due(now));
                    if let Some(timer) = due {
                        self.step_server(now, ServerKey(key), ServerInput::TimedOut(timer), Bytes::new());
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
        let fingerprint = self.matcher.client(branch.as_str(), request.method().as_str());
        let is_invite = *request.method() == Method::Invite;
        self.start_client(now, flow, request.to_bytes(), fingerprint, is_invite, Cancel::No)
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
        let Some(client) = self.clients.get_mut(key.0) else { return };
        if let Some(answer) = client.answers.iter_mut().find(|answer| Some(&answer.to_tag) == to_tag.as_ref()) {
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
        let Some(server) = self.servers.get_mut(key.0) else { return false };
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
        self.step_server(now, key, ServerInput::of(response.code()), response.to_bytes());
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

/// Inside of the layer: clients.
impl TransactionLayer {
    fn start_client(
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
        let mut step = Step { now, timing: &timing, timers: &mut timers, reliable: flow.transport.is_reliable() };
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

    pub(super) fn step_client(&mut self, now: Instant, key: ClientKey, input: ClientInput, mut response: Option<Response>) {
        let timing = self.config.timing;
        let Some(client) = self.clients.get_mut(key.0) else { return };
        let reliable = client.flow.transport.is_reliable();
        let mut step = Step { now, timing: &timing, timers: &mut client.timers, reliable };
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
                    let again = self.clients.get(key.0).map(|client| (client.flow, client.sent.clone()));
                    if let Some((flow, bytes)) = again {
                        self.transmit(flow, bytes);
                    }
                }
                Action::AckMissing | Action::Send => debug_assert!(false, "a client does not {action:?}"),
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
            let may_cancel = matches!(client.machine, ClientMachine::Invite(invite_client::State::Proceeding));
            if may_cancel && let Cancel::Wanted(reason) = &mut client.cancel {
                let reason = reason.take();
                self.send_cancel(now, key, reason);
            }
        }
        self.queue_client(key.0);
    }

    fn deliver(&mut self, key: ClientKey, response: Response) {
        let Some(client) = self.clients.get_mut(key.0) else { return };
        if matches!(client.cancel, Cancel::Itself) {
            return;
        }
        if response.is_success() && matches!(client.machine, ClientMachine::Invite(_)) {
            let to_tag = response.to_tag().unwrap_or("");
            if let Some(answer) = client.answers.iter().find(|answer| *answer.to_tag == *to_tag) {
                // The same 2xx again: the ACK was lost, or the user is still thinking.
                if let Some((flow, bytes)) = answer.ack.clone() {
                    self.transmit(flow, bytes);
                }
                return;
            }
            client.answers.push(Answer { to_tag: to_tag.into(), ack: None });
        }
        self.events.push_back(Event::Response { key, response });
    }

    fn fail(&mut self, key: ClientKey, why: Failure) {
        let is_heard = self.clients.get(key.0).is_some_and(|client| !matches!(client.cancel, Cancel::Itself));
        if is_heard {
            self.events.push_back(Event::Failed { key, why });
        }
    }

    /// RFC 3261 §17.1.1.3: on the same flow, with the same branch, and To as in the response.
    fn acknowledge_failure(&mut self, key: ClientKey, response: Option<&Response>) {
        let Some(client) = self.clients.get_mut(key.0) else { return };
        if let (Some(invite), Some(response)) = (parse_own(&client.sent, Method::Invite), response) {
            let mut ack = hop_by_hop(&invite, Method::Ack);
            ack.remove(HeaderName::To);
            ack.copy(HeaderName::To, response);
            client.sent = ack.to_bytes();
        }
        let (flow, bytes) = (client.flow, client.sent.clone());
        self.transmit(flow, bytes);
    }

    fn cancel_for(&mut self, now: Instant, key: ClientKey, reason: Option<Box<str>>) {
        let Some(client) = self.clients.get_mut(key.0) else { return };
        match (client.machine, &client.cancel) {
            (ClientMachine::Invite(invite_client::State::Calling { .. }), Cancel::No) => {
                client.cancel = Cancel::Wanted(reason);
            }
            (ClientMachine::Invite(invite_client::State::Proceeding), Cancel::No) => self.send_cancel(now, key, reason),
            (ClientMachine::Invite(_) | ClientMachine::Other(_), _) => {}
        }
    }

    fn send_cancel(&mut self, now: Instant, key: ClientKey, reason: Option<Box<str>>) {
        let lifetime = self.config.timing.lifetime();
        let Some(client) = self.clients.get_mut(key.0) else { return };
        let Some(invite) = parse_own(&client.sent, Method::Invite) else { return };
        client.cancel = Cancel::Sent;
        client.timers.stop(Timer::C);
        client.timers.set(Timer::WaitAfterCancel, now + lifetime);
        let flow = client.flow;
        self.queue_client(key.0);
        let mut cancel = hop_by_hop(&invite, Method::Cancel);
        if let Some(reason) = reason {
            cancel.push(HeaderName::Reason, reason);
        }
        let Some(branch) = invite.via().and_then(|via| via.branch().map(str::to_owned)) else { return };
        let fingerprint = self.matcher.client(&branch, "CANCEL");
        self.start_client(now, flow, cancel.to_bytes(), fingerprint, false, Cancel::Itself);
    }

    fn end_client(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.remove(key.0) {
            self.by_client.remove(&client.fingerprint);
            if let Some((at, timer)) = client.queued {
                self.queue.remove(&(at, timer, Owner::Client(key.0)));
            }
        }
    }

    /// Brings the queue in line with the transaction's own timers.
    fn queue_client(&mut self, key: u64) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let next = client.timers.next();
        let before = std::mem::replace(&mut client.queued, next);
        self.requeue(Owner::Client(key), before, next);
    }

    fn push_via(&self, flow: &Flow, request: &mut Request, branch: &str) {
        if !request.has(HeaderName::MaxForwards) {
            request.push_front(HeaderName::MaxForwards, 70);
        }
        let transport = flow.transport;
        // RFC 3581 §3: asked for always, it does no harm on a stream.
        match self.advertised(flow) {
            Some(host) => request.push_front(HeaderName::Via, format_args!("SIP/2.0/{transport} {host};branch={branch};rport")),
            None => {
                let local = flow.local;
                request.push_front(HeaderName::Via, format_args!("SIP/2.0/{transport} {local};branch={branch};rport"));
            }
        }
    }

    fn advertised(&self, flow: &Flow) -> Option<&str> {
        self.config.advertise.iter().find(|(local, _)| *local == flow.local).map(|(_, host)| host.as_str())
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

/// Inside of the layer: servers.
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
        let mut step = Step { now, timing: &timing, timers: &mut timers, reliable: flow.transport.is_reliable() };
        let mut last = Bytes::new();
        let machine = if *request.method() == Method::Invite {
            if self.config.trying_after.is_some() {
                last = Response::to(request, 100, "").to_bytes();
            }
            ServerMachine::Invite(invite_server::State::start(&mut step, self.config.trying_after))
        } else {
            ServerMachine::Other(server::State::Trying)
        };
        let reply_port = request.via().and_then(|via| via.port).unwrap_or(flow.transport.default_port());
        let server =
            Server { machine, timers, queued: None, flow, reply_port, last, to_tag, fingerprint, merge, ack: None };
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
        let Some(server) = self.servers.get_mut(key.0) else { return &[] };
        let reliable = server.flow.transport.is_reliable();
        let mut step = Step { now, timing: &timing, timers: &mut server.timers, reliable };
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
            let Some(server) = self.servers.get_mut(key.0) else { break };
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
                Action::Ack | Action::Cancel | Action::Fail(_) => debug_assert!(false, "a server does not {action:?}"),
            }
        }
        self.queue_server(key.0);
        actions
    }

    fn end_server(&mut self, key: ServerKey) {
        let Some(server) = self.servers.remove(key.0) else { return };
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

    fn queue_server(&mut self, key: u64) {
        let Some(server) = self.servers.get_mut(key) else { return };
        let next = server.timers.next();
        let before = std::mem::replace(&mut server.queued, next);
        self.requeue(Owner::Server(key), before, next);
    }

    fn requeue(&mut self, owner: Owner, before: Option<(Instant, Timer)>, next: Option<(Instant, Timer)>) {
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

    pub(super) fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        self.transmits.push_back(Transmit { flow, bytes });
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }
}

impl Server {
    /// Whether a CANCEL can still change something.
    pub(super) fn is_pending_invite(&self) -> bool {
        matches!(self.machine, ServerMachine::Invite(invite_server::State::Proceeding))
    }

    pub(super) fn is_invite(&self) -> bool {
        matches!(self.machine, ServerMachine::Invite(_))
    }

    pub(super) fn tag(&self) -> &str {
        &self.to_tag
    }

    fn has_final(&self) -> bool {
        match self.machine {
            ServerMachine::Invite(state) => state != invite_server::State::Proceeding,
            ServerMachine::Other(state) => !matches!(state, server::State::Trying | server::State::Proceeding),
        }
    }
}

/// A request that goes the same way as the INVITE and is named by its branch (RFC 3261 §9.1,
/// §17.1.1.3).
fn hop_by_hop(invite: &Request, method: Method) -> Request {
    let cseq = invite.cseq().map_or(0, |cseq| cseq.number);
    let mut request = Request::builder(method, invite.uri()).build();
    for name in [HeaderName::Via, HeaderName::Route, HeaderName::From, HeaderName::To, HeaderName::CallId] {
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
