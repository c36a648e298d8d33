//! Starts everything in the right order, and ends it.
//!
//! - [`snapshot`]: what the call machine is told of the configuration.
//! - [`services`]: what plugins get from the shell.
//! - [`secret`]: randomness, and the admin's token.

pub mod secret;
pub mod services;
pub mod snapshot;

use crate::api;
use crate::config::{Config, Listen};
use crate::decide::{Answers, Decide};
use crate::http;
use crate::media::{Media, MediaConfig};
use crate::plugins;
use crate::records::Records;
use crate::signalling::{Bound, Router, tcp};
use crate::store::Store;
use crate::store::kv::{DurableKv, Quota};
use crate::websocket::{self, PluginDialects};
use crate::worker::{self, Load, Order, Workers};
use anyhow::Context as _;
use arc_swap::ArcSwap;
use b2bua::key::CallKey;
use b2bua::{Directory, Input};
use media::SessionKey;
use plugin_host::{Compile, PluginHost, PluginHostConfig};
use services::{ConfiguredSecrets, PluginHttp};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A running host.
pub struct Node {
    config: Arc<ArcSwap<Config>>,
    directory: Arc<ArcSwap<Directory>>,
    sip: Vec<Listen>,
    workers: Workers,
    threads: Mutex<Vec<JoinHandle<()>>>,
    plugins: Arc<PluginHost>,
    records: Records,
    api: api::Server,
    media: Mutex<Option<Media>>,
    _watcher: Option<plugins::Watcher>,
}

impl Node {
    /// Returns when calls are taken. Must be called inside a multi-thread runtime, which then
    /// runs REST, the store and outgoing HTTP.
    pub async fn start(config: Config) -> anyhow::Result<Node> {
        // Fails only where somebody in this process has chosen a provider before, which is fine.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let admin_token = secret::admin_token(&config.http)?;
        // Before anything is opened that would have to be closed again.
        let bound = Bound::bind(&config.sip.listen, config.sip.workers)?;
        let sip = bound.addresses();
        let directory = Arc::new(snapshot::directory(&config, &sip));
        let directory = Arc::new(ArcSwap::new(directory));
        let config = Arc::new(ArcSwap::from_pointee(config));

        let store = Store::open(&config.load().store.url).await?;
        let records = Records::start(&config.load().journal, store.clone())?;
        let tls = http::tls::client_config(None)?;
        let client = http::Client::new(
            tokio::runtime::Handle::current(),
            tls.clone(),
            http::Limits::default(),
        );
        let secrets = Arc::new(ConfiguredSecrets(config.clone()));
        let plugins = start_plugins(&config.load(), &store, client, secrets.clone()).await?;
        let watcher = watch_plugins(&config.load(), plugins.clone()).await?;

        let (media, workers_of_media) = start_media(&config.load())?;
        let handle = media.handle();
        let sessions = Arc::new(websocket::Deps {
            runtime: tokio::runtime::Handle::current(),
            tls,
            media: Arc::new(handle.clone()),
            dialects: Arc::new(PluginDialects(plugins.clone())),
            secrets,
            limits: websocket::Limits::default(),
        });

        let (workers, threads) = start_workers(
            bound,
            &config.load(),
            |answers| {
                Decide::new(
                    plugins.clone(),
                    sessions.clone(),
                    handle.clone(),
                    directory.clone(),
                    answers,
                )
            },
            &directory.load_full(),
            &records,
        )?;
        // Media has nothing to tell before the first call.
        let _ = workers_of_media.set(workers.clone());

        let api = api::serve(api::Deps {
            config: config.clone(),
            admin_token,
            workers: workers.clone(),
            plugins: plugins.clone(),
            records: records.clone(),
            store,
            media: Arc::new(move || handle.stats()),
        })
        .await?;
        Ok(Node {
            config,
            directory,
            sip,
            workers,
            threads: Mutex::new(threads),
            plugins,
            records,
            api,
            media: Mutex::new(Some(media)),
            _watcher: watcher,
        })
    }

