//! Prompt files of the tenants: found safely, decoded once, kept while they stay the same.

use media::Pcm;
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

#[derive(Debug, Clone)]
pub struct Limits {
    /// Decoded audio kept in memory, in all.
    pub cache_bytes: usize, // 64 MiB
    /// A file larger than this is not played.
    pub file_bytes: u64, // 32 MiB
    /// A file that was looked at so recently is taken as unchanged.
    pub recheck: Duration, // 1 s
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            cache_bytes: 64 << 20,
            file_bytes: 32 << 20,
            recheck: Duration::from_secs(1),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("it is not a WAV file that can be played: {0}")]
    Decode(String),
    #[error("it leads out of the tenant's folder of prompts")]
    Outside,
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("it is larger than {limit} bytes")]
    TooLarge { limit: u64 },
}

/// Bytes of a WAV file to audio.
pub type Decode = fn(&[u8]) -> Result<Pcm, String>;

#[derive(Debug)]
pub struct Files {
    limits: Limits,
    decode: Decode,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    entries: HashMap<PathBuf, Entry>,
    bytes: usize,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    pcm: Pcm,
    modified: SystemTime,
    len: u64,
    checked: Instant,
    /// The value of `uses` when it was used last.
    used: u64,
}

impl Files {
    pub fn new(limits: Limits, decode: Decode) -> Files {
        Files {
            limits,
            decode,
            cache: Mutex::default(),
        }
    }

    /// What is in memory and was looked at just now. Touches no disk.
    pub fn cached(&self, now: Instant, folder: &Path, name: &str) -> Option<Pcm> {
        let path = folder.join(relative(name)?);
        let mut cache = self.lock();
        cache.uses += 1;
        let uses = cache.uses;
        let entry = cache.entries.get_mut(&path)?;
        if now.saturating_duration_since(entry.checked) >= self.limits.recheck {
            return None;
        }
        entry.used = uses;
        Some(entry.pcm.clone())
    }

    /// Looks at the disk; reads the file where it is new or has changed.
    pub fn load(&self, now: Instant, folder: &Path, name: &str) -> Result<Pcm, FileError> {
        let path = folder.join(relative(name).ok_or(FileError::Outside)?);
        // A link inside the folder may point elsewhere.
        let real = path.canonicalize()?;
        if !real.starts_with(folder.canonicalize()?) {
            return Err(FileError::Outside);
        }
        // Without blocking: a FIFO would wait for a writer. Checked on the open file, so that
        // it is the one that is read.
        let file = open_nonblocking(&real)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file").into());
        }
        let (modified, len) = (meta.modified()?, meta.len());
        if let Some(entry) = self.lock().entries.get_mut(&path)
            && (entry.modified, entry.len) == (modified, len)
        {
            entry.checked = now;
            return Ok(entry.pcm.clone());
        }
        let limit = self.limits.file_bytes;
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(FileError::TooLarge { limit });
        }
        let pcm = (self.decode)(&bytes).map_err(FileError::Decode)?;
        self.keep(
            path,
            Entry {
                pcm: pcm.clone(),
                modified,
                len,
                checked: now,
                used: 0,
            },
        );
        Ok(pcm)
    }

    fn keep(&self, path: PathBuf, mut entry: Entry) {
        let mut cache = self.lock();
        cache.uses += 1;
        entry.used = cache.uses;
        cache.forget(&path);
        let size = entry.size();
        if size > self.limits.cache_bytes {
            return;
        }
        while cache.bytes + size > self.limits.cache_bytes {
            let Some(oldest) = cache
                .entries
                .iter()
                .min_by_key(|(_, e)| e.used)
                .map(|(p, _)| p.clone())
            else {
                break;
            };
            cache.forget(&oldest);
        }
        cache.bytes += size;
        cache.entries.insert(path, entry);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        // The cache may be short of an entry after a panic, which costs a read.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn forget(&mut self, path: &Path) {
        if let Some(entry) = self.entries.remove(path) {
            self.bytes -= entry.size();
        }
    }
}

impl Entry {
    fn size(&self) -> usize {
        self.pcm.samples.len() * 2
    }
}

