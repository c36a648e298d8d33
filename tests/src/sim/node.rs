//! Our node: the call machine, with scripts in place of plugins, media threads and resolvers.

use super::link::Packet;
use b2bua::decision::{
    Decision, DecisionFailure, DialPlan, FlowRef, Reject, Routed, Strategy, Target,
};
use b2bua::directory::{Directory, Tenant, Trunk};
use b2bua::explain::explain;
use b2bua::flow::{Connect, FlowAction, FlowEvent};
use b2bua::journal::{CallEvent, Ended, Kind};
use b2bua::key::CallKey;
use b2bua::provider::{Read, Shaped};
use b2bua::{B2bua, Config, ConnectorOrder, Input, Output, Question};
use media::Command;
use sip::{Flow, Transmit};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Answers what it is asked; none never answers.
pub type Script<Asked, Answer> = Box<dyn FnMut(&Asked) -> Option<Answer>>;

pub struct Node {
    pub b2bua: B2bua,
    pub transmits: Vec<Transmit>,
    pub journals: BTreeMap<CallKey, Vec<CallEvent>>,
    pub media: Vec<(CallKey, Command)>,
    /// Legs that were opened and not closed.
    pub open_legs: BTreeSet<(CallKey, u16)>,
    /// Whether closed legs report their statistics.
    pub media_answers: bool,
    /// How long a prompt takes; none plays on until it is stopped.
    pub prompt_ms: Option<u64>,
    /// Decides; none never answers.
    pub router: Script<Question, Decision>,
    pub shaper: Script<Question, Shaped>,
    pub flow: Script<FlowEvent, Result<Vec<FlowAction>, DecisionFailure>>,
    pub flow_events: Vec<FlowEvent>,
    pub names: BTreeMap<String, Vec<SocketAddr>>,
    pub connects: Vec<(CallKey, Connect)>,
    pub orders: Vec<ConnectorOrder>,
    pending: BTreeMap<(Instant, u64), Input>,
    scheduled: u64,
    decide_after: Duration,
}

pub fn address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5060))
}

impl Node {
    pub fn new(seed: u64) -> Node {
        Node::with(seed, config(), directory())
    }

    pub fn with(seed: u64, config: Config, directory: Directory) -> Node {
        Node {
            b2bua: B2bua::new(config, 1, seed, Arc::new(directory)),
            transmits: Vec::new(),
            journals: BTreeMap::new(),
            media: Vec::new(),
            open_legs: BTreeSet::new(),
            media_answers: true,
            prompt_ms: Some(1000),
            router: Box::new(|_| None),
            shaper: Box::new(|_| Some(Shaped::default())),
            flow: Box::new(|_| Some(Ok(Vec::new()))),
            flow_events: Vec::new(),
            names: BTreeMap::new(),
            connects: Vec::new(),
            orders: Vec::new(),
            pending: BTreeMap::new(),
            scheduled: 0,
            decide_after: Duration::from_millis(2),
        }
    }

    /// Every call is decided like this.
    pub fn decides(&mut self, decision: Decision) {
        self.router = Box::new(move |_| Some(decision.clone()));
    }

    /// Every call runs a flow that answers each event with what `script` says.
    pub fn runs(&mut self, mut script: impl FnMut(&FlowEvent) -> Vec<FlowAction> + 'static) {
        self.decides(Decision::RunFlow(FlowRef {
            name: "menu".into(),
            ext: Vec::new(),
        }));
        self.flow = Box::new(move |event| Some(Ok(script(event))));
    }

    pub fn receive(&mut self, now: Instant, packet: &Packet) {
        let flow = Flow {
            transport: packet.transport,
            local: packet.to,
            remote: packet.from,
            connection: u64::from(packet.transport.is_reliable()),
        };
        self.handle(
            now,
            Input::Message {
                flow,
                bytes: packet.bytes.clone(),
            },
        );
    }

    pub fn handle(&mut self, now: Instant, input: Input) {
        self.b2bua.handle(now, input);
        self.drain(now);
    }

    pub fn next(&self) -> Option<Instant> {
        let pending = self.pending.first_key_value().map(|((at, _), _)| *at);
        [pending, self.b2bua.poll_timeout().map(|(at, _)| at)]
            .into_iter()
            .flatten()
            .min()
    }

