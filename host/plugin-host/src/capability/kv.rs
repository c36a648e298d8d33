//! `kv`: the plugin's own keys and values, shared by its calls and versions.

use crate::bindings::imports::kv::{Error, Host};
use crate::instance::State;
use crate::record::{self, shown};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const LONGEST_KEY: usize = 256;
const LARGEST_VALUE: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvError {
    Quota,
    TooLarge,
    Unavailable,
}

pub type KvFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, KvError>> + Send + 'a>>;

/// Where keys and values are kept. `space` is one plugin of one tenant.
pub trait KvStore: Send + Sync {
    fn get<'a>(&'a self, space: &'a Space, key: &'a str) -> KvFuture<'a, Option<Vec<u8>>>;
    /// `None` deletes.
    fn set<'a>(
        &'a self,
        space: &'a Space,
        key: &'a str,
        value: Option<Vec<u8>>,
        ttl: Option<Duration>,
    ) -> KvFuture<'a, ()>;
    /// A number in decimal; 0 where there is none.
    fn increment<'a>(
        &'a self,
        space: &'a Space,
        key: &'a str,
        by: i64,
        ttl: Option<Duration>,
    ) -> KvFuture<'a, i64>;
    fn compare_and_set<'a>(
        &'a self,
        space: &'a Space,
        key: &'a str,
        old: Option<Vec<u8>>,
        new: Vec<u8>,
        ttl: Option<Duration>,
    ) -> KvFuture<'a, bool>;
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Space {
    pub tenant: String,
    pub plugin: String,
}

/// Keys and values in memory, within a quota for each space. Lost at the end of the process.
pub struct MemoryKv {
    keys: usize,
    bytes: usize,
    spaces: Mutex<BTreeMap<Space, BTreeMap<String, Entry>>>,
}

struct Entry {
    value: Vec<u8>,
    until: Option<Instant>,
}

impl Default for MemoryKv {
    /// 10,000 keys and 16 MiB for each plugin of each tenant.
    fn default() -> Self {
        MemoryKv::new(10_000, 16 << 20)
    }
}

impl MemoryKv {
    pub fn new(keys: usize, bytes: usize) -> MemoryKv {
        MemoryKv {
            keys,
            bytes,
            spaces: Mutex::default(),
        }
    }

    fn with<T>(&self, space: &Space, work: impl FnOnce(&mut BTreeMap<String, Entry>) -> T) -> T {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        work(spaces.entry(space.clone()).or_default())
    }

    fn put(
        &self,
        entries: &mut BTreeMap<String, Entry>,
        key: &str,
        value: Vec<u8>,
        ttl: Option<Duration>,
    ) -> Result<(), KvError> {
        let now = Instant::now();
        if !entries.contains_key(key) && entries.len() >= self.keys {
            entries.retain(|_, e| e.until.is_none_or(|u| u > now));
        }
        let others: usize = entries
            .iter()
            .filter(|(k, _)| *k != key)
            .map(|(k, e)| k.len() + e.value.len())
            .sum();
        if (!entries.contains_key(key) && entries.len() >= self.keys)
            || others + key.len() + value.len() > self.bytes
        {
            return Err(KvError::Quota);
        }
        entries.insert(
            key.to_owned(),
            Entry {
                value,
                until: ttl.map(|t| now + t),
            },
        );
        Ok(())
    }
}

fn live<'a>(entries: &'a BTreeMap<String, Entry>, key: &str) -> Option<&'a Entry> {
    entries
        .get(key)
        .filter(|e| e.until.is_none_or(|u| u > Instant::now()))
}

