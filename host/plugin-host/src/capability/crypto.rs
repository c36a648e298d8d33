//! `crypto`: signatures, with the plugin's own keys or with the tenant's secrets by name
//! (grant `secret:NAME`). Keys are never recorded.

use crate::bindings::imports::crypto::{Algorithm, Error, Host, Key};
use crate::instance::State;
use crate::record::{self, shown};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

impl Host for State {
    fn hmac(
        &mut self,
        algorithm: Algorithm,
        key: Key,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let args = || json!([name(algorithm), shown_key(&key), shown(&data)]);
        if let Some(recalled) = self.recorder.recall("crypto.hmac", args) {
            let value = recalled.unwrap_or(Value::Null);
            return Ok(recalled_error(&value)
                .map_or_else(|| Ok(record::bytes(&value).unwrap_or_default()), Err));
        }
        let result = self.key(&key).map(|key| mac(algorithm, &key, &data));
        self.recorder.note("crypto.hmac", args, || {
            result.as_ref().map_or_else(noted, |mac| shown(mac))
        });
        Ok(result)
    }

    fn hmac_verify(
        &mut self,
        algorithm: Algorithm,
        key: Key,
        data: Vec<u8>,
        signature: Vec<u8>,
    ) -> wasmtime::Result<Result<bool, Error>> {
        let args = || {
            json!([
                name(algorithm),
                shown_key(&key),
                shown(&data),
                shown(&signature)
            ])
        };
        if let Some(recalled) = self.recorder.recall("crypto.hmac-verify", args) {
            let value = recalled.unwrap_or(Value::Null);
            return Ok(
                recalled_error(&value).map_or_else(|| Ok(value.as_bool().unwrap_or(false)), Err)
            );
        }
        let result = self.key(&key).and_then(|key| {
            let expected = mac(algorithm, &key, &data);
            if expected.len() == signature.len() {
                Ok(expected.ct_eq(&signature).into())
            } else {
                Err(Error::Malformed)
            }
        });
        self.recorder.note("crypto.hmac-verify", args, || {
            result
                .as_ref()
                .map_or_else(noted, |same| Value::Bool(*same))
        });
        Ok(result)
    }

    fn sha256(&mut self, data: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        // It depends on its argument alone: there is nothing to record.
        Ok(Sha256::digest(&data).to_vec())
    }

    fn ed25519_verify(
        &mut self,
        public_key: Vec<u8>,
        data: Vec<u8>,
        signature: Vec<u8>,
    ) -> wasmtime::Result<Result<bool, Error>> {
        // As for sha256.
        let (Ok(key), Ok(signature)) = (
            <[u8; 32]>::try_from(public_key),
            <[u8; 64]>::try_from(signature),
        ) else {
            return Ok(Err(Error::Malformed));
        };
        let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(&key) else {
            return Ok(Err(Error::Malformed));
        };
        let signature = ed25519_dalek::Signature::from_bytes(&signature);
        Ok(Ok(key.verify_strict(&data, &signature).is_ok()))
    }
}

impl State {
    fn key(&self, key: &Key) -> Result<Vec<u8>, Error> {
        match key {
            Key::Bytes(bytes) => Ok(bytes.clone()),
            Key::Secret(name) => self
                .secret_by_reference(name)
                .map(String::into_bytes)
                .ok_or_else(|| Error::NoKey(name.clone())),
        }
    }
}

fn shown_key(key: &Key) -> Value {
    match key {
        Key::Bytes(_) => Value::String("(hidden)".into()),
        Key::Secret(name) => json!({ "secret": name }),
    }
}

fn noted(error: &Error) -> Value {
    match error {
        Error::NoKey(name) => json!({ "error": "no-key", "text": name }),
        Error::Malformed => json!({ "error": "malformed" }),
    }
}

fn recalled_error(value: &Value) -> Option<Error> {
    Some(match value.get("error")?.as_str()? {
        "malformed" => Error::Malformed,
        _ => Error::NoKey(value["text"].as_str().unwrap_or("").to_owned()),
    })
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HmacSha1 => "hmac-sha1",
        Algorithm::HmacSha256 => "hmac-sha256",
        Algorithm::HmacSha512 => "hmac-sha512",
    }
}

fn mac(algorithm: Algorithm, key: &[u8], data: &[u8]) -> Vec<u8> {
    fn with<M: Mac + hmac::digest::KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
        let mut mac = <M as Mac>::new_from_slice(key).expect("HMAC takes a key of any length");
        mac.update(data);
        mac.finalize().into_bytes().to_vec()
    }
    match algorithm {
        Algorithm::HmacSha1 => with::<Hmac<Sha1>>(key, data),
        Algorithm::HmacSha256 => with::<Hmac<Sha256>>(key, data),
        Algorithm::HmacSha512 => with::<Hmac<Sha512>>(key, data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_macs_are_those_of_the_rfcs() {
        // RFC 2202 §3 case 2, RFC 4231 §4.3.
        let (key, data) = (&b"Jefe"[..], &b"what do ya want for nothing?"[..]);
        assert_eq!(
            hex::encode(mac(Algorithm::HmacSha1, key, data)),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
        );
        assert_eq!(
            hex::encode(mac(Algorithm::HmacSha256, key, data)),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(mac(Algorithm::HmacSha512, key, data).len(), 64);
    }
}
