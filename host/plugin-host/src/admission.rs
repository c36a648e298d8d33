//! From a file to something that may go live: looked at, compiled in a child process under
//! limits, tried out. Nothing of a refused file stays.

mod cache;
mod child;
mod trial;

pub use child::{COMPILE_COMMAND, Compile, compile_child_main};
pub(crate) use trial::try_out;

use crate::bindings::{connector, flow, provider, router};
use crate::check::{self, Refused, Report};
use crate::instance::State;
use cache::Cache;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

/// Why a file does not go live; the text is for its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("it does not compile: {0}")]
    Compile(String),
    #[error("compiling it took more than {0}")]
    CompileLimit(String),
    #[error("it cannot be instantiated: {0}")]
    Instantiate(String),
    #[error("its trial call failed: {0}")]
    Trial(String),
    #[error("{0}")]
    Settings(String),
    #[error("{0}")]
    Store(String),
    #[error("there is no {what} named {name}")]
    Unknown { what: &'static str, name: String },
    #[error("{0}")]
    Conflict(String),
}

/// Code that can be instantiated. A session keeps its `Arc`; the code is given back with the
/// last one.
pub struct Loaded {
    pub report: Report,
    pub(crate) pre: InstancePre<State>,
    /// Where the exports of each kind are; looked up once, each kind on its own.
    pub(crate) connector: Option<connector::GuestIndices>,
    pub(crate) flow: Option<flow::GuestIndices>,
    pub(crate) provider: Option<provider::GuestIndices>,
    pub(crate) router: Option<router::GuestIndices>,
    /// sessions and questions that run on it now
    pub live: AtomicUsize,
}

pub(crate) struct Admission {
    engine: Engine,
    linker: Linker<State>,
    cache: Cache,
    compile: Compile,
}

impl Admission {
    pub(crate) fn new(engine: &Engine, data: &Path, compile: Compile) -> anyhow::Result<Admission> {
        let mut linker = Linker::new(engine);
        crate::capability::add_to_linker(&mut linker).map_err(|e| anyhow::anyhow!("{e:#}"))?;
        Ok(Admission {
            engine: engine.clone(),
            linker,
            cache: Cache::open(engine, data)?,
            compile,
        })
    }

    /// Looks at the bytes, compiles them (or takes what was compiled before) and links. Blocks
    /// for as long as a compilation takes.
    pub(crate) fn load(&self, bytes: &[u8]) -> Result<Arc<Loaded>, AdmissionError> {
        let (report, component) = check::inspect(bytes, check::MAX_SIZE)?;
        let code = match self.cache.get(&report.digest) {
            Some(code) => code,
            None => {
                let code = self.compile.run(&component, self.cache.folder())?;
                self.cache.put(&report.digest, &code);
                code
            }
        };
        // SAFETY: the bytes come from our own compiler: just now, or from the cache, whose
        // MAC was checked.
        let component = unsafe { Component::deserialize(&self.engine, &code) }
            .map_err(|e| AdmissionError::Compile(format!("{e:#}")))?;
        let pre = self
            .linker
            .instantiate_pre(&component)
            .map_err(|e| AdmissionError::Instantiate(format!("{e:#}")))?;
        Ok(Arc::new(Loaded {
            connector: connector::GuestIndices::new(&pre).ok(),
            flow: flow::GuestIndices::new(&pre).ok(),
            provider: provider::GuestIndices::new(&pre).ok(),
            router: router::GuestIndices::new(&pre).ok(),
            report,
            pre,
            live: AtomicUsize::new(0),
        }))
    }
}
