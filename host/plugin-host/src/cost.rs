//! What a decision costs: for benches and for authors. The same steps as a call's question,
//! without the way to the plugin threads and back.

use crate::admission::{Admission, Compile, Loaded};
use crate::bindings::convert;
use crate::capability::http::NoHttp;
use crate::capability::kv::MemoryKv;
use crate::capability::log::TracingLog;
use crate::capability::secrets::NoSecrets;
use crate::capability::{Context, Services};
use crate::engine;
use crate::engine::lanes::Lanes;
use crate::grants::Grants;
use crate::instance::{self, State};
use crate::limits::Limits;
use crate::policy;
use crate::record::Recorder;
use crate::settings::Settings;
use crate::timed::thread_time;
use anyhow::{Context as _, anyhow};
use b2bua::call_info::CallInfo;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use wasmtime::{Engine, Store};

/// A router ready to be asked.
pub struct Bench {
    engine: Engine,
    loaded: Arc<Loaded>,
    services: Arc<Services>,
    context: Context,
    limits: Limits,
    call: CallInfo,
}

/// So many decisions, and what they took.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    pub decisions: u32,
    /// of all threads
    pub cpu: Duration,
    pub wall: Duration,
}

impl Spent {
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / f64::from(self.decisions)
    }

    pub fn per_second(&self) -> f64 {
        f64::from(self.decisions) / self.wall.as_secs_f64()
    }
}

impl Bench {
    /// `scratch` is a folder for compiled code.
    pub fn new(
        component: &[u8],
        settings: &Settings,
        call: CallInfo,
        scratch: &Path,
    ) -> anyhow::Result<Bench> {
        let engine = engine::start(256)?.engine;
        let loaded = Admission::new(&engine, scratch, Compile::InProcess)?.load(component)?;
        let services = Services {
            http: Arc::new(NoHttp),
            kv: Arc::new(MemoryKv::default()),
            secrets: Arc::new(NoSecrets),
            log: Arc::new(TracingLog),
            lanes: Lanes::new(2),
        };
        let context = Context {
            tenant: call.tenant.as_str().into(),
            plugin: "bench".into(),
            call: call.call_id.clone(),
            config: settings.config_json().into(),
            grants: Arc::new(Grants::effective(
                &loaded.report.manifest.capabilities,
                &settings.grants.allow,
            )),
        };
        Ok(Bench {
            engine,
            loaded,
            services: Arc::new(services),
            context,
            limits: settings.limits.clone(),
            call,
        })
    }

    /// A fresh instance for each decision, on so many threads at once.
    pub fn fresh(&self, threads: usize, decisions: u32) -> anyhow::Result<Spent> {
        let barrier = Barrier::new(threads);
        let spent = std::thread::scope(|scope| {
            let ask = || {
                barrier.wait();
                let (wall, cpu) = (Instant::now(), thread_time());
                on_this_thread(async {
                    for _ in 0..decisions {
                        let mut store = self.store();
                        policy::decide_loaded(&mut store, &self.loaded, &self.call, &self.limits)
                            .await?;
                        store.data_mut().recorder.take();
                    }
                    anyhow::Ok(())
                })??;
                Ok((thread_time() - cpu, wall.elapsed()))
            };
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(ask)).collect();
            let ended = running.into_iter().map(|thread| {
                thread
                    .join()
                    .map_err(|_| anyhow!("a thread of the bench failed"))?
            });
            ended.collect::<anyhow::Result<Vec<(Duration, Duration)>>>()
        })?;
        Ok(Spent {
            decisions: decisions * threads as u32,
            cpu: spent.iter().map(|(cpu, _)| *cpu).sum(),
            wall: spent
                .iter()
                .map(|(_, wall)| *wall)
                .max()
                .unwrap_or_default(),
        })
    }

    /// One instance for all decisions.
    pub fn warm(&self, decisions: u32) -> anyhow::Result<Spent> {
        let indices = self
            .loaded
            .router
            .as_ref()
            .context("the component is no router")?;
        on_this_thread(async {
            let wrong = |e: wasmtime::Error| anyhow!("{e:#}");
            let mut store = self.store();
            let instance = self
                .loaded
                .pre
                .instantiate_async(&mut store)
                .await
                .map_err(wrong)?;
            let guest = indices.load(&mut store, &instance).map_err(wrong)?;
            let (wall, cpu) = (Instant::now(), thread_time());
            for _ in 0..decisions {
                instance::begin(&mut store, &self.limits);
                let call = convert::call_info(&self.call, &self.loaded.report.manifest.headers);
                let answer = guest
                    .call_on_invite(&mut store, &call)
                    .await
                    .map_err(wrong)?;
                let decision = answer.map_err(|f| anyhow!(convert::failure(f)))?;
                std::hint::black_box(convert::decision(decision));
                store.data_mut().recorder.take();
            }
            Ok(Spent {
                decisions,
                cpu: thread_time() - cpu,
                wall: wall.elapsed(),
            })
        })?
    }

    fn store(&self) -> Store<State> {
        instance::store(
            &self.engine,
            &self.limits,
            self.context.clone(),
            self.services.clone(),
            Recorder::live(),
        )
    }
}

fn on_this_thread<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?
        .block_on(work))
}
