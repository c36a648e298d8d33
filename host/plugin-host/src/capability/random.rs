//! `random`: from the kernel; in a replay, as it was recorded.

use crate::bindings::imports::random::Host;
use crate::instance::State;
use crate::record::{self, shown};
use serde_json::{Value, json};
use std::io;

const MAX_BYTES: u32 = 4_096;

impl Host for State {
    fn number(&mut self) -> wasmtime::Result<u64> {
        if let Some(recalled) = self.recorder.recall("random.number", || json!([])) {
            return Ok(recalled.and_then(|value| value.as_u64()).unwrap_or(0));
        }
        let mut bytes = [0; 8];
        fill(&mut bytes)?;
        let number = u64::from_le_bytes(bytes);
        self.recorder
            .note("random.number", || json!([]), || Value::from(number));
        Ok(number)
    }

    fn bytes(&mut self, len: u32) -> wasmtime::Result<Vec<u8>> {
        let args = || json!([len]);
        if let Some(recalled) = self.recorder.recall("random.bytes", args) {
            return Ok(recalled
                .as_ref()
                .and_then(record::bytes)
                .unwrap_or_default());
        }
        let mut bytes = vec![0; len.min(MAX_BYTES) as usize];
        fill(&mut bytes)?;
        self.recorder.note("random.bytes", args, || shown(&bytes));
        Ok(bytes)
    }
}

/// Random bytes fit for keys.
pub(crate) fn fill(bytes: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let rest = &mut bytes[done..];
        // SAFETY: the kernel writes at most `rest.len()` bytes to `rest`.
        let n = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        if n < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
            continue;
        }
        done += n as usize;
    }
    Ok(())
}
