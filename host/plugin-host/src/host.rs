//! [`PluginHost`]: what the shell talks to. Every call into a guest runs on the plugin
//! threads, under its limits, and is ended by its deadline; nobody drops it.

use crate::admission::{self, Admission, AdmissionError, Compile, Loaded};
use crate::capability::http::HttpClient;
use crate::capability::kv::KvStore;
use crate::capability::log::{LogSink, TracingLog};
use crate::capability::secrets::SecretStore;
use crate::capability::{Context, Services};
use crate::check::Kind;
use crate::engine;
use crate::engine::lanes::Lanes;
use crate::grants::Grants;
use crate::instance::{self, State};
use crate::limits::Limits;
use crate::policy;
use crate::record::Recorder;
use crate::registry::{Deploy, Origin, Plugin, Registry, Version};
use b2bua::call_info::CallInfo;
use b2bua::decision::{DecisionFailure, Routed, Step};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Engine, Store};

pub struct PluginHostConfig {
    /// compiled code, uploaded files, keys
    pub data_dir: PathBuf,
    pub compile: Compile,
    /// instances that may live at once; default 8,000
    pub instances: u32,
    /// threads that run guests; 0 means one for each core
    pub threads: usize,
    /// questions and sessions of one tenant at the same time; default 4,000
    pub tenant_concurrency: usize,
    pub http: Arc<dyn HttpClient>,
    pub kv: Arc<dyn KvStore>,
    pub secrets: Arc<dyn SecretStore>,
    pub log: Arc<dyn LogSink>,
}

impl PluginHostConfig {
    /// In `data_dir`, with a memory for `kv`, no HTTP and no secrets.
    pub fn new(data_dir: PathBuf, compile: Compile) -> PluginHostConfig {
        PluginHostConfig {
            data_dir,
            compile,
            instances: 8_000,
            threads: 0,
            tenant_concurrency: 4_000,
            http: Arc::new(crate::capability::http::NoHttp),
            kv: Arc::new(crate::capability::kv::MemoryKv::default()),
            secrets: Arc::new(crate::capability::secrets::NoSecrets),
            log: Arc::new(TracingLog),
        }
    }
}

/// The record of one plugin call, for the journal.
pub type StepBox = Option<Box<Step>>;

pub struct PluginHost {
    pub(crate) engine: Engine,
    admission: Admission,
    registry: Registry,
    pub(crate) services: Arc<Services>,
    runtime: tokio::runtime::Handle,
    /// Ends the runtime's threads with the host.
    _runtime: Mutex<Option<tokio::runtime::Runtime>>,
    tenant_concurrency: usize,
    tenants: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    notices: Vec<String>,
}

