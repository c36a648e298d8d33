//! Connections that are kept open for the next request.

use super::dial::{Origin, Permit};
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What a request must agree in to use a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub owner: String,
    pub origin: Origin,
    pub permit: Permit,
}

struct Kept {
    key: Key,
    sender: SendRequest<Full<Bytes>>,
    until: Instant,
}

/// A list, oldest first: there are few, and each request looks once.
pub struct Idle {
    kept: Mutex<Vec<Kept>>,
    limit: usize,
    keep_for: Duration,
}

impl Idle {
    pub fn new(limit: usize, keep_for: Duration) -> Idle {
        Idle {
            kept: Mutex::default(),
            limit,
            keep_for,
        }
    }

    /// The newest that fits, since it is the least likely to have been closed.
    pub fn take(&self, key: &Key) -> Option<SendRequest<Full<Bytes>>> {
        let now = Instant::now();
        let mut kept = self.lock();
        kept.retain(|k| k.until > now && !k.sender.is_closed());
        let at = kept.iter().rposition(|k| k.key == *key)?;
        Some(kept.remove(at).sender)
    }

    pub fn keep(&self, key: Key, sender: SendRequest<Full<Bytes>>) {
        if self.limit == 0 {
            return;
        }
        let mut kept = self.lock();
        if kept.len() >= self.limit {
            kept.remove(0);
        }
        kept.push(Kept {
            key,
            sender,
            until: Instant::now() + self.keep_for,
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        // Nothing in here panics half-way; the list is whole in any case.
        self.kept
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
