//! What all calls of one worker share: SIP's transactions, ports, timers, and the indexes by
//! which a message finds its call.

use crate::config::{Config, Listener};
use crate::directory::Directory;
use crate::io::{Output, Timer};
use crate::journal::{CallEvent, Kind, Path, SipText};
use crate::key::{CallKey, LegId};
use crate::leg::Leg;
use crate::port_pool::PortPool;
use crate::timer_table::TimerTable;
use bytes::Bytes;
use sip::token::TokenSource;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) directory: Arc<Directory>,
    pub(crate) sip: sip::TransactionLayer,
    pub(crate) tokens: TokenSource,
    pub(crate) ports: PortPool,
    pub(crate) timers: TimerTable,
    /// ms since 1970-01-01 UTC, as last told.
    pub(crate) wall_ms: u64,
    pub(crate) draining: bool,
    outputs: VecDeque<Output>,
    clients: BTreeMap<sip::ClientKey, CallKey>,
    servers: BTreeMap<sip::ServerKey, (CallKey, LegId)>,
    /// By our tag.
    dialogs: BTreeMap<String, (CallKey, LegId)>,
    /// By Call-ID: to whose journal a message belongs.
    call_ids: BTreeMap<String, (CallKey, LegId)>,
    counts: BTreeMap<(String, Option<String>), u32>,
    /// Calls that may be over.
    finishing: BTreeSet<CallKey>,
}

impl World {
    pub(crate) fn new(config: Config, directory: Arc<Directory>, worker: u16, seed: u64) -> Self {
        let sip = transaction_layer(&config, TokenSource::new(worker, seed));
        // Another stream of the same seed: the layer keeps its own.
        let tokens = TokenSource::new(worker, seed.rotate_left(32) ^ 0x6761_7465_706f_7374);
        World {
            ports: PortPool::new(config.rtp_ports.clone()),
            config,
            directory,
            sip,
            tokens,
            timers: TimerTable::default(),
            wall_ms: 0,
            draining: false,
            outputs: VecDeque::new(),
            clients: BTreeMap::new(),
            servers: BTreeMap::new(),
            dialogs: BTreeMap::new(),
            call_ids: BTreeMap::new(),
            counts: BTreeMap::new(),
            finishing: BTreeSet::new(),
        }
    }

    pub(crate) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(crate) fn media(&mut self, call: CallKey, command: media::Command) {
        self.output(Output::Media { call, command });
    }

    pub(crate) fn record(&mut self, call: CallKey, event: CallEvent) {
        self.output(Output::Record { call, event });
    }

    pub(crate) fn finish_later(&mut self, call: CallKey) {
        self.finishing.insert(call);
    }

    pub(crate) fn take_finishing(&mut self) -> BTreeSet<CallKey> {
        std::mem::take(&mut self.finishing)
    }

    /// Sends a request of a call, and finds the call again when the response comes.
    pub(crate) fn request(
        &mut self,
        now: Instant,
        call: CallKey,
        flow: sip::Flow,
        request: sip::Request,
    ) -> sip::ClientKey {
        let client = self.sip.request(now, flow, request);
        self.clients.insert(client, call);
        client
    }

    /// A final response to a request of a call: nothing more comes of it.
    pub(crate) fn respond_finally(
        &mut self,
        now: Instant,
        server: sip::ServerKey,
        response: sip::Response,
    ) {
        self.servers.remove(&server);
        self.sip.respond(now, server, response);
    }

    pub(crate) fn watch_server(&mut self, server: sip::ServerKey, call: CallKey, leg: LegId) {
        self.servers.insert(server, (call, leg));
    }

    pub(crate) fn call_of_server(&self, server: sip::ServerKey) -> Option<(CallKey, LegId)> {
        self.servers.get(&server).copied()
    }

    pub(crate) fn call_of_client(&self, client: sip::ClientKey) -> Option<CallKey> {
        self.clients.get(&client).copied()
    }

    pub(crate) fn call_of_tag(&self, tag: &str) -> Option<(CallKey, LegId)> {
        self.dialogs.get(tag).copied()
    }

