pub mod message;
pub mod token;
mod transport;
pub use transport::{Flow, Transmit, Transport};
