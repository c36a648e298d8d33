//! The stream that we send: one SSRC, with numbers and timestamps that go on over every
//! change of what is behind it (another caller, a prompt, a connector).

use super::reception::ticks;
use crate::packet::{Header, RtpTime, SenderInfo, SeqNo, Ssrc};
use crate::rng::Rng;
use std::time::Instant;

#[derive(Debug, Clone)]
pub struct Sender {
    ssrc: Ssrc,
    behind: Behind,
    /// Highest sent so far.
    seq: SeqNo,
    /// Latest timestamp sent, and when it was first used: our media clock.
    time: RtpTime,
    since: Option<Instant>,
    packets: u64,
    bytes: u64,
    payload_bytes: u64,
}

/// Where the packets come from.
#[derive(Debug, Clone, Copy)]
enum Behind {
    Nobody,
    /// We make them.
    Ourselves {
        next: RtpTime,
    },
    /// Relayed from `ssrc`: ours = theirs + offset.
    Relay {
        ssrc: Ssrc,
        seq_offset: u16,
        time_offset: u32,
        first: SeqNo,
        count: u32,
    },
}

impl Sender {
    pub fn new(rng: &mut Rng) -> Sender {
        Sender {
            ssrc: Ssrc(rng.next_u32()),
            behind: Behind::Nobody,
            seq: SeqNo(rng.next_u32() as u16),
            time: RtpTime(rng.next_u32()),
            since: None,
            packets: 0,
            bytes: 0,
            payload_bytes: 0,
        }
    }

    /// The header under which a received packet goes out. Gaps and reordering of the source
    /// are kept, so the receiver sees the true loss. None for a packet from before a change
    /// of source: its number is taken.
    pub fn relay(
        &mut self,
        now: Instant,
        received: &Header,
        payload_type: u8,
        clock: u32,
        restarted: bool,
    ) -> Option<Header> {
        let (seq_offset, time_offset, marker) = match &mut self.behind {
            Behind::Relay {
                ssrc,
                seq_offset,
                time_offset,
                first,
                count,
            } if *ssrc == received.ssrc && !restarted => {
                if *count < SETTLING {
                    *count += 1;
                    if received.seq.distance(*first) < 0 {
                        return None;
                    }
                }
                (*seq_offset, *time_offset, received.marker)
            }
            Behind::Nobody | Behind::Ourselves { .. } | Behind::Relay { .. } => {
                let seq_offset = self.seq.plus(1).0.wrapping_sub(received.seq.0);
                let time_offset = self.time_now(now, clock).0.wrapping_sub(received.time.0);
                self.behind = Behind::Relay {
                    ssrc: received.ssrc,
                    seq_offset,
                    time_offset,
                    first: received.seq,
                    count: 0,
                };
                // RFC 3551 §4.1: the first packet of a talkspurt; receivers adapt to it.
                (seq_offset, time_offset, true)
            }
        };
        let header = Header {
            marker,
            payload_type,
            seq: received.seq.plus(seq_offset),
            time: received.time.plus(time_offset),
            ssrc: self.ssrc,
        };
        if header.seq.distance(self.seq) > 0 {
            self.seq = header.seq;
            // The packets of one event share a timestamp; the clock runs from the first.
            if self.since.is_none() || header.time.distance(self.time) > 0 {
                self.advance(now, header.time);
            }
        }
        Some(header)
    }

    /// The header of a packet that we make, of `duration` ticks.
    pub fn generate(
        &mut self,
        now: Instant,
        payload_type: u8,
        duration: u32,
        clock: u32,
    ) -> Header {
        let (time, marker) = match self.behind {
            // A pause in what we send passes on our clock too (RFC 3550 §5.1).
            Behind::Ourselves { next } => match self.time_now(now, clock) {
                time if time.distance(next) > (duration as i32) => (time, true),
                _ => (next, false),
            },
            Behind::Nobody | Behind::Relay { .. } => (self.time_now(now, clock), true),
        };
        self.behind = Behind::Ourselves {
            next: time.plus(duration),
        };
        self.seq = self.seq.plus(1);
        self.advance(now, time);
        Header {
            marker,
            payload_type,
            seq: self.seq,
            time,
            ssrc: self.ssrc,
        }
    }

    /// The header of a packet of an event that began at `time`: all its packets share that
    /// (RFC 4733 §2.5.1.1), while the audio's clock goes on.
    pub fn generate_event(
        &mut self,
        now: Instant,
        payload_type: u8,
        time: RtpTime,
        marker: bool,
        duration: u32,
    ) -> Header {
        self.seq = self.seq.plus(1);
        if self.since.is_none() || time != self.time {
            self.advance(now, time);
        }
        self.behind = Behind::Ourselves {
            next: time.plus(duration),
        };
        Header {
            marker,
            payload_type,
            seq: self.seq,
            time,
            ssrc: self.ssrc,
        }
    }

