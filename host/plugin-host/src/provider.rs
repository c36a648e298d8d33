//! Providers: what a carrier's INVITEs say, how ours must look, and its webhooks. A fresh
//! instance for each question.

use crate::bindings::{convert, provider, wit};
use crate::check::Kind;
use crate::host::{PluginHost, StepBox, micros, unknown};
use crate::instance::{self, State};
use crate::limits::Limits;
use crate::record::Recorder;
use crate::registry::Version;
use crate::timed::Timed;
use b2bua::call_info::{CallInfo, Ext};
use b2bua::decision::{DecisionFailure, Import, Outcome, Step, Target};
use b2bua::provider::{Outgoing, Read, Shaped};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use wasmtime::Store;

/// An HTTP request of a carrier, for its provider plugin.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub method: String,
    /// the public URL as the carrier called it
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// `sip-uri`, `public-url`, `remote`
    pub ext: Ext,
}

#[derive(Debug, Clone, PartialEq)]
pub struct WebhookReply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// kind and details of what the webhook said
    pub notices: Vec<(String, Ext)>,
}

impl PluginHost {
    /// What does this INVITE say in the carrier's words?
    pub async fn read(
        self: &Arc<Self>,
        tenant: &str,
        provider: &str,
        info: &Arc<CallInfo>,
    ) -> (Result<Read, DecisionFailure>, StepBox) {
        let ask = |mut store: Store<State>,
                   version: Arc<Version>,
                   info: Arc<CallInfo>,
                   limits: Limits| async move {
            let result = async {
                let guest = provider_guest(&mut store, &version, &limits).await?;
                let call = convert::call_info(&info, &version.report().manifest.headers);
                let answer = guest.call_inbound(&mut store, &call).await;
                let answer = answer.map_err(|e| instance::failure_in(&store, e, &limits))?;
                answer
                    .map(convert::read)
                    .map_err(|f| DecisionFailure::Reported {
                        text: convert::failure(f),
                    })
            }
            .await;
            (result, store.data_mut().recorder.take())
        };
        self.ask_provider(tenant, provider, "provider.inbound", info, ask)
            .await
    }

    /// How must this INVITE look for the carrier?
    pub async fn shape(
        self: &Arc<Self>,
        tenant: &str,
        provider: &str,
        info: &Arc<CallInfo>,
        target: &Target,
        outgoing: &Outgoing,
    ) -> (Result<Shaped, DecisionFailure>, StepBox) {
        let (target, outgoing) = (convert::target(target), convert::outgoing(outgoing));
        let ask = |mut store: Store<State>,
                   version: Arc<Version>,
                   info: Arc<CallInfo>,
                   limits: Limits| async move {
            let result = async {
                let guest = provider_guest(&mut store, &version, &limits).await?;
                let call = convert::call_info(&info, &version.report().manifest.headers);
                let answer = guest
                    .call_outbound(&mut store, &call, &target, &outgoing)
                    .await;
                let answer = answer.map_err(|e| instance::failure_in(&store, e, &limits))?;
                answer
                    .map(convert::shaped)
                    .map_err(|f| DecisionFailure::Reported {
                        text: convert::failure(f),
                    })
            }
            .await;
            (result, store.data_mut().recorder.take())
        };
        self.ask_provider(tenant, provider, "provider.outbound", info, ask)
            .await
    }

    /// A carrier's HTTP request.
    pub async fn webhook(
        self: &Arc<Self>,
        tenant: &str,
        provider: &str,
        webhook: Webhook,
    ) -> Result<WebhookReply, DecisionFailure> {
        let plugin = self.plugin_of_kind(tenant, provider, Kind::Provider)?;
        let version = plugin
            .active
            .clone()
            .ok_or_else(|| unknown("provider plugin", provider))?;
        let room = self.room(tenant, &version.loaded, &plugin.settings.limits)?;
        let mut store = self.store(tenant, &plugin, &version, String::new(), Recorder::live());
        let limits = plugin.settings.limits.clone();
        let request = wit::HttpRequest {
            method: webhook.method,
            url: webhook.url,
            headers: convert::http_headers(&webhook.headers),
            body: webhook.body,
        };
        self.on_plugin_threads(async move {
            let _room = room;
            let guest = provider_guest(&mut store, &version, &limits).await?;
            let reply = guest.call_webhook(&mut store, &request, &webhook.ext).await;
            let reply = reply.map_err(|e| instance::failure_in(&store, e, &limits))?;
            let reply = reply.map_err(|f| DecisionFailure::Reported {
                text: convert::failure(f),
            })?;
            Ok(WebhookReply {
                status: reply.response.status,
                headers: convert::http_headers_back(reply.response.headers),
                body: reply.response.body,
                notices: convert::notices(reply.notices),
            })
        })
        .await?
    }

    async fn ask_provider<T, A, F>(
        self: &Arc<Self>,
        tenant: &str,
        name: &str,
        export: &str,
        info: &Arc<CallInfo>,
        ask: A,
    ) -> (Result<T, DecisionFailure>, StepBox)
    where
        T: Send + 'static,
        A: FnOnce(Store<State>, Arc<Version>, Arc<CallInfo>, Limits) -> F,
        F: Future<Output = (Result<T, DecisionFailure>, Vec<Import>)> + Send + 'static,
    {
        let found = self
            .plugin_of_kind(tenant, name, Kind::Provider)
            .and_then(|plugin| {
                let version = plugin
                    .active
                    .clone()
                    .ok_or_else(|| unknown("provider plugin", name))?;
                let room = self.room(tenant, &version.loaded, &plugin.settings.limits)?;
                Ok((plugin, version, room))
            });
        let (plugin, version, room) = match found {
            Ok(found) => found,
            Err(failure) => return (Err(failure), None),
        };
        let store = self.store(
            tenant,
            &plugin,
            &version,
            info.call_id.clone(),
            Recorder::live(),
        );
        let start = Instant::now();
        let asked = Timed::new(ask(
            store,
            version.clone(),
            info.clone(),
            plugin.settings.limits.clone(),
        ));
        let answered = self
            .on_plugin_threads(async move {
                let _room = room;
                asked.await
            })
            .await;
        let ((result, imports), cpu) = match answered {
            Ok(answered) => answered,
            Err(failure) => ((Err(failure), Vec::new()), Duration::ZERO),
        };
        let count = if result.is_ok() {
            &version.decided
        } else {
            &version.failed
        };
        count.fetch_add(1, Ordering::Relaxed);
        let step = Step {
            decider: format!("provider:{name}"),
            plugin: name.to_owned(),
            digest: version.digest().to_owned(),
            export: export.to_owned(),
            input: info.clone(),
            imports,
            // What it shaped is in the INVITE that the journal has.
            outcome: result
                .as_ref()
                .err()
                .map_or(Outcome::Answered, |f| Outcome::Failed(f.clone())),
            wall_us: micros(start.elapsed()),
            cpu_us: micros(cpu),
        };
        (result, Some(Box::new(step)))
    }
}

async fn provider_guest(
    store: &mut Store<State>,
    version: &Version,
    limits: &Limits,
) -> Result<provider::Guest, DecisionFailure> {
    let loaded = &version.loaded;
    let indices = loaded
        .provider
        .as_ref()
        .ok_or_else(|| DecisionFailure::MissingExport {
            name: Kind::Provider.name().to_owned(),
        })?;
    instance::enter(store).await?;
    let started = async {
        let instance = loaded.pre.instantiate_async(&mut *store).await?;
        indices.load(&mut *store, &instance)
    };
    let started = started.await;
    started.map_err(|e| instance::failure_in(store, e, limits))
}