    /// Addresses that calls are taken on, with the ports that were really had.
    pub fn sip(&self) -> &[Listen] {
        &self.sip
    }

    pub fn http(&self) -> SocketAddr {
        self.api.address()
    }

    pub fn plugins(&self) -> &Arc<PluginHost> {
        &self.plugins
    }

    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// On standard output, whatever the log's filter is.
    pub fn print_addresses(&self) {
        for listen in &self.sip {
            println!("gatepost: SIP on {listen}");
        }
        let config = self.config.load();
        let (first, last) = config.rtp.ports;
        println!(
            "gatepost: RTP on {} ports {first} to {last}, told as {}",
            config.rtp.address, config.rtp.advertise
        );
        println!("gatepost: REST on http://{}", self.http());
        println!("gatepost: plugins from {}", config.plugins.dir.display());
        println!("gatepost: ready");
    }

    /// Takes what can be changed while calls run: tenants, trunks, secrets. The rest needs a
    /// new start, and is named.
    pub async fn reload(&self, config: Config) -> anyhow::Result<()> {
        let old = self.config.load_full();
        for (section, differs) in [
            ("sip", old.sip != config.sip),
            ("rtp", old.rtp != config.rtp),
            ("http", old.http != config.http),
            ("store", old.store != config.store),
            ("plugins", old.plugins != config.plugins),
            ("journal", old.journal != config.journal),
            ("log", old.log != config.log),
        ] {
            if differs {
                tracing::warn!("[{section}] has changed: that takes effect at the next start");
            }
        }
        for notice in &config.notices {
            tracing::warn!("{notice}");
        }
        let merged = Config {
            tenants: config.tenants,
            notices: config.notices,
            ..(*old).clone()
        };
        let directory = Arc::new(snapshot::directory(&merged, &self.sip));
        self.config.store(Arc::new(merged));
        self.directory.store(directory.clone());
        self.workers
            .send_all(|| Order::Input(Input::Directory(directory.clone())))
            .await;
        Ok(())
    }

