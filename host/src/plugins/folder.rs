//! The files of one plugin, and what the registry makes of them.

use super::is_name;
use super::pending::What;
use crate::telemetry::{Metric, count};
use plugin_host::check::{self, MAX_SIZE};
use plugin_host::registry::Plugin;
use plugin_host::{Deploy, Kind, Origin, PluginHost, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whose plugin, and its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) tenant: String,
    pub(super) name: String,
}

/// How a plugin's files look without reading them: size, time of change in ns, inode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) wasm: Option<(u64, i64, u64)>,
    pub(super) toml: Option<(u64, i64, u64)>,
}

pub(super) struct Folder {
    dir: PathBuf,
    plugins: Arc<PluginHost>,
}

impl Folder {
    pub(super) fn new(dir: &Path, plugins: Arc<PluginHost>) -> Self {
        Folder {
            dir: dir.to_owned(),
            plugins,
        }
    }

    /// Whose file this is, and which of them. None for anything else, such as a file that is
    /// being written beside the one that it will replace.
    pub(super) fn key(&self, path: &Path) -> Option<(Key, What)> {
        let inside = path.strip_prefix(&self.dir).ok()?;
        let mut parts = inside.iter();
        let (tenant, _, None) = (parts.next()?.to_str()?, parts.next()?, parts.next()) else {
            return None;
        };
        let what = match path.extension()?.to_str()? {
            "wasm" => What::Everything,
            "toml" => What::Settings,
            _ => return None,
        };
        let name = path.file_stem()?.to_str()?;
        (is_name(tenant) && is_name(name)).then(|| {
            (
                Key {
                    tenant: tenant.to_owned(),
                    name: name.to_owned(),
                },
                what,
            )
        })
    }

    /// All plugins that have a file.
    pub(super) fn list(&self) -> io::Result<BTreeSet<Key>> {
        let mut found = BTreeSet::new();
        for tenant in fs::read_dir(&self.dir)? {
            let tenant = tenant?.path();
            if !tenant.is_dir() {
                continue;
            }
            for file in fs::read_dir(&tenant)? {
                found.extend(self.key(&file?.path()).map(|(key, _)| key));
            }
        }
        Ok(found)
    }

    /// How all files look. A folder that cannot be read has none.
    pub(super) fn looks(&self) -> BTreeMap<Key, Look> {
        let look = |path: PathBuf| {
            let meta = fs::metadata(path).ok()?;
            Some((
                meta.len(),
                meta.mtime()
                    .wrapping_mul(1_000_000_000)
                    .wrapping_add(meta.mtime_nsec()),
                meta.ino(),
            ))
        };
        let of = |key: Key| {
            let both = Look {
                wasm: look(self.path(&key, "wasm")),
                toml: look(self.path(&key, "toml")),
            };
            (key, both)
        };
        match self.list() {
            Ok(keys) => keys.into_iter().map(of).collect(),
            Err(error) => {
                tracing::warn!(%error, dir = %self.dir.display(), "the plugin folder cannot be read");
                BTreeMap::new()
            }
        }
    }