    pub fn pass_time(&mut self, now: Instant) {
        while let Some((&(at, _), _)) = self.pending.first_key_value() {
            if at > now {
                break;
            }
            if let Some((_, input)) = self.pending.pop_first() {
                self.handle(now, input);
            }
        }
        if self.b2bua.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.b2bua.handle_timeout(now);
            self.drain(now);
        }
    }

    /// How the only call ended.
    pub fn ended(&self) -> &Ended {
        self.ends().next().expect("no call has ended")
    }

    pub fn ends(&self) -> impl Iterator<Item = &Ended> {
        self.events().filter_map(|event| match &event.kind {
            Kind::Ended(ended) => Some(&**ended),
            _ => None,
        })
    }

    pub fn events(&self) -> impl Iterator<Item = &CallEvent> {
        self.journals.values().flatten()
    }

    pub fn call(&self) -> CallKey {
        *self.journals.keys().next().expect("there is no call")
    }

    /// The codec of each leg as last agreed, and its direction.
    pub fn agreed(&self, leg: u16) -> Option<(String, String)> {
        let last = self.events().filter_map(|event| match &event.kind {
            Kind::Media {
                leg: of,
                codec,
                direction,
                ..
            } if of.0 == leg => Some((codec.clone(), direction.clone())),
            _ => None,
        });
        last.last()
    }

    pub fn check_journals(&self) {
        for (call, events) in &self.journals {
            assert!(
                matches!(events.first().map(|e| &e.kind), Some(Kind::Arrived { .. })),
                "{call} does not begin with its arrival"
            );
            assert!(
                matches!(events.last().map(|e| &e.kind), Some(Kind::Ended(_))),
                "{call} does not end\n{}",
                self.story()
            );
            for (n, event) in events.iter().enumerate() {
                assert_eq!(event.seq as usize, n, "{call} has a gap");
            }
            let json = serde_json::to_string(events).expect("a journal is written as JSON");
            let read: Vec<CallEvent> = serde_json::from_str(&json).expect("and read again");
            assert_eq!(explain(&read), explain(events));
        }
    }

    /// What happened, for a test that fails.
    pub fn story(&self) -> String {
        let mut out = String::new();
        for (call, events) in &self.journals {
            let _ = writeln!(
                out,
                "--- {call}\n{}{:#?}",
                b2bua::explain::ladder(events),
                explain(events).sentences
            );
        }
        out
    }

    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.b2bua.poll_output() {
            match output {
                Output::Transmit(transmit) => self.transmits.push(transmit),
                Output::Record { call, event } => {
                    self.journals.entry(call).or_default().push(event)
                }
                Output::Media { call, command } => self.order_media(now, call, command),
                Output::FlowEvent { call, event } => {
                    self.flow_events.push(event.clone());
                    if let Some(result) = (self.flow)(&event) {
                        self.later(
                            now,
                            1,
                            Input::FlowActions {
                                call,
                                result,
                                step: None,
                            },
                        );
                    }
                }
                Output::Ask {
                    call,
                    ask,
                    question,
                    ..
                } => {
                    let answer = match &question {
                        Question::Route(_) => (self.router)(&question).map(|decision| {
                            let routed = Routed {
                                decision: Ok(decision),
                                trail: Vec::new(),
                            };
                            Input::Routed { call, ask, routed }
                        }),
                        Question::Read { .. } => {
                            let read = Read {
                                called: Some("read".into()),
                                caller: None,
                                ext: Vec::new(),
                            };
                            Some(Input::Read {
                                call,
                                ask,
                                result: Ok(read),
                                step: None,
                            })
                        }
                        Question::Shape { .. } => {
                            (self.shaper)(&question).map(|shaped| Input::Shaped {
                                call,
                                ask,
                                result: Ok(shaped),
                                step: None,
                            })
                        }
                        Question::StartFlow { .. } => Some(Input::FlowStarted {
                            call,
                            ask,
                            result: Ok(()),
                            step: None,
                        }),
                    };
                    if let Some(answer) = answer {
                        self.later(now, self.decide_after.as_millis() as u64, answer);
                    }
                }
                Output::Locate { query, host, .. } => {
                    if let Some(addresses) = self.names.get(&host).cloned() {
                        self.later(now, 3, Input::Located { query, addresses });
                    }
                }
                Output::Connect { call, connect, .. } => self.connects.push((call, connect)),
                Output::ConnectorOrder { order, .. } => self.orders.push(order),
            }
        }
    }

    fn order_media(&mut self, now: Instant, call: CallKey, command: Command) {
        self.media.push((call, command.clone()));
        match command {
            Command::Open { leg, port, .. } => {
                assert!(port % 2 == 0);
                assert!(
                    self.open_legs.insert((call, leg.0)),
                    "leg {leg:?} is opened twice"
                );
            }
            Command::Close { leg } => {
                assert!(
                    self.open_legs.remove(&(call, leg.0)),
                    "leg {leg:?} is closed and was not open"
                );
                if self.media_answers {
                    let event = media::Event::Closed {
                        leg,
                        stats: media::LegStats::default(),
                    };
                    self.later(now, 1, Input::Media { call, event });
                }
            }
            Command::Play { leg, id, .. } => {
                if let Some(ms) = self.prompt_ms {
                    let (end, played_ms) = (media::PlayEnd::Finished, ms as u32);
                    self.later(
                        now,
                        ms,
                        Input::Media {
                            call,
                            event: media::Event::Played {
                                leg,
                                id,
                                end,
                                played_ms,
                            },
                        },
                    );
                }
            }
            Command::StopPlay { leg, id } => {
                let (end, played_ms) = (media::PlayEnd::Stopped, 100);
                self.later(
                    now,
                    1,
                    Input::Media {
                        call,
                        event: media::Event::Played {
                            leg,
                            id,
                            end,
                            played_ms,
                        },
                    },
                );
            }
            Command::Negotiate { leg, .. } | Command::SendDigits { leg, .. } => {
                assert!(
                    self.open_legs.contains(&(call, leg.0)),
                    "leg {leg:?} is not open"
                );
            }
            Command::Bridge { a, b } => {
                assert!(
                    self.open_legs.contains(&(call, a.0)) || self.open_legs.contains(&(call, b.0))
                );
            }
            Command::Attach { .. }
            | Command::Connector { .. }
            | Command::Detach { .. }
            | Command::Unbridge { .. } => {}
        }
    }

    fn later(&mut self, now: Instant, ms: u64, input: Input) {
        self.scheduled += 1;
        self.pending
            .insert((now + Duration::from_millis(ms), self.scheduled), input);
    }
}

