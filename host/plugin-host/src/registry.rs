//! Who has which plugin: tenants → plugins → versions → bindings. One immutable snapshot,
//! replaced whole; a reader never waits.

mod changes;
mod persist;
mod view;

pub use changes::{Change, What};
pub use view::{PluginView, VersionView};

use crate::admission::{AdmissionError, Loaded};
use crate::breaker::Breaker;
use crate::check::{Kind, Report};
use crate::settings::Settings;
use arc_swap::ArcSwap;
use b2bua::call_info::CallInfo;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Which door a version came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Api,
    Folder,
}

/// A file that someone wants to go live.
pub struct Deploy<'a> {
    pub tenant: &'a str,
    pub name: &'a str,
    pub bytes: &'a [u8],
    pub origin: Origin,
    /// `None` keeps the settings that the plugin has.
    pub settings: Option<Settings>,
    /// Take calls with it at once; else it waits for `activate`.
    pub activate: bool,
    /// who did it, for the record
    pub by: &'a str,
}

/// One version of a plugin, immutable.
pub struct Version {
    pub loaded: Arc<Loaded>,
    pub origin: Origin,
    pub by: String,
    /// milliseconds since 1970-01-01 UTC
    pub uploaded_ms: u64,
    pub(crate) decided: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) breaker: Mutex<Breaker>,
}

impl Version {
    pub fn digest(&self) -> &str {
        &self.loaded.report.digest
    }

    pub fn report(&self) -> &Report {
        &self.loaded.report
    }

    pub(crate) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has it ever answered well?
    pub(crate) fn is_proven(&self) -> bool {
        self.decided.load(Ordering::Relaxed) > 0
    }
}

/// One plugin of one tenant.
#[derive(Clone)]
pub struct Plugin {
    pub name: Arc<str>,
    pub settings: Arc<Settings>,
    /// the settings' `[config]` as JSON
    pub(crate) config: Arc<str>,
    pub active: Option<Arc<Version>>,
    /// versions that were active before, the latest last
    pub previous: Vec<Arc<Version>>,
    /// versions that never were
    pub waiting: Vec<Arc<Version>>,
    /// why the last file was not taken; none once one was
    pub last_error: Option<Refusal>,
}

/// A file that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub at_ms: u64,
    pub digest: String,
    pub error: String,
}

/// Versions that are kept for rolling back, with their code; and as many that wait.
const KEPT: usize = 3;

impl Plugin {
    fn new(name: &str) -> Plugin {
        let settings = Settings::default();
        Plugin {
            name: name.into(),
            config: settings.config_json().into(),
            settings: Arc::new(settings),
            active: None,
            previous: Vec::new(),
            waiting: Vec::new(),
            last_error: None,
        }
    }

    fn set(&mut self, settings: Settings) {
        self.config = settings.config_json().into();
        self.settings = Arc::new(settings);
    }

    fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.active
            .iter()
            .chain(self.previous.iter().rev())
            .chain(&self.waiting)
    }

    fn activate(&mut self, version: Arc<Version>) {
        self.previous.retain(|v| v.digest() != version.digest());
        self.waiting.retain(|v| v.digest() != version.digest());
        if let Some(old) = self.active.replace(version.clone())
            && old.digest() != version.digest()
        {
            self.previous.push(old);
            let excess = self.previous.len().saturating_sub(KEPT);
            self.previous.drain(..excess);
        }
    }

    /// The latest version before the active one that has answered well.
    pub(crate) fn last_good(&self) -> Option<&Arc<Version>> {
        self.previous.iter().rev().find(|v| v.is_proven())
    }

    pub fn has(&self, kind: Kind) -> bool {
        self.active
            .as_ref()
            .is_some_and(|v| v.report().kinds.contains(&kind))
    }
}

/// All plugins of one tenant.
#[derive(Clone, Default)]
pub struct Tenant {
    pub plugins: BTreeMap<String, Arc<Plugin>>,
}

