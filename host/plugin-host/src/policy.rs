//! Where a call goes: the bound plugins in order, and what happens when one fails.

use crate::bindings::convert;
use crate::breaker::Change;
use crate::check::Kind;
use crate::host::{PluginHost, micros, unknown};
use crate::instance::{self, State};
use crate::limits::Limits;
use crate::record::Recorder;
use crate::registry::{Plugin, Version, What};
use crate::settings::OnFailure;
use crate::timed::Timed;
use b2bua::call_info::CallInfo;
use b2bua::decision::{Decision, DecisionFailure, FlowRef, Import, Outcome, Reject, Routed, Step};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use wasmtime::Store;

/// Runs on a plugin thread.
pub(crate) async fn route(host: &PluginHost, tenant: &str, info: &Arc<CallInfo>) -> Routed {
    let mut trail = Vec::new();
    let snapshot = host.registry().snapshot();
    let Some(of) = snapshot.get(tenant) else {
        return Routed {
            decision: Err(DecisionFailure::NoRouter),
            trail,
        };
    };
    for plugin in of.bound(info) {
        let Some(version) = plugin.active.clone() else {
            continue;
        };
        if !plugin.has(Kind::Router) {
            // A flow that is bound to a number answers its calls itself.
            if plugin.has(Kind::Flow) {
                let decision = Decision::RunFlow(FlowRef {
                    name: plugin.name.to_string(),
                    ext: Vec::new(),
                });
                trail.push(direct(&plugin, version.digest(), info, decision.clone()));
                return Routed {
                    decision: Ok(decision),
                    trail,
                };
            }
            continue;
        }
        let decider = format!("binding:{}", plugin.name);
        match ask_with_breaker(host, tenant, &plugin, &version, decider, info, &mut trail).await {
            Asked::Decided(decision) => {
                return Routed {
                    decision: Ok(decision),
                    trail,
                };
            }
            Asked::NoOpinion => {}
            Asked::Failed(failure) => {
                match on_failure(host, tenant, &plugin, failure, info, &mut trail).await {
                    Some(decision) => return Routed { decision, trail },
                    None => continue,
                }
            }
        }
    }
    Routed {
        decision: Err(DecisionFailure::NoRouter),
        trail,
    }
}

enum Asked {
    Decided(Decision),
    Failed(DecisionFailure),
    NoOpinion,
}

async fn ask_with_breaker(
    host: &PluginHost,
    tenant: &str,
    plugin: &Plugin,
    version: &Arc<Version>,
    decider: String,
    info: &Arc<CallInfo>,
    trail: &mut Vec<Step>,
) -> Asked {
    if !version.breaker().admit(Instant::now()) {
        let why = "its breaker is open: it failed too often just now";
        trail.push(Step {
            decider,
            plugin: plugin.name.to_string(),
            digest: version.digest().to_owned(),
            export: EXPORT.to_owned(),
            input: info.clone(),
            imports: Vec::new(),
            outcome: Outcome::Skipped(why.to_owned()),
            wall_us: 0,
            cpu_us: 0,
        });
        return Asked::Failed(DecisionFailure::Reported {
            text: why.to_owned(),
        });
    }
    let asked = ask(host, tenant, plugin, version, decider, info, trail).await;
    let change = match &asked {
        Asked::Decided(_) | Asked::NoOpinion => {
            version.decided.fetch_add(1, Ordering::Relaxed);
            version.breaker().succeeded()
        }
        // Being busy says nothing about the version.
        Asked::Failed(DecisionFailure::Overload { .. }) => Change::None,
        Asked::Failed(_) => {
            version.failed.fetch_add(1, Ordering::Relaxed);
            version.breaker().failed(Instant::now())
        }
    };
    let (tell, digest) = (host.registry(), version.digest());
    match change {
        Change::Opened => tell.tell(
            tenant,
            &plugin.name,
            digest,
            What::BreakerOpened,
            "it failed too often; the failure policy decides for now",
        ),
        Change::Closed => tell.tell(
            tenant,
            &plugin.name,
            digest,
            What::BreakerClosed,
            "it answered well again",
        ),
        Change::None => {}
    }
    asked
}

const EXPORT: &str = "router.on-invite";

/// Asks one version, in a fresh instance.
async fn ask(
    host: &PluginHost,
    tenant: &str,
    plugin: &Plugin,
    version: &Arc<Version>,
    decider: String,
    info: &Arc<CallInfo>,
    trail: &mut Vec<Step>,
) -> Asked {
    let start = Instant::now();
    let (result, imports, cpu) = match host.room(tenant, &version.loaded, &plugin.settings.limits) {
        Ok(_room) => {
            let mut store = host.store(
                tenant,
                plugin,
                version,
                info.call_id.clone(),
                Recorder::live(),
            );
            let (result, cpu) =
                Timed::new(decide(&mut store, version, info, &plugin.settings.limits)).await;
            let imports = store.data_mut().recorder.take();
            (result, imports, cpu)
        }
        Err(failure) => (Err(failure), Vec::new(), Duration::ZERO),
    };
    let (asked, outcome) = match result {
        Ok(Some(decision)) => (Asked::Decided(decision.clone()), Outcome::Decided(decision)),
        Ok(None) => (Asked::NoOpinion, Outcome::Next),
        Err(failure) => (Asked::Failed(failure.clone()), Outcome::Failed(failure)),
    };
    trail.push(Step {
        decider,
        plugin: plugin.name.to_string(),
        digest: version.digest().to_owned(),
        export: EXPORT.to_owned(),
        input: info.clone(),
        imports,
        outcome,
        wall_us: micros(start.elapsed()),
        cpu_us: micros(cpu),
    });
    asked
}

