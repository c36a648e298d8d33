//! `gatepost replay CALL --with plugin.wasm`: asks a component again what a recorded call was
//! decided on, and shows the first difference.

use anyhow::{Context, Result, bail};
use b2bua::decision::{Outcome, Step};
use b2bua::journal::{CallEvent, Kind};
use plugin_host::replay::{self, ReplayOutcome};
use serde_json::json;

/// What each router step of a call became.
pub struct Replayed {
    pub steps: Vec<(Step, ReplayOutcome)>,
}

/// Replays every router step of the journal with `component`.
pub fn routes(events: &[CallEvent], component: &[u8]) -> Result<Replayed> {
    let steps: Vec<&Step> = events
        .iter()
        .filter_map(|event| match &event.kind {
            Kind::Step { step } if step.export == "router.on-invite" && !matches!(step.outcome, Outcome::Skipped(_)) => Some(&**step),
            _ => None,
        })
        .collect();
    if steps.is_empty() {
        bail!("no router was asked in this call: there is nothing to replay");
    }
    let scratch = std::env::temp_dir().join(format!("gatepost-replay-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    let replayed = steps.into_iter().map(|step| Ok((step.clone(), replay::route(component, step, &scratch)?))).collect::<Result<Vec<_>>>();
    let _ = std::fs::remove_dir_all(&scratch);
    Ok(Replayed { steps: replayed? })
}

impl Replayed {
    pub fn is_same(&self) -> bool {
        self.steps.iter().all(|(_, outcome)| outcome.is_same())
    }

    pub fn to_json(&self) -> serde_json::Value {
        let steps: Vec<_> = self
            .steps
            .iter()
            .map(|(step, outcome)| json!({ "decider": step.decider, "plugin": step.plugin, "digest": step.digest, "replay": outcome }))
            .collect();
        json!({ "same": self.is_same(), "steps": steps })
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (step, outcome) in &self.steps {
            let digest = step.digest.get(..12).unwrap_or(&step.digest);
            text.push_str(&format!("{} ({} {digest})\n", step.decider, step.plugin));
            match outcome {
                ReplayOutcome::Same { outcome } => text.push_str(&format!("  same: {}\n", pretty(outcome))),
                ReplayOutcome::Decision { recorded, replayed } => {
                    text.push_str(&format!("  recorded: {}\n  replayed: {}\n", pretty(recorded), pretty(replayed)));
                }
                ReplayOutcome::Import { divergence, .. } => {
                    let recorded = divergence.recorded.as_ref().map_or_else(|| "nothing more".to_owned(), |i| format!("{} {}", i.name, i.args));
                    text.push_str(&format!(
                        "  diverges at import {}: the record has {recorded}, it asked for {} {}\n",
                        divergence.import, divergence.name, divergence.args
                    ));
                }
            }
        }
        text
    }
}

fn pretty(outcome: &Outcome) -> String {
    serde_json::to_string(outcome).unwrap_or_else(|_| format!("{outcome:?}"))
}
