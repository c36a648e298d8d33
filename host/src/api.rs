//! REST, metrics and the carriers' webhooks. axum is named only here and below.
//!
//! - [`auth`]: whose request it is. [`problem`]: what an error looks like.
//! - [`page`], [`body`]: what requests say. [`edge`]: what holds for every request.
//! - [`plugins`], [`bindings`], [`calls`], [`tokens`], [`audit`], [`system`], [`webhooks`]:
//!   one file a resource.
//!
//! Both forms of a path, with and without a slash at its end, are the same path.

mod audit;
mod auth;
mod bindings;
mod body;
mod calls;
mod edge;
mod listener;
mod page;
mod plugins;
mod problem;
mod system;
mod tokens;
mod webhooks;

pub use auth::hash_token;

use crate::config::{Config, Secret};
use crate::media::stats::MediaStats;
use crate::records::Records;
use crate::store::Store;
use crate::worker::Workers;
use anyhow::Context as _;
use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use plugin_host::PluginHost;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinHandle;

/// What the API shows and changes.
pub struct Deps {
    /// As it is in force; tenants may change.
    pub config: Arc<ArcSwap<Config>>,
    /// The platform admin's.
    pub admin_token: Secret,
    pub workers: Workers,
    pub plugins: Arc<PluginHost>,
    pub records: Records,
    pub store: Store,
    /// Sums of the media threads.
    pub media: Arc<dyn Fn() -> MediaStats + Send + Sync>,
}

/// The running listener.
pub struct Server {
    address: SocketAddr,
    state: Api,
    stop: watch::Sender<bool>,
    task: std::sync::Mutex<Option<JoinHandle<()>>>,
}

/// What handlers get. Cheap to clone.
type Api = Arc<State>;

struct State {
    deps: Deps,
    auth: auth::Auth,
    started: Instant,
    draining: AtomicBool,
    /// One change of a plugin's settings at a time: each reads what the last one wrote.
    changing: Mutex<()>,
    /// Uploads that compile at the same time.
    uploads: Semaphore,
}

/// Listens on `http.listen` of the configuration.
pub async fn serve(deps: Deps) -> anyhow::Result<Server> {
    let listen = deps.config.load().http.listen;
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("http.listen {listen}"))?;
    let address = listener.local_addr()?;
    let state = Arc::new(State {
        auth: auth::Auth::new(&deps.admin_token),
        deps,
        started: Instant::now(),
        draining: AtomicBool::new(false),
        changing: Mutex::new(()),
        uploads: Semaphore::new(UPLOADS),
    });
    let app = app(state.clone()).into_make_service_with_connect_info::<listener::Peer>();
    let (stop, mut stopped) = watch::channel(false);
    let task = tokio::spawn(async move {
        let stopped = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let listener = listener::Bounded::new(listener, CONNECTIONS);
        if let Err(error) = axum::serve(listener, app)
            .with_graceful_shutdown(stopped)
            .await
        {
            tracing::error!(%error, "REST has ended");
        }
    });
    Ok(Server {
        address,
        state,
        stop,
        task: std::sync::Mutex::new(Some(task)),
    })
}

impl Server {
    /// With the port that was really had.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on `/ready` says no, so that load balancers look elsewhere.
    pub fn drain(&self) {
        self.state.draining.store(true, Ordering::Relaxed);
    }

    /// Lets running requests end, for a moment.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let task = self
            .task
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if let Some(mut task) = task
            && tokio::time::timeout(LAST_REQUESTS, &mut task)
                .await
                .is_err()
        {
            task.abort();
        }
    }
}

fn app(state: Api) -> Router {
    let routes = Router::new()
        .merge(system::routes())
        .merge(webhooks::routes())
        .merge(plugins::routes())
        .merge(bindings::routes())
        .merge(calls::routes())
        .merge(tokens::routes())
        .merge(audit::routes())
        .fallback(|| async { problem::Problem::not_found("there is nothing at this path") })
        .method_not_allowed_fallback(|| async { problem::Problem::method_not_allowed() })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(axum::middleware::from_fn_with_state(
            state.clone(),
            auth::authenticate,
        ))
        .with_state(state);
    // The outer router has no paths of its own: its layers see a request before the inner one
    // chooses a route.
    Router::new()
        .fallback_service(routes)
        .layer(axum::middleware::from_fn(edge::edge))
}

/// Of a request that is not an upload: 1 MiB.
const BODY_BYTES: usize = 1 << 20;
const UPLOADS: usize = 2;
const CONNECTIONS: usize = 512;
const LAST_REQUESTS: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
