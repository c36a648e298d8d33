//! The database: what must outlive the process and is not in a file of the operator's.
//! No call waits for it: calls leave through `records`, plugins' values through [`kv`].
//!
//! - [`calls`]: ended calls and their journals.
//! - [`tokens`]: API tokens. [`audit`]: who changed what.
//! - [`kv`]: plugins' own keys and values.
//!
//! Plugins that came over REST are not here: the registry of `plugin-host` keeps them, as files
//! named by their digest.
//!
//! SQL is named here and below only. It is written so that PostgreSQL reads it too: `$1`
//! parameters, BIGINT times, `ON CONFLICT`.

pub mod audit;
pub mod calls;
pub mod kv;
pub mod tokens;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database cannot be opened at {url}: {source}")]
    Open {
        url: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the database is of another version of this program: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the database failed: {0}")]
    Query(#[from] sqlx::Error),
    #[error("what the database holds cannot be read: {0}")]
    Content(#[from] serde_json::Error),
    #[error("a journal in the database is damaged")]
    Packed,
}

impl Store {
    /// Opens `sqlite://PATH`, makes it and its folder if need be, and brings its tables up to
    /// date.
    pub async fn open(url: &str) -> Result<Store, StoreError> {
        let open = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Open {
            url: url.to_owned(),
            source,
        };
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|error| open(error.into()))?
            .create_if_missing(true)
            // Rows are a few KB: fewer, larger pages cost fewer system calls. For new files only.
            .page_size(16_384)
            .journal_mode(SqliteJournalMode::Wal)
            // With WAL, a power cut can lose the last transactions but never harm the file;
            // the spool still has those calls.
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        if let Some(folder) = options
            .get_filename()
            .parent()
            .filter(|folder| *folder != Path::new(""))
        {
            std::fs::create_dir_all(folder).map_err(|error| open(error.into()))?;
        }
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(options)
            .await
            .map_err(|error| open(error.into()))?;
        sqlx::migrate!("src/store/migrations").run(&pool).await?;
        Ok(Store { pool })
    }

    /// Whether it answers.
    pub async fn is_up(&self) -> bool {
        sqlx::query("SELECT 1").execute(&self.pool).await.is_ok()
    }

    /// Waits until nobody uses it, and closes it.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// One page of a list, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub page: u32,
    pub per_page: u32,
}

impl Page {
    fn limit(self) -> i64 {
        self.per_page.into()
    }

    fn offset(self) -> i64 {
        i64::from(self.page.saturating_sub(1)) * i64::from(self.per_page)
    }
}

/// A page of a list and how long the whole list is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    pub items: Vec<T>,
    pub total: u64,
}

/// Wall clock, milliseconds since 1970-01-01 UTC.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// SQL has no unsigned numbers.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A database in a folder of its own, which goes with the test.
    pub(crate) async fn store() -> (Store, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/a/b/test.db", folder.path().display());
        (Store::open(&url).await.unwrap(), folder)
    }

    #[tokio::test]
    async fn the_folder_is_made_and_a_second_start_finds_the_tables() {
        let (store, folder) = store().await;
        assert!(store.is_up().await);
        store.close().await;
        let url = format!("sqlite://{}/a/b/test.db", folder.path().display());
        assert!(Store::open(&url).await.unwrap().is_up().await);
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_is_told_with_the_url() {
        let error = Store::open("sqlite:///proc/nowhere/x.db")
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("/proc/nowhere/x.db"), "{error}");
    }
}
