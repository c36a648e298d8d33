//! What the tests share.
//!
//! - [`e2e`]: the real binary on loopback, with real peers around it.

pub mod e2e;
