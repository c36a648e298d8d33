//! `clock`: time as the host sees it; in a replay, as it was recorded.

use crate::bindings::imports::clock::Host;
use crate::instance::State;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

impl Host for State {
    fn now_ms(&mut self) -> wasmtime::Result<u64> {
        if let Some(recalled) = self.recorder.recall("clock.now-ms", || json!([])) {
            return Ok(number(recalled));
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_millis() as u64);
        self.recorder
            .note("clock.now-ms", || json!([]), || Value::from(now));
        Ok(now)
    }

    fn monotonic_us(&mut self) -> wasmtime::Result<u64> {
        if let Some(recalled) = self.recorder.recall("clock.monotonic-us", || json!([])) {
            return Ok(number(recalled));
        }
        let now = self.born.elapsed().as_micros() as u64;
        self.recorder
            .note("clock.monotonic-us", || json!([]), || Value::from(now));
        Ok(now)
    }
}

fn number(recalled: Option<Value>) -> u64 {
    recalled.and_then(|value| value.as_u64()).unwrap_or(0)
}
