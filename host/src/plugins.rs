//! The watched folder in front of the registry: `<dir>/<tenant>/<name>.wasm`, and beside it
//! `<name>.toml` with its settings.
//!
//! A file is taken when its writer is done with it, also where it is copied in place. What is
//! broken changes nothing: the live version goes on, and the log and the plugin's page say
//! what is wrong. A changed `.toml` alone binds the running version anew; without a `.wasm` it
//! sets a plugin that came over REST. A deleted file unbinds.
//!
//! Over REST the same name may get other versions. The last change decides which one answers;
//! at a start the folder is read last, so then its file answers.
//!
//! - [`folder`]: from the files of one plugin to the registry.
//! - [`pending`]: which files are settled.

mod folder;
mod pending;

use crate::plugins::folder::{Folder, Key};
use crate::plugins::pending::{Pending, What};
use anyhow::Context as _;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use plugin_host::PluginHost;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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

/// Reads the whole folder, once. What is broken is told and left out. Blocks while components
/// are compiled.
pub fn load_all(dir: &Path, plugins: &Arc<PluginHost>) -> anyhow::Result<()> {
    let folder = Folder::new(dir, plugins.clone());
    for key in folder
        .list()
        .with_context(|| format!("plugins.dir {}", dir.display()))?
    {
        folder.apply(&key, What::Everything);
    }
    Ok(())
}

/// Takes changes of the folder from now on, on a thread of its own.
pub fn watch(dir: &Path, plugins: Arc<PluginHost>) -> anyhow::Result<Watcher> {
    // The watcher tells absolute paths where it is given one.
    let dir = dir
        .canonicalize()
        .with_context(|| format!("plugins.dir {}", dir.display()))?;
    let (sender, events) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(move |event| {
        // Nobody listens at the end of the program.
        let _ = sender.send(event);
    })
    .context("the plugin folder cannot be watched")?;
    watcher
        .watch(&dir, RecursiveMode::Recursive)
        .with_context(|| format!("plugins.dir {} cannot be watched", dir.display()))?;
    let folder = Folder::new(&dir, plugins);
    // What is there now is `load_all`'s.
    let pending = Pending::new(folder.looks());
    let thread = std::thread::Builder::new()
        .name("plugin-folder".to_owned())
        .spawn(move || run(&folder, pending, &events))
        .context("cannot start the plugin folder's thread")?;
    Ok(Watcher {
        watcher: Some(watcher),
        thread: Some(thread),
    })
}

/// A plugin's name, and so a file's: nothing that could leave its folder.
pub fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn run(folder: &Folder, mut pending: Pending, events: &Receiver<notify::Result<Event>>) {
    let mut next_look = Instant::now() + LOOK_EVERY;
    loop {
        let now = Instant::now();
        let wake = pending
            .next_due()
            .map_or(next_look, |due| due.min(next_look));
        match events.recv_timeout(wake.saturating_duration_since(now)) {
            Ok(Ok(event)) => take(folder, &mut pending, &event),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the plugin folder's watcher failed; the folder is looked through");
                next_look = Instant::now();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        if now >= next_look || pending.take_look(now) {
            // Some file systems tell nothing, and a full queue loses events.
            next_look = now + LOOK_EVERY;
            pending.compare(now, folder.looks());
        }
        while let Some((key, what)) = pending.pop_due(Instant::now()) {
            folder.apply(&key, what);
        }
    }
}

fn take(folder: &Folder, pending: &mut Pending, event: &Event) {
    let now = Instant::now();
    let settled = match event.kind {
        // Its writer is done, or it came whole.
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(_))
        | EventKind::Remove(_) => true,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => return,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other => false,
    };
    if event.need_rescan() {
        pending.look_soon(now);
    }
    for path in &event.paths {
        match folder.key(path) {
            Some((key, what)) => pending.touch(now, key, what, settled),
            // A new tenant's folder, or a link behind which everything changes.
            None if matches!(
                event.kind,
                EventKind::Create(_)
                    | EventKind::Remove(_)
                    | EventKind::Modify(ModifyKind::Name(_))
            ) =>
            {
                pending.look_soon(now)
            }
            None => {}
        }
    }
}

/// For changes that nobody told.
const LOOK_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
pub(crate) mod tests;
