//! A small key-value store of the tenant, shared by all calls and versions of this plugin.
//! Needs the capability `kv`.

pub use crate::bindings::imports::gatepost::plugin::kv::Error;

pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    super::sys::kv::get(key)
}

/// The value as text; bytes that are no UTF-8 become U+FFFD.
pub fn get_text(key: &str) -> Result<Option<String>, Error> {
    Ok(get(key)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// `ttl_s` is in seconds; `None` keeps the value until it is deleted.
pub fn set(key: &str, value: impl AsRef<[u8]>, ttl_s: Option<u32>) -> Result<(), Error> {
    super::sys::kv::set(key, value.as_ref(), ttl_s)
}

pub fn delete(key: &str) -> Result<(), Error> {
    super::sys::kv::delete(key)
}

/// Adds `by` to a decimal number, from 0 where there is none; gives the new value.
pub fn increment(key: &str, by: i64, ttl_s: Option<u32>) -> Result<i64, Error> {
    super::sys::kv::increment(key, by, ttl_s)
}

/// Sets only where the present value is `old`; tells whether it did.
pub fn compare_and_set(
    key: &str,
    old: Option<&[u8]>,
    new: impl AsRef<[u8]>,
    ttl_s: Option<u32>,
) -> Result<bool, Error> {
    super::sys::kv::compare_and_set(key, old, new.as_ref(), ttl_s)
}