impl KvStore for MemoryKv {
    fn get<'a>(&'a self, space: &'a Space, key: &'a str) -> KvFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move { Ok(self.with(space, |e| live(e, key).map(|e| e.value.clone()))) })
    }

    fn set<'a>(
        &'a self,
        space: &'a Space,
        key: &'a str,
        value: Option<Vec<u8>>,
        ttl: Option<Duration>,
    ) -> KvFuture<'a, ()> {
        Box::pin(async move {
            self.with(space, |e| match value {
                Some(value) => self.put(e, key, value, ttl),
                None => {
                    e.remove(key);
                    Ok(())
                }
            })
        })
    }

    fn increment<'a>(
        &'a self,
        space: &'a Space,
        key: &'a str,
        by: i64,
        ttl: Option<Duration>,
    ) -> KvFuture<'a, i64> {
        Box::pin(async move {
            self.with(space, |e| {
                let old = live(e, key)
                    .and_then(|e| std::str::from_utf8(&e.value).ok()?.parse::<i64>().ok())
                    .unwrap_or(0);
                let new = old.saturating_add(by);
                self.put(e, key, new.to_string().into_bytes(), ttl)
                    .map(|()| new)
            })
        })
    }

    fn compare_and_set<'a>(
        &'a self,
        space: &'a Space,
        key: &'a str,
        old: Option<Vec<u8>>,
        new: Vec<u8>,
        ttl: Option<Duration>,
    ) -> KvFuture<'a, bool> {
        Box::pin(async move {
            self.with(space, |e| {
                if live(e, key).map(|e| &e.value) != old.as_ref() {
                    return Ok(false);
                }
                self.put(e, key, new, ttl).map(|()| true)
            })
        })
    }
}

impl State {
    fn kv_space(&self, key: &str, value: usize) -> Result<Space, Error> {
        if !self.context.grants.allows("kv") {
            return Err(Error::Denied);
        }
        if key.len() > LONGEST_KEY || value > LARGEST_VALUE {
            return Err(Error::TooLarge);
        }
        Ok(Space {
            tenant: self.context.tenant.to_string(),
            plugin: self.context.plugin.to_string(),
        })
    }
}

impl State {
    /// Waits for the store, no longer than the call may take.
    async fn stored<T>(&self, work: KvFuture<'_, T>) -> Result<T, Error> {
        self.in_time(work)
            .await
            .map_or(Err(Error::Unavailable), |result| result.map_err(wit_error))
    }
}

fn wit_error(error: KvError) -> Error {
    match error {
        KvError::Quota => Error::Quota,
        KvError::TooLarge => Error::TooLarge,
        KvError::Unavailable => Error::Unavailable,
    }
}

fn noted(error: &Error) -> Value {
    json!({ "error": match error {
        Error::Denied => "denied",
        Error::Quota => "quota",
        Error::TooLarge => "too-large",
        Error::Unavailable => "unavailable",
    } })
}

fn recalled_error(value: &Value) -> Option<Error> {
    Some(match value.get("error")?.as_str()? {
        "denied" => Error::Denied,
        "quota" => Error::Quota,
        "too-large" => Error::TooLarge,
        _ => Error::Unavailable,
    })
}

fn ttl(seconds: Option<u32>) -> Option<Duration> {
    seconds.map(|s| Duration::from_secs(s.into()))
}

