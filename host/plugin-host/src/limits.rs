//! What one plugin may use.

use crate::engine::MAX_MEMORY;
use serde::{Deserialize, Serialize};
use wasmtime::{StoreLimits, StoreLimitsBuilder};

/// Limits on one instance and one call into it. `[limits]` of the plugin's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A call that takes longer is ended; milliseconds of wall time. Default 50.
    pub deadline_ms: u32,
    /// Bytes of all memories of an instance. Default 16 MiB, at most 64.
    pub memory_bytes: usize,
    /// Bytes that one call may give back. Default 1 MiB.
    pub output_bytes: usize,
    /// Actions that one event may be answered with. Default 64.
    pub actions: usize,
    /// Bytes of log that one call may write. Default 16 KiB.
    pub log_bytes: usize,
    /// Table elements. Default 20,000.
    pub table_elements: usize,
    /// Resource handles of an instance. Default 1,000.
    pub handles: usize,
    /// Questions and sessions of this version at the same time. Default 2,000.
    pub concurrency: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            deadline_ms: 50,
            memory_bytes: 16 << 20,
            output_bytes: 1 << 20,
            actions: 64,
            log_bytes: 16 << 10,
            table_elements: 20_000,
            handles: 1_000,
            concurrency: 2_000,
        }
    }
}

impl Limits {
    /// What is wrong with these numbers, in words.
    pub fn check(&self) -> Result<(), String> {
        if self.deadline_ms == 0 || self.deadline_ms > 60_000 {
            return Err("limits.deadline_ms must be 1 to 60000".to_owned());
        }
        if self.memory_bytes < 64 << 10 || self.memory_bytes > MAX_MEMORY {
            return Err(format!("limits.memory_bytes must be 65536 to {MAX_MEMORY}"));
        }
        if self.concurrency == 0 {
            return Err("limits.concurrency must be at least 1".to_owned());
        }
        Ok(())
    }

    pub(crate) fn store_limits(&self) -> StoreLimits {
        StoreLimitsBuilder::new()
            .memory_size(self.memory_bytes)
            .table_elements(self.table_elements)
            .instances(64)
            .memories(8)
            .tables(64)
            .build()
    }
}
