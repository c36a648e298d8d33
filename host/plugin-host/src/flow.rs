//! A flow that runs one call: an instance of its own, pinned to the version it began with.

use crate::bindings::{convert, flow};
use crate::check::Kind;
use crate::host::{PluginHost, Room, StepBox, micros, unknown};
use crate::instance::{self, State};
use crate::limits::Limits;
use crate::record::Recorder;
use crate::timed::Timed;
use b2bua::call_info::CallInfo;
use b2bua::decision::{DecisionFailure, Import, Outcome, Step};
use b2bua::flow::{FlowAction, FlowEvent};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use wasmtime::Store;
use wasmtime::component::ResourceAny;

pub struct FlowInstance {
    host: Arc<PluginHost>,
    /// `None` once the store was thrown away.
    running: Option<Running>,
    about: About,
}

struct Running {
    store: Store<State>,
    guest: flow::Guest,
    session: ResourceAny,
    _room: Room,
}

/// What every step of this flow says.
#[derive(Clone)]
struct About {
    plugin: String,
    digest: String,
    info: Arc<CallInfo>,
    limits: Limits,
}

impl PluginHost {
    /// Starts the flow of this name for a call.
    pub async fn start_flow(
        self: &Arc<Self>,
        tenant: &str,
        name: &str,
        info: &Arc<CallInfo>,
    ) -> Result<(FlowInstance, StepBox), (DecisionFailure, StepBox)> {
        let found = self
            .plugin_of_kind(tenant, name, Kind::Flow)
            .and_then(|plugin| {
                let version = plugin.active.clone().ok_or_else(|| unknown("flow", name))?;
                let room = self.room(tenant, &version.loaded, &plugin.settings.limits)?;
                Ok((plugin, version, room))
            });
        let (plugin, version, room) = found.map_err(|failure| (failure, None))?;
        let limits = plugin.settings.limits.clone();
        let about = About {
            plugin: name.to_owned(),
            digest: version.digest().to_owned(),
            info: info.clone(),
            limits: limits.clone(),
        };
        let mut store = self.store(
            tenant,
            &plugin,
            &version,
            info.call_id.clone(),
            Recorder::live(),
        );
        let (start, loaded, info) = (Instant::now(), version.loaded.clone(), info.clone());
        let starting = async move {
            let result = match (loaded.flow.as_ref(), instance::enter(&mut store).await) {
                (_, Err(busy)) => Err(busy),
                (Some(indices), Ok(())) => {
                    let call = convert::call_info(&info, &loaded.report.manifest.headers);
                    let made = async {
                        let instance = loaded.pre.instantiate_async(&mut store).await?;
                        let guest = indices.load(&mut store, &instance)?;
                        let session = guest.session().call_constructor(&mut store, &call).await?;
                        Ok((guest, session))
                    };
                    let made: wasmtime::Result<_> = made.await;
                    made.map_err(|e| instance::failure_in(&store, e, &limits))
                }
                (None, Ok(())) => Err(DecisionFailure::MissingExport {
                    name: Kind::Flow.name().to_owned(),
                }),
            };
            instance::pause(&mut store);
            let imports = store.data_mut().recorder.take();
            (
                result.map(|(guest, session)| Running {
                    store,
                    guest,
                    session,
                    _room: room,
                }),
                imports,
            )
        };
        let started = self.on_plugin_threads(Timed::new(starting)).await;
        let ((result, imports), cpu) =
            started.unwrap_or_else(|failure| ((Err(failure), Vec::new()), Duration::ZERO));
        let count = if result.is_ok() {
            &version.decided
        } else {
            &version.failed
        };
        count.fetch_add(1, Ordering::Relaxed);
        let step = about.step(
            "flow.session",
            imports,
            result.as_ref().err(),
            start.elapsed(),
            cpu,
        );
        match result {
            Ok(running) => Ok((
                FlowInstance {
                    host: self.clone(),
                    running: Some(running),
                    about,
                },
                step,
            )),
            Err(failure) => Err((failure, step)),
        }
    }
}

impl About {
    fn step(
        &self,
        export: &str,
        imports: Vec<Import>,
        failed: Option<&DecisionFailure>,
        wall: Duration,
        cpu: Duration,
    ) -> StepBox {
        Some(Box::new(Step {
            decider: format!("flow:{}", self.plugin),
            plugin: self.plugin.clone(),
            digest: self.digest.clone(),
            export: export.to_owned(),
            input: self.info.clone(),
            imports,
            // What it wants done is journaled action by action.
            outcome: failed.map_or(Outcome::Answered, |f| Outcome::Failed(f.clone())),
            wall_us: micros(wall),
            cpu_us: micros(cpu),
        }))
    }
}

impl FlowInstance {
    pub fn digest(&self) -> &str {
        &self.about.digest
    }

    /// Tells the flow what happened; gives what it wants done. After a failure its store is
    /// gone, and every further event fails.
    pub async fn on_event(
        &mut self,
        event: FlowEvent,
    ) -> (Result<Vec<FlowAction>, DecisionFailure>, StepBox) {
        let Some(mut running) = self.running.take() else {
            return (
                Err(DecisionFailure::Trap {
                    message: "it failed before".to_owned(),
                }),
                None,
            );
        };
        let (start, limits) = (Instant::now(), self.about.limits.clone());
        let telling = async move {
            instance::begin(&mut running.store, &limits);
            if let Err(busy) = instance::enter(&mut running.store).await {
                return (Err(busy), Vec::new(), None);
            }
            let event = convert::flow_event(event);
            let told = running
                .guest
                .session()
                .call_on_event(&mut running.store, running.session, &event)
                .await;
            instance::pause(&mut running.store);
            let imports = running.store.data_mut().recorder.take();
            match told {
                Ok(actions) if actions.len() > limits.actions => {
                    let what = format!(
                        "{} actions for one event, the limit is {}",
                        actions.len(),
                        limits.actions
                    );
                    (Err(DecisionFailure::OutputLimit { what }), imports, None)
                }
                Ok(actions) => (
                    Ok(actions
                        .into_iter()
                        .map(convert::flow_action)
                        .collect::<Vec<_>>()),
                    imports,
                    Some(running),
                ),
                Err(error) => (
                    Err(instance::failure_in(&running.store, error, &limits)),
                    imports,
                    None,
                ),
            }
        };
        let told = self.host.on_plugin_threads(Timed::new(telling)).await;
        let ((result, imports, running), cpu) =
            told.unwrap_or_else(|failure| ((Err(failure), Vec::new(), None), Duration::ZERO));
        self.running = running;
        let step = self.about.step(
            "flow.session.on-event",
            imports,
            result.as_ref().err(),
            start.elapsed(),
            cpu,
        );
        (result, step)
    }
}
