//! WebSocket sessions between connectors and AI platforms. A session is a task that stands
//! between three: the platform's socket, the plugin that speaks its dialect, and the media
//! thread that has the caller's audio. The call hears only what matters to it.
//!
//! - [`dialect`]: what a session asks of the plugin, [`PluginDialects`] the plugins that answer.
//!   [`connect`]: opens the socket.
//! - [`session`]: the task. [`outbox`]: what waits to be written.
//!
//! Everything that waits is bounded. A slow platform loses the oldest of the caller's audio,
//! a dead one ends the session, and neither is felt by the media thread.

pub mod connect;
pub mod dialect;
pub mod outbox;
mod plugins;
pub mod session;
#[cfg(test)]
mod tests;

use b2bua::ConnectorOrder;
use b2bua::call_info::CallInfo;
use b2bua::flow::{Connect, ConnectorEvent};
use dialect::Dialects;
use media::{Command, LegKey, SessionKey};
use plugin_host::SecretStore;
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

pub use plugins::PluginDialects;

/// What all sessions of the node share.
pub struct Deps {
    pub runtime: tokio::runtime::Handle,
    pub tls: Arc<ClientConfig>,
    pub media: Arc<dyn MediaLink>,
    pub dialects: Arc<dyn Dialects>,
    pub secrets: Arc<dyn SecretStore>,
    pub limits: Limits,
}

#[derive(Debug, Clone)]
pub struct Limits {
    /// To open the socket, with TLS and handshake.
    pub connect_timeout: Duration, // 10 s
    /// A message in either direction.
    pub message_bytes: usize, // 4 MiB
    /// Waiting to be written: messages and bytes.
    pub outbox_messages: usize, // 128
    pub outbox_bytes: usize, // 8 MiB
    /// One write must be done in this time.
    pub write_timeout: Duration, // 10 s
    /// Ping so often; silence for twice as long is the end.
    pub ping_every: Duration, // 20 s
    /// The platform's answer to our close frame.
    pub close_timeout: Duration, // 2 s
    /// Caller audio that is held back while the platform is slow.
    pub held_audio: Duration, // 2 s
    pub timers: usize,       // 64
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect_timeout: Duration::from_secs(10),
            message_bytes: 4 << 20,
            outbox_messages: 128,
            outbox_bytes: 8 << 20,
            write_timeout: Duration::from_secs(10),
            ping_every: Duration::from_secs(20),
            close_timeout: Duration::from_secs(2),
            held_audio: Duration::from_secs(2),
            timers: 64,
        }
    }
}

/// The media thread as a session sees it.
pub trait MediaLink: Send + Sync {
    fn attach(
        &self,
        session: SessionKey,
        id: u32,
        sender: mpsc::Sender<media::ConnectorEvent>,
    ) -> bool;
    fn detach(&self, session: SessionKey, id: u32);
    fn send(&self, session: SessionKey, command: Command) -> bool;
}

impl MediaLink for crate::media::MediaHandle {
    fn attach(
        &self,
        session: SessionKey,
        id: u32,
        sender: mpsc::Sender<media::ConnectorEvent>,
    ) -> bool {
        crate::media::MediaHandle::attach(self, session, id, sender)
    }

    fn detach(&self, session: SessionKey, id: u32) {
        crate::media::MediaHandle::detach(self, session, id);
    }

    fn send(&self, session: SessionKey, command: Command) -> bool {
        crate::media::MediaHandle::send(self, session, command)
    }
}

/// One `connect` of a call.
pub struct Request {
    pub session: SessionKey,
    pub leg: LegKey,
    pub connect: Connect,
    pub info: Arc<CallInfo>,
}

/// What the call hears. Called on the sessions' runtime; must not wait.
pub type Report = Box<dyn Fn(ConnectorEvent) + Send + Sync>;

/// Dropping it ends the session, as `Stop` does.
#[derive(Debug)]
pub struct SessionHandle {
    orders: mpsc::Sender<ConnectorOrder>,
}

impl SessionHandle {
    /// False if the session has ended, or is so far behind that it takes no more.
    pub fn order(&self, order: ConnectorOrder) -> bool {
        self.orders.try_send(order).is_ok()
    }
}

/// Starts a session. `Ended` is the last that is reported; after `Stop` nothing is.
pub fn spawn_session(deps: Arc<Deps>, request: Request, report: Report) -> SessionHandle {
    let (orders, inbox) = mpsc::channel(MAX_ORDERS);
    deps.runtime
        .clone()
        .spawn(session::run(deps, request, inbox, report));
    SessionHandle { orders }
}

const MAX_ORDERS: usize = 64;
