//! The host that a plugin's native tests talk to.

use crate::log::Level;
use crate::types::{HttpRequest, HttpResponse};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// A fake of everything that a plugin imports. It grants every capability. Clones are the
/// same host.
///
/// ```
/// use gatepost_sdk::{clock, kv, testing::FakeHost};
/// use std::time::Duration;
///
/// let host = FakeHost::new().config(gatepost_sdk::json!({ "limit": 3 }));
/// host.run(|| kv::set("seen", "1", Some(60)).unwrap());
/// host.advance(Duration::from_secs(61));
/// assert_eq!(host.run(|| kv::get("seen").unwrap()), None);
/// ```
#[derive(Clone)]
pub struct FakeHost(Rc<RefCell<State>>);

pub(crate) type Key = String;

pub(crate) struct State {
    pub(crate) config: Value,
    pub(crate) elapsed_us: u64,
    /// wall clock at the start of the test
    pub(crate) epoch_ms: u64,
    /// value and the virtual µs at which it expires
    pub(crate) kv: BTreeMap<Key, (Vec<u8>, Option<u64>)>,
    pub(crate) requests: Vec<HttpRequest>,
    /// by URL
    pub(crate) responses: BTreeMap<String, Result<HttpResponse, crate::http::Error>>,
    pub(crate) secrets: BTreeMap<String, String>,
    log: Vec<(Level, String)>,
    random: u64,
}

thread_local! {
    static CURRENT: RefCell<Option<FakeHost>> = const { RefCell::new(None) };
}

impl Default for FakeHost {
    fn default() -> FakeHost {
        FakeHost::new()
    }
}

impl FakeHost {
    pub fn new() -> FakeHost {
        FakeHost(Rc::new(RefCell::new(State {
            config: json!({}),
            elapsed_us: 0,
            // 2026-01-01T00:00:00Z
            epoch_ms: 1_767_225_600_000,
            kv: BTreeMap::new(),
            requests: Vec::new(),
            responses: BTreeMap::new(),
            secrets: BTreeMap::new(),
            log: Vec::new(),
            random: 0x9e37_79b9_7f4a_7c15,
        })))
    }

    /// The plugin's settings.
    pub fn config(self, config: Value) -> FakeHost {
        self.with(|state| state.config = config);
        self
    }

    pub fn secret(self, name: impl Into<String>, value: impl Into<String>) -> FakeHost {
        self.with(|state| state.secrets.insert(name.into(), value.into()));
        self
    }

    /// What a request to this URL gets; others are denied.
    pub fn http(
        self,
        url: impl Into<String>,
        answer: Result<HttpResponse, crate::http::Error>,
    ) -> FakeHost {
        self.with(|state| state.responses.insert(url.into(), answer));
        self
    }

    /// Runs a piece of the plugin with this host as its host.
    pub fn run<T>(&self, plugin: impl FnOnce() -> T) -> T {
        struct Restore(Option<FakeHost>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _restore = Restore(CURRENT.replace(Some(self.clone())));
        plugin()
    }

    /// Moves the virtual clock.
    pub fn advance(&self, time: Duration) {
        self.with(|state| state.elapsed_us += u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// What the plugin logged.
    pub fn logged(&self) -> Vec<(Level, String)> {
        self.with(|state| state.log.clone())
    }

    /// The HTTP requests that the plugin made.
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.with(|state| state.requests.clone())
    }

    /// A value of the plugin's store.
    pub fn stored(&self, key: &str) -> Option<Vec<u8>> {
        self.with(|state| state.stored(key))
    }

    pub(crate) fn log(&self, level: Level, message: &str) {
        self.with(|state| state.log.push((level, message.to_owned())));
    }

    /// The host of [`FakeHost::run`]; outside of it one that lasts as long as the thread.
    pub(crate) fn current() -> FakeHost {
        CURRENT.with_borrow_mut(|current| current.get_or_insert_with(FakeHost::new).clone())
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.borrow_mut())
    }
}

impl State {
    pub(crate) fn stored(&self, key: &str) -> Option<Vec<u8>> {
        let (value, until_us) = self.kv.get(key)?;
        until_us
            .is_none_or(|until| until > self.elapsed_us)
            .then(|| value.clone())
    }

    /// xorshift64: the same numbers in every run.
    pub(crate) fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}
