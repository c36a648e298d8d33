//! The media core: decides what happens to each packet of audio, without a socket or a clock.
//!
//! - [`command`]: what the call may order, and what it is told.

pub mod command;
