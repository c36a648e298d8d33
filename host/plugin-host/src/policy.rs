//! Where a call goes: the bound plugins in order, and what happens when one fails.

use crate::bindings::{convert, router};
use crate::breaker::Change;
use crate::check::Kind;
use crate::host::{Live, PluginHost, micros, unknown};
use crate::instance::{self, State};
use crate::limits::Limits;
use crate::record::Recorder;
use crate::registry::{Plugin, Version};
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
        return Routed { decision: Err(DecisionFailure::NoRouter), trail };
    };
    for plugin in of.bound(info) {
        let Some(version) = plugin.active.clone() else { continue };
        if !plugin.has(Kind::Router) {
            // A flow that is bound to a number answers its calls itself.
            if plugin.has(Kind::Flow) {
                let decision = Decision::RunFlow(FlowRef { name: plugin.name.to_string(), ext: Vec::new() });
                trail.push(direct(&plugin, &version, info, decision.clone()));
                return Routed { decision: Ok(decision), trail };
            }
            continue;
        }
        let decider = format!("binding:{}", plugin.name);
        match ask_with_breaker(host, tenant, &plugin, &version, decider, info, &mut trail).await {
            Asked::Decided(decision) => return Routed { decision: Ok(decision), trail },
            Asked::NoOpinion => {}
            Asked::Failed(failure) => match on_failure(host, tenant, &plugin, failure, info, &mut trail).await {
                Some(decision) => return Routed { decision, trail },
                None => continue,
            },
        }
    }
    Routed { decision: Err(DecisionFailure::NoRouter), trail }
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
        return Asked::Failed(DecisionFailure::Reported { text: why.to_owned() });
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
    match change {
        Change::Opened => tracing::warn!(tenant, plugin = &*plugin.name, digest = version.digest(), "breaker opened: the failure policy decides for now"),
        Change::Closed => tracing::info!(tenant, plugin = &*plugin.name, digest = version.digest(), "breaker closed"),
        Change::None => {}
    }
    asked
}

const EXPORT: &str = "router.on-invite";

/// Asks one version, in a fresh instance.
async fn ask(host: &PluginHost, tenant: &str, plugin: &Plugin, version: &Arc<Version>, decider: String, info: &Arc<CallInfo>, trail: &mut Vec<Step>) -> Asked {
    let start = Instant::now();
    let (result, imports, cpu) = match host.permit(tenant) {
        Ok(_permit) => {
            let _live = Live::on(&version.loaded);
            let mut store = host.store(tenant, plugin, version, info.call_id.clone(), Recorder::live());
            let (result, cpu) = Timed::new(decide(&mut store, version, info, &plugin.settings.limits)).await;
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
pub(crate) async fn decide(store: &mut Store<State>, version: &Version, info: &CallInfo, limits: &Limits) -> Result<Option<Decision>, DecisionFailure> {
    decide_loaded(store, &version.loaded, info, limits).await
}

pub(crate) async fn decide_loaded(
    store: &mut Store<State>,
    loaded: &crate::admission::Loaded,
    info: &CallInfo,
    limits: &Limits,
) -> Result<Option<Decision>, DecisionFailure> {
    let wrong = |e: wasmtime::Error| instance::failure(e, limits);
    let indices = router::GuestIndices::new(&loaded.pre).map_err(|_| DecisionFailure::MissingExport { name: EXPORT.to_owned() })?;
    let instance = loaded.pre.instantiate_async(&mut *store).await.map_err(wrong)?;
    let guest = indices.load(&mut *store, &instance).map_err(wrong)?;
    let call = convert::call_info(info, &loaded.report.manifest.headers);
    match guest.call_on_invite(&mut *store, &call).await.map_err(wrong)? {
        Ok(decision) => Ok(convert::decision(decision)),
        Err(failure) => Err(DecisionFailure::Reported { text: convert::failure(failure) }),
    }
}

/// What the caller gets instead. `None` asks the next binding.
async fn on_failure(
    host: &PluginHost,
    tenant: &str,
    plugin: &Plugin,
    failure: DecisionFailure,
    info: &Arc<CallInfo>,
    trail: &mut Vec<Step>,
) -> Option<Result<Decision, DecisionFailure>> {
    let refuse = |code: u16, reason: Option<String>| {
        let reason = reason.unwrap_or_else(|| format!("{}: {failure}", plugin.name));
        Some(Ok(Decision::Reject(Reject { code, reason, retry_after_s: None })))
    };
    // The caller is told to come back where there was no room, whatever the policy.
    let code = |code: u16| if matches!(failure, DecisionFailure::Overload { .. }) { 503 } else { code };
    match &plugin.settings.on_failure {
        OnFailure::FailOpen => None,
        OnFailure::FailClosed { code: c, reason } => refuse(code(*c), reason.clone()),
        OnFailure::StaticRoute { dial, reject } => {
            let decision = OnFailure::static_decision(dial, *reject, info);
            if let Some(version) = &plugin.active {
                let mut step = direct(plugin, version, info, decision.clone());
                step.decider = "static".to_owned();
                step.digest = String::new();
                trail.push(step);
            }
            Some(Ok(decision))
        }
        OnFailure::LastGood { code: c } => {
            let Some(version) = plugin.last_good().cloned() else { return refuse(code(*c), None) };
            match ask(host, tenant, plugin, &version, "last-good".to_owned(), info, trail).await {
                Asked::Decided(decision) => Some(Ok(decision)),
                Asked::NoOpinion => None,
                Asked::Failed(_) => refuse(code(*c), None),
            }
        }
        OnFailure::FallbackPlugin { plugin: name, code: c } => {
            let fallback = host.plugin_of_kind(tenant, name, Kind::Router).and_then(|p| {
                let version = p.active.clone().ok_or_else(|| unknown("fallback plugin", name))?;
                Ok((p, version))
            });
            let (fallback, version) = match fallback {
                Ok(found) => found,
                Err(missing) => return refuse(code(*c), Some(format!("{}: {failure}; its fallback {name}: {missing}", plugin.name))),
            };
            let decider = format!("fallback:{name}");
            match ask_with_breaker(host, tenant, &fallback, &version, decider, info, trail).await {
                Asked::Decided(decision) => Some(Ok(decision)),
                Asked::NoOpinion => None,
                Asked::Failed(_) => refuse(code(*c), None),
            }
        }
    }
}

fn direct(plugin: &Plugin, version: &Version, info: &Arc<CallInfo>, decision: Decision) -> Step {
    Step {
        decider: format!("binding:{}", plugin.name),
        plugin: plugin.name.to_string(),
        digest: version.digest().to_owned(),
        export: String::new(),
        input: info.clone(),
        imports: Vec::<Import>::new(),
        outcome: Outcome::Decided(decision),
        wall_us: 0,
        cpu_us: 0,
    }
}
