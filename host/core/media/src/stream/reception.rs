//! Statistics of a received stream (RFC 3550 §A.1 sequence, §A.3 loss, §A.8 jitter).

use crate::packet::{ExtendedSeqNo, ReportBlock, RtpTime, SenderInfo, SeqNo, Ssrc};
use std::time::{Duration, Instant};

/// One source as it is received.
#[derive(Debug, Clone)]
pub struct Reception {
    current: Option<Current>,
    /// Of sources that came before the current one.
    before: Totals,
    bytes: u64,
    /// The peer's last sender report: middle 32 bits of its NTP time, and when it came.
    last_sr: Option<(u32, Instant)>,
    last_packet: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    packets: u64,
    lost: u64,
    duplicates: u64,
    reordered: u64,
}

#[derive(Debug, Clone)]
struct Current {
    ssrc: Ssrc,
    first: ExtendedSeqNo,
    highest: ExtendedSeqNo,
    /// Which of the 64 numbers up to `highest` have come; bit 0 is `highest`.
    seen: u64,
    /// The number after one that was out of range.
    bad_seq: Option<SeqNo>,
    received: u64,
    duplicates: u64,
    reordered: u64,
    /// First arrival, the origin of the transit times; then the last transit, in ticks.
    origin: Instant,
    transit: Option<u32>,
    /// §A.8, scaled by 16.
    jitter16: u64,
    /// Clock of the last packet, Hz.
    clock: u32,
    expected_before: u64,
    received_before: u64,
}

/// What a packet is within its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Usable. `restarted`: the numbers do not go on from the packet before.
    Fresh { seq: ExtendedSeqNo, restarted: bool },
    /// Came before, or is too old to tell.
    Duplicate,
    /// Number far out of range: drop it unless the next one follows it (§A.1).
    OutOfRange,
}

/// RFC 3550 §A.1.
const MAX_DROPOUT: i64 = 3000;
const MAX_MISORDER: i64 = 100;

impl Reception {
    pub fn new() -> Reception {
        Reception {
            current: None,
            before: Totals::default(),
            bytes: 0,
            last_sr: None,
            last_packet: None,
        }
    }

