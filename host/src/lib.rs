//! The shell of Gatepost: sockets, time, HTTP, SQL, files and threads around the core that
//! decides. What a call does is in `b2bua`; this crate reads, hands in, drains and writes.
//!
//! - [`cli`]: the command line.
//! - [`config`]: `ConfigFile` as written, [`config::Config`] as checked.
//! - [`node`]: starts and ends everything in the right order.
//! - [`signalling`]: SIP sockets: UDP in batches, TCP connections.
//! - [`worker`]: one thread, one `B2bua`, its sockets and its timer.
//! - [`decide`]: carries a call's questions to the plugins and the answers back.
//! - [`media`]: media threads and their ports.
//! - [`websocket`], [`http`]: transports that connectors, providers and plugins use.
//! - [`plugins`]: the watched folder in front of the registry.
//! - [`api`]: the REST interface.
//! - [`store`]: what must outlive the process, in SQL.
//! - [`records`], [`replay`]: the journal of calls, and its readings.
//! - [`telemetry`]: logs and metrics.

pub mod api;
pub mod cli;
pub mod config;
pub mod decide;
pub mod http;
pub mod media;
pub mod node;
pub mod plugins;
pub mod records;
pub mod replay;
pub mod signalling;
pub mod store;
pub mod telemetry;
pub mod websocket;
pub mod worker;