    /// Brings the registry to what the files say.
    pub(super) fn apply(&self, key: &Key, what: What) {
        let (tenant, name) = (key.tenant.as_str(), key.name.as_str());
        let registry = self.plugins.registry();
        let present = registry.plugin(tenant, name);
        let code = self.read(key, "wasm");
        let text = self.read(key, "toml");
        let (code, text) = match (code, text) {
            (Ok(code), Ok(text)) => (code, text),
            (Err(error), _) | (_, Err(error)) => {
                return self.refuse(key, &[], format!("the file cannot be read: {error}"));
            }
        };
        if let (None, Some(plugin)) = (&code, &present)
            && plugin
                .active
                .as_ref()
                .is_some_and(|version| version.origin == Origin::Folder)
        {
            return self.gone(key, plugin);
        }
        let settings = match text.as_deref().map(settings) {
            None => Settings::default(),
            Some(Ok(settings)) => settings,
            Some(Err(error)) => {
                return self.refuse(
                    key,
                    code.as_deref().unwrap_or(&[]),
                    format!("{name}.toml: {error}"),
                );
            }
        };
        match (code, present) {
            (None, None) => {}
            // A plugin that came over REST takes its settings from a `.toml` where there is one.
            (None, Some(plugin)) => {
                if text.is_some() && *plugin.settings != settings {
                    self.set(key, settings);
                }
            }
            (Some(code), present) => {
                let runs = |plugin: &Plugin| {
                    plugin
                        .active
                        .as_ref()
                        .is_some_and(|version| version.digest() == check::digest(&code))
                };
                match present {
                    Some(plugin)
                        if runs(&plugin)
                            && *plugin.settings == settings
                            && plugin.last_error.is_none() => {}
                    // Another version was activated over REST; a new binding does not undo that.
                    Some(plugin)
                        if what == What::Settings && plugin.active.is_some() && !runs(&plugin) =>
                    {
                        self.set(key, settings)
                    }
                    _ => self.deploy(key, &code, settings),
                }
            }
        }
    }

    fn deploy(&self, key: &Key, code: &[u8], settings: Settings) {
        let is_bound = settings.bind.is_some();
        let deploy = Deploy {
            tenant: &key.tenant,
            name: &key.name,
            bytes: code,
            origin: Origin::Folder,
            settings: Some(settings),
            activate: true,
            by: "folder",
        };
        // The registry logs what became of it and keeps the reason of a refusal.
        match self.plugins.deploy(&deploy) {
            Ok(version) => {
                count(Metric::PluginDeployed);
                if !is_bound && version.report().kinds == [Kind::Router] {
                    tracing::info!(
                        tenant = key.tenant,
                        plugin = key.name,
                        "the router is asked about no call: its .toml has no [bind]"
                    );
                }
            }
            Err(_) => count(Metric::PluginRefused),
        }
    }

    fn set(&self, key: &Key, settings: Settings) {
        match self
            .plugins
            .registry()
            .set_settings(&key.tenant, &key.name, settings)
        {
            Ok(()) => tracing::info!(
                tenant = key.tenant,
                plugin = key.name,
                "settings taken from the folder"
            ),
            Err(error) => self.refuse(key, &[], error.to_string()),
        }
    }

    fn gone(&self, key: &Key, plugin: &Plugin) {
        let registry = self.plugins.registry();
        let has_uploads = plugin
            .previous
            .iter()
            .chain(&plugin.waiting)
            .any(|version| version.origin == Origin::Api);
        let result = if has_uploads {
            registry.set_settings(
                &key.tenant,
                &key.name,
                Settings {
                    bind: None,
                    ..Settings::clone(&plugin.settings)
                },
            )
        } else {
            registry.remove(&key.tenant, &key.name)
        };
        match result {
            Ok(()) => tracing::info!(
                tenant = key.tenant,
                plugin = key.name,
                "the plugin's file is gone: it is asked about no new call"
            ),
            Err(error) => {
                tracing::warn!(tenant = key.tenant, plugin = key.name, %error, "the plugin's file is gone, but it cannot be unbound")
            }
        }
    }

    fn refuse(&self, key: &Key, code: &[u8], error: String) {
        count(Metric::PluginRefused);
        self.plugins.refuse(&key.tenant, &key.name, code, &error);
    }

    /// No more than may be taken; none where there is no such file.
    fn read(&self, key: &Key, extension: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path(key, extension)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MAX_SIZE as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn path(&self, key: &Key, extension: &str) -> PathBuf {
        self.dir
            .join(&key.tenant)
            .join(format!("{}.{extension}", key.name))
    }
}

fn settings(text: &[u8]) -> Result<Settings, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
    Settings::from_toml(text).map_err(|error| error.to_string())
}
