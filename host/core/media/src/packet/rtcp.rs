//! RTCP compound packets (RFC 3550 §6): our reports, and what we read of a peer's.

use super::BadPacket;
use super::number::Ssrc;
use rtcp_types::{
    Compound, CompoundBuilder, Packet, ReceiverReport, RtcpPacketWriterExt, Sdes, SdesChunk,
    SdesItem, SenderReport,
};
use smallvec::SmallVec;

/// What a sender says of itself (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderInfo {
    /// 32.32 fixed point seconds.
    pub ntp: u64,
    pub rtp_time: u32,
    pub packets: u32,
    pub octets: u32,
}

/// What a receiver says of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportBlock {
    pub ssrc: Ssrc,
    /// Of 256, since the last report.
    pub fraction_lost: u8,
    /// 24-bit, signed: duplicates may make it negative.
    pub cumulative_lost: i32,
    pub highest_seq: u32,
    /// Ticks of the payload's clock.
    pub jitter: u32,
    /// Middle 32 bits of the last SR's NTP time; 0 for none.
    pub last_sr: u32,
    /// 1/65536 s
    pub delay_since_last_sr: u32,
}

/// One SR or RR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub from: Ssrc,
    pub sender: Option<SenderInfo>,
    pub blocks: SmallVec<[ReportBlock; 1]>,
}

/// All reports of a compound packet. A packet with one bad part is bad as a whole
/// (RFC 3550 §A.2).
pub fn read_reports(datagram: &[u8]) -> Result<SmallVec<[Report; 1]>, BadPacket> {
    if !padding_fits(datagram) {
        return Err(BadPacket);
    }
    let mut reports = SmallVec::new();
    // A compound that fits an Ethernet frame has no more parts than this that matter.
    for packet in Compound::parse(datagram)
        .map_err(|_| BadPacket)?
        .take(MAX_PARTS)
    {
        match packet.map_err(|_| BadPacket)? {
            Packet::Sr(sr) => reports.push(Report {
                from: Ssrc(sr.ssrc()),
                sender: Some(SenderInfo {
                    ntp: sr.ntp_timestamp(),
                    rtp_time: sr.rtp_timestamp(),
                    packets: sr.packet_count(),
                    octets: sr.octet_count(),
                }),
                blocks: sr.report_blocks().map(read_block).collect(),
            }),
            Packet::Rr(rr) => reports.push(Report {
                from: Ssrc(rr.ssrc()),
                sender: None,
                blocks: rr.report_blocks().map(read_block).collect(),
            }),
            _ => {}
        }
    }
    Ok(reports)
}

const MAX_PARTS: usize = 32;

/// RFC 3550 §6.4.1: padding counts itself, and it lies within its own packet.
fn padding_fits(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while let [flags, _, high, low, ..] = *rest {
        let len = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        let Some(packet) = rest.get(..len) else {
            return false;
        };
        let padding = usize::from(packet[len - 1]);
        if flags & 0x20 != 0 && (padding == 0 || padding % 4 != 0 || padding > len - 4) {
            return false;
        }
        rest = &rest[len..];
    }
    rest.is_empty()
}

fn read_block(block: rtcp_types::ReportBlock<'_>) -> ReportBlock {
    ReportBlock {
        ssrc: Ssrc(block.ssrc()),
        fraction_lost: block.fraction_lost(),
        cumulative_lost: ((block.cumulative_lost() << 8) as i32) >> 8,
        highest_seq: block.extended_sequence_number(),
        jitter: block.interarrival_jitter(),
        last_sr: block.last_sender_report_timestamp(),
        delay_since_last_sr: block.delay_since_last_sender_report_timestamp(),
    }
}

/// SR or RR with SDES CNAME (RFC 3550 §6.1); the length, or 0 if it does not fit.
pub fn write_report(out: &mut [u8], report: &Report, cname: &str) -> usize {
    let sdes = Sdes::builder().add_chunk(
        SdesChunk::builder(report.from.0).add_item(SdesItem::builder(SdesItem::CNAME, cname)),
    );
    let blocks = report.blocks.iter().map(|block| {
        rtcp_types::ReportBlock::builder(block.ssrc.0)
            .fraction_lost(block.fraction_lost)
            .cumulative_lost(block.cumulative_lost as u32 & 0xff_ffff)
            .extended_sequence_number(block.highest_seq)
            .interarrival_jitter(block.jitter)
            .last_sender_report_timestamp(block.last_sr)
            .delay_since_last_sender_report_timestamp(block.delay_since_last_sr)
    });
    let compound = CompoundBuilder::default();
    let compound = match report.sender {
        Some(sender) => {
            let sr = SenderReport::builder(report.from.0)
                .ntp_timestamp(sender.ntp)
                .rtp_timestamp(sender.rtp_time)
                .packet_count(sender.packets)
                .octet_count(sender.octets);
            compound.add_packet(blocks.fold(sr, |sr, block| sr.add_report_block(block)))
        }
        None => {
            let rr = ReceiverReport::builder(report.from.0);
            compound.add_packet(blocks.fold(rr, |rr, block| rr.add_report_block(block)))
        }
    };
    compound.add_packet(sdes).write_into(out).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smallvec::smallvec;

    #[test]
    fn a_report_reads_back_as_it_was_written() {
        let block = ReportBlock {
            ssrc: Ssrc(7),
            fraction_lost: 12,
            cumulative_lost: -3,
            highest_seq: 0x0002_0001,
            jitter: 44,
            last_sr: 0x8000_0001,
            delay_since_last_sr: 65_536,
        };
        let sender = Some(SenderInfo {
            ntp: 1 << 40,
            rtp_time: 160,
            packets: 9,
            octets: 1440,
        });
        for sender in [sender, None] {
            let report = Report {
                from: Ssrc(1),
                sender,
                blocks: smallvec![block],
            };
            let mut out = [0; 256];
            let len = write_report(&mut out, &report, "node@gatepost");
            assert!(super::super::is_rtcp(&out[..len]));
            assert_eq!(read_reports(&out[..len]).unwrap().as_slice(), [report]);
        }
    }

    #[test]
    fn hostile_compounds_are_bad_packets() {
        for hex in [
            "80c8ffff11223344",
            "9fc9000100000001",
            "40c800061122334400",
            "a0c9000200000001000000ff",
            "",
        ] {
            let bytes: Vec<u8> = (0..hex.len())
                .step_by(2)
                .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
                .collect();
            assert_eq!(read_reports(&bytes), Err(BadPacket), "{hex}");
        }
    }

    proptest! {
        #[test]
        fn no_datagram_panics(datagram in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_reports(&datagram);
        }
    }
}
