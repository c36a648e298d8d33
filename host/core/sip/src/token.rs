//! Branches, tags and Call-IDs. Seeded, so that a run can be repeated; from a secret seed
//! nobody outside can guess the next one. The worker's number is in each of them, so that
//! any datagram finds its worker from its own bytes.
//!
//! A token is 4 hex digits of worker number, 24 of random and `gp`: 30 characters.

use crate::message::MAGIC_COOKIE;
use sha2::{Digest, Sha256};
use std::fmt;

#[derive(Debug, Clone)]
pub struct TokenSource {
    worker: u16,
    key: [u8; 32],
    counter: u64,
    /// What is left of the last block.
    block: [u8; 32],
    used: usize,
}

/// The `branch` of a Via of ours, with the magic cookie.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Branch(Box<str>);

/// A From or To tag of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Box<str>);

/// A Call-ID of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(Box<str>);

impl TokenSource {
    /// `seed` is secret in production and fixed in tests.
    pub fn new(worker: u16, seed: u64) -> Self {
        let key = Sha256::new()
            .chain_update(b"gatepost token")
            .chain_update(worker.to_be_bytes())
            .chain_update(seed.to_be_bytes());
        TokenSource {
            worker,
            key: key.finalize().into(),
            counter: 0,
            block: [0; 32],
            used: 32,
        }
    }

    pub fn branch(&mut self) -> Branch {
        Branch(format!("{MAGIC_COOKIE}{}", self.token()).into_boxed_str())
    }

    pub fn tag(&mut self) -> Tag {
        Tag(self.token().into_boxed_str())
    }

    pub fn call_id(&mut self) -> CallId {
        CallId(self.token().into_boxed_str())
    }

    /// The same tag for the same text: for answers without state (RFC 3261 §8.2.7).
    pub fn tag_for(&self, parts: &[&str]) -> Tag {
        let mut hash = Sha256::new().chain_update(self.key).chain_update(b"tag");
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        Tag(self.format(&digest[..12]).into_boxed_str())
    }

    /// Any number, for sequence numbers, back-off and the like.
    pub fn random_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.take(8)[..8]);
        u64::from_be_bytes(bytes)
    }

    /// A number from 0 to `below` − 1; 0 for 0.
    pub fn random_below(&mut self, below: u64) -> u64 {
        if below == 0 {
            0
        } else {
            self.random_u64() % below
        }
    }

    pub fn worker(&self) -> u16 {
        self.worker
    }

    fn token(&mut self) -> String {
        let random = self.take(12);
        self.format(&random[..12])
    }

    fn format(&self, random: &[u8]) -> String {
        let mut text = String::with_capacity(30);
        push_hex(&mut text, &self.worker.to_be_bytes());
        push_hex(&mut text, random);
        text.push_str(MARK);
        text
    }

    /// SHA-256 of key and counter, a block at a time.
    fn take(&mut self, wanted: usize) -> [u8; 12] {
        if self.used + wanted > self.block.len() {
            self.counter += 1;
            self.block = Sha256::new()
                .chain_update(self.key)
                .chain_update(self.counter.to_be_bytes())
                .finalize()
                .into();
            self.used = 0;
        }
        let mut out = [0; 12];
        out[..wanted].copy_from_slice(&self.block[self.used..self.used + wanted]);
        self.used += wanted;
        out
    }
}

/// The worker that made this branch, tag or Call-ID; none if it is not of our making.
pub fn worker_of(text: &str) -> Option<u16> {
    let token = text.strip_prefix(MAGIC_COOKIE).unwrap_or(text);
    let is_ours = token.len() == 30
        && token.ends_with(MARK)
        && token.as_bytes()[..28].iter().all(u8::is_ascii_hexdigit);
    if !is_ours {
        return None;
    }
    u16::from_str_radix(&token[..4], 16).ok()
}

/// Ends every token of ours: a peer's random hex string is not taken for one.
const MARK: &str = "gp";

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
}

macro_rules! text_type {
    ($($name:ident),*) => {$(
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(token: $name) -> String {
                token.0.into()
            }
        }
    )*};
}

text_type!(Branch, CallId, Tag);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_names_its_worker_and_none_comes_twice() {
        let mut tokens = TokenSource::new(513, 7);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            for text in [
                String::from(tokens.branch()),
                tokens.tag().into(),
                tokens.call_id().into(),
            ] {
                assert_eq!(worker_of(&text), Some(513));
                assert!(seen.insert(text));
            }
        }
    }

    #[test]
    fn a_seed_repeats_and_another_seed_does_not() {
        assert_eq!(TokenSource::new(1, 1).tag(), TokenSource::new(1, 1).tag());
        assert_ne!(TokenSource::new(1, 1).tag(), TokenSource::new(1, 2).tag());
        assert_ne!(
            TokenSource::new(1, 1).tag().as_str()[4..],
            TokenSource::new(2, 1).tag().as_str()[4..]
        );
        let tokens = TokenSource::new(1, 1);
        assert_eq!(tokens.tag_for(&["a", "b"]), tokens.tag_for(&["a", "b"]));
        assert_ne!(tokens.tag_for(&["a", "b"]), tokens.tag_for(&["ab", ""]));
    }

    #[test]
    fn other_peoples_tokens_belong_to_no_worker() {
        for text in [
            "",
            "z9hG4bK",
            "z9hG4bK776asdhds",
            "a84b4c76e66710@pc33.atlanta.com",
            "00010203040506070809101112131415",
            "ÿ0010203040506070809101112131gp",
        ] {
            assert_eq!(worker_of(text), None, "{text}");
        }
    }
}
