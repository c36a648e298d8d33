//! What the API shows of plugins.

use super::{Origin, Plugin, Refusal, Registry, Version};
use crate::check::{Kind, Report};
use crate::settings::Settings;
use serde::Serialize;
use std::sync::atomic::Ordering;

#[derive(Debug, Clone, Serialize)]
pub struct PluginView {
    pub name: String,
    pub kinds: Vec<Kind>,
    /// SHA-256 of the active version; empty where there is none
    pub active: String,
    pub settings: Settings,
    pub versions: Vec<VersionView>,
    /// why the last file was refused; `error` in words
    pub last_error: Option<Refusal>,
}

#[derive(Debug, Clone, Serialize)]
pub struct VersionView {
    pub digest: String,
    pub active: bool,
    pub origin: Origin,
    pub by: String,
    pub uploaded_ms: u64,
    pub report: Report,
    /// questions and sessions that run on it now
    pub live: usize,
    pub decided: u64,
    pub failed: u64,
    pub breaker_open: bool,
}

impl Plugin {
    pub fn view(&self) -> PluginView {
        PluginView {
            name: self.name.to_string(),
            kinds: self
                .active
                .as_ref()
                .or(self.waiting.last())
                .map(|v| v.report().kinds.clone())
                .unwrap_or_default(),
            active: self
                .active
                .as_ref()
                .map(|v| v.digest().to_owned())
                .unwrap_or_default(),
            settings: Settings::clone(&self.settings),
            versions: self.versions().map(|v| self.version_view(v)).collect(),
            last_error: self.last_error.clone(),
        }
    }

    fn version_view(&self, version: &Version) -> VersionView {
        VersionView {
            digest: version.digest().to_owned(),
            active: self
                .active
                .as_ref()
                .is_some_and(|a| a.digest() == version.digest()),
            origin: version.origin,
            by: version.by.clone(),
            uploaded_ms: version.uploaded_ms,
            report: version.report().clone(),
            live: version.loaded.live.load(Ordering::Relaxed),
            decided: version.decided.load(Ordering::Relaxed),
            failed: version.failed.load(Ordering::Relaxed),
            breaker_open: version.breaker().is_open(),
        }
    }
}

impl Registry {
    /// All plugins of a tenant, by name.
    pub fn list(&self, tenant: &str) -> Vec<PluginView> {
        self.snapshot()
            .get(tenant)
            .map(|t| t.plugins.values().map(|p| p.view()).collect())
            .unwrap_or_default()
    }

    pub fn view(&self, tenant: &str, name: &str) -> Option<PluginView> {
        self.plugin(tenant, name).map(|p| p.view())
    }

    /// The version's file as it was uploaded (only those of the API are kept).
    pub fn wasm(&self, digest: &str) -> Option<Vec<u8>> {
        let is_digest = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
        is_digest
            .then(|| std::fs::read(self.blob(digest)).ok())
            .flatten()
    }
}