/// The path under the folder, if the name stays there. `welcome` is short for `welcome.wav`.
fn relative(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let stays = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || name.contains('\0') || !stays {
        return None;
    }
    match path.extension() {
        Some(_) => Some(path.to_owned()),
        None => Some(path.with_extension("wav")),
    }
}

fn open_nonblocking(path: &Path) -> io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_is_decoded_once_and_again_after_it_changed() {
        let (folder, files) = (tempfile::tempdir().unwrap(), files(1_000));
        fs::write(folder.path().join("hello.wav"), [1, 2, 3]).unwrap();
        let now = Instant::now();
        assert_eq!(files.cached(now, folder.path(), "hello"), None);
        let first = files.load(now, folder.path(), "hello").unwrap();
        assert_eq!(&first.samples[..], [1, 2, 3]);
        let hit = files.cached(now, folder.path(), "hello.wav").unwrap();
        assert!(std::sync::Arc::ptr_eq(&hit.samples, &first.samples));

        fs::write(folder.path().join("hello.wav"), [4, 5, 6, 7]).unwrap();
        let later = now + Duration::from_secs(2);
        assert_eq!(
            files.cached(later, folder.path(), "hello"),
            None,
            "it must be looked at again"
        );
        assert_eq!(
            &files.load(later, folder.path(), "hello").unwrap().samples[..],
            [4, 5, 6, 7]
        );
    }

    #[test]
    fn a_name_cannot_leave_the_tenants_folder() {
        let (root, files) = (tempfile::tempdir().unwrap(), files(1_000));
        let folder = root.path().join("tenant");
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(root.path().join("secret.wav"), [1]).unwrap();
        fs::write(folder.join("sub/ok.wav"), [2]).unwrap();
        std::os::unix::fs::symlink("../secret.wav", folder.join("link.wav")).unwrap();
        let now = Instant::now();
        let absolute = root.path().join("secret.wav");
        for name in [
            "../secret",
            "sub/../../secret.wav",
            "link",
            "",
            "/etc/hostname",
            absolute.to_str().unwrap(),
            "a\0b",
        ] {
            assert!(
                matches!(files.load(now, &folder, name), Err(FileError::Outside)),
                "{name:?}"
            );
            assert_eq!(files.cached(now, &folder, name), None);
        }
        assert!(files.load(now, &folder, "sub/ok").is_ok());
        assert!(matches!(
            files.load(now, &folder, "sub.d/nothing"),
            Err(FileError::Read(_))
        ));
    }

    #[test]
    fn the_cache_forgets_what_was_used_longest_ago() {
        let (folder, files) = (tempfile::tempdir().unwrap(), files(20));
        for name in ["a", "b", "c"] {
            fs::write(folder.path().join(name).with_extension("wav"), [0; 4]).unwrap();
        }
        let now = Instant::now();
        files.load(now, folder.path(), "a").unwrap();
        files.load(now, folder.path(), "b").unwrap();
        files.cached(now, folder.path(), "a").unwrap();
        files.load(now, folder.path(), "c").unwrap();
        assert!(files.cached(now, folder.path(), "a").is_some());
        assert!(files.cached(now, folder.path(), "b").is_none());
        assert!(files.lock().bytes <= 20);
    }

    #[test]
    fn a_file_over_the_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(
            Limits {
                file_bytes: 3,
                ..Limits::default()
            },
            bytes_as_samples,
        );
        fs::write(folder.path().join("big.wav"), [0; 4]).unwrap();
        let result = files.load(Instant::now(), folder.path(), "big");
        assert!(matches!(result, Err(FileError::TooLarge { limit: 3 })));
    }

    fn files(cache_bytes: usize) -> Files {
        Files::new(
            Limits {
                cache_bytes,
                ..Limits::default()
            },
            bytes_as_samples,
        )
    }

    fn bytes_as_samples(bytes: &[u8]) -> Result<Pcm, String> {
        Ok(Pcm {
            rate: 8_000,
            samples: bytes.iter().map(|b| i16::from(*b)).collect(),
        })
    }
}
