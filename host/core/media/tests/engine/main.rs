//! The engine from outside: two peers, our engine between them, a clock that jumps.

#![expect(clippy::disallowed_methods, reason = "someone has to say when it is")]

mod bridge;
mod chaos;
mod connector;
mod digits;
mod guard;
mod prompts;
mod reports;
mod world;
