//! What happened to plugins, in order, with who did it and why: for the API and the log.

use super::{Registry, now_ms};
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// counts from 1 without gaps
    pub seq: u64,
    /// milliseconds since 1970-01-01 UTC
    pub at_ms: u64,
    pub tenant: String,
    pub plugin: String,
    /// of the version concerned; empty where none is
    pub digest: String,
    pub what: What,
    /// who did it, or what for
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Activated,
    BreakerClosed,
    BreakerOpened,
    Deleted,
    Refused,
    Removed,
    RolledBack,
    SettingsChanged,
    Uploaded,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            What::Activated => "activated",
            What::BreakerClosed => "breaker closed",
            What::BreakerOpened => "breaker opened",
            What::Deleted => "deleted",
            What::Refused => "refused",
            What::Removed => "removed",
            What::RolledBack => "rolled back",
            What::SettingsChanged => "settings changed",
            What::Uploaded => "uploaded",
        })
    }
}

/// The latest changes.
#[derive(Default)]
pub(super) struct Changes(Mutex<(u64, VecDeque<Change>)>);

const KEPT: usize = 1_000;

impl Registry {
    pub(crate) fn tell(&self, tenant: &str, plugin: &str, digest: &str, what: What, why: &str) {
        match what {
            What::BreakerOpened | What::Refused => {
                tracing::warn!(tenant, plugin, digest, why, "plugin {what}")
            }
            _ => tracing::info!(tenant, plugin, digest, why, "plugin {what}"),
        }
        let mut changes = self
            .changes
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (last, kept) = &mut *changes;
        *last += 1;
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Change {
            seq: *last,
            at_ms: now_ms(),
            tenant: tenant.to_owned(),
            plugin: plugin.to_owned(),
            digest: digest.to_owned(),
            what,
            why: why.to_owned(),
        });
    }

    /// Changes after the one with this number, the oldest first. The last thousand are kept.
    pub fn changes(&self, after: u64) -> Vec<Change> {
        let changes = self
            .changes
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        changes
            .1
            .iter()
            .filter(|change| change.seq > after)
            .cloned()
            .collect()
    }
}
