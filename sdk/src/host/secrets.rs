//! Secrets of the tenant in the clear (capability `secret-read:NAME`). Prefer
//! `{secret:NAME}` in [`crate::http`] and [`crate::crypto::Key::secret`]: then the plugin
//! needs no right to read.

pub use crate::bindings::imports::gatepost::plugin::secrets::Error;

pub fn get(name: &str) -> Result<String, Error> {
    super::sys::secrets::get(name)
}
