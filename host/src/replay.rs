//! A recorded call's routing, asked again of another component: what would it have decided,
//! given the same answers from the world?

use anyhow::Context as _;
use b2bua::decision::{Outcome, Step};
use b2bua::journal::{CallEvent, Kind};
use plugin_host::replay::{self, ReplayOutcome};
use serde::Serialize;
use std::fmt::Write as _;

/// What became of each recorded routing step.
#[derive(Debug, Serialize)]
pub struct Replayed {
    pub same: bool,
    pub steps: Vec<ReplayedStep>,
}

#[derive(Debug, Serialize)]
pub struct ReplayedStep {
    /// Journal line of the step.
    pub seq: u32,
    pub decider: String,
    pub plugin: String,
    /// SHA-256 of the component that decided then.
    pub recorded_digest: String,
    pub result: ReplayOutcome,
}

/// Asks `component` what the call's routers were asked. Blocks: it compiles.
pub fn routes(events: &[CallEvent], component: &[u8]) -> anyhow::Result<Replayed> {
    let asked: Vec<(u32, &Step)> = events
        .iter()
        .filter_map(|event| match &event.kind {
            Kind::Step { step } if step.export.starts_with("router.") => {
                Some((event.seq, step.as_ref()))
            }
            _ => None,
        })
        .filter(|(_, step)| !matches!(step.outcome, Outcome::Skipped(_)))
        .collect();
    anyhow::ensure!(!asked.is_empty(), "no router was asked about this call");
    let scratch = Scratch::new()?;
    let mut steps = Vec::new();
    for (seq, step) in asked {
        let result = replay::route(component, step, scratch.path())
            .context("the component cannot be used")?;
        steps.push(ReplayedStep {
            seq,
            decider: step.decider.clone(),
            plugin: step.plugin.clone(),
            recorded_digest: step.digest.clone(),
            result,
        });
    }
    Ok(Replayed {
        same: steps.iter().all(|step| step.result.is_same()),
        steps,
    })
}

impl Replayed {
    pub fn is_same(&self) -> bool {
        self.same
    }

    /// For a terminal.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for step in &self.steps {
            let then = step.recorded_digest.get(..12).unwrap_or("no component");
            let _ = writeln!(
                out,
                "line {}: {} ({} {then})",
                step.seq, step.decider, step.plugin
            );
            let _ = match &step.result {
                ReplayOutcome::Same { outcome } => writeln!(out, "  same: {}", json(outcome)),
                ReplayOutcome::Decision { recorded, replayed } => {
                    writeln!(
                        out,
                        "  diverged in its decision\n    recorded {}\n    replayed {}",
                        json(recorded),
                        json(replayed)
                    )
                }
                ReplayOutcome::Import { divergence, .. } => {
                    let recorded = divergence
                        .recorded
                        .as_ref()
                        .map_or("nothing more".to_owned(), |import| {
                            format!("{}{}", import.name, json(&import.args))
                        });
                    let asks = format!("{}{}", divergence.name, json(&divergence.args));
                    writeln!(
                        out,
                        "  diverged at import {}\n    recorded {recorded}\n    replayed {asks}",
                        divergence.import
                    )
                }
            };
        }
        let _ = writeln!(out, "{}", if self.same { "same" } else { "diverged" });
        out
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A folder for compiled code, gone with the replay.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let mut random = [0; 8];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut random)?;
        let path = std::env::temp_dir().join(format!("gatepost-replay-{}", hex::encode(random)));
        // Code is read back from here: it must be ours.
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
            .create(&path)
            .context("a folder for compiled code")?;
        Ok(Scratch(path))
    }

    fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2bua::call_info::{Attestation, CallInfo, Direction, Endpoint, Transport};
    use plugin_host::{Compile, Deploy, Origin, PluginHost, PluginHostConfig, Settings};
    use std::sync::Arc;

    #[test]
    fn the_same_component_decides_the_same_and_another_one_diverges() {
        let router = crate::plugins::tests::component("hello-router");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let events = runtime.block_on(recorded(&router));
        let same = routes(&events, &router).unwrap();
        assert!(same.is_same(), "{}", same.to_text());
        let other = routes(&events, &crate::plugins::tests::component("static-routes")).unwrap();
        assert!(!other.is_same());
        assert!(
            other.to_text().contains("diverged at import 0"),
            "{}",
            other.to_text()
        );
        assert!(
            other.to_text().contains("config"),
            "it asks for settings that were not asked for: {}",
            other.to_text()
        );
        assert!(routes(&[], &router).is_err(), "nothing to replay");
        assert!(routes(&events, b"no component").is_err());
    }

    /// The journal line of a call that this component decided.
    async fn recorded(component: &[u8]) -> Vec<CallEvent> {
        let folder = tempfile::tempdir().unwrap();
        let config = PluginHostConfig {
            instances: 20,
            threads: 1,
            ..PluginHostConfig::new(folder.path().to_owned(), Compile::InProcess)
        };
        let host = PluginHost::new(config).unwrap();
        let settings = Settings::from_toml("[bind]\ndefault = true\n").unwrap();
        let deploy = Deploy {
            tenant: "demo",
            name: "router",
            bytes: component,
            origin: Origin::Folder,
            settings: Some(settings),
            activate: true,
            by: "test",
        };
        host.deploy(&deploy).unwrap();
        let info = Arc::new(CallInfo {
            call_id: "1".to_owned(),
            tenant: "demo".to_owned(),
            trunk: None,
            direction: Direction::Inbound,
            source: Endpoint {
                host: [127, 0, 0, 1].into(),
                port: 5060,
                transport: Transport::Udp,
            },
            request_uri: "sip:100@host".to_owned(),
            called: "100".to_owned(),
            caller: "alice".to_owned(),
            from_uri: "sip:alice@host".to_owned(),
            from_display: None,
            to_uri: "sip:100@host".to_owned(),
            attestation: Attestation::None,
            codecs: Vec::new(),
            headers: Vec::new(),
            received_ms: 1,
            ext: Vec::new(),
        });
        let routed = host.route("demo", &info).await;
        assert!(routed.decision.is_ok());
        let steps = routed.trail.into_iter().map(|step| Kind::Step {
            step: Box::new(step),
        });
        (0u32..)
            .zip(steps)
            .map(|(seq, kind)| CallEvent { seq, t_us: 0, kind })
            .collect()
    }
}
