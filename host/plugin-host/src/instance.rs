//! The store of one instance: what its imports see, its limits, and how its failures get
//! their names.
//!
//! A store serves one call into the guest at a time, and after any failure it is thrown away:
//! Wasmtime does not enter an instance again that has trapped.

use crate::capability::{Context, Services};
use crate::engine::lanes::Ticket;
use crate::limits::Limits;
use crate::record::Recorder;
use b2bua::decision::DecisionFailure;
use serde_json::Value;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;
use wasmtime::{
    Engine, PoolConcurrencyLimitError, Store, StoreLimits, Trap, UpdateDeadline, WasmBacktrace,
};

/// Everything that an instance's imports may see.
pub struct State {
    pub(crate) context: Context,
    pub(crate) services: Arc<Services>,
    pub(crate) recorder: Recorder,
    pub(crate) parsed_config: Option<Value>,
    /// by when the present call must be over
    pub(crate) deadline: Instant,
    pub(crate) born: Instant,
    /// bytes of log that one call may write, and has written
    pub(crate) log_limit: usize,
    pub(crate) logged_bytes: usize,
    /// A guest's panic hook logs its message before the trap.
    pub(crate) last_error_line: Option<String>,
    /// Ticks that found the present call running.
    slices: u32,
    has_turn: bool,
    lane: Ticket,
    store_limits: StoreLimits,
}

impl State {
    /// Waits for what an import needs, no longer than the call may take.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.deadline.into(), work)
            .await
            .ok()
    }
}

/// A fresh store, with the deadline of its first call running.
pub(crate) fn store(
    engine: &Engine,
    limits: &Limits,
    context: Context,
    services: Arc<Services>,
    recorder: Recorder,
) -> Store<State> {
    let born = Instant::now();
    let lane = services.lanes.ticket(&context.tenant);
    let state = State {
        context,
        services,
        recorder,
        parsed_config: None,
        deadline: born,
        born,
        log_limit: limits.log_bytes,
        logged_bytes: 0,
        last_error_line: None,
        slices: 0,
        has_turn: false,
        lane,
        store_limits: limits.store_limits(),
    };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.store_limits);
    store.set_hostcall_fuel(limits.output_bytes);
    store.set_max_component_handles(limits.handles);
    store.epoch_deadline_callback(|mut store| {
        let state = store.data_mut();
        // Time that passed while the machine ran something else is not its fault: it is ended
        // only when ticks found it running, too.
        let over = state.deadline <= Instant::now() && state.slices >= SLOW;
        if std::mem::take(&mut state.has_turn) {
            return if over {
                Err(wasmtime::Error::new(DeadlinePassed))
            } else {
                Ok(UpdateDeadline::Continue(1))
            };
        }
        state.slices += 1;
        if over {
            return Err(wasmtime::Error::new(DeadlinePassed));
        }
        if state.slices < SLOW {
            return Ok(UpdateDeadline::Yield(1));
        }
        // From here on it waits for its turn among the slow. No tick is added, so that it comes
        // here again before it runs on: its deadline may pass meanwhile.
        state.has_turn = true;
        let turn = state.lane.next_turn(state.deadline);
        Ok(UpdateDeadline::YieldCustom(
            0,
            Box::pin(async {
                turn.await;
            }),
        ))
    });
    begin(&mut store, limits);
    store
}

/// Starts the deadline of the next call into this store.
pub(crate) fn begin(store: &mut Store<State>, limits: &Limits) {
    let state = store.data_mut();
    state.deadline = Instant::now() + std::time::Duration::from_millis(limits.deadline_ms.into());
    state.slices = 0;
    state.has_turn = false;
    state.logged_bytes = 0;
    store.set_epoch_deadline(1);
}

/// Before each call into the guest: a tenant that has somebody among the slow starts its other
/// calls there too, so that a burst of runaways does not flood the threads.
pub(crate) async fn enter(store: &mut Store<State>) -> Result<(), DecisionFailure> {
    let state = store.data_mut();
    if state.lane.is_slow() && !state.lane.next_turn(state.deadline).await {
        return Err(DecisionFailure::Overload { limit: 1 });
    }
    Ok(())
}

/// Ticks that must have found a call running before it counts as slow: one may fall into the
/// shortest of calls.
const SLOW: u32 = 2;

/// The call is over for now: whoever waits for a turn need not wait for this store's.
pub(crate) fn pause(store: &mut Store<State>) {
    store.data_mut().lane.leave();
}

#[derive(Debug, thiserror::Error)]
#[error("the deadline passed")]
struct DeadlinePassed;

/// The name of a failure.
pub(crate) fn failure(error: wasmtime::Error, limits: &Limits) -> DecisionFailure {
    if error.is::<DeadlinePassed>() {
        return DecisionFailure::Deadline {
            after_ms: limits.deadline_ms,
        };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        tracing::warn!(%error, "the pool of plugin instances is used up");
        return DecisionFailure::Overload { limit: 0 };
    }
    let cause = error.root_cause().to_string();
    if cause.contains("fuel allocated for hostcalls") {
        return DecisionFailure::OutputLimit {
            what: format!("more than {} bytes at once", limits.output_bytes),
        };
    }
    let mut message = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => "endless recursion used up the stack".to_owned(),
        Some(trap) => trap.to_string(),
        None => cause,
    };
    if let Some(place) = error.downcast_ref::<WasmBacktrace>().and_then(place) {
        message = format!("{message} in {place}");
    }
    DecisionFailure::Trap { message }
}

/// The same, with what the guest's panic hook said before.
pub(crate) fn failure_in(
    store: &Store<State>,
    error: wasmtime::Error,
    limits: &Limits,
) -> DecisionFailure {
    match (failure(error, limits), &store.data().last_error_line) {
        (DecisionFailure::Trap { message }, Some(line)) => DecisionFailure::Trap {
            message: format!("{line} ({message})"),
        },
        (failure, _) => failure,
    }
}

/// The innermost function with a name that is not part of a panic's own machinery.
fn place(backtrace: &WasmBacktrace) -> Option<String> {
    const MACHINERY: [&str; 6] = [
        "panic",
        "abort",
        "rust_begin_unwind",
        "alloc::",
        "core::",
        "std::",
    ];
    let mut names = backtrace
        .frames()
        .iter()
        .filter_map(|frame| frame.func_name());
    let own = |name: &&str| !MACHINERY.iter().any(|part| name.contains(part));
    let name = names.clone().find(own).or_else(|| names.next())?;
    // Rust's mangling ends in `::h0123456789abcdef`.
    let bare = match name.rsplit_once("::h") {
        Some((bare, hash)) if hash.len() == 16 => bare,
        _ => name,
    };
    Some(bare.to_owned())
}