pub fn config() -> Config {
    Config::on(address(), 20_000..=20_999)
}

/// One tenant whose calls may come from every agent, and a trunk that wants a password.
pub fn directory() -> Directory {
    let tenant = Tenant {
        id: "demo".into(),
        domains: vec!["demo.example".into()],
        sources: vec!["198.51.100.0/24".parse().expect("a block")],
        ..Tenant::default()
    };
    let trunk = Trunk {
        tenant: "demo".into(),
        id: "carrier".into(),
        username: Some("gate".into()),
        password: Some("post".into()),
        ..Trunk::default()
    };
    let dialect = Trunk {
        tenant: "demo".into(),
        id: "dialect".into(),
        provider: Some("twilio".into()),
        ..Trunk::default()
    };
    Directory::new(
        vec![tenant],
        vec![trunk, dialect],
        vec![address().ip().to_string()],
    )
}

/// A plan that dials these agents.
pub fn dial(strategy: Strategy, agents: &[usize]) -> Decision {
    let targets = agents
        .iter()
        .map(|n| target(&format!("sip:callee@{}", super::agent_address(*n))))
        .collect();
    Decision::Dial(DialPlan {
        targets,
        strategy,
        max_duration_s: None,
        ext: Vec::new(),
    })
}

pub fn target(uri: &str) -> Target {
    Target {
        uri: uri.to_owned(),
        trunk: None,
        caller_id: None,
        headers: Vec::new(),
        codecs: Vec::new(),
        timeout_ms: 0,
        ext: Vec::new(),
    }
}

pub fn reject(code: u16, reason: &str) -> Reject {
    Reject {
        code,
        reason: reason.to_owned(),
        retry_after_s: None,
    }
}