    /// Refuses new calls and waits for the running ones, as long as `sip.drain_s` allows.
    pub async fn drain(&self) {
        self.api.drain();
        self.workers.send_all(|| Order::Input(Input::Drain)).await;
        let limit = self.config.load().sip.drain;
        let deadline = Instant::now() + limit;
        let mut told = 0;
        loop {
            let calls = self.workers.calls();
            if calls == 0 {
                return;
            }
            if Instant::now() >= deadline {
                tracing::warn!(calls, "the calls that still run end now");
                return;
            }
            if calls != told {
                tracing::info!(
                    calls,
                    "waiting for calls to end, at most {} s",
                    limit.as_secs()
                );
                told = calls;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends what still runs and all threads. What calls left is written out first.
    pub async fn stop(&self) {
        self.hang_up_all().await;
        self.workers.send_all(|| Order::Stop).await;
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let media = self
            .media
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a SIP worker had panicked");
                }
            }
            drop(media);
        });
        if joined.await.is_err() {
            tracing::error!("the threads could not be waited for");
        }
        self.api.stop().await;
        self.records.stop().await;
        tracing::info!("stopped");
    }

    /// BYE and 503 to everyone, and a moment for them to be sent and journaled.
    async fn hang_up_all(&self) {
        if self.workers.calls() == 0 {
            return;
        }
        self.workers.send_all(|| Order::HangUpAll).await;
        let deadline = Instant::now() + LAST_WORDS;
        while self.workers.calls() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn start_plugins(
    config: &Config,
    store: &Store,
    client: http::Client,
    secrets: Arc<ConfiguredSecrets>,
) -> anyhow::Result<Arc<PluginHost>> {
    let program = std::env::current_exe().context("the path of this program")?;
    let settings = PluginHostConfig {
        http: Arc::new(PluginHttp(client)),
        kv: Arc::new(DurableKv::open(store.clone(), Quota::default()).await?),
        secrets,
        ..PluginHostConfig::new(config.plugins.cache.clone(), Compile::Child(program))
    };
    // Loads and compiles what was uploaded before.
    let plugins = tokio::task::spawn_blocking(|| PluginHost::new(settings))
        .await
        .context("the plugin host panicked")??;
    for notice in plugins.notices() {
        tracing::warn!("{notice}");
    }
    Ok(plugins)
}

async fn watch_plugins(
    config: &Config,
    plugins: Arc<PluginHost>,
) -> anyhow::Result<Option<plugins::Watcher>> {
    let (dir, watch) = (config.plugins.dir.clone(), config.plugins.watch);
    let started = tokio::task::spawn_blocking(move || {
        // Watched before it is read: a change in between is taken twice rather than not at all.
        std::fs::create_dir_all(&dir).with_context(|| format!("plugins.dir {}", dir.display()))?;
        let watcher = if watch {
            Some(plugins::watch(&dir, plugins.clone())?)
        } else {
            None
        };
        plugins::load_all(&dir, &plugins)?;
        anyhow::Ok(watcher)
    });
    started
        .await
        .context("the plugin folder's reader panicked")?
}

/// Where media events go; known only once there are workers.
type Receivers = Arc<OnceLock<Workers>>;

fn start_media(config: &Config) -> anyhow::Result<(Media, Receivers)> {
    let receivers = Receivers::default();
    let to = receivers.clone();
    let events = move |session: SessionKey, event: media::Event| {
        let call = CallKey::from(session);
        if let Some(workers) = to.get()
            && !workers.offer(call, Input::Media { call, event })
        {
            tracing::warn!(%call, "a media event was lost: its worker is overloaded");
        }
    };
    let mut settings = MediaConfig {
        threads: config.rtp.threads.into(),
        ..MediaConfig::default()
    };
    settings.engine.seed = u64::from_ne_bytes(secret::random()?);
    Ok((Media::start(&settings, Arc::new(events))?, receivers))
}

fn start_workers(
    bound: Bound,
    config: &Config,
    decide: impl Fn(Answers) -> Decide,
    directory: &Arc<Directory>,
    records: &Records,
) -> anyhow::Result<(Workers, Vec<JoinHandle<()>>)> {
    let listen = bound.addresses();
    let count = bound.workers.len();
    let (event_senders, mut events): (Vec<_>, Vec<_>) =
        (0..count).map(|_| mpsc::channel(EVENTS)).unzip();
    let (order_senders, mut orders): (Vec<_>, Vec<_>) =
        (0..count).map(|_| mpsc::channel(ORDERS)).unzip();
    let loads: Vec<Arc<Load>> = (0..count).map(|_| Arc::default()).collect();
    let router = Router::new(event_senders);
    let connections = tcp::Limits {
        connections: config.sip.max_connections,
        open: Arc::default(),
        idle: config.sip.connection_idle,
    };
    let workers = Workers::new(
        order_senders
            .iter()
            .cloned()
            .zip(loads.iter().cloned())
            .collect(),
    );
    let mut threads = Vec::new();
    // From the last to the first, so that each takes the end of its list.
    for (number, sockets) in bound.workers.into_iter().enumerate().rev() {
        let (Some(events), Some(orders)) = (events.pop(), orders.pop()) else {
            break;
        };
        threads.push(worker::spawn(worker::Setup {
            number: number as u16,
            core: snapshot::core(config, &listen, number as u16),
            seed: u64::from_ne_bytes(secret::random()?),
            directory: directory.clone(),
            sockets,
            connections: connections.clone(),
            router: router.clone(),
            events,
            orders,
            load: loads[number].clone(),
            decide: decide(Answers::new(order_senders[number].clone())),
            records: records.clone(),
        })?);
    }
    Ok((workers, threads))
}

/// Messages from connections and other workers that may wait for a worker.
const EVENTS: usize = 4096;
/// Answers of plugins, media events, commands.
const ORDERS: usize = 65_536;
/// For BYEs to be answered when the host ends with calls.
const LAST_WORDS: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
