//! What the host does for a plugin, one module for each interface of `wit/host.wit`. On
//! wasm32 these are the component's imports, elsewhere the fakes of [`crate::testing`].

pub mod clock;
pub mod config;
pub mod crypto;
pub mod http;
pub mod kv;
pub mod log;
pub mod random;
pub mod secrets;

#[cfg(target_arch = "wasm32")]
use crate::bindings::imports::gatepost::plugin as sys;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::imports as sys;
