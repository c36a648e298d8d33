//! A connector session: an instance of its own that turns audio and events into a platform's
//! messages and back. The socket is the shell's.

use crate::bindings::{connector, convert};
use crate::check::Kind;
use crate::host::{PluginHost, Room, unknown};
use crate::instance::{self, State};
use crate::limits::Limits;
use crate::record::Recorder;
use b2bua::call_info::CallInfo;
use b2bua::decision::DecisionFailure;
use b2bua::flow::{FunctionCall, Transcript};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;
use wasmtime::Store;
use wasmtime::component::ResourceAny;

/// What the platform's socket is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    pub url: String,
    /// `{secret:NAME}` in a value stands for a secret; see [`ConnectorInstance::substitute`]
    pub headers: Vec<(String, String)>,
    pub subprotocols: Vec<String>,
    /// from the caller to the platform
    pub input: Format,
    /// from the platform to the caller
    pub output: Format,
    /// milliseconds of audio in each `Audio` event
    pub frame_ms: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    pub encoding: Encoding,
    /// Hz
    pub rate: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    PcmS16le,
    Pcma,
    Pcmu,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Audio(Bytes),
    Binary(Bytes),
    Cleared {
        item: String,
        played_ms: u32,
    },
    Closed {
        code: u16,
        reason: String,
    },
    Digit(char),
    FunctionResult {
        call: String,
        output: String,
        respond: bool,
    },
    Marked(String),
    Opened,
    Text(String),
    Timer(u32),
    Update(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    CancelTimer(u32),
    Clear,
    Close(String),
    Fail(String),
    FunctionCall(FunctionCall),
    Mark(String),
    Note {
        kind: String,
        text: String,
    },
    /// of a later version; ignored
    Other(String),
    Play {
        item: String,
        audio: Bytes,
    },
    Ready,
    SendBinary(Vec<u8>),
    SendText(String),
    StartTimer {
        id: u32,
        after_ms: u32,
    },
    Transcript(Transcript),
}

pub struct ConnectorInstance {
    host: Arc<PluginHost>,
    /// `None` once the store was thrown away.
    running: Option<Running>,
    /// of the flow's `connect`
    id: u32,
    limits: Limits,
    /// what it may use: `http:HOST`, `secret:NAME`, …
    pub grants: Vec<String>,
}

struct Running {
    store: Store<State>,
    guest: connector::Guest,
    session: ResourceAny,
    _room: Room,
}

impl PluginHost {
    /// Starts a session of the connector of this name. `settings` is a JSON object that goes
    /// over the connector's own configuration; `id` is the flow's `connect`.
    pub async fn start_connector(
        self: &Arc<Self>,
        tenant: &str,
        name: &str,
        info: &Arc<CallInfo>,
        settings: &str,
        id: u32,
    ) -> Result<(ConnectorInstance, Connection), DecisionFailure> {
        let plugin = self.plugin_of_kind(tenant, name, Kind::Connector)?;
        let version = plugin
            .active
            .clone()
            .ok_or_else(|| unknown("connector", name))?;
        let room = self.room(tenant, &version.loaded, &plugin.settings.limits)?;
        let limits = plugin.settings.limits.clone();
        let settings = merged(&plugin.config, settings)?;
        let mut store = self.store(
            tenant,
            &plugin,
            &version,
            info.call_id.clone(),
            Recorder::live(),
        );
        let grants = store
            .data()
            .context
            .grants
            .iter()
            .map(str::to_owned)
            .collect();
        let (loaded, info, of) = (version.loaded.clone(), info.clone(), limits.clone());
        let (running, connection) = self
            .on_plugin_threads(async move {
                let missing = || DecisionFailure::MissingExport {
                    name: Kind::Connector.name().to_owned(),
                };
                let indices = loaded.connector.as_ref().ok_or_else(missing)?;
                let call = convert::call_info(&info, &loaded.report.manifest.headers);
                instance::enter(&mut store).await?;
                let made = async {
                    let instance = loaded.pre.instantiate_async(&mut store).await?;
                    let guest = indices.load(&mut store, &instance)?;
                    let session = guest
                        .session()
                        .call_constructor(&mut store, &call, &settings)
                        .await?;
                    let connection = guest.session().call_connect(&mut store, session).await?;
                    Ok((guest, session, connection))
                };
                let made: wasmtime::Result<_> = made.await;
                let (guest, session, connection) =
                    made.map_err(|e| instance::failure_in(&store, e, &of))?;
                instance::pause(&mut store);
                let connection = connection.map_err(|f| DecisionFailure::Reported {
                    text: convert::failure(f),
                })?;
                let _ = store.data_mut().recorder.take();
                Ok((
                    Running {
                        store,
                        guest,
                        session,
                        _room: room,
                    },
                    convert::connection(connection),
                ))
            })
            .await??;
        Ok((
            ConnectorInstance {
                host: self.clone(),
                running: Some(running),
                id,
                limits,
                grants,
            },
            connection,
        ))
    }
}

