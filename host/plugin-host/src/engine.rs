//! Wasmtime as this host uses it. The settings were measured: with them a fresh instance for
//! each decision costs some 15 µs and scales over threads; with Wasmtime's defaults four times
//! as much, and two threads do less than one.
//!
//! - [`lanes`]: who runs when several plugins want the processor for long.

pub(crate) mod lanes;

use anyhow::Context;
use std::time::Duration;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    Strategy,
};

/// Most that `limits.memory_bytes` may be: the size of a slot of the pool.
pub const MAX_MEMORY: usize = 64 << 20;
/// Most table elements of an instance.
pub const MAX_TABLE_ELEMENTS: usize = 20_000;

/// How often a running plugin is looked at; the grain of every deadline.
pub const TICK: Duration = Duration::from_millis(5);

/// Memory maps that one live pooled instance takes.
const MAPS_PER_INSTANCE: u32 = 6;
/// Maps that everything else in the process takes.
const OTHER_MAPS: u32 = 2_000;

pub(crate) struct Started {
    pub engine: Engine,
    /// what is not as it should be, and what to do about it
    pub notices: Vec<String>,
}

/// An engine with a pool for `instances` live ones (fewer where the kernel's
/// `vm.max_map_count` does not allow so many), and its ticker.
pub(crate) fn start(instances: u32) -> anyhow::Result<Started> {
    let mut notices = Vec::new();
    let instances = allowed(instances, max_map_count(), &mut notices);
    let scan = PoolingAllocationConfig::is_pagemap_scan_available();
    if !scan {
        notices.push(
            "the kernel has no PAGEMAP_SCAN (Linux 6.7 has): decisions cost about twice as much"
                .to_owned(),
        );
    }
    let engine = match Engine::new(&pooled(instances, scan)) {
        Ok(engine) => engine,
        Err(error) => {
            notices.push(format!("there is no pool of {instances} instances ({error:#}): decisions cost about four times as much"));
            Engine::new(&base())
                .map_err(|e| anyhow::anyhow!("{e:#}"))
                .context("wasmtime does not start")?
        }
    };
    start_ticker(&engine).context("cannot start the thread that ends plugins at their deadline")?;
    Ok(Started { engine, notices })
}

/// For compiling only: its code runs in the engine of [`start`].
pub(crate) fn compiler() -> anyhow::Result<Engine> {
    Engine::new(&base()).map_err(|e| anyhow::anyhow!("{e:#}"))
}

/// What decides about the compiled code.
fn base() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        // Only `async func` of WIT would need it, and it makes every call four times dearer.
        .concurrency_support(false)
        .epoch_interruption(true)
        .memory_init_cow(true)
        .max_wasm_stack(256 << 10)
        .async_stack_size(512 << 10)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false);
    config
}

fn pooled(instances: u32, scan: bool) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_memories(instances)
        .total_tables(4 * instances)
        .total_stacks(instances + 64)
        .total_core_instances(40 * instances)
        .max_memory_size(MAX_MEMORY)
        .table_elements(MAX_TABLE_ELEMENTS)
        // Components of other languages than Rust bring dozens of core instances.
        .max_core_instances_per_component(64)
        .max_tables_per_component(64)
        .max_memories_per_component(8)
        .max_unused_warm_slots(100)
        // Without the scan so much would be cleared for every instance, used or not.
        .linear_memory_keep_resident(if scan { 2 << 20 } else { 128 << 10 })
        .table_keep_resident(64 << 10)
        .pagemap_scan(if scan { Enabled::Yes } else { Enabled::No });
    let mut config = base();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Ends by itself with the engine.
fn start_ticker(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("plugin-tick".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })?;
    Ok(())
}

fn allowed(wanted: u32, max_maps: Option<u32>, notices: &mut Vec<String>) -> u32 {
    let Some(maps) = max_maps else { return wanted };
    let allowed = (maps.saturating_sub(OTHER_MAPS) / MAPS_PER_INSTANCE).max(1);
    if allowed < wanted {
        let enough = wanted * MAPS_PER_INSTANCE + OTHER_MAPS;
        notices.push(format!(
            "vm.max_map_count is {maps}: that is enough for {allowed} plugin instances at once, not for {wanted}. \
             Set it with `sysctl -w vm.max_map_count={enough}`"
        ));
    }
    wanted.min(allowed)
}

fn max_map_count() -> Option<u32> {
    std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{DefaultHasher, Hash, Hasher};

    #[test]
    fn too_few_memory_maps_cut_the_pool_and_say_what_to_do() {
        let mut notices = Vec::new();
        assert_eq!(allowed(10_000, Some(1 << 20), &mut notices), 10_000);
        assert!(notices.is_empty());
        assert_eq!(allowed(50_000, Some(65_530), &mut notices), 10_588);
        assert!(
            notices[0].contains("vm.max_map_count=302000"),
            "{notices:?}"
        );
    }

    #[test]
    fn code_of_the_compiler_fits_the_engine_with_the_pool() {
        let hash = |engine: &Engine| {
            let mut hasher = DefaultHasher::new();
            engine.precompile_compatibility_hash().hash(&mut hasher);
            hasher.finish()
        };
        assert_eq!(hash(&compiler().unwrap()), hash(&start(16).unwrap().engine));
    }
}
