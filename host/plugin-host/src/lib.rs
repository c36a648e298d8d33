//! Plugins: from a file to a running instance under limits, and from a question to an answer.
//!
//! - [`check`]: what is this file? A [`check::Report`], or in words what is wrong.
//! - [`admission`]: compile in a child process, try it out; only then may it go live.
//! - [`registry`]: tenants → plugins → versions (by SHA-256) → bindings; snapshots, swapped.
//! - [`host`]: [`PluginHost`], the door for the shell: `route`, `read`, `shape`, `webhook`,
//!   `start_flow`, `start_connector`, `deploy`.
//! - [`engine`], [`limits`], [`instance`]: how wasmtime is set up and used. wasmtime is named
//!   nowhere outside of this crate, and WIT types nowhere outside of [`bindings`].
//! - [`capability`]: one file for each host import.
//! - [`record`], [`replay`]: every import is written down; the same answers can be given again.
//! - [`settings`]: `<name>.toml`. [`cost`]: what a decision costs.

pub mod admission;
mod bindings;
pub mod breaker;
pub mod capability;
pub mod check;
pub mod connector;
pub mod cost;
pub mod engine;
pub mod flow;
pub mod grants;
pub mod host;
pub mod instance;
pub mod limits;
pub mod manifest;
mod policy;
pub mod provider;
pub mod record;
pub mod registry;
pub mod replay;
pub mod settings;
mod timed;

pub use admission::{AdmissionError, COMPILE_COMMAND, Compile, compile_child_main};
pub use capability::http::{HttpClient, HttpError, HttpRequest, HttpResponse};
pub use capability::kv::{KvError, KvStore, MemoryKv};
pub use capability::secrets::{NoSecrets, SecretStore};
pub use check::{Kind, Report};
pub use connector::ConnectorInstance;
pub use flow::FlowInstance;
pub use host::{PluginHost, PluginHostConfig, StepBox};
pub use limits::Limits;
pub use provider::{Webhook, WebhookReply};
pub use registry::{Deploy, Origin, Registry};
pub use settings::{OnFailure, Settings};
