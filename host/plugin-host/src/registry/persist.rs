//! What came in over the API survives a restart: files by their digest, and one list. What
//! came from the watched folder is there anyway.

use super::{Origin, Registry};
use crate::settings::Settings;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub plugins: Vec<SavedPlugin>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedPlugin {
    pub tenant: String,
    pub name: String,
    pub settings: Settings,
    /// digests of uploaded versions, the oldest first
    pub versions: Vec<String>,
    /// empty where none is, or where it came from the folder
    pub active: String,
}

impl Registry {
    pub(super) fn blob(&self, digest: &str) -> PathBuf {
        self.folder.join("versions").join(format!("{digest}.wasm"))
    }

    pub(crate) fn keep(&self, digest: &str, bytes: &[u8]) -> std::io::Result<()> {
        let path = self.blob(digest);
        if path.exists() {
            return Ok(());
        }
        fs::create_dir_all(self.folder.join("versions"))?;
        let fresh = path.with_extension("new");
        fs::write(&fresh, bytes)?;
        fs::rename(fresh, path)
    }

    /// Writes the list. A failure is told, and costs only the next start.
    pub(crate) fn persist(&self) {
        let mut saved = Saved::default();
        for (tenant, of) in self.snapshot().iter() {
            for plugin in of.plugins.values() {
                let mut versions: Vec<_> = plugin
                    .versions()
                    .filter(|v| v.origin == Origin::Api)
                    .collect();
                versions.sort_by_key(|v| v.uploaded_ms);
                if versions.is_empty() {
                    continue;
                }
                saved.plugins.push(SavedPlugin {
                    tenant: tenant.clone(),
                    name: plugin.name.to_string(),
                    settings: Settings::clone(&plugin.settings),
                    active: plugin
                        .active
                        .as_ref()
                        .filter(|v| v.origin == Origin::Api)
                        .map(|v| v.digest().to_owned())
                        .unwrap_or_default(),
                    versions: versions
                        .into_iter()
                        .map(|v| v.digest().to_owned())
                        .collect(),
                });
            }
        }
        let path = self.folder.join("plugins.json");
        let fresh = self.folder.join("plugins.json.new");
        let text = serde_json::to_vec_pretty(&saved).unwrap_or_default();
        if let Err(error) = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path)) {
            tracing::error!(%error, path = %path.display(), "the list of uploaded plugins cannot be written");
        }
    }

    pub(crate) fn saved(&self) -> Saved {
        match fs::read(self.folder.join("plugins.json")) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::error!(%error, "the list of uploaded plugins cannot be read; uploads of before are not loaded");
                Saved::default()
            }),
            Err(_) => Saved::default(),
        }
    }
}
