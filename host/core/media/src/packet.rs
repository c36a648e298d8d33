//! RTP and RTCP packets (RFC 3550 §5, §6): the only door to the crates that read them.
//!
//! Received RTP is read and rewritten in the buffer that it came in.

mod number;
mod rtcp;
mod rtp;

pub use number::{ExtendedSeqNo, RtpTime, SeqNo, Ssrc};
pub use rtcp::{Report, ReportBlock, SenderInfo, read_reports, write_report};
pub use rtp::{Header, MAX_HEADER, Rtp, write_rtp};

/// Not RTP, not RTCP, or cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid packet")]
pub struct BadPacket;

/// RFC 5761 §4: RTCP packet types 192 to 223 are told from RTP by the second octet.
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.len() >= 2 && (192..=223).contains(&datagram[1])
}
