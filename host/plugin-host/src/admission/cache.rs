//! Compiled code on disk, so that a restart compiles nothing. Named by the component's digest
//! and wasmtime's compatibility hash; believed only with our MAC, because compiled code has no
//! integrity check of its own.

use crate::capability::random;
use anyhow::Context;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use wasmtime::Engine;

const MAC_LENGTH: usize = 32;

pub(super) struct Cache {
    folder: PathBuf,
    compatibility: String,
    key: [u8; 32],
}

impl Cache {
    pub(super) fn open(engine: &Engine, data: &Path) -> anyhow::Result<Cache> {
        let folder = data.join("compiled");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Cache {
            key: key(data)?,
            folder,
            compatibility: format!("{:016x}", hasher.finish()),
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn get(&self, digest: &str) -> Option<Vec<u8>> {
        let mut bytes = fs::read(self.path(digest)).ok()?;
        let at = bytes.len().checked_sub(MAC_LENGTH)?;
        let mac = bytes.split_off(at);
        self.mac(digest, &bytes).verify_slice(&mac).ok()?;
        Some(bytes)
    }

    /// A full disk costs only the time of the next compilation.
    pub(super) fn put(&self, digest: &str, code: &[u8]) {
        let mac = self.mac(digest, code).finalize().into_bytes();
        let path = self.path(digest);
        let fresh = path.with_extension("new");
        let written = fs::File::create(&fresh).and_then(|mut f| {
            f.write_all(code)?;
            f.write_all(&mac)
        });
        if let Err(error) = written.and_then(|()| fs::rename(&fresh, &path)) {
            tracing::warn!(%error, path = %path.display(), "compiled code is not kept");
            let _ = fs::remove_file(&fresh);
        }
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder
            .join(format!("{digest}-{}.cwasm", self.compatibility))
    }

    fn mac(&self, digest: &str, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.key)
            .expect("HMAC takes a key of any length");
        mac.update(digest.as_bytes());
        mac.update(self.compatibility.as_bytes());
        mac.update(code);
        mac
    }
}

/// Made once, readable by us alone.
fn key(data: &Path) -> anyhow::Result<[u8; 32]> {
    let path = data.join("cache.key");
    if let Some(key) = fs::read(&path)
        .ok()
        .and_then(|k| <[u8; 32]>::try_from(k).ok())
    {
        return Ok(key);
    }
    let mut key = [0; 32];
    random::fill(&mut key).context("no randomness for the key of the cache")?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(&key)?;
    Ok(key)
}
