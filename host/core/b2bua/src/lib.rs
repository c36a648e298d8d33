//! The call: a back-to-back user agent that decides and never waits.
//!
//! - [`call_info`], [`decision`], [`flow`], [`provider`]: what the call asks others, and what
//!   they may answer. Nothing here knows that the answers come from Wasm.
//! - [`key`]: our own identities of calls, legs and questions.
//!
//! There is no socket, clock, task or lock in this crate (ARCHITECTURE.md, "Invariants").

pub mod call_info;
pub mod decision;
pub mod flow;
pub mod key;
pub mod provider;