/// One question to a router in this store; `None` is no opinion.
pub(crate) async fn decide(
    store: &mut Store<State>,
    version: &Version,
    info: &CallInfo,
    limits: &Limits,
) -> Result<Option<Decision>, DecisionFailure> {
    decide_loaded(store, &version.loaded, info, limits).await
}

pub(crate) async fn decide_loaded(
    store: &mut Store<State>,
    loaded: &crate::admission::Loaded,
    info: &CallInfo,
    limits: &Limits,
) -> Result<Option<Decision>, DecisionFailure> {
    let indices = loaded
        .router
        .as_ref()
        .ok_or_else(|| DecisionFailure::MissingExport {
            name: EXPORT.to_owned(),
        })?;
    let call = convert::call_info(info, &loaded.report.manifest.headers);
    instance::enter(store).await?;
    let asked = async {
        let instance = loaded.pre.instantiate_async(&mut *store).await?;
        indices
            .load(&mut *store, &instance)?
            .call_on_invite(&mut *store, &call)
            .await
    };
    let answer = asked.await;
    match answer.map_err(|e| instance::failure_in(store, e, limits))? {
        Ok(decision) => Ok(convert::decision(decision)),
        Err(failure) => Err(DecisionFailure::Reported {
            text: convert::failure(failure),
        }),
    }
}

/// What the caller gets instead. `None` asks the next binding.
///
/// A fallback that fails too is followed on to what its own settings name (another plugin, a
/// static route, its last good version), each plugin once; the status of a refusal is that of
/// the binding.
async fn on_failure(
    host: &PluginHost,
    tenant: &str,
    plugin: &Arc<Plugin>,
    failure: DecisionFailure,
    info: &Arc<CallInfo>,
    trail: &mut Vec<Step>,
) -> Option<Result<Decision, DecisionFailure>> {
    let mut why = format!("{}: {failure}", plugin.name);
    // The caller is told to come back where there was no room, whatever the policy.
    let code = match (&failure, plugin.settings.on_failure.code()) {
        (DecisionFailure::Overload { .. }, _) => 503,
        (_, code) => code,
    };
    let mut asked = vec![plugin.clone()];
    let mut plugin = plugin.clone();
    loop {
        match &plugin.settings.on_failure {
            OnFailure::FailOpen => return None,
            OnFailure::FailClosed { reason, .. } => {
                why = reason.clone().unwrap_or(why);
                break;
            }
            OnFailure::StaticRoute { dial, reject } => {
                let decision = OnFailure::static_decision(dial, *reject, info);
                let mut step = direct(&plugin, "", info, decision.clone());
                step.decider = "static".to_owned();
                trail.push(step);
                return Some(Ok(decision));
            }
            OnFailure::LastGood { .. } => {
                let Some(version) = plugin.last_good().cloned() else {
                    break;
                };
                match ask(
                    host,
                    tenant,
                    &plugin,
                    &version,
                    "last-good".to_owned(),
                    info,
                    trail,
                )
                .await
                {
                    Asked::Decided(decision) => return Some(Ok(decision)),
                    Asked::NoOpinion => return None,
                    Asked::Failed(_) => break,
                }
            }
            OnFailure::FallbackPlugin { plugin: name, .. } => {
                if asked.iter().any(|p| *p.name == **name) {
                    break;
                }
                let found = host
                    .plugin_of_kind(tenant, name, Kind::Router)
                    .and_then(|p| {
                        let version = p
                            .active
                            .clone()
                            .ok_or_else(|| unknown("fallback plugin", name))?;
                        Ok((p, version))
                    });
                let (fallback, version) = match found {
                    Ok(found) => found,
                    Err(missing) => {
                        why = format!("{why}; its fallback {name}: {missing}");
                        break;
                    }
                };
                match ask_with_breaker(
                    host,
                    tenant,
                    &fallback,
                    &version,
                    format!("fallback:{name}"),
                    info,
                    trail,
                )
                .await
                {
                    Asked::Decided(decision) => return Some(Ok(decision)),
                    Asked::NoOpinion => return None,
                    Asked::Failed(failure) => {
                        why = format!("{why}; its fallback {name}: {failure}")
                    }
                }
                asked.push(fallback.clone());
                plugin = fallback;
            }
        }
    }
    Some(Ok(Decision::Reject(Reject {
        code,
        reason: why,
        retry_after_s: None,
    })))
}

fn direct(plugin: &Plugin, digest: &str, info: &Arc<CallInfo>, decision: Decision) -> Step {
    Step {
        decider: format!("binding:{}", plugin.name),
        plugin: plugin.name.to_string(),
        digest: digest.to_owned(),
        export: String::new(),
        input: info.clone(),
        imports: Vec::<Import>::new(),
        outcome: Outcome::Decided(decision),
        wall_us: 0,
        cpu_us: 0,
    }
}