impl Drop for PluginHost {
    fn drop(&mut self) {
        let runtime = self
            ._runtime
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // A guest that runs on ends at its deadline; waiting for it here would block whoever
        // drops us, and that may be a task.
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

impl PluginHost {
    pub fn new(config: PluginHostConfig) -> anyhow::Result<Arc<PluginHost>> {
        std::fs::create_dir_all(&config.data_dir)?;
        let started = engine::start(config.instances)?;
        let threads = if config.threads == 0 {
            std::thread::available_parallelism().map_or(2, |n| n.get())
        } else {
            config.threads
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("plugin")
            .enable_time()
            .build()?;
        let lanes = Lanes::new(threads);
        let services = Arc::new(Services {
            http: config.http,
            kv: config.kv,
            secrets: config.secrets,
            log: config.log,
            lanes,
        });
        let host = PluginHost {
            admission: Admission::new(&started.engine, &config.data_dir, config.compile)?,
            registry: Registry::new(config.data_dir),
            engine: started.engine,
            services,
            runtime: runtime.handle().clone(),
            _runtime: Mutex::new(Some(runtime)),
            tenant_concurrency: config.tenant_concurrency,
            tenants: Mutex::default(),
            notices: started.notices,
        };
        host.load_saved();
        Ok(Arc::new(host))
    }

    /// Worth a line in the log at start.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Takes a file in: looked at, compiled, tried out, swapped in. On any error the live
    /// version goes on, and the error is kept for the plugin's page. Blocks for as long as a
    /// compilation takes: not for a thread that runs calls.
    pub fn deploy(&self, deploy: &Deploy<'_>) -> Result<Arc<Version>, AdmissionError> {
        let result = self.admit(deploy);
        match &result {
            Ok(_) => self.registry.persist(),
            Err(error) => self.registry.refuse(
                deploy.tenant,
                deploy.name,
                crate::check::digest(deploy.bytes),
                error,
            ),
        }
        result
    }

    /// Notes that a plugin's file or settings could not be taken; the live version goes on.
    pub fn refuse(&self, tenant: &str, name: &str, bytes: &[u8], why: &str) {
        let error = AdmissionError::Settings(why.to_owned());
        self.registry
            .refuse(tenant, name, crate::check::digest(bytes), &error);
    }

    fn admit(&self, deploy: &Deploy<'_>) -> Result<Arc<Version>, AdmissionError> {
        if deploy.name.is_empty()
            || deploy.name.len() > 64
            || !deploy
                .name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        {
            return Err(AdmissionError::Settings(format!(
                "`{}` is no name for a plugin: letters, digits, - _ . and at most 64 of them",
                deploy.name
            )));
        }
        let settings = deploy.settings.clone().or_else(|| {
            self.registry
                .plugin(deploy.tenant, deploy.name)
                .map(|p| (*p.settings).clone())
        });
        let settings = settings
            .unwrap_or_default()
            .checked()
            .map_err(|e| AdmissionError::Settings(e.to_string()))?;
        let loaded = self.admission.load(deploy.bytes)?;
        let context = Context {
            tenant: deploy.tenant.into(),
            plugin: deploy.name.into(),
            call: String::new(),
            config: "{}".into(),
            grants: Arc::new(Grants::default()),
        };
        let (engine, services) = (self.engine.clone(), self.services.clone());
        let trial = {
            let (loaded, limits) = (loaded.clone(), settings.limits);
            async move { admission::try_out(&engine, &loaded, &limits, context, services).await }
        };
        let (sender, result) = std::sync::mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            let _ = sender.send(trial.await);
        });
        result
            .recv()
            .map_err(|_| AdmissionError::Trial("the plugin threads have stopped".to_owned()))??;
        if deploy.origin == Origin::Api {
            let kept = self.registry.keep(&loaded.report.digest, deploy.bytes);
            kept.map_err(|e| AdmissionError::Store(format!("the file cannot be kept: {e}")))?;
        }
        Ok(self.registry.install(deploy, loaded))
    }

    fn load_saved(&self) {
        for saved in self.registry.saved().plugins {
            for digest in &saved.versions {
                let Some(bytes) = self.registry.wasm(digest) else {
                    tracing::error!(
                        plugin = saved.name,
                        digest,
                        "an uploaded version is gone from the disk"
                    );
                    continue;
                };
                let deploy = Deploy {
                    tenant: &saved.tenant,
                    name: &saved.name,
                    bytes: &bytes,
                    origin: Origin::Api,
                    settings: Some(saved.settings.clone()),
                    activate: *digest == saved.active,
                    by: "restart",
                };
                if let Err(error) = self.admit(&deploy) {
                    tracing::error!(plugin = saved.name, digest, %error, "an uploaded version does not load any more");
                }
            }
        }
    }

    // --- questions ---------------------------------------------------------------------

    /// Where does this call go? Asks the bound plugins in order, with their failure policies.
    pub async fn route(self: &Arc<Self>, tenant: &str, info: &Arc<CallInfo>) -> Routed {
        let (host, info, tenant) = (self.clone(), info.clone(), tenant.to_owned());
        let asked = self
            .on_plugin_threads(async move { policy::route(&host, &tenant, &info).await })
            .await;
        asked.unwrap_or_else(|failure| Routed {
            decision: Err(failure),
            trail: Vec::new(),
        })
    }

    // --- what questions and sessions share ----------------------------------------------

    pub(crate) fn plugin_of_kind(
        &self,
        tenant: &str,
        name: &str,
        kind: Kind,
    ) -> Result<Arc<Plugin>, DecisionFailure> {
        let plugin = self
            .registry
            .plugin(tenant, name)
            .ok_or_else(|| unknown("plugin", name))?;
        if plugin.active.is_some() && !plugin.has(kind) {
            return Err(DecisionFailure::MissingExport {
                name: kind.name().to_owned(),
            });
        }
        Ok(plugin)
    }

    /// Room among the plugin's own, and among the tenant's: nobody takes all instances alone.
    pub(crate) fn room(
        &self,
        tenant: &str,
        loaded: &Arc<Loaded>,
        limits: &Limits,
    ) -> Result<Room, DecisionFailure> {
        if loaded.live.load(Ordering::Relaxed) >= limits.concurrency as usize {
            return Err(DecisionFailure::Overload {
                limit: limits.concurrency,
            });
        }
        Ok(Room {
            _permit: self.permit(tenant)?,
            _live: Live::on(loaded),
        })
    }

    fn permit(&self, tenant: &str) -> Result<OwnedSemaphorePermit, DecisionFailure> {
        let semaphore = {
            let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            match tenants.get(tenant) {
                Some(semaphore) => semaphore.clone(),
                None => tenants
                    .entry(tenant.to_owned())
                    .or_insert_with(|| Arc::new(Semaphore::new(self.tenant_concurrency)))
                    .clone(),
            }
        };
        let limit = u32::try_from(self.tenant_concurrency).unwrap_or(u32::MAX);
        semaphore
            .try_acquire_owned()
            .map_err(|_| DecisionFailure::Overload { limit })
    }

    pub(crate) fn store(
        &self,
        tenant: &str,
        plugin: &Plugin,
        version: &Version,
        call: String,
        recorder: Recorder,
    ) -> Store<State> {
        let context = Context {
            tenant: tenant.into(),
            plugin: plugin.name.clone(),
            call,
            config: plugin.config.clone(),
            grants: Arc::new(Grants::effective(
                &version.report().manifest.capabilities,
                &plugin.settings.grants.allow,
            )),
        };
        instance::store(
            &self.engine,
            &plugin.settings.limits,
            context,
            self.services.clone(),
            recorder,
        )
    }

    /// Runs there and waits here. The future is never dropped before its end.
    pub(crate) async fn on_plugin_threads<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, DecisionFailure> {
        self.runtime
            .spawn(work)
            .await
            .map_err(|e| DecisionFailure::Trap {
                message: format!("the plugin threads gave no answer: {e}"),
            })
    }
}

pub(crate) fn unknown(what: &str, name: &str) -> DecisionFailure {
    DecisionFailure::Unknown {
        what: what.to_owned(),
        name: name.to_owned(),
    }
}

pub(crate) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// What a session or question takes as long as it lives.
pub(crate) struct Room {
    _permit: OwnedSemaphorePermit,
    _live: Live,
}

/// Counts a session or question as running on a version.
struct Live(Arc<Loaded>);

impl Live {
    fn on(loaded: &Arc<Loaded>) -> Live {
        loaded.live.fetch_add(1, Ordering::Relaxed);
        Live(loaded.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}
