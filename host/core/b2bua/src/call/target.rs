//! One target on its way to an INVITE: trunk, identity, the provider's shaping, address, offer.

use super::Call;
use crate::call_info::Header;
use crate::decision::{DecisionFailure, Step, Target};
use crate::directory::Trunk;
use crate::headers;
use crate::hunt::Failure;
use crate::io::{Output, QueryKey, Question, Timer};
use crate::journal::Kind;
use crate::key::{AskId, LegId};
use crate::leg::{Calling, Leg, LegState, Preparing, PreparingStep, SentInvite};
use crate::leg_media::LegMedia;
use crate::messages::{self, NextHop};
use crate::provider::{Outgoing, Shaped};
use crate::world::World;
use media::sdp::Capabilities;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

impl Call {
    pub(super) fn add_target(&mut self, w: &mut World, target: Target) -> LegId {
        self.last_leg = self.last_leg.wrapping_add(1).max(1);
        let id = LegId(self.last_leg);
        let outgoing = Outgoing {
            request_uri: target.uri.clone(),
            from_uri: String::new(),
            from_display: None,
            to_uri: String::new(),
            headers: Vec::new(),
        };
        let state = LegState::Preparing(Preparing {
            target,
            outgoing,
            step: PreparingStep::New,
        });
        let nowhere = messages::nowhere();
        let leg = Leg::new(
            id,
            w.tokens.call_id().to_string(),
            w.tokens.tag().to_string(),
            nowhere,
            None,
            state,
        );
        w.know_leg(self.key, &leg);
        self.legs.insert(id, leg);
        id
    }

