//! Plugins' own keys and values. They live in memory, where a call finds them without
//! waiting; a task writes what changed into the database every [`WRITE_EVERY`]. A process that
//! is killed loses at most that.

use super::{Store, StoreError, now_ms, signed};
use plugin_host::capability::kv::{KvError, KvFuture, KvStore, Space};
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct DurableKv {
    shared: Arc<Mutex<Shared>>,
    quota: Quota,
    store: Store,
}

/// For each plugin of a tenant.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    pub keys: usize,  // 10,000
    pub bytes: usize, // 16 MiB, keys and values
}

impl Default for Quota {
    fn default() -> Self {
        Quota {
            keys: 10_000,
            bytes: 16 << 20,
        }
    }
}

#[derive(Default)]
struct Shared {
    spaces: BTreeMap<Space, Entries>,
    /// Changed since they were last written.
    dirty: BTreeSet<(Space, String)>,
}

#[derive(Default)]
struct Entries {
    values: BTreeMap<String, Entry>,
    /// Keys and values together.
    bytes: usize,
}

#[derive(Clone)]
struct Entry {
    value: Vec<u8>,
    /// wall clock, ms: a value must not outlive its time over a restart
    expires_ms: Option<u64>,
}

impl DurableKv {
    /// Reads what there is and starts the task that writes.
    pub async fn open(store: Store, quota: Quota) -> Result<DurableKv, StoreError> {
        let mut shared = Shared::default();
        sqlx::query("DELETE FROM kv WHERE expires_ms <= $1")
            .bind(signed(now_ms()))
            .execute(&store.pool)
            .await?;
        for row in sqlx::query("SELECT tenant, plugin, key, value, expires_ms FROM kv")
            .fetch_all(&store.pool)
            .await?
        {
            let space = Space {
                tenant: row.try_get(0)?,
                plugin: row.try_get(1)?,
            };
            let expires_ms = row.try_get::<Option<i64>, _>(4)?.map(|ms| ms.max(0) as u64);
            shared.spaces.entry(space).or_default().insert(
                row.try_get(2)?,
                Entry {
                    value: row.try_get(3)?,
                    expires_ms,
                },
            );
        }
        let kv = DurableKv {
            shared: Arc::new(Mutex::new(shared)),
            quota,
            store,
        };
        let writer = kv.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(WRITE_EVERY);
            loop {
                tick.tick().await;
                // The last one: nobody can change anything any more.
                let last = Arc::strong_count(&writer.shared) == 1;
                if let Err(error) = writer.write().await {
                    tracing::warn!(%error, "values of plugins wait for the database");
                }
                if last {
                    return;
                }
            }
        });
        Ok(kv)
    }

    /// Writes what changed, in one transaction. After a failure it is tried again later.
    pub async fn write(&self) -> Result<(), StoreError> {
        let changes: Vec<(Space, String, Option<Entry>)> = {
            let mut shared = self.lock();
            let dirty = std::mem::take(&mut shared.dirty);
            let entry = |(space, key): (Space, String)| {
                let entry = shared
                    .spaces
                    .get(&space)
                    .and_then(|entries| entries.values.get(&key))
                    .cloned();
                (space, key, entry)
            };
            dirty.into_iter().map(entry).collect()
        };
        if changes.is_empty() {
            return Ok(());
        }
        let result = self.write_changes(&changes).await;
        if result.is_err() {
            let again = changes.into_iter().map(|(space, key, _)| (space, key));
            self.lock().dirty.extend(again);
        }
        result
    }

    async fn write_changes(
        &self,
        changes: &[(Space, String, Option<Entry>)],
    ) -> Result<(), StoreError> {
        let mut transaction = self.store.pool.begin().await?;
        for (space, key, entry) in changes {
            let query = match entry {
                Some(_) => {
                    "INSERT INTO kv (tenant, plugin, key, value, expires_ms) VALUES ($1, $2, $3, $4, $5)
                     ON CONFLICT (tenant, plugin, key) DO UPDATE SET value = excluded.value, expires_ms = excluded.expires_ms"
                }
                None => "DELETE FROM kv WHERE tenant = $1 AND plugin = $2 AND key = $3",
            };
            let mut query = sqlx::query(query)
                .bind(&space.tenant)
                .bind(&space.plugin)
                .bind(key);
            if let Some(entry) = entry {
                query = query.bind(&entry.value).bind(entry.expires_ms.map(signed));
            }
            query.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic in here leaves whole values behind, never half of one.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One step for everybody: reads the present value, and writes what `change` makes of it.
    fn change<T>(
        &self,
        space: &Space,
        key: &str,
        ttl: Option<Duration>,
        change: impl FnOnce(Option<&[u8]>) -> (Change, T),
    ) -> Result<T, KvError> {
        let now = now_ms();
        let mut shared = self.lock();
        let entries = shared.spaces.entry(space.clone()).or_default();
        let present = entries
            .values
            .get(key)
            .filter(|entry| entry.lives(now))
            .map(|entry| entry.value.as_slice());
        let (change, answer) = change(present);
        match change {
            Change::Keep => return Ok(answer),
            Change::Remove => entries.remove(key),
            Change::Set(value) => {
                if !entries.fits(key, &value, self.quota) {
                    let gone = entries.expire(now);
                    let fits = entries.fits(key, &value, self.quota);
                    shared
                        .dirty
                        .extend(gone.into_iter().map(|key| (space.clone(), key)));
                    if !fits {
                        return Err(KvError::Quota);
                    }
                }
                let expires_ms = ttl.map(|ttl| now.saturating_add(ttl.as_millis() as u64));
                shared
                    .spaces
                    .entry(space.clone())
                    .or_default()
                    .insert(key.to_owned(), Entry { value, expires_ms });
            }
        }
        shared.dirty.insert((space.clone(), key.to_owned()));
        Ok(answer)
    }
}

enum Change {
    Keep,
    Remove,
    Set(Vec<u8>),
}

impl Entry {
    fn lives(&self, now_ms: u64) -> bool {
        self.expires_ms.is_none_or(|at| at > now_ms)
    }
}

impl Entries {
    fn insert(&mut self, key: String, entry: Entry) {
        self.remove(&key);
        self.bytes += key.len() + entry.value.len();
        self.values.insert(key, entry);
    }

    fn remove(&mut self, key: &str) {
        if let Some(old) = self.values.remove(key) {
            self.bytes -= key.len() + old.value.len();
        }
    }

    fn fits(&self, key: &str, value: &[u8], quota: Quota) -> bool {
        let (keys, bytes) = match self.values.get(key) {
            Some(old) => (
                self.values.len(),
                self.bytes - old.value.len() + value.len(),
            ),
            None => (self.values.len() + 1, self.bytes + key.len() + value.len()),
        };
        keys <= quota.keys && bytes <= quota.bytes
    }

    /// Takes out what is over its time; gives the keys.
    fn expire(&mut self, now_ms: u64) -> Vec<String> {
        let gone: Vec<String> = self
            .values
            .iter()
            .filter(|(_, entry)| !entry.lives(now_ms))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &gone {
            self.remove(key);
        }
        gone
    }
}

impl KvStore for DurableKv {
    fn get<'a>(&'a self, space: &'a Space, key: &'a str) -> KvFuture<'a, Option<Vec<u8>>> {
        let value = self
            .lock()
            .spaces
            .get(space)
            .and_then(|entries| entries.values.get(key))
            .filter(|entry| entry.lives(now_ms()))
            .map(|entry| entry.value.clone());
        Box::pin(std::future::ready(Ok(value)))
    }

    fn set<'a>(
        &'a self,
        space: &'a Space,
        key: &'a str,
        value: Option<Vec<u8>>,
        ttl: Option<Duration>,
    ) -> KvFuture<'a, ()> {
        let change = value.map_or(Change::Remove, Change::Set);
        Box::pin(std::future::ready(
            self.change(space, key, ttl, |_| (change, ())),
        ))
    }

    fn increment<'a>(
        &'a self,
        space: &'a Space,
        key: &'a str,
        by: i64,
        ttl: Option<Duration>,
    ) -> KvFuture<'a, i64> {
        let result = self.change(space, key, ttl, |old| {
            let old: i64 = old
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .and_then(|text| text.parse().ok())
                .unwrap_or(0);
            let new = old.saturating_add(by);
            (Change::Set(new.to_string().into_bytes()), new)
        });
        Box::pin(std::future::ready(result))
    }

    fn compare_and_set<'a>(
        &'a self,
        space: &'a Space,
        key: &'a str,
        old: Option<Vec<u8>>,
        new: Vec<u8>,
        ttl: Option<Duration>,
    ) -> KvFuture<'a, bool> {
        let result = self.change(space, key, ttl, |present| {
            if present == old.as_deref() {
                (Change::Set(new), true)
            } else {
                (Change::Keep, false)
            }
        });
        Box::pin(std::future::ready(result))
    }
}

