//! What the tests share.
//!
//! - [`e2e`]: the real binary on loopback, with real peers around it.
//! - [`sim`]: calls in virtual time, without a socket.

pub mod e2e;
pub mod sim;