    pub(crate) fn call_of_call_id(&self, call_id: &str) -> Option<(CallKey, LegId)> {
        self.call_ids.get(call_id).copied()
    }

    pub(crate) fn forget_client(&mut self, client: sip::ClientKey) {
        self.clients.remove(&client);
    }

    pub(crate) fn forget_server(&mut self, server: sip::ServerKey) {
        self.servers.remove(&server);
    }

    pub(crate) fn know_leg(&mut self, call: CallKey, leg: &Leg) {
        self.dialogs.insert(leg.tag.clone(), (call, leg.id));
        self.call_ids.insert(leg.call_id.clone(), (call, leg.id));
    }

    pub(crate) fn forget_leg(&mut self, call: CallKey, leg: &Leg) {
        self.dialogs.remove(&leg.tag);
        // A later call may have come with the same Call-ID.
        if self.call_ids.get(&leg.call_id) == Some(&(call, leg.id)) {
            self.call_ids.remove(&leg.call_id);
        }
    }

    /// Counts one more call for the tenant, or for one of its trunks.
    pub(crate) fn count(&mut self, tenant: &str, trunk: Option<&str>) -> (String, Option<String>) {
        let key = (tenant.to_owned(), trunk.map(str::to_owned));
        *self.counts.entry(key.clone()).or_default() += 1;
        key
    }

    pub(crate) fn counted(&self, tenant: &str, trunk: Option<&str>) -> u32 {
        self.counts
            .get(&(tenant.to_owned(), trunk.map(str::to_owned)))
            .copied()
            .unwrap_or(0)
    }

    pub(crate) fn uncount(&mut self, counted: &[(String, Option<String>)]) {
        for key in counted {
            if let Some(count) = self.counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(key);
                }
            }
        }
    }

    /// The listener that a request over `transport` to `remote` leaves from.
    pub(crate) fn listener(&self, transport: sip::Transport, ipv4: bool) -> Option<&Listener> {
        let fits = |l: &&Listener| {
            crate::messages::transport(l.transport) == transport && l.local.is_ipv4() == ipv4
        };
        self.config.listeners.iter().find(fits)
    }

    pub(crate) fn listener_of(&self, flow: &sip::Flow) -> Option<&Listener> {
        let same = |l: &&Listener| crate::messages::transport(l.transport) == flow.transport;
        let exact = self
            .config
            .listeners
            .iter()
            .filter(same)
            .find(|l| l.local == flow.local);
        exact.or_else(|| self.listener(flow.transport, flow.remote.is_ipv4()))
    }

    pub(crate) fn sip_line(&self, leg: LegId, sent: bool, flow: &sip::Flow, bytes: &Bytes) -> Kind {
        let (path, message) = (
            Path::from(flow),
            SipText::new(bytes.clone(), self.config.hide_digits),
        );
        if sent {
            Kind::SipSent { leg, path, message }
        } else {
            Kind::SipReceived { leg, path, message }
        }
    }

    /// Nothing of any call is left. For tests and for a drained node.
    pub(crate) fn is_empty(&self) -> bool {
        self.clients.is_empty()
            && self.servers.is_empty()
            && self.dialogs.is_empty()
            && self.call_ids.is_empty()
            && self.counts.is_empty()
            && self.timers.is_empty()
            && self.ports.in_use() == 0
    }

    pub(crate) fn next_timeout(&self) -> Option<(Instant, Timer)> {
        let own = self.timers.next();
        let sip = self
            .sip
            .poll_timeout()
            .map(|(at, timer)| (at, Timer::Sip(timer)));
        match (own, sip) {
            (Some(own), Some(sip)) => Some(if sip.0 < own.0 { sip } else { own }),
            (own, sip) => own.or(sip),
        }
    }
}

fn transaction_layer(config: &Config, tokens: TokenSource) -> sip::TransactionLayer {
    let advertise = config
        .listeners
        .iter()
        .map(|l| (l.local, l.advertise.clone()))
        .collect();
    sip::TransactionLayer::new(
        sip::Config {
            advertise,
            ..sip::Config::default()
        },
        tokens,
    )
}
