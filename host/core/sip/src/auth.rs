//! Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760): reading a challenge and
//! answering it, and on the other side making challenges and checking answers.
//!
//! `qop=auth` only: `auth-int` covers bodies that every SBC changes.

mod algorithm;
mod client;
mod params;
mod server;

pub use algorithm::Algorithm;
pub use client::{Challenge, Credentials, Proof, answer};
pub use server::{Authenticator, Claim, Verdict};
