//! `log`: lines of a plugin, cut at 4 KiB and to so many bytes a call. They go to the host's
//! log and to the journal of the call.

use super::Context;
use crate::bindings::imports::log::{Host, Level};
use crate::instance::State;
use serde_json::{Value, json};

const LONGEST_LINE: usize = 4 << 10;

/// Where lines of guests go.
pub trait LogSink: Send + Sync {
    fn line(&self, context: &Context, level: &'static str, message: &str);
}

/// To the host's own log, under the target `plugin`.
pub struct TracingLog;

impl LogSink for TracingLog {
    fn line(&self, context: &Context, level: &'static str, message: &str) {
        let (tenant, plugin, call) = (&context.tenant, &context.plugin, &context.call);
        match level {
            "error" => tracing::error!(target: "plugin", %tenant, %plugin, %call, "{message}"),
            "warn" => tracing::warn!(target: "plugin", %tenant, %plugin, %call, "{message}"),
            "info" => tracing::info!(target: "plugin", %tenant, %plugin, %call, "{message}"),
            "debug" => tracing::debug!(target: "plugin", %tenant, %plugin, %call, "{message}"),
            _ => tracing::trace!(target: "plugin", %tenant, %plugin, %call, "{message}"),
        }
    }
}

impl Host for State {
    fn write(&mut self, level: Level, mut message: String) -> wasmtime::Result<()> {
        message.truncate(message.floor_char_boundary(LONGEST_LINE));
        let level = match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        if level == "error" {
            // A guest's panic hook writes its message before the trap.
            self.last_error_line = Some(message.clone());
        }
        if self.recorder.is_replay() {
            return Ok(());
        }
        self.logged_bytes += message.len();
        if self.logged_bytes > self.log_limit {
            return Ok(());
        }
        self.services.log.line(&self.context, level, &message);
        self.recorder
            .note("log.write", || json!([level, message]), || Value::Null);
        Ok(())
    }
}