    pub(super) fn prepare_target(&mut self, now: Instant, w: &mut World, id: LegId) {
        let Some(Leg {
            state: LegState::Preparing(preparing),
            ..
        }) = self.legs.get(&id)
        else {
            return;
        };
        let target = preparing.target.clone();
        let trunk = match self.trunk_of(w, &target) {
            Ok(trunk) => trunk,
            Err(why) => return self.drop_target(now, w, id, why),
        };
        let outgoing = match self.outgoing(now, w, &target, trunk.as_ref()) {
            Ok(outgoing) => outgoing,
            Err(why) => return self.drop_target(now, w, id, why),
        };
        let provider = trunk.as_ref().and_then(|trunk| trunk.provider.clone());
        if let Some(trunk) = &trunk {
            let counted = w.count(&self.info.tenant, Some(&trunk.id));
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.counted = Some(counted);
            }
        }
        let step = match provider {
            Some(provider) => {
                let (info, outgoing) = (self.info.clone(), outgoing.clone());
                let question = Question::Shape {
                    provider,
                    info,
                    target,
                    outgoing,
                };
                let within = w.config.provider_deadline;
                PreparingStep::Shaping {
                    ask: self.ask(now, w, question, within),
                }
            }
            None => PreparingStep::New,
        };
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        leg.trunk = trunk;
        if let LegState::Preparing(preparing) = &mut leg.state {
            (preparing.outgoing, preparing.step) = (outgoing, step);
        }
        if step == PreparingStep::New {
            self.locate(now, w, id);
        }
    }

    pub(crate) fn handle_shaped(
        &mut self,
        now: Instant,
        w: &mut World,
        ask: AskId,
        result: Result<Shaped, DecisionFailure>,
        step: Option<Box<Step>>,
    ) {
        self.record_step(now, w, step);
        let Some(id) = self.leg_that_asked(ask) else {
            return;
        };
        w.timers.cancel(self.key, Timer::Ask(ask));
        match result {
            Ok(shaped) => self.shape(now, w, id, shaped),
            Err(failure) => self.fall_back(
                now,
                w,
                format!("the provider failed: {failure}"),
                "the INVITE goes out as it is",
            ),
        }
        self.locate(now, w, id);
    }

    pub(super) fn handle_shape_timeout(&mut self, now: Instant, w: &mut World, ask: AskId) {
        let Some(id) = self.leg_that_asked(ask) else {
            return;
        };
        let why = format!(
            "the provider did not answer within {} ms",
            w.config.provider_deadline.as_millis()
        );
        self.fall_back(now, w, why, "the INVITE goes out as it is");
        self.locate(now, w, id);
    }

    pub(crate) fn handle_located(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        addresses: Vec<SocketAddr>,
    ) {
        let Some(Leg {
            state: LegState::Preparing(preparing),
            ..
        }) = self.legs.get(&id)
        else {
            return;
        };
        if preparing.step != PreparingStep::Locating {
            return;
        }
        w.timers.cancel(self.key, Timer::Locate(id));
        if addresses.is_empty() {
            self.drop_target(now, w, id, "its name has no address".to_owned());
        } else {
            self.call_target(now, w, id, addresses);
        }
    }

    pub(super) fn handle_locate_timeout(&mut self, now: Instant, w: &mut World, id: LegId) {
        self.drop_target(now, w, id, "its name did not resolve in time".to_owned());
    }

    fn drop_target(&mut self, now: Instant, w: &mut World, id: LegId, why: String) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.state = LegState::Over;
        }
        self.target_failed(now, w, id, Failure::Unreachable(why));
    }

    fn leg_that_asked(&self, ask: AskId) -> Option<LegId> {
        let asked = |leg: &&Leg| matches!(&leg.state, LegState::Preparing(p) if p.step == PreparingStep::Shaping { ask });
        self.legs.values().find(asked).map(|leg| leg.id)
    }

    fn trunk_of(&self, w: &World, target: &Target) -> Result<Option<Trunk>, String> {
        let tenant = &self.info.tenant;
        let default = || {
            self.directory
                .tenant(tenant)
                .and_then(|t| t.default_trunk.clone())
        };
        let Some(id) = target.trunk.clone().or_else(default) else {
            return Ok(None);
        };
        let trunk = self
            .directory
            .trunk(tenant, &id)
            .ok_or_else(|| format!("the tenant has no trunk {id}"))?;
        match trunk.max_calls {
            Some(limit) if w.counted(tenant, Some(&id)) >= limit => {
                Err(format!("trunk {id} has all its {limit} calls"))
            }
            _ => Ok(Some(trunk.clone())),
        }
    }

    /// The INVITE as we would send it, before the provider's adapter sees it.
    fn outgoing(
        &mut self,
        now: Instant,
        w: &mut World,
        target: &Target,
        trunk: Option<&Trunk>,
    ) -> Result<Outgoing, String> {
        let proxy = trunk.and_then(|trunk| trunk.proxy.as_deref());
        let request_uri = messages::target_uri(&target.uri, proxy).ok_or_else(|| {
            format!(
                "`{}` is not a SIP URI that can be called",
                headers::printable(&target.uri)
            )
        })?;
        let (from_uri, from_display) =
            messages::from_identity(&self.info, target.caller_id.as_deref(), &w.config.domain);
        let to_uri = messages::without_parameters(&request_uri);
        let passed = self
            .info
            .headers
            .iter()
            .filter(|header| headers::is_passed(&header.name));
        let mut wanted: Vec<Header> = passed.cloned().collect();
        let trusts = |trunk: Option<&Trunk>| trunk.is_some_and(|trunk| trunk.trusted);
        if trusts(trunk) && trusts(self.trunk()) {
            wanted.extend(messages::asserted_identity(&self.info, &w.config.domain));
        }
        for header in &target.headers {
            wanted.retain(|other| !other.name.eq_ignore_ascii_case(&header.name));
        }
        wanted.extend(target.headers.iter().cloned());
        let (good, refused) = headers::check(&wanted);
        for refused in refused {
            self.record(
                now,
                w,
                Kind::Note {
                    topic: "header refused".to_owned(),
                    text: refused.to_string(),
                },
            );
        }
        Ok(Outgoing {
            request_uri,
            from_uri,
            from_display,
            to_uri,
            headers: good,
        })
    }

    fn shape(&mut self, now: Instant, w: &mut World, id: LegId, shaped: Shaped) {
        let Some(Leg {
            state: LegState::Preparing(preparing),
            ..
        }) = self.legs.get_mut(&id)
        else {
            return;
        };
        let outgoing = &mut preparing.outgoing;
        let mut refused = Vec::new();
        for (place, uri) in [
            (&mut outgoing.request_uri, shaped.request_uri),
            (&mut outgoing.from_uri, shaped.from_uri),
            (&mut outgoing.to_uri, shaped.to_uri),
        ] {
            match uri {
                Some(uri) if messages::is_sip_uri(&uri) => *place = uri,
                Some(uri) => {
                    refused.push(format!("`{}` is not a SIP URI", headers::printable(&uri)))
                }
                None => {}
            }
        }
        if shaped.from_display.is_some() {
            outgoing.from_display = shaped.from_display;
        }
        let gone = |name: &str| {
            shaped
                .remove_headers
                .iter()
                .any(|removed| removed.eq_ignore_ascii_case(name))
                || shaped
                    .set_headers
                    .iter()
                    .any(|set| set.name.eq_ignore_ascii_case(name))
        };
        outgoing.headers.retain(|header| !gone(&header.name));
        outgoing.headers.extend(shaped.set_headers);
        let (good, bad) = headers::check(&outgoing.headers);
        outgoing.headers = good;
        refused.extend(bad.iter().map(ToString::to_string));
        for text in refused {
            self.record(
                now,
                w,
                Kind::Note {
                    topic: "provider refused".to_owned(),
                    text,
                },
            );
        }
    }

    /// RFC 3263: a literal address is called at once, a name is looked up outside.
    fn locate(&mut self, now: Instant, w: &mut World, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let LegState::Preparing(preparing) = &mut leg.state else {
            return;
        };
        match messages::next_hop(&preparing.outgoing.request_uri, leg.trunk.as_ref()) {
            None => self.drop_target(
                now,
                w,
                id,
                "its URI has no host that can be called".to_owned(),
            ),
            Some(NextHop {
                transport,
                host,
                port,
            }) => {
                preparing.step = PreparingStep::Locating;
                leg.flow.transport = transport;
                match messages::literal(&host) {
                    Some(ip) => {
                        let port = port.unwrap_or(transport.default_port());
                        self.call_target(now, w, id, vec![SocketAddr::new(ip, port)]);
                    }
                    None => {
                        w.timers
                            .set(self.key, Timer::Locate(id), now + w.config.locate_deadline);
                        let query = QueryKey {
                            call: self.key,
                            leg: id,
                        };
                        w.output(Output::Locate {
                            query,
                            host,
                            port,
                            transport,
                        });
                    }
                }
            }
        }
    }

    fn call_target(&mut self, now: Instant, w: &mut World, id: LegId, addresses: Vec<SocketAddr>) {
        let mut addresses: VecDeque<SocketAddr> =
            addresses.into_iter().take(MAX_ADDRESSES).collect();
        let Some(address) = addresses.pop_front() else {
            return;
        };
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let LegState::Preparing(preparing) = &mut leg.state else {
            return;
        };
        let Some(listener) = w.listener(leg.flow.transport, address.is_ipv4()) else {
            let why = format!(
                "there is no {} listener of its address family",
                leg.flow.transport.as_str()
            );
            return self.drop_target(now, w, id, why);
        };
        leg.flow.local = listener.local;
        leg.flow.remote = address;
        let target = preparing.target.clone();
        let capabilities = capabilities(w, &target, leg.trunk.as_ref());
        let Some(port) = w.ports.take() else {
            return self.drop_target(now, w, id, "all RTP ports are taken".to_owned());
        };
        let session = w.tokens.random_u64();
        let mut media = LegMedia::new(
            id,
            port,
            w.config.media_advertise,
            address.ip(),
            capabilities,
            session,
        );
        let a = self.legs.get(&LegId::A).and_then(|a| a.media.as_ref());
        let offered = a.and_then(|a| a.theirs());
        let direction = a.map(LegMedia::offered_direction).unwrap_or_default();
        let offer = media.make_offer(offered, direction);
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        leg.media = Some(media);
        let offer = match offer {
            Ok(offer) => offer,
            Err(error) => {
                return self.drop_target(
                    now,
                    w,
                    id,
                    format!("nothing can be offered to it: {error}"),
                );
            }
        };
        let LegState::Preparing(preparing) = &leg.state else {
            return;
        };
        let hops = messages::hops_left(&self.info);
        let invite = messages::invite(w, leg, &preparing.outgoing, hops, offer);
        let dialed = Kind::Dialed {
            leg: id,
            target: preparing.outgoing.request_uri.clone(),
            trunk: leg.trunk.as_ref().map(|trunk| trunk.id.clone()),
            to: format!(
                "{}:{address}",
                leg.flow.transport.as_str().to_ascii_lowercase()
            ),
        };
        self.outcome.target = Some(preparing.outgoing.request_uri.clone());
        self.outcome.target_trunk = leg.trunk.as_ref().map(|trunk| trunk.id.clone());
        let ring = match target.timeout_ms {
            0 => w.config.ring_timeout,
            ms => Duration::from_millis(u64::from(ms)),
        };
        let ring = ring.min(LONGEST_RING);
        leg.state = LegState::Calling(Calling {
            target,
            addresses,
            authorised: false,
            rang: false,
        });
        self.record(now, w, dialed);
        w.timers.set(self.key, Timer::Ring(id), now + ring);
        self.send_invite(now, w, id, address, invite);
    }

    pub(super) fn send_invite(
        &mut self,
        now: Instant,
        w: &mut World,
        id: LegId,
        address: SocketAddr,
        request: sip::Request,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        leg.flow.remote = address;
        let client = w.request(now, self.key, leg.flow, request.clone());
        leg.invite = Some(SentInvite { client, request });
    }
}

/// The target's codecs, else the trunk's, else ours with everything else passed through.
fn capabilities(w: &World, target: &Target, trunk: Option<&Trunk>) -> Capabilities {
    match (
        target.codecs.as_slice(),
        trunk.map(|trunk| trunk.codecs.as_slice()),
    ) {
        ([], None | Some([])) => messages::default_capabilities(&w.config),
        ([], Some(codecs)) => Capabilities::only(codecs),
        (codecs, _) => Capabilities::only(codecs),
    }
}

/// The transaction would cancel by itself a little later (timer C, RFC 3261 §16.6).
const LONGEST_RING: Duration = Duration::from_secs(180);
/// Addresses of one target that are tried.
const MAX_ADDRESSES: usize = 8;
