//! Plugins in plain `cargo test`: a host of fakes and drivers for each kind.
pub(crate) mod imports;
mod fake_host;
pub use fake_host::FakeHost;
