//! The two directions of a leg's RTP: what is received ([`Reception`]), what is sent
//! ([`Sender`]), and what RTCP reports of both.

mod reception;
mod sender;

pub use reception::{Arrival, Reception};
pub use sender::Sender;
