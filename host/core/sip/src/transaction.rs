//! Transactions (RFC 3261 §17, RFC 6026): four machines, one file each, and the
//! [`TransactionLayer`] that owns them. Retransmission, timers and matching exist here and
//! nowhere else: every request leaves through a client transaction, every response through a
//! server transaction.

mod client;
mod event;
mod invite_client;
mod invite_server;
mod layer;
mod machine;
mod matching;
mod server;
mod slots;
mod timers;

pub use event::{Drop, Event};
pub use layer::{ClientKey, Config, ServerKey, TransactionLayer};
pub use machine::Failure;
pub use timers::{Timer, Timing};