    /// A packet from the latched source. `clock`: of its payload type, Hz. `paced`: its
    /// timestamp says when it was sent, which an event's does not.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        ssrc: Ssrc,
        seq: SeqNo,
        time: RtpTime,
        clock: u32,
        len: usize,
        paced: bool,
    ) -> Arrival {
        if self.current.as_ref().is_none_or(|c| c.ssrc != ssrc) {
            self.begin(now, ssrc, ExtendedSeqNo(0x1_0000 + u64::from(seq.0)), clock);
            self.last_sr = None;
            self.count(now, time, clock, len, paced);
            return Arrival::Fresh {
                seq: ExtendedSeqNo(0x1_0000 + u64::from(seq.0)),
                restarted: true,
            };
        }
        let Some(current) = &mut self.current else {
            return Arrival::OutOfRange;
        };
        let extended = current.highest.extend(seq);
        let step = extended.0 as i64 - current.highest.0 as i64;
        if step >= MAX_DROPOUT || step <= -MAX_MISORDER {
            // §A.1: two in a row mean that the other side restarted without telling us.
            if current.bad_seq != Some(seq) {
                current.bad_seq = Some(seq.plus(1));
                return Arrival::OutOfRange;
            }
            let extended =
                ExtendedSeqNo((current.highest.0 & !0xffff) + 0x1_0000 + u64::from(seq.0));
            self.begin(now, ssrc, extended, clock);
            self.count(now, time, clock, len, paced);
            return Arrival::Fresh {
                seq: extended,
                restarted: true,
            };
        }
        if step > 0 {
            current.seen = if step < 64 {
                current.seen << step | 1
            } else {
                1
            };
            current.highest = extended;
            current.bad_seq = None;
        } else {
            let bit = -step;
            if bit >= 64 || current.seen & (1 << bit) != 0 {
                current.duplicates += 1;
                return Arrival::Duplicate;
            }
            current.seen |= 1 << bit;
            current.reordered += 1;
            if extended < current.first {
                current.first = extended;
            }
        }
        self.count(now, time, clock, len, paced);
        Arrival::Fresh {
            seq: extended,
            restarted: false,
        }
    }

    pub fn handle_sender_report(&mut self, now: Instant, info: &SenderInfo) {
        self.last_sr = Some(((info.ntp >> 16) as u32, now));
    }

    /// The block of our next report. Closes the interval that "fraction lost" counts in.
    pub fn report_block(&mut self, now: Instant) -> Option<ReportBlock> {
        let current = self.current.as_mut()?;
        let expected = current.highest.0 - current.first.0 + 1;
        let expected_interval = expected - current.expected_before.min(expected);
        let received_interval = current.received - current.received_before;
        current.expected_before = expected;
        current.received_before = current.received;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction_lost = (lost_interval * 256)
            .checked_div(expected_interval)
            .unwrap_or(0)
            .min(255) as u8;
        let lost = expected as i64 - current.received as i64;
        let (last_sr, delay_since_last_sr) = self.last_sr.map_or((0, 0), |(ntp, at)| {
            let delay = now.saturating_duration_since(at);
            (
                ntp,
                (delay.as_micros() * 65_536 / 1_000_000).min(u128::from(u32::MAX)) as u32,
            )
        });
        Some(ReportBlock {
            ssrc: current.ssrc,
            fraction_lost,
            cumulative_lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_seq: current.highest.0 as u32,
            jitter: (current.jitter16 >> 4) as u32,
            last_sr,
            delay_since_last_sr,
        })
    }

    pub fn packets(&self) -> u64 {
        self.before.packets + self.current.as_ref().map_or(0, |c| c.received)
    }

    /// RTP payload and header, without UDP and IP.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn lost(&self) -> u64 {
        self.before.lost + self.current.as_ref().map_or(0, Current::lost)
    }

    pub fn duplicates(&self) -> u64 {
        self.before.duplicates + self.current.as_ref().map_or(0, |c| c.duplicates)
    }

    pub fn reordered(&self) -> u64 {
        self.before.reordered + self.current.as_ref().map_or(0, |c| c.reordered)
    }

    /// Interarrival jitter, ms.
    pub fn jitter_ms(&self) -> f32 {
        self.current
            .as_ref()
            .map_or(0.0, |c| c.jitter16 as f32 / 16.0 * 1000.0 / c.clock as f32)
    }

    pub fn last_packet(&self) -> Option<Instant> {
        self.last_packet
    }

    fn begin(&mut self, now: Instant, ssrc: Ssrc, first: ExtendedSeqNo, clock: u32) {
        if let Some(old) = &self.current {
            self.before.packets += old.received;
            self.before.lost += old.lost();
            self.before.duplicates += old.duplicates;
            self.before.reordered += old.reordered;
        }
        self.current = Some(Current {
            ssrc,
            first,
            highest: first,
            seen: 1,
            bad_seq: None,
            received: 0,
            duplicates: 0,
            reordered: 0,
            origin: now,
            transit: None,
            jitter16: 0,
            clock,
            expected_before: 0,
            received_before: 0,
        });
    }

    fn count(&mut self, now: Instant, time: RtpTime, clock: u32, len: usize, paced: bool) {
        self.bytes += len as u64;
        self.last_packet = Some(now);
        let Some(current) = &mut self.current else {
            return;
        };
        current.received += 1;
        if !paced {
            current.transit = None;
            return;
        }
        if current.clock != clock {
            current.clock = clock;
            current.transit = None;
        }
        let arrival = ticks(now.saturating_duration_since(current.origin), clock);
        // Transit relative to the stream's own timestamps; only differences matter, and they
        // are taken modulo 2^32 so that the timestamp may wrap.
        let transit = (arrival as u32).wrapping_sub(time.0);
        if let Some(last) = current.transit {
            let d = u64::from((transit.wrapping_sub(last) as i32).unsigned_abs());
            // A jump of seconds is a new timeline, not jitter.
            if d < u64::from(clock) * 3 {
                current.jitter16 =
                    (current.jitter16 + d).saturating_sub((current.jitter16 + 8) >> 4);
            }
        }
        current.transit = Some(transit);
    }
}

