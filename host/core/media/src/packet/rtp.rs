//! RTP data packets (RFC 3550 §5.1).

use super::BadPacket;
use super::number::{RtpTime, SeqNo, Ssrc};
use rtp_types::{RtpPacket, RtpPacketBuilder, RtpPacketMut};

/// Bytes of a header without CSRCs or extension: what we send.
pub const MAX_HEADER: usize = 12;

/// The fixed header's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub marker: bool,
    pub payload_type: u8,
    pub seq: SeqNo,
    pub time: RtpTime,
    pub ssrc: Ssrc,
}

/// A valid packet in the buffer that it was received into.
#[derive(Debug)]
pub struct Rtp<'a> {
    packet: RtpPacketMut<'a>,
}

impl<'a> Rtp<'a> {
    pub fn parse(datagram: &'a mut [u8]) -> Result<Rtp<'a>, BadPacket> {
        // RFC 5761 §4: payload types 64 to 95 are not used for RTP, they would look like RTCP.
        match RtpPacketMut::parse(datagram) {
            Ok(packet) if !(64..96).contains(&packet.payload_type()) => Ok(Rtp { packet }),
            _ => Err(BadPacket),
        }
    }

    pub fn header(&self) -> Header {
        Header {
            marker: self.packet.marker_bit(),
            payload_type: self.packet.payload_type(),
            seq: SeqNo(self.packet.sequence_number()),
            time: RtpTime(self.packet.timestamp()),
            ssrc: Ssrc(self.packet.ssrc()),
        }
    }

    pub fn payload(&self) -> &[u8] {
        self.packet.payload()
    }

    /// Write these over the packet's own; payload, CSRCs and extension stay.
    pub fn rewrite(&mut self, header: Header) {
        self.packet.set_marker_bit(header.marker);
        // Agreed payload types are below 128, so this cannot fail.
        let _ = self.packet.set_payload_type(header.payload_type & 0x7f);
        self.packet.set_sequence_number(header.seq.0);
        self.packet.set_timestamp(header.time.0);
        self.packet.set_ssrc(header.ssrc.0);
    }

    pub fn payload_mut(&mut self) -> &mut [u8] {
        // Padding is not part of what is transcoded.
        let len = self.packet.payload().len();
        &mut self.packet.payload_mut()[..len]
    }
}

/// Write a packet of ours; the length, or 0 if it does not fit.
pub fn write_rtp(out: &mut [u8], header: Header, payload: &[u8]) -> usize {
    RtpPacketBuilder::<&[u8], &[u8]>::new()
        .marker_bit(header.marker)
        .payload_type(header.payload_type & 0x7f)
        .sequence_number(header.seq.0)
        .timestamp(header.time.0)
        .ssrc(header.ssrc.0)
        .payload(payload)
        .write_into(out)
        .unwrap_or(0)
}

/// What a datagram is, without the right to change it: for tests and tools.
impl TryFrom<&[u8]> for Header {
    type Error = BadPacket;

    fn try_from(datagram: &[u8]) -> Result<Header, BadPacket> {
        let packet = RtpPacket::parse(datagram).map_err(|_| BadPacket)?;
        Ok(Header {
            marker: packet.marker_bit(),
            payload_type: packet.payload_type(),
            seq: SeqNo(packet.sequence_number()),
            time: RtpTime(packet.timestamp()),
            ssrc: Ssrc(packet.ssrc()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rtp::packet::Packet;
    use webrtc_util::marshal::{Marshal, Unmarshal};

    fn header() -> Header {
        Header {
            marker: true,
            payload_type: 101,
            seq: SeqNo(65_535),
            time: RtpTime(u32::MAX),
            ssrc: Ssrc(0x1122_3344),
        }
    }

    #[test]
    fn what_we_write_the_other_implementation_reads() {
        let mut out = [0; 64];
        let len = write_rtp(&mut out, header(), b"hello");
        let read = Packet::unmarshal(&mut &out[..len]).unwrap();
        assert!(read.header.marker);
        assert_eq!(
            (read.header.payload_type, read.header.sequence_number),
            (101, 65_535)
        );
        assert_eq!(
            (read.header.timestamp, read.header.ssrc),
            (u32::MAX, 0x1122_3344)
        );
        assert_eq!(&read.payload[..], b"hello");
    }

    proptest! {
        /// The `rtp` crate as the oracle: rewriting in place is the same as taking apart,
        /// changing and putting together.
        #[test]
        fn rewriting_in_place_is_what_rebuilding_does(
            payload_type in (0u8..128).prop_filter("RTCP", |p| !(64..96).contains(p)),
            seq: u16, time: u32, ssrc: u32, marker: bool,
            csrc in prop::collection::vec(any::<u32>(), 0..15),
            payload in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let packet = Packet {
                header: rtp::header::Header {
                    version: 2, marker, payload_type, sequence_number: seq, timestamp: time, ssrc, csrc,
                    ..Default::default()
                },
                payload: payload.into(),
            };
            let mut datagram = packet.marshal().unwrap().to_vec();
            let mut ours = Rtp::parse(&mut datagram).unwrap();
            prop_assert_eq!(ours.header().seq, SeqNo(seq));
            prop_assert_eq!(ours.payload(), &packet.payload[..]);
            ours.rewrite(header());
            let mut changed = packet;
            changed.header.marker = true;
            changed.header.payload_type = 101;
            changed.header.sequence_number = 65_535;
            changed.header.timestamp = u32::MAX;
            changed.header.ssrc = 0x1122_3344;
            prop_assert_eq!(datagram, changed.marshal().unwrap().to_vec());
        }

        #[test]
        fn no_datagram_panics(mut datagram in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(mut packet) = Rtp::parse(&mut datagram) {
                packet.rewrite(header());
                let _ = packet.payload_mut().len();
            }
        }
    }
}