impl Tenant {
    /// The plugins to be asked about a new call, first the one with the lowest priority number,
    /// then the closest match.
    pub(crate) fn bound(&self, call: &CallInfo) -> Vec<Arc<Plugin>> {
        let mut fitting: Vec<(u32, std::cmp::Reverse<u32>, &Arc<Plugin>)> = self
            .plugins
            .values()
            .filter(|p| p.active.is_some())
            .filter_map(|p| {
                let bind = p.settings.bind.as_ref()?;
                Some((bind.priority, std::cmp::Reverse(bind.fits(call)?), p))
            })
            .collect();
        fitting.sort_by(|a, b| (a.0, a.1, &a.2.name).cmp(&(b.0, b.1, &b.2.name)));
        fitting.into_iter().map(|(_, _, p)| p.clone()).collect()
    }
}

pub type Snapshot = BTreeMap<String, Arc<Tenant>>;

pub struct Registry {
    snapshot: ArcSwap<Snapshot>,
    /// One change at a time; readers do not take it.
    changing: Mutex<()>,
    changes: changes::Changes,
    /// Where versions of the API are kept.
    folder: PathBuf,
}

impl Registry {
    pub(crate) fn new(folder: PathBuf) -> Registry {
        Registry {
            snapshot: ArcSwap::default(),
            changing: Mutex::default(),
            changes: Default::default(),
            folder,
        }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    pub fn plugin(&self, tenant: &str, name: &str) -> Option<Arc<Plugin>> {
        self.snapshot.load().get(tenant)?.plugins.get(name).cloned()
    }

    /// Changes one plugin (made where there is none) and swaps the snapshot.
    fn change<T>(&self, tenant: &str, name: &str, work: impl FnOnce(&mut Plugin) -> T) -> T {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut snapshot = Snapshot::clone(&self.snapshot.load());
        let mut of = Tenant::clone(snapshot.get(tenant).map_or(&Tenant::default(), |t| t));
        let mut plugin = of
            .plugins
            .get(name)
            .map_or_else(|| Plugin::new(name), |p| Plugin::clone(p));
        let result = work(&mut plugin);
        of.plugins.insert(name.to_owned(), Arc::new(plugin));
        snapshot.insert(tenant.to_owned(), Arc::new(of));
        self.snapshot.store(Arc::new(snapshot));
        result
    }

    pub(crate) fn install(&self, deploy: &Deploy<'_>, loaded: Arc<Loaded>) -> Arc<Version> {
        let version = Arc::new(Version {
            loaded,
            origin: deploy.origin,
            by: deploy.by.to_owned(),
            uploaded_ms: now_ms(),
            decided: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            breaker: Mutex::default(),
        });
        let version = self.change(deploy.tenant, deploy.name, |plugin| {
            if let Some(settings) = &deploy.settings {
                plugin.set(settings.clone());
            }
            plugin.last_error = None;
            // The same bytes again are the same version, with its history.
            let known = plugin
                .versions()
                .find(|v| v.digest() == version.digest())
                .cloned();
            let version = known.clone().unwrap_or(version);
            if deploy.activate {
                plugin.activate(version.clone());
            } else if known.is_none() {
                plugin.waiting.push(version.clone());
                let excess = plugin.waiting.len().saturating_sub(KEPT);
                plugin.waiting.drain(..excess);
            }
            version
        });
        let what = if deploy.activate {
            What::Activated
        } else {
            What::Uploaded
        };
        self.tell(
            deploy.tenant,
            deploy.name,
            version.digest(),
            what,
            deploy.by,
        );
        version
    }

    pub(crate) fn refuse(&self, tenant: &str, name: &str, digest: String, error: &AdmissionError) {
        self.tell(tenant, name, &digest, What::Refused, &error.to_string());
        let refusal = Refusal {
            at_ms: now_ms(),
            digest,
            error: error.to_string(),
        };
        self.change(tenant, name, |plugin| plugin.last_error = Some(refusal));
    }

    fn existing(&self, tenant: &str, name: &str) -> Result<Arc<Plugin>, AdmissionError> {
        self.plugin(tenant, name)
            .ok_or_else(|| AdmissionError::Unknown {
                what: "plugin",
                name: name.to_owned(),
            })
    }

    /// New calls take this version from now on.
    pub fn activate(
        &self,
        tenant: &str,
        name: &str,
        digest: &str,
    ) -> Result<Arc<Version>, AdmissionError> {
        let plugin = self.existing(tenant, name)?;
        let version = plugin.versions().find(|v| v.digest() == digest).cloned();
        let version = version.ok_or_else(|| AdmissionError::Unknown {
            what: "version",
            name: digest.to_owned(),
        })?;
        self.change(tenant, name, |plugin| plugin.activate(version.clone()));
        self.tell(
            tenant,
            name,
            digest,
            What::Activated,
            "asked for by its digest",
        );
        self.persist();
        Ok(version)
    }

    /// New calls take the version that was active before.
    pub fn roll_back(&self, tenant: &str, name: &str) -> Result<Arc<Version>, AdmissionError> {
        let plugin = self.existing(tenant, name)?;
        let version = plugin.previous.last().cloned();
        let version = version.ok_or_else(|| {
            AdmissionError::Conflict("there is no version to roll back to".to_owned())
        })?;
        self.change(tenant, name, |plugin| {
            let bad = plugin.active.take();
            plugin.previous.retain(|v| v.digest() != version.digest());
            plugin.active = Some(version.clone());
            plugin.waiting.extend(bad);
        });
        self.tell(
            tenant,
            name,
            version.digest(),
            What::RolledBack,
            "asked for",
        );
        self.persist();
        Ok(version)
    }

    /// Changes settings; the versions stay.
    pub fn set_settings(
        &self,
        tenant: &str,
        name: &str,
        settings: Settings,
    ) -> Result<(), AdmissionError> {
        let settings = settings
            .checked()
            .map_err(|e| AdmissionError::Settings(e.to_string()))?;
        self.change(tenant, name, |plugin| plugin.set(settings));
        self.tell(tenant, name, "", What::SettingsChanged, "");
        self.persist();
        Ok(())
    }

    /// Takes a plugin out. Calls that run on it go on.
    pub fn remove(&self, tenant: &str, name: &str) -> Result<(), AdmissionError> {
        self.existing(tenant, name)?;
        {
            let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let mut snapshot = Snapshot::clone(&self.snapshot.load());
            if let Some(of) = snapshot.get(tenant) {
                let mut of = Tenant::clone(of);
                of.plugins.remove(name);
                snapshot.insert(tenant.to_owned(), Arc::new(of));
            }
            self.snapshot.store(Arc::new(snapshot));
        }
        self.tell(tenant, name, "", What::Removed, "");
        self.persist();
        Ok(())
    }

    /// Deletes a version that is not active and that no call runs on.
    pub fn delete_version(
        &self,
        tenant: &str,
        name: &str,
        digest: &str,
    ) -> Result<(), AdmissionError> {
        let plugin = self.existing(tenant, name)?;
        let version = plugin.versions().find(|v| v.digest() == digest);
        let version = version.ok_or_else(|| AdmissionError::Unknown {
            what: "version",
            name: digest.to_owned(),
        })?;
        if plugin.active.as_ref().is_some_and(|a| a.digest() == digest) {
            return Err(AdmissionError::Conflict(
                "the version is active: activate another one first".to_owned(),
            ));
        }
        let live = version.loaded.live.load(Ordering::Relaxed);
        if live > 0 {
            return Err(AdmissionError::Conflict(format!(
                "{live} calls still run on this version"
            )));
        }
        self.change(tenant, name, |plugin| {
            plugin.previous.retain(|v| v.digest() != digest);
            plugin.waiting.retain(|v| v.digest() != digest);
        });
        self.tell(tenant, name, digest, What::Deleted, "");
        self.persist();
        Ok(())
    }
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
