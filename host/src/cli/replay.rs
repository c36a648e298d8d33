//! `gatepost replay`.

use crate::config::Config;
use crate::records::CallRecord;
use crate::replay;
use crate::store::Store;
use anyhow::{Context as _, bail};
use std::path::Path;
use std::process::ExitCode;

/// 0 where the component decides as it was recorded, 1 where it does not.
pub(super) fn run(
    config: &Path,
    call: &str,
    component: &Path,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let bytes =
        std::fs::read(component).with_context(|| format!("cannot read {}", component.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let found = runtime.block_on(async {
        let store = Store::open(&config.store.url).await?;
        anyhow::Ok(store.call(call).await?)
    })?;
    let Some(ended) = found else {
        bail!(
            "{} has no call {call}; a running host writes a call there when it is over",
            config.store.url
        );
    };
    let record = CallRecord {
        summary: serde_json::from_str(&ended.summary)?,
        lines: ended.lines,
    };
    let replayed = replay::routes(&record.events(), &bytes)?;
    print!(
        "{}",
        if json {
            serde_json::to_string_pretty(&replayed)? + "\n"
        } else {
            replayed.to_text()
        }
    );
    Ok(if replayed.is_same() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