const WRITE_EVERY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    fn space(plugin: &str) -> Space {
        Space {
            tenant: "demo".into(),
            plugin: plugin.into(),
        }
    }

    #[tokio::test]
    async fn values_are_there_after_a_restart_and_expired_ones_are_not() {
        let (store, _folder) = store().await;
        let kv = DurableKv::open(store.clone(), Quota::default())
            .await
            .unwrap();
        let a = space("a");
        kv.set(&a, "kept", Some(b"1".to_vec()), None).await.unwrap();
        kv.set(&a, "short", Some(b"2".to_vec()), Some(Duration::ZERO))
            .await
            .unwrap();
        kv.set(&a, "gone", Some(b"3".to_vec()), None).await.unwrap();
        kv.write().await.unwrap();
        kv.set(&a, "gone", None, None).await.unwrap();
        kv.increment(&a, "n", 5, None).await.unwrap();
        kv.write().await.unwrap();
        assert_eq!(kv.get(&a, "short").await, Ok(None));
        let again = DurableKv::open(store, Quota::default()).await.unwrap();
        assert_eq!(again.get(&a, "kept").await, Ok(Some(b"1".to_vec())));
        assert_eq!(again.get(&a, "short").await, Ok(None));
        assert_eq!(again.get(&a, "gone").await, Ok(None));
        assert_eq!(again.increment(&a, "n", -2, None).await, Ok(3));
        assert_eq!(
            again.get(&space("b"), "kept").await,
            Ok(None),
            "another plugin sees nothing of it"
        );
    }

    #[tokio::test]
    async fn a_value_is_set_only_where_the_old_one_is_as_expected() {
        let (store, _folder) = store().await;
        let kv = DurableKv::open(store, Quota::default()).await.unwrap();
        let a = space("a");
        assert_eq!(
            kv.compare_and_set(&a, "k", None, b"1".to_vec(), None).await,
            Ok(true)
        );
        assert_eq!(
            kv.compare_and_set(&a, "k", None, b"2".to_vec(), None).await,
            Ok(false)
        );
        assert_eq!(
            kv.compare_and_set(&a, "k", Some(b"1".to_vec()), b"2".to_vec(), None)
                .await,
            Ok(true)
        );
    }

    #[tokio::test]
    async fn the_quota_is_kept_and_expired_values_make_room() {
        let (store, _folder) = store().await;
        let kv = DurableKv::open(store, Quota { keys: 2, bytes: 20 })
            .await
            .unwrap();
        let a = space("a");
        kv.set(&a, "1", Some(vec![0; 8]), None).await.unwrap();
        kv.set(&a, "2", Some(vec![0; 8]), Some(Duration::ZERO))
            .await
            .unwrap();
        kv.set(&a, "3", Some(vec![0; 8]), None).await.unwrap();
        assert_eq!(
            kv.set(&a, "4", Some(vec![]), None).await,
            Err(KvError::Quota)
        );
        assert_eq!(
            kv.set(&a, "1", Some(vec![0; 12]), None).await,
            Err(KvError::Quota)
        );
        assert_eq!(kv.set(&a, "1", Some(vec![0; 9]), None).await, Ok(()));
    }
}