impl ConnectorInstance {
    /// Tells the session what happened; gives what it wants done. After a failure its store is
    /// gone, and every further event fails.
    pub async fn on_event(&mut self, event: Event) -> Result<Vec<Action>, DecisionFailure> {
        let Some(mut running) = self.running.take() else {
            return Err(DecisionFailure::Trap {
                message: "it failed before".to_owned(),
            });
        };
        let (limits, id) = (self.limits.clone(), self.id);
        let told = self
            .host
            .on_plugin_threads(async move {
                instance::begin(&mut running.store, &limits);
                instance::enter(&mut running.store).await?;
                let event = convert::connector_event(event);
                let told = running
                    .guest
                    .session()
                    .call_on_event(&mut running.store, running.session, &event)
                    .await;
                instance::pause(&mut running.store);
                // A session lives long and hears fifty frames a second: its imports are not kept.
                let _ = running.store.data_mut().recorder.take();
                match told {
                    Ok(actions) => Ok((running, actions)),
                    Err(error) => Err(instance::failure_in(&running.store, error, &limits)),
                }
            })
            .await??;
        let (running, actions) = told;
        // Audio comes in bursts of many chunks, so the limit is wider than a flow's.
        let most = self.limits.actions * 16;
        if actions.len() > most {
            return Err(DecisionFailure::OutputLimit {
                what: format!(
                    "{} actions for one event, the limit is {most}",
                    actions.len()
                ),
            });
        }
        self.running = Some(running);
        Ok(actions
            .into_iter()
            .map(|a| convert::connector_action(a, id))
            .collect())
    }

    /// A secret that the connector may use by reference.
    pub fn secret(&self, name: &str) -> Option<String> {
        self.running
            .as_ref()
            .and_then(|r| r.store.data().secret_by_reference(name))
    }
}

/// The flow's settings over the plugin's own, key by key at the top.
fn merged(own: &str, over: &str) -> Result<String, DecisionFailure> {
    let object = |text: &str, whose: &str| match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        _ if text.trim().is_empty() => Ok(serde_json::Map::new()),
        _ => Err(DecisionFailure::Reported {
            text: format!("{whose} settings are no JSON object"),
        }),
    };
    let mut all = object(own, "the connector's own")?;
    all.extend(object(over, "the flow's")?);
    Ok(Value::Object(all).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flows_settings_go_over_the_connectors_own() {
        let both: Value = serde_json::from_str(
            &merged(r#"{"voice":"marin","model":"a"}"#, r#"{"model":"b"}"#).unwrap(),
        )
        .unwrap();
        assert_eq!(both, serde_json::json!({ "voice": "marin", "model": "b" }));
        assert!(merged("{}", "[1]").is_err());
        assert_eq!(merged("{}", "").unwrap(), "{}");
    }
}
