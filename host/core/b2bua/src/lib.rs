//! The call: a back-to-back user agent that decides and never waits.
//!
//! - [`B2bua`]: many calls. Facts go in as [`Input`], effects come out as [`Output`].
//! - [`call_info`], [`decision`], [`flow`], [`provider`]: what the call asks others, and what
//!   they may answer. Nothing here knows that the answers come from Wasm.
//! - [`directory`]: tenants and trunks, and whose a new call is.
//! - [`hunt`]: which failure of a target ends the hunt.
//! - [`cause`]: why a call ended. [`journal`]: everything that happened to it.
//!   [`explain`]: the journal in plain words.
//! - [`key`]: our own identities of calls, legs and questions.
//!
//! There is no socket, clock, task or lock in this crate (ARCHITECTURE.md, "Invariants").

pub mod call_info;
pub mod cause;
pub mod decision;
pub mod directory;
pub mod explain;
pub mod flow;
pub mod hunt;
pub mod journal;
pub mod key;
pub mod provider;

mod admission;
mod b2bua;
mod call;
mod config;
mod gather;
mod headers;
mod io;
mod leg;
mod leg_media;
mod messages;
mod port_pool;
mod timer_table;
mod world;

pub use b2bua::B2bua;
pub use cause::{Cause, Fault};
pub use config::{Config, Listener};
pub use directory::Directory;
pub use io::{Command, ConnectorOrder, Input, Output, QueryKey, Question, Timer};