impl Host for State {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        let args = || json!([key]);
        if let Some(recalled) = self.recorder.recall("kv.get", args) {
            let value = recalled.unwrap_or(Value::Null);
            return Ok(recalled_error(&value).map_or_else(|| Ok(record::bytes(&value)), Err));
        }
        let result = match self.kv_space(&key, 0) {
            Ok(space) => self.stored(self.services.kv.get(&space, &key)).await,
            Err(error) => Err(error),
        };
        self.recorder.note("kv.get", args, || match &result {
            Ok(value) => value.as_deref().map_or(Value::Null, shown),
            Err(error) => noted(error),
        });
        Ok(result)
    }

    async fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl_s: Option<u32>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let args = || json!([key, shown(&value), ttl_s]);
        if let Some(recalled) = self.recorder.recall("kv.set", args) {
            return Ok(recalled
                .as_ref()
                .and_then(recalled_error)
                .map_or(Ok(()), Err));
        }
        let result = match self.kv_space(&key, value.len()) {
            Ok(space) => {
                self.stored(
                    self.services
                        .kv
                        .set(&space, &key, Some(value.clone()), ttl(ttl_s)),
                )
                .await
            }
            Err(error) => Err(error),
        };
        self.recorder.note("kv.set", args, || {
            result.as_ref().err().map_or(Value::Null, noted)
        });
        Ok(result)
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), Error>> {
        let args = || json!([key]);
        if let Some(recalled) = self.recorder.recall("kv.delete", args) {
            return Ok(recalled
                .as_ref()
                .and_then(recalled_error)
                .map_or(Ok(()), Err));
        }
        let result = match self.kv_space(&key, 0) {
            Ok(space) => {
                self.stored(self.services.kv.set(&space, &key, None, None))
                    .await
            }
            Err(error) => Err(error),
        };
        self.recorder.note("kv.delete", args, || {
            result.as_ref().err().map_or(Value::Null, noted)
        });
        Ok(result)
    }

    async fn increment(
        &mut self,
        key: String,
        by: i64,
        ttl_s: Option<u32>,
    ) -> wasmtime::Result<Result<i64, Error>> {
        let args = || json!([key, by, ttl_s]);
        if let Some(recalled) = self.recorder.recall("kv.increment", args) {
            let value = recalled.unwrap_or(Value::Null);
            return Ok(recalled_error(&value).map_or_else(|| Ok(value.as_i64().unwrap_or(0)), Err));
        }
        let result = match self.kv_space(&key, 0) {
            Ok(space) => {
                self.stored(self.services.kv.increment(&space, &key, by, ttl(ttl_s)))
                    .await
            }
            Err(error) => Err(error),
        };
        self.recorder.note("kv.increment", args, || {
            result.as_ref().map_or_else(noted, |n| Value::from(*n))
        });
        Ok(result)
    }

    async fn compare_and_set(
        &mut self,
        key: String,
        old: Option<Vec<u8>>,
        new: Vec<u8>,
        ttl_s: Option<u32>,
    ) -> wasmtime::Result<Result<bool, Error>> {
        let args = || json!([key, old.as_deref().map(shown), shown(&new), ttl_s]);
        if let Some(recalled) = self.recorder.recall("kv.compare-and-set", args) {
            let value = recalled.unwrap_or(Value::Null);
            return Ok(
                recalled_error(&value).map_or_else(|| Ok(value.as_bool().unwrap_or(false)), Err)
            );
        }
        let result = match self.kv_space(&key, new.len()) {
            Ok(space) => {
                self.stored(self.services.kv.compare_and_set(
                    &space,
                    &key,
                    old.clone(),
                    new.clone(),
                    ttl(ttl_s),
                ))
                .await
            }
            Err(error) => Err(error),
        };
        self.recorder.note("kv.compare-and-set", args, || {
            result.as_ref().map_or_else(noted, |set| Value::Bool(*set))
        });
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(plugin: &str) -> Space {
        Space {
            tenant: "demo".to_owned(),
            plugin: plugin.to_owned(),
        }
    }

    fn now<T>(work: KvFuture<'_, T>) -> Result<T, KvError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(work)
    }

    #[test]
    fn a_value_is_set_only_where_the_old_one_is_as_expected() {
        let (kv, a) = (MemoryKv::default(), space("a"));
        let value = |text: &str| text.as_bytes().to_vec();
        assert_eq!(
            now(kv.compare_and_set(&a, "k", None, value("1"), None)),
            Ok(true)
        );
        assert_eq!(
            now(kv.compare_and_set(&a, "k", None, value("2"), None)),
            Ok(false)
        );
        assert_eq!(
            now(kv.compare_and_set(&a, "k", Some(value("1")), value("2"), None)),
            Ok(true)
        );
        assert_eq!(now(kv.get(&a, "k")), Ok(Some(value("2"))));
        assert_eq!(
            now(kv.get(&space("b"), "k")),
            Ok(None),
            "another plugin sees nothing of it"
        );
    }

    #[test]
    fn counting_starts_at_zero_and_a_value_of_no_time_is_gone_at_once() {
        let (kv, a) = (MemoryKv::default(), space("a"));
        assert_eq!(now(kv.increment(&a, "n", 2, None)), Ok(2));
        assert_eq!(now(kv.increment(&a, "n", -5, None)), Ok(-3));
        now(kv.set(&a, "t", Some(vec![1]), Some(Duration::ZERO))).unwrap();
        assert_eq!(now(kv.get(&a, "t")), Ok(None));
    }

    #[test]
    fn the_quota_of_keys_and_bytes_is_kept_and_replacing_is_free() {
        let (kv, a) = (MemoryKv::new(2, 20), space("a"));
        let set = |key, len| now(kv.set(&a, key, Some(vec![0; len]), None));
        assert_eq!((set("1", 8), set("2", 8)), (Ok(()), Ok(())));
        assert_eq!(set("3", 0), Err(KvError::Quota));
        assert_eq!(set("1", 12), Err(KvError::Quota));
        assert_eq!(set("1", 8), Ok(()));
        now(kv.set(&a, "2", None, None)).unwrap();
        assert_eq!(set("3", 0), Ok(()));
    }
}
