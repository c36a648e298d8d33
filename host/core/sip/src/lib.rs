//! SIP without I/O: messages, transactions, dialogs, digest (RFC 3261 and its family).
//!
//! # How to drive it
//!
//! One [`TransactionLayer`] is the whole of what touches the network. Its user
//!
//! 1. hands in facts: [`TransactionLayer::handle_message`] for each datagram or framed message,
//!    [`TransactionLayer::handle_flow_failed`] for a dead connection or an ICMP error,
//!    [`TransactionLayer::handle_timeout`] when the instant of
//!    [`TransactionLayer::poll_timeout`] has come;
//! 2. gives commands: [`TransactionLayer::request`], [`TransactionLayer::respond`],
//!    [`TransactionLayer::cancel`], [`TransactionLayer::ack`];
//! 3. after each of these drains [`TransactionLayer::poll_transmit`] (send it) and
//!    [`TransactionLayer::poll_event`] (a request to answer, a response, a failure) until both
//!    are empty.
//!
//! `now` is always the first argument; nothing here knows a clock, a socket or a task.
//!
//! A UAS: `Event::Request` → [`Dialog::uas`] with [`TransactionLayer::to_tag`] →
//! [`Response::to`] → `respond`. The layer sends 100, repeats the 2xx until the ACK
//! (`Event::Ack`), answers CANCEL (`Event::Cancel`, then send 487).
//!
//! A UAC: [`Request::builder`] → `request` → `Event::Response` → [`Dialog::uac`] →
//! [`Dialog::ack`] → `ack`. In the dialog: [`Dialog::request`] → `request`.
//!
//! # Map
//!
//! - [`message`]: bytes to messages and back; the only door to the parser.
//! - [`transaction`]: the four machines of RFC 3261 §17 and the layer over them.
//! - [`dialog`]: RFC 3261 §12: route set, remote target, sequence numbers.
//! - [`auth`]: digest (RFC 7616, RFC 8760), both sides.
//! - [`token`]: branches, tags and Call-IDs, with the worker's number inside.

pub mod auth;
pub mod dialog;
pub mod message;
pub mod token;
pub mod transaction;
mod transport;

pub use dialog::{Dialog, DialogId};
pub use message::{Fields, HeaderName, Message, Method, NameAddr, Request, Response, SipUri};
pub use transaction::{
    ClientKey, Config, Event, Failure, ServerKey, Timer, Timing, TransactionLayer,
};
pub use transport::{Flow, Transmit, Transport};
