//! Session descriptions (RFC 8866) and the offer/answer model (RFC 3264) of one audio stream.
//!
//! [`SessionDescription`] is what a peer sent. An [`Author`] writes our side of one leg:
//! offers, answers, and the version in `o=`. What both agreed is a [`Negotiated`], which is
//! all that the media engine needs to know. Streams that are not plain RTP audio (video,
//! T.38, SRTP) are refused with port 0, never an error.

mod author;
mod capabilities;
mod codec;
mod description;
mod direction;
mod error;
mod negotiated;

pub use author::{Author, Offer};
pub use capabilities::Capabilities;
pub use codec::Codec;
pub use description::{MediaDescription, SessionDescription};
pub use direction::Direction;
pub use error::{Refusal, SdpError};
pub use negotiated::{Agreed, Negotiated, is_private};
