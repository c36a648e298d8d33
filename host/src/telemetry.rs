//! Logs and figures.
//!
//! - [`metrics`]: every metric's name, in one table; counters without locks.
//! - [`redacted`]: numbers and addresses of people, shown only while tracing.

pub mod metrics;
pub mod redacted;

pub use metrics::{Metric, add, count, set};
pub use redacted::Redacted;

use crate::config::LogConfig;
use anyhow::Context as _;
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Starts logging to stderr, for the whole process and once.
pub fn init(config: &LogConfig) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.filter)
        .with_context(|| format!("log.filter `{}`", config.filter))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = if config.json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.try_init()
    };
    started.map_err(|error| anyhow::anyhow!("logging was started before: {error}"))
}
