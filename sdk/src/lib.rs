//! Write plugins for Gatepost: routers, call flows, carrier adapters and connectors to AI
//! platforms, as Wasm components that decide what happens to a call.
//!
//! A plugin implements the trait of its kind and registers it with [`export!`]. This one is
//! complete:
//!
//! ```
//! use gatepost_sdk::prelude::*;
//!
//! struct Hello;
//!
//! impl Router for Hello {
//!     fn on_invite(call: CallInfo) -> Result<Decision, Failure> {
//!         Ok(Decision::dial([format!("sip:{}@127.0.0.1:5070", call.called)]))
//!     }
//! }
//!
//! gatepost_sdk::export!(Hello as router);
//! # fn main() {}
//! ```
//!
//! # Where things are
//!
//! * [`router`]: where does a new call go? One fresh instance for each question.
//! * [`flow`]: a program for one call, written as a straight-line `async fn`.
//! * [`provider`]: a carrier's INVITEs and webhooks.
//! * [`connector`]: the wire protocol of an AI platform.
//! * [`log`], [`config`], [`clock`], [`random`], [`kv`], [`http`], [`crypto`], [`secrets`]:
//!   what the host does for a plugin. Each of these calls is recorded with the call, so a
//!   decision can be replayed.
//! * [`types`]: the data that all of them share.
//! * `testing` (not on wasm32): a host of fakes with a virtual clock, so that plain
//!   `cargo test` runs a plugin's logic natively.
//!
//! The crate brings the guest's allocator and panic hook along; nothing of WASI is used.

#[cfg(target_arch = "wasm32")]
mod allocator;
#[doc(hidden)]
pub mod bindings;
pub mod connector;
mod export;
pub mod flow;
mod host;
pub mod provider;
pub mod router;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod types;

pub use host::{clock, config, crypto, http, kv, log, random, secrets};

#[doc(hidden)]
pub use export::private as __private;
/// JSON as `serde_json` has it, so that a plugin need not depend on it for a `json!`.
pub use serde_json::{Value, json};

/// What nearly every plugin uses.
pub mod prelude {
    pub use crate::router::{Decision, Router};
    pub use crate::types::{CallInfo, DialPlan, Failure, Header, Target};
}

/// The examples of the guide compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/plugin-guide.md")]
pub struct Guide;
