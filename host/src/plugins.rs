//! The watched plugin folder in front of the registry: `<dir>/<tenant>/<name>.wasm`, with
//! `<name>.toml` beside it.
//!
//! - [`settle`]: when has a file settled?
//!
//! A file goes live when nobody writes to it any more: at once after a rename into place or
//! a close, else after a short silence. A broken one changes nothing and is told in words, in
//! the log and on the plugin's page. A name that was uploaded over REST and also lies in the
//! folder takes whichever came last.

mod settle;

use anyhow::{Context, Result};
use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use plugin_host::{Deploy, Origin, PluginHost, Settings};
use settle::Settle;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Instant;

/// A plugin by its place in the folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub tenant: String,
    pub name: String,
}

/// Watches until it is dropped.
pub struct Watcher {
    watcher: Option<RecommendedWatcher>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The thread ends when nobody can send to it any more.
        self.watcher.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes everything that lies in the folder, in the order of names. Blocks while it compiles.
pub fn load_all(dir: &Path, plugins: &PluginHost) -> Result<usize> {
    std::fs::create_dir_all(dir).with_context(|| format!("plugins.dir {}", dir.display()))?;
    let mut places = Vec::new();
    for tenant in std::fs::read_dir(dir).with_context(|| format!("plugins.dir {}", dir.display()))?.flatten() {
        for file in std::fs::read_dir(tenant.path()).into_iter().flatten().flatten() {
            places.extend(place(dir, &file.path()).filter(|_| is_component(&file.path())));
        }
    }
    places.sort();
    for place in &places {
        take(dir, plugins, place);
    }
    Ok(places.len())
}

/// Takes changes of the folder from now on, on a thread of its own.
pub fn watch(dir: &Path, plugins: Arc<PluginHost>) -> Result<Watcher> {
    let (sender, events) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(move |event| {
        let _ = sender.send(event);
    })
    .context("the plugin folder cannot be watched")?;
    watcher.watch(dir, RecursiveMode::Recursive).with_context(|| format!("{} cannot be watched", dir.display()))?;
    let dir = dir.to_path_buf();
    let thread = std::thread::Builder::new()
        .name("plugin-folder".to_owned())
        .spawn(move || run(&dir, &plugins, &events))
        .context("the plugin folder's thread does not start")?;
    Ok(Watcher { watcher: Some(watcher), thread: Some(thread) })
}

fn run(dir: &Path, plugins: &PluginHost, events: &mpsc::Receiver<notify::Result<notify::Event>>) {
    let mut settle = Settle::default();
    loop {
        let event = match settle.next() {
            Some(due) => events.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match event {
            Ok(Ok(event)) => {
                let complete = is_complete(event.kind);
                for path in &event.paths {
                    if let Some(place) = place(dir, path) {
                        settle.changed(Instant::now(), place, complete);
                    }
                }
                if event.need_rescan() {
                    tracing::warn!("the system lost changes of the plugin folder: all of it is read again");
                    if let Err(error) = load_all(dir, plugins) {
                        tracing::error!(%error, "the plugin folder cannot be read");
                    }
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "the plugin folder cannot be watched well"),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        for place in settle.due(Instant::now()) {
            take(dir, plugins, &place);
        }
    }
}

/// Nobody writes to the file any more.
fn is_complete(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both))
            | EventKind::Remove(_)
    )
}

/// Makes the registry have what the folder has for this plugin.
fn take(dir: &Path, plugins: &PluginHost, place: &Place) {
    let (component, settings) = paths(dir, place);
    let bytes = match std::fs::read(&component) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return gone(plugins, place),
        Err(error) => return plugins.refuse(&place.tenant, &place.name, &[], &format!("{} cannot be read: {error}", component.display())),
    };
    let parsed = match std::fs::read_to_string(&settings) {
        Ok(text) => Settings::from_toml(&text),
        Err(_) => Ok(Settings::default()),
    };
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return plugins.refuse(&place.tenant, &place.name, &bytes, &format!("{}: {error}", settings.display())),
    };
    if let Some(plugin) = plugins.registry().plugin(&place.tenant, &place.name)
        && plugin.active.as_ref().is_some_and(|v| v.digest() == plugin_host::check::digest(&bytes))
        && *plugin.settings == parsed
        && plugin.last_error.is_none()
    {
        return;
    }
    // Refusals are logged and kept by the plugin host.
    let _ = plugins.deploy(&Deploy {
        tenant: &place.tenant,
        name: &place.name,
        bytes: &bytes,
        origin: Origin::Folder,
        settings: Some(parsed),
        activate: true,
        by: "folder",
    });
}

/// What came from the folder goes with its file; what was uploaded stays.
fn gone(plugins: &PluginHost, place: &Place) {
    let Some(plugin) = plugins.registry().plugin(&place.tenant, &place.name) else { return };
    if plugin.active.as_ref().is_none_or(|v| v.origin == Origin::Folder) {
        tracing::info!(tenant = place.tenant, plugin = place.name, "plugin removed: its file is gone");
        let _ = plugins.registry().remove(&place.tenant, &place.name);
    }
}

fn paths(dir: &Path, place: &Place) -> (PathBuf, PathBuf) {
    let folder = dir.join(&place.tenant);
    (folder.join(format!("{}.wasm", place.name)), folder.join(format!("{}.toml", place.name)))
}

fn is_component(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "wasm")
}

/// The plugin that `<dir>/<tenant>/<name>.wasm` or `.toml` belongs to. Hidden files are
/// somebody's half-written ones.
fn place(dir: &Path, path: &Path) -> Option<Place> {
    let mut parts = path.strip_prefix(dir).ok()?.components().map(|c| c.as_os_str().to_str());
    let (tenant, file) = (parts.next()??, parts.next()??);
    let name = file.strip_suffix(".wasm").or_else(|| file.strip_suffix(".toml"))?;
    let plain = parts.next().is_none() && !name.is_empty() && !file.starts_with('.') && !tenant.starts_with('.');
    plain.then(|| Place { tenant: tenant.to_owned(), name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_components_and_settings_of_a_tenants_folder_count() {
        let dir = Path::new("/p");
        let of = |path: &str| place(dir, Path::new(path)).map(|p| (p.tenant, p.name));
        let demo = |name: &str| Some(("demo".to_owned(), name.to_owned()));
        assert_eq!(of("/p/demo/a.wasm"), demo("a"));
        assert_eq!(of("/p/demo/a.b.toml"), demo("a.b"));
        for other in ["/p/demo/.a.wasm", "/p/demo/.wasm", "/p/a.wasm", "/p/demo/x/a.wasm", "/p/demo/a.txt", "/q/demo/a.wasm", "/p/.git/a.wasm"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
