//! Our own identities. They mean something to this node only.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One call, from its first INVITE to its last BYE. The worker that owns the call is in
/// the key, so that anything about a call finds its worker without a table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey(u128);

impl CallKey {
    /// `worker` owns the call; `serial` counts that worker's calls; `salt` makes keys of
    /// different runs of the program differ and hard to guess.
    pub fn new(worker: u16, serial: u32, salt: u64) -> Self {
        CallKey((u128::from(worker) << 96) | (u128::from(salt) << 32) | u128::from(serial))
    }

    pub fn worker(self) -> u16 {
        (self.0 >> 96) as u16
    }
}

/// A call has one media session, with the call's own number.
impl From<CallKey> for media::SessionKey {
    fn from(call: CallKey) -> Self {
        media::SessionKey(call.0)
    }
}

impl From<media::SessionKey> for CallKey {
    fn from(session: media::SessionKey) -> Self {
        CallKey(session.0)
    }
}

/// The text form: 28 hexadecimal digits; what REST calls `call_id`.
impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:028x}", self.0)
    }
}

impl fmt::Debug for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a call id: 28 hexadecimal digits are wanted")]
pub struct NotACallKey;

impl FromStr for CallKey {
    type Err = NotACallKey;

    fn from_str(s: &str) -> Result<Self, NotACallKey> {
        if s.len() != 28 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NotACallKey);
        }
        u128::from_str_radix(s, 16)
            .map(CallKey)
            .map_err(|_| NotACallKey)
    }
}

/// One leg of a call: 0 is the A leg, B legs count from 1 in the order they were dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LegId(pub u16);

impl LegId {
    pub const A: LegId = LegId(0);
}

/// One question of a call to whoever decides; answers carry it back. A late answer to an
/// old question is recognised by it and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AskId(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_key_survives_its_text_form_and_names_its_worker() {
        let key = CallKey::new(3, 77, 0xdead_beef_0123_4567);
        assert_eq!(key.to_string().parse::<CallKey>().unwrap(), key);
        assert_eq!(key.worker(), 3);
        assert!("zz".parse::<CallKey>().is_err());
    }
}