    /// The timestamp of something that begins now.
    pub fn time_now(&self, now: Instant, clock: u32) -> RtpTime {
        match self.since {
            // At least one tick, so that two talkspurts never share a timestamp.
            Some(since) => self
                .time
                .plus((ticks(now.saturating_duration_since(since), clock) as u32).max(1)),
            None => self.time,
        }
    }

    /// A packet went out.
    pub fn count(&mut self, len: usize, payload_len: usize) {
        self.packets += 1;
        self.bytes += len as u64;
        self.payload_bytes += payload_len as u64;
    }

    /// What our sender report says; none if nothing was sent. `ntp`: 32.32 s.
    pub fn info(&self, now: Instant, ntp: u64, clock: u32) -> Option<SenderInfo> {
        self.since?;
        Some(SenderInfo {
            ntp,
            rtp_time: self.time_now(now, clock).0,
            packets: self.packets as u32,
            octets: self.payload_bytes as u32,
        })
    }

    fn advance(&mut self, now: Instant, time: RtpTime) {
        self.time = time;
        self.since = Some(now);
    }

    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    pub fn packets(&self) -> u64 {
        self.packets
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Packets after a change of source during which a late one from before it can come.
const SETTLING: u32 = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn numbers_and_timestamps_go_on_when_the_source_changes() {
        let mut sender = Sender::new(&mut Rng::new(1));
        let mut now = Instant::now();
        let first = relay(&mut sender, now, 7, 65_535, 1000);
        assert!(first.marker);
        now += Duration::from_millis(20);
        let second = relay(&mut sender, now, 7, 0, 1160);
        assert!(!second.marker);
        assert_eq!(
            (second.seq, second.time),
            (first.seq.plus(1), first.time.plus(160))
        );

        now += Duration::from_millis(20);
        let other = relay(&mut sender, now, 8, 31, 999_999);
        assert!(other.marker);
        assert_eq!(
            (other.ssrc, other.seq, other.time),
            (first.ssrc, second.seq.plus(1), second.time.plus(160))
        );

        now += Duration::from_millis(20);
        let ours = sender.generate(now, 0, 160, 8000);
        sender.count(172, 160);
        assert!(ours.marker);
        assert_eq!(
            (ours.seq, ours.time),
            (other.seq.plus(1), other.time.plus(160))
        );
        now += Duration::from_millis(23); // a late tick does not stretch the timeline
        let ours = sender.generate(now, 0, 160, 8000);
        sender.count(172, 160);
        assert_eq!(
            (ours.marker, ours.seq, ours.time),
            (false, other.seq.plus(2), other.time.plus(320))
        );
    }

    #[test]
    fn gaps_and_reordering_of_the_source_are_kept() {
        let mut sender = Sender::new(&mut Rng::new(1));
        let now = Instant::now();
        let first = relay(&mut sender, now, 7, 100, 0);
        assert_eq!(relay(&mut sender, now, 7, 103, 480).seq, first.seq.plus(3));
        assert_eq!(relay(&mut sender, now, 7, 102, 320).seq, first.seq.plus(2));
        assert_eq!(relay(&mut sender, now, 7, 104, 640).seq, first.seq.plus(4));
    }

    #[test]
    fn a_packet_from_before_the_change_is_not_sent_under_a_used_number() {
        let mut sender = Sender::new(&mut Rng::new(1));
        let now = Instant::now();
        relay(&mut sender, now, 7, 100, 0);
        assert_eq!(sender.relay(now, &received(7, 99, 0), 0, 8000, false), None);
    }

    #[test]
    fn a_pause_passes_on_the_clock_and_begins_a_talkspurt() {
        let mut sender = Sender::new(&mut Rng::new(1));
        let now = Instant::now();
        let first = sender.generate(now, 0, 160, 8000);
        sender.count(172, 160);
        let later = sender.generate(now + Duration::from_secs(1), 0, 160, 8000);
        assert!(later.marker);
        assert_eq!(
            (later.seq, later.time),
            (first.seq.plus(1), first.time.plus(8000))
        );
    }

    fn relay(sender: &mut Sender, now: Instant, ssrc: u32, seq: u16, time: u32) -> Header {
        let header = sender
            .relay(now, &received(ssrc, seq, time), 0, 8000, false)
            .unwrap();
        sender.count(172, 160);
        header
    }

    fn received(ssrc: u32, seq: u16, time: u32) -> Header {
        Header {
            marker: false,
            payload_type: 0,
            seq: SeqNo(seq),
            time: RtpTime(time),
            ssrc: Ssrc(ssrc),
        }
    }
}
