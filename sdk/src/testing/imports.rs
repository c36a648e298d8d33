//! The host imports on other targets than wasm32: the same functions as the component's
//! imports, answered by the fake host of this thread.

use super::fake_host::{FakeHost, Key as StoreKey};

pub(crate) mod log {
    use crate::log::Level;

    pub(crate) fn write(level: Level, message: &str) {
        super::FakeHost::current().log(level, message);
    }
}

pub(crate) mod config {
    use serde_json::Value;

    pub(crate) fn json() -> String {
        super::FakeHost::current().with(|state| state.config.to_string())
    }

    pub(crate) fn get(key: &str) -> Option<String> {
        super::FakeHost::current().with(|state| {
            let value = key
                .split('.')
                .try_fold(&state.config, |value, part| value.get(part))?;
            Some(match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
        })
    }
}

pub(crate) mod clock {
    pub(crate) fn now_ms() -> u64 {
        super::FakeHost::current().with(|state| state.epoch_ms + state.elapsed_us / 1_000)
    }

    pub(crate) fn monotonic_us() -> u64 {
        super::FakeHost::current().with(|state| state.elapsed_us)
    }
}

pub(crate) mod random {
    pub(crate) fn number() -> u64 {
        super::FakeHost::current().with(|state| state.random())
    }

    pub(crate) fn bytes(len: u32) -> Vec<u8> {
        let len = len.min(4_096) as usize;
        super::FakeHost::current().with(|state| (0..len).map(|_| state.random() as u8).collect())
    }
}

pub(crate) mod kv {
    use super::StoreKey;
    use crate::kv::Error;

    const MOST_KEY_BYTES: usize = 256;
    const MOST_VALUE_BYTES: usize = 64 * 1024;

    pub(crate) fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
        super::FakeHost::current().with(|state| Ok(state.stored(key)))
    }

    pub(crate) fn set(key: &str, value: &[u8], ttl_s: Option<u32>) -> Result<(), Error> {
        if key.len() > MOST_KEY_BYTES || value.len() > MOST_VALUE_BYTES {
            return Err(Error::TooLarge);
        }
        super::FakeHost::current().with(|state| {
            let until_us = ttl_s.map(|seconds| state.elapsed_us + u64::from(seconds) * 1_000_000);
            state
                .kv
                .insert(StoreKey::from(key), (value.to_vec(), until_us));
            Ok(())
        })
    }

    pub(crate) fn delete(key: &str) -> Result<(), Error> {
        super::FakeHost::current().with(|state| {
            state.kv.remove(key);
            Ok(())
        })
    }

    pub(crate) fn increment(key: &str, by: i64, ttl_s: Option<u32>) -> Result<i64, Error> {
        let present = get(key)?
            .and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<i64>().ok())
            .unwrap_or(0);
        let sum = present.saturating_add(by);
        set(key, sum.to_string().as_bytes(), ttl_s)?;
        Ok(sum)
    }

    pub(crate) fn compare_and_set(
        key: &str,
        old: Option<&[u8]>,
        new: &[u8],
        ttl_s: Option<u32>,
    ) -> Result<bool, Error> {
        if get(key)?.as_deref() != old {
            return Ok(false);
        }
        set(key, new, ttl_s).map(|()| true)
    }
}

pub(crate) mod http {
    use crate::http::Error;
    use crate::types::{HttpRequest, HttpResponse};

    pub(crate) fn fetch(request: &HttpRequest, _timeout_ms: u32) -> Result<HttpResponse, Error> {
        super::FakeHost::current().with(|state| {
            state.requests.push(request.clone());
            match state.responses.get(&request.url) {
                Some(answer) => answer.clone(),
                None => Err(Error::Denied(format!(
                    "the test has no answer for {}",
                    request.url
                ))),
            }
        })
    }
}

pub(crate) mod crypto {
    use crate::crypto::{Algorithm, Error, Key};
    use ed25519_dalek::{Signature, Verifier, VerifyingKey};
    use hmac::{Hmac, Mac};
    use sha1::Sha1;
    use sha2::{Digest, Sha256, Sha512};

    pub(crate) fn hmac(algorithm: Algorithm, key: &Key, data: &[u8]) -> Result<Vec<u8>, Error> {
        let key = match key {
            Key::Bytes(bytes) => bytes.clone(),
            Key::Secret(name) => super::FakeHost::current()
                .with(|state| {
                    state
                        .secrets
                        .get(name)
                        .map(|secret| secret.as_bytes().to_vec())
                })
                .ok_or_else(|| Error::NoKey(name.clone()))?,
        };
        fn mac<M: Mac + hmac::digest::KeyInit>(key: &[u8], data: &[u8]) -> Result<Vec<u8>, Error> {
            let mut mac = <M as Mac>::new_from_slice(key).map_err(|_| Error::Malformed)?;
            mac.update(data);
            Ok(mac.finalize().into_bytes().to_vec())
        }
        match algorithm {
            Algorithm::HmacSha1 => mac::<Hmac<Sha1>>(&key, data),
            Algorithm::HmacSha256 => mac::<Hmac<Sha256>>(&key, data),
            Algorithm::HmacSha512 => mac::<Hmac<Sha512>>(&key, data),
        }
    }

    pub(crate) fn hmac_verify(
        algorithm: Algorithm,
        key: &Key,
        data: &[u8],
        signature: &[u8],
    ) -> Result<bool, Error> {
        // A fake: constant time does not matter here.
        Ok(hmac(algorithm, key, data)? == signature)
    }

    pub(crate) fn sha256(data: &[u8]) -> Vec<u8> {
        Sha256::digest(data).to_vec()
    }

    pub(crate) fn ed25519_verify(
        public_key: &[u8],
        data: &[u8],
        signature: &[u8],
    ) -> Result<bool, Error> {
        let key: &[u8; 32] = public_key.try_into().map_err(|_| Error::Malformed)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| Error::Malformed)?;
        let signature = Signature::from_slice(signature).map_err(|_| Error::Malformed)?;
        Ok(key.verify(data, &signature).is_ok())
    }
}

pub(crate) mod secrets {
    use crate::secrets::Error;

    pub(crate) fn get(name: &str) -> Result<String, Error> {
        super::FakeHost::current()
            .with(|state| state.secrets.get(name).cloned().ok_or(Error::Missing))
    }
}