impl Current {
    fn lost(&self) -> u64 {
        (self.highest.0 - self.first.0 + 1).saturating_sub(self.received)
    }
}

impl Default for Reception {
    fn default() -> Self {
        Reception::new()
    }
}

/// In parts, because a 128-bit division costs more than the rest of a relayed packet.
pub(super) fn ticks(duration: Duration, clock: u32) -> u64 {
    let clock = u64::from(clock);
    duration.as_secs() * clock + u64::from(duration.subsec_nanos()) * clock / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_reordering_and_duplicates_are_told_apart() {
        let mut stream = Stream::new();
        for seq in [65_533, 65_534, 0, 65_535, 0, 3, 4] {
            stream.packet(seq);
        }
        assert_eq!(stream.reception.packets(), 6);
        assert_eq!(stream.reception.lost(), 2); // 1 and 2
        assert_eq!(stream.reception.reordered(), 1);
        assert_eq!(stream.reception.duplicates(), 1);
    }

    #[test]
    fn fraction_lost_counts_since_the_last_report() {
        let mut stream = Stream::new();
        for seq in 0..100u16 {
            if seq % 4 != 3 {
                stream.packet(seq);
            }
        }
        stream.packet(100);
        let block = stream.reception.report_block(stream.now).unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (63, 25));
        for seq in 101..200 {
            stream.packet(seq);
        }
        let block = stream.reception.report_block(stream.now).unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 25));
        assert_eq!(block.highest_seq & 0xffff, 199);
    }

    #[test]
    fn a_stray_number_is_dropped_and_two_in_a_row_restart_the_stream() {
        let mut stream = Stream::new();
        stream.packet(10);
        assert_eq!(stream.packet(30_000), Arrival::OutOfRange);
        assert!(matches!(
            stream.packet(11),
            Arrival::Fresh {
                restarted: false,
                ..
            }
        ));
        assert_eq!(stream.packet(30_000), Arrival::OutOfRange);
        assert!(matches!(
            stream.packet(30_001),
            Arrival::Fresh {
                restarted: true,
                ..
            }
        ));
        assert_eq!(stream.reception.packets(), 3);
        assert_eq!(stream.reception.lost(), 0);
    }

    /// RFC 3550 §A.8 with arrivals that alternate by ±d: J tends to 2d.
    #[test]
    fn jitter_follows_the_rfc_estimator() {
        let mut stream = Stream::new();
        assert!(stream.reception.jitter_ms() < f32::EPSILON);
        let start = stream.now;
        for seq in 0..500u16 {
            let late = if seq % 2 == 0 { 0 } else { 5 };
            stream.now = start + Duration::from_millis(u64::from(seq) * 20 + late);
            stream.at(seq);
        }
        assert!(
            (stream.reception.jitter_ms() - 5.0).abs() < 0.2,
            "{}",
            stream.reception.jitter_ms()
        );
    }

    struct Stream {
        reception: Reception,
        now: Instant,
    }

    impl Stream {
        fn new() -> Stream {
            Stream {
                reception: Reception::new(),
                now: Instant::now(),
            }
        }

        fn packet(&mut self, seq: u16) -> Arrival {
            self.now += Duration::from_millis(20);
            self.at(seq)
        }

        fn at(&mut self, seq: u16) -> Arrival {
            let time = RtpTime(u32::from(seq).wrapping_mul(160).wrapping_sub(320));
            self.reception
                .handle_packet(self.now, Ssrc(1), SeqNo(seq), time, 8000, 172, true)
        }
    }
}
