//! Carries the questions of one worker's calls to the plugins, and the answers back to the
//! worker. It decides nothing itself.
//!
//! Everything here runs as tasks on the worker's own thread; plugins run on the plugin
//! host's threads. No task is ever dropped to end a plugin call: the plugin host's own budget
//! ends it.
//!
//! - [`flow`]: the conversation of one call with the flow that runs it.
//! - [`locate`]: names into addresses.

mod flow;
mod locate;

use crate::media::MediaHandle;
use crate::websocket;
use crate::worker::Order;
use arc_swap::ArcSwap;
use b2bua::call_info::CallInfo;
use b2bua::decision::DecisionFailure;
use b2bua::flow::{Connect, ConnectorEvent, FlowEvent};
use b2bua::key::{AskId, CallKey, LegId};
use b2bua::{ConnectorOrder, Directory, Input, QueryKey, Question};
use plugin_host::PluginHost;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

pub struct Decide {
    plugins: Arc<PluginHost>,
    sessions: Arc<websocket::Deps>,
    media: MediaHandle,
    /// Where the tenants' prompts are, as of the last configuration.
    directory: Arc<ArcSwap<Directory>>,
    answers: Answers,
    calls: HashMap<CallKey, Conversation>,
}

/// What a call in a flow needs beside its core.
struct Conversation {
    /// Events on their way to the flow.
    flow: mpsc::Sender<FlowEvent>,
    prompts: Option<Arc<Path>>,
    connectors: HashMap<u32, websocket::SessionHandle>,
}

/// The way back to the worker.
#[derive(Clone)]
pub struct Answers(mpsc::Sender<Order>);

impl Answers {
    pub fn new(orders: mpsc::Sender<Order>) -> Self {
        Answers(orders)
    }

    /// Waits while the worker's queue is full. Nobody listens once the worker has stopped.
    pub async fn send(&self, input: Input) {
        let _ = self.0.send(Order::Input(input)).await;
    }

    /// For those who must not wait; false where the worker's queue is full.
    pub fn offer(&self, input: Input) -> bool {
        self.0.try_send(Order::Input(input)).is_ok()
    }
}

impl Decide {
    pub fn new(
        plugins: Arc<PluginHost>,
        sessions: Arc<websocket::Deps>,
        media: MediaHandle,
        directory: Arc<ArcSwap<Directory>>,
        answers: Answers,
    ) -> Self {
        Decide {
            plugins,
            sessions,
            media,
            directory,
            answers,
            calls: HashMap::new(),
        }
    }

    /// The deadline is the core's: it falls back by itself when no answer came.
    pub fn ask(&mut self, call: CallKey, ask: AskId, question: Question) {
        let (plugins, answers) = (self.plugins.clone(), self.answers.clone());
        match question {
            Question::Route(info) => {
                tokio::spawn(async move {
                    let routed = plugins.route(&info.tenant, &info).await;
                    answers.send(Input::Routed { call, ask, routed }).await;
                });
            }
            Question::Read { provider, info } => {
                tokio::spawn(async move {
                    let (result, step) = plugins.read(&info.tenant, &provider, &info).await;
                    answers
                        .send(Input::Read {
                            call,
                            ask,
                            result,
                            step,
                        })
                        .await;
                });
            }
            Question::Shape {
                provider,
                info,
                target,
                outgoing,
            } => {
                tokio::spawn(async move {
                    let (result, step) = plugins
                        .shape(&info.tenant, &provider, &info, &target, &outgoing)
                        .await;
                    answers
                        .send(Input::Shaped {
                            call,
                            ask,
                            result,
                            step,
                        })
                        .await;
                });
            }
            Question::StartFlow { name, info } => {
                let (events, mailbox) = mpsc::channel(flow::MAILBOX);
                let directory = self.directory.load();
                let prompts = directory
                    .tenant(&info.tenant)
                    .map(|tenant| Arc::from(Path::new(&tenant.prompts)));
                self.calls.insert(
                    call,
                    Conversation {
                        flow: events,
                        prompts,
                        connectors: HashMap::new(),
                    },
                );
                tokio::spawn(flow::run(plugins, answers, call, ask, name, info, mailbox));
            }
        }
    }

    pub fn flow_event(&mut self, call: CallKey, event: FlowEvent) {
        let Some(conversation) = self.calls.get(&call) else {
            return;
        };
        // A closed mailbox means that the flow has failed, which the core has been told.
        if let Err(mpsc::error::TrySendError::Full(_)) = conversation.flow.try_send(event) {
            // A flow that does not keep up with its own caller is a failed one.
            let what = format!("{} events wait for the flow", flow::MAILBOX);
            let result = Err(DecisionFailure::OutputLimit { what });
            let answers = self.answers.clone();
            tokio::spawn(async move {
                answers
                    .send(Input::FlowActions {
                        call,
                        result,
                        step: None,
                    })
                    .await
            });
        }
    }

    /// Opens a connector session: audio goes between it and the media thread, everything else
    /// between it and the call.
    pub fn connect(&mut self, call: CallKey, leg: LegId, connect: Connect, info: Arc<CallInfo>) {
        let (id, answers) = (connect.id, self.answers.clone());
        let report = Box::new(move |event: ConnectorEvent| {
            if !answers.offer(Input::Connector { call, id, event }) {
                tracing::warn!(%call, "a connector's event was lost: the worker is overloaded");
            }
        });
        let request = websocket::Request {
            session: call.into(),
            leg: media::LegKey(leg.0),
            connect,
            info,
        };
        let session = websocket::spawn_session(self.sessions.clone(), request, report);
        if let Some(conversation) = self.calls.get_mut(&call) {
            conversation.connectors.insert(id, session);
        }
    }

    pub fn connector_order(&mut self, call: CallKey, id: u32, order: ConnectorOrder) {
        let Some(conversation) = self.calls.get_mut(&call) else {
            return;
        };
        if order == ConnectorOrder::Stop {
            // Dropping the handle says the same, also to a session that takes no more orders.
            conversation.connectors.remove(&id);
        } else if let Some(session) = conversation.connectors.get(&id)
            && !session.order(order)
        {
            tracing::debug!(%call, id, "an order to a connector session was lost");
        }
    }

    pub fn locate(
        &self,
        query: QueryKey,
        host: String,
        port: Option<u16>,
        transport: sip::Transport,
    ) {
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let addresses = locate::locate(&host, port, transport).await;
            answers.send(Input::Located { query, addresses }).await;
        });
    }

    pub fn media(&self, call: CallKey, command: media::Command) {
        let prompts = self
            .calls
            .get(&call)
            .and_then(|conversation| conversation.prompts.as_ref());
        if !self.media.send_with_prompts(prompts, call.into(), command) {
            tracing::warn!(%call, "an order to the media was lost: its thread is overloaded");
        }
    }

    /// The call is over: what was kept for it goes. The flow's task ends with its mailbox.
    pub fn ended(&mut self, call: CallKey) {
        self.calls.remove(&call);
    }
}
