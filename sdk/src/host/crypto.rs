//! Checks and makes signatures, with keys that the plugin holds or with the tenant's
//! secrets by name (capability `secret:NAME`).

pub use crate::bindings::imports::gatepost::plugin::crypto::{Algorithm, Error, Key};

impl Key {
    /// A secret of the tenant, by name.
    pub fn secret(name: impl Into<String>) -> Key {
        Key::Secret(name.into())
    }
}

pub fn hmac(algorithm: Algorithm, key: &Key, data: &[u8]) -> Result<Vec<u8>, Error> {
    super::sys::crypto::hmac(algorithm, key, data)
}

/// Compares in constant time.
pub fn hmac_verify(
    algorithm: Algorithm,
    key: &Key,
    data: &[u8],
    signature: &[u8],
) -> Result<bool, Error> {
    super::sys::crypto::hmac_verify(algorithm, key, data, signature)
}

pub fn sha256(data: &[u8]) -> Vec<u8> {
    super::sys::crypto::sha256(data)
}

/// `public_key` is 32 bytes, `signature` 64 (RFC 8032).
pub fn ed25519_verify(public_key: &[u8], data: &[u8], signature: &[u8]) -> Result<bool, Error> {
    super::sys::crypto::ed25519_verify(public_key, data, signature)
}
