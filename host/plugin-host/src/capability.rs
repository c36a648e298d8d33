//! What a plugin may ask of the host: one file for each import of `wit/host.wit`.
//!
//! Every import goes through the [`Recorder`](crate::record::Recorder): live, it is done and
//! written down; in a replay it is answered from the record.

pub mod clock;
pub mod config;
pub mod crypto;
pub mod http;
pub mod kv;
pub mod log;
pub mod random;
pub mod secrets;

use crate::bindings;
use crate::engine::lanes::Lanes;
use crate::grants::Grants;
use crate::instance::State;
use std::sync::Arc;
use wasmtime::component::{HasSelf, Linker};

/// Who calls.
#[derive(Clone)]
pub struct Context {
    pub tenant: Arc<str>,
    pub plugin: Arc<str>,
    /// empty where no call is concerned
    pub call: String,
    /// the settings as JSON
    pub config: Arc<str>,
    pub grants: Arc<Grants>,
}

/// What the shell brings.
/// The shell makes it through `PluginHostConfig`.
pub struct Services {
    pub http: Arc<dyn http::HttpClient>,
    pub kv: Arc<dyn kv::KvStore>,
    pub secrets: Arc<dyn secrets::SecretStore>,
    /// lines of guests
    pub log: Arc<dyn log::LogSink>,
    pub(crate) lanes: Arc<Lanes>,
}

/// Links every import. None of WASI: a component that imports it is refused before.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    use bindings::imports::{clock, config, crypto, http, kv, log, random, secrets};
    log::add_to_linker::<_, HasSelf<_>>(linker, |s| s)?;
    config::add_to_linker::<_, HasSelf<_>>(linker, |s| s)?;
    clock::add_to_linker::<_, HasSelf<_>>(linker, |s| s)?;
    random::add_to_linker::<_, HasSelf<_>>(linker, |s| s)?;
    kv::add_to_linker::<_, HasSelf<_>>(linker, |s| s)?;
    http::add_to_linker::<_, HasSelf<_>>(linker, |s| s)?;
    crypto::add_to_linker::<_, HasSelf<_>>(linker, |s| s)?;
    secrets::add_to_linker::<_, HasSelf<_>>(linker, |s| s)
}

impl bindings::wit::Host for State {}
