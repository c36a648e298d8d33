//! The engine from outside: two peers, our engine between them, a clock that jumps.

mod bridge;
mod connector;
mod digits;
mod guard;
mod prompts;
mod reports;
mod world;
