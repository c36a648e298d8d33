//! The counters of RTP, each its own type so that rollover cannot be forgotten.

/// Synchronisation source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ssrc(pub u32);

/// Sequence number as it stands in a packet; wraps after 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeqNo(pub u16);

/// Sequence number with its rollovers counted: can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExtendedSeqNo(pub u64);

/// RTP timestamp in ticks of the payload's clock; wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RtpTime(pub u32);

impl SeqNo {
    pub fn plus(self, n: u16) -> SeqNo {
        SeqNo(self.0.wrapping_add(n))
    }

    /// How far `self` lies after `other`, the short way around; negative if before.
    pub fn distance(self, other: SeqNo) -> i16 {
        self.0.wrapping_sub(other.0) as i16
    }
}

impl ExtendedSeqNo {
    /// The extended number that a packet's number means, near this one.
    pub fn extend(self, seq: SeqNo) -> ExtendedSeqNo {
        let distance = i64::from(seq.distance(SeqNo(self.0 as u16)));
        ExtendedSeqNo(self.0.saturating_add_signed(distance))
    }
}

impl RtpTime {
    pub fn plus(self, ticks: u32) -> RtpTime {
        RtpTime(self.0.wrapping_add(ticks))
    }

    /// How far `self` lies after `other`, the short way around; negative if before.
    pub fn distance(self, other: RtpTime) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extended_number_follows_rollover_and_reordering() {
        let high = ExtendedSeqNo(0x2_fff0);
        assert_eq!(high.extend(SeqNo(0x0005)), ExtendedSeqNo(0x3_0005));
        assert_eq!(
            ExtendedSeqNo(0x3_0005).extend(SeqNo(0xfff1)),
            ExtendedSeqNo(0x2_fff1)
        );
        assert_eq!(high.extend(SeqNo(0xfff0)), high);
    }
}
