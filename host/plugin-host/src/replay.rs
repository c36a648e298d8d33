//! The same question again, with the imports answered from the record: a decision can be
//! repeated bit for bit, or a new version shown where it goes another way.

use crate::admission::{Admission, AdmissionError, Compile};
use crate::capability::http::NoHttp;
use crate::capability::kv::MemoryKv;
use crate::capability::log::TracingLog;
use crate::capability::secrets::NoSecrets;
use crate::capability::{Context, Services};
use crate::engine;
use crate::engine::lanes::Lanes;
use crate::grants::Grants;
use crate::instance;
use crate::limits::Limits;
use crate::policy;
use crate::record::{Divergence, Recorder};
use b2bua::decision::{Outcome, Step};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayOutcome {
    /// It asked for the same and decided the same.
    Same { outcome: Outcome },
    /// It asked the world for something else than the record has.
    Import {
        divergence: Divergence,
        recorded: Outcome,
    },
    /// It asked for the same and decided otherwise.
    Decision {
        recorded: Outcome,
        replayed: Outcome,
    },
}

impl ReplayOutcome {
    pub fn is_same(&self) -> bool {
        matches!(self, ReplayOutcome::Same { .. })
    }
}

/// Asks `component` what a recorded step was asked. `scratch` is a folder for compiled code.
pub fn route(
    component: &[u8],
    step: &Step,
    scratch: &Path,
) -> Result<ReplayOutcome, AdmissionError> {
    let failed = |e: anyhow::Error| AdmissionError::Store(format!("{e:#}"));
    let engine = engine::start(16).map_err(failed)?.engine;
    let loaded = Admission::new(&engine, scratch, Compile::InProcess)
        .map_err(failed)?
        .load(component)?;
    let services = Arc::new(Services {
        http: Arc::new(NoHttp),
        kv: Arc::new(MemoryKv::default()),
        secrets: Arc::new(NoSecrets),
        log: Arc::new(TracingLog),
        lanes: Lanes::new(1),
    });
    let context = Context {
        tenant: step.input.tenant.as_str().into(),
        plugin: step.plugin.as_str().into(),
        call: step.input.call_id.clone(),
        config: "{}".into(),
        grants: Arc::new(Grants::default()),
    };
    // Time is not what is compared here; only a runaway is to be ended.
    let limits = Limits {
        deadline_ms: 5_000,
        ..Limits::default()
    };
    let mut store = instance::store(
        &engine,
        &limits,
        context,
        services,
        Recorder::replay(step.imports.clone()),
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|e| failed(e.into()))?;
    let result = runtime.block_on(policy::decide_loaded(
        &mut store,
        &loaded,
        &step.input,
        &limits,
    ));
    if let Some(divergence) = store.data_mut().recorder.divergence() {
        return Ok(ReplayOutcome::Import {
            divergence,
            recorded: step.outcome.clone(),
        });
    }
    let replayed = match result {
        Ok(Some(decision)) => Outcome::Decided(decision),
        Ok(None) => Outcome::Next,
        Err(failure) => Outcome::Failed(failure),
    };
    Ok(if replayed == step.outcome {
        ReplayOutcome::Same { outcome: replayed }
    } else {
        ReplayOutcome::Decision {
            recorded: step.outcome.clone(),
            replayed,
        }
    })
}
