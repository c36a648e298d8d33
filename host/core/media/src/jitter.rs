//! Jitter buffer of a terminated leg: orders packets by sequence number and gives them out
//! at the pace of our own clock. Small, bounded, adaptive. Relayed audio never passes here.

use crate::packet::{ExtendedSeqNo, RtpTime};
use std::collections::VecDeque;

/// Counts depth in packets; the leg's packets are 10 to 60 ms long.
#[derive(Debug)]
pub struct JitterBuffer {
    /// In order of sequence number.
    packets: VecDeque<Packet>,
    /// Payload buffers to be used again.
    spare: Vec<Vec<u8>>,
    /// The next one to give out; none until the buffer has filled.
    next: Option<ExtendedSeqNo>,
    /// Packets to wait for before giving out.
    target: usize,
    /// Packets given out since one came too late.
    calm: u32,
    late: u64,
}

#[derive(Debug)]
struct Packet {
    seq: ExtendedSeqNo,
    time: RtpTime,
    codec: u8,
    payload: Vec<u8>,
}

/// What the decoder gets for one frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Playout<'a> {
    /// `codec`: the number that it was put in with.
    Packet {
        payload: &'a [u8],
        codec: u8,
        time: RtpTime,
    },
    /// It is missing though later ones are there: conceal.
    Lost,
    /// Nothing is there: the sender pauses, or everything is late.
    Empty,
}

const FIRST_TARGET: usize = 2;
/// 200 ms of 20 ms packets.
const MAX_TARGET: usize = 10;
const MAX_PACKETS: usize = 32;
/// Packets without a late one after which the target shrinks: 10 s of 20 ms packets.
const CALM: u32 = 500;

impl JitterBuffer {
    pub fn new() -> JitterBuffer {
        JitterBuffer {
            packets: VecDeque::new(),
            spare: Vec::new(),
            next: None,
            target: FIRST_TARGET,
            calm: 0,
            late: 0,
        }
    }

    /// An event takes a number too: put it in without a payload, so that it is not concealed.
    pub fn push(&mut self, seq: ExtendedSeqNo, time: RtpTime, codec: u8, payload: &[u8]) {
        if self.next.is_some_and(|next| seq < next) {
            // Too late: wait for one more from now on.
            self.late += 1;
            self.calm = 0;
            self.target = (self.target + 1).min(MAX_TARGET);
            return;
        }
        let at = self.packets.partition_point(|p| p.seq < seq);
        if self.packets.get(at).is_some_and(|p| p.seq == seq) {
            return;
        }
        if self.packets.len() >= MAX_PACKETS {
            // The other side's clock or a burst is ahead of us: drop the oldest.
            self.drop_front();
        }
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(payload);
        let at = self.packets.partition_point(|p| p.seq < seq);
        self.packets.insert(
            at,
            Packet {
                seq,
                time,
                codec,
                payload: buffer,
            },
        );
    }

    /// One frame's worth is due.
    pub fn pop(&mut self) -> Playout<'_> {
        let Some(next) = self.next else {
            if self.packets.len() < self.target {
                return Playout::Empty;
            }
            let Some(front) = self.packets.front() else {
                return Playout::Empty;
            };
            self.next = Some(front.seq);
            return self.give();
        };
        // More than it should hold for long: their clock is faster, or the network calmed down.
        if self.packets.len() > self.target + SLACK {
            self.drop_front();
        }
        match self.packets.front() {
            None => {
                self.next = None;
                Playout::Empty
            }
            Some(front) if front.seq > self.next.unwrap_or(next) => {
                self.next = Some(ExtendedSeqNo(next.0 + 1));
                Playout::Lost
            }
            Some(_) => self.give(),
        }
    }

    /// The source changed.
    pub fn reset(&mut self) {
        while self.packets.front().is_some() {
            self.drop_front();
        }
        self.next = None;
    }

    /// Packets held.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Packets that came after their turn.
    pub fn late(&self) -> u64 {
        self.late
    }

    fn give(&mut self) -> Playout<'_> {
        self.calm += 1;
        if self.calm >= CALM {
            self.calm = 0;
            self.target = (self.target - 1).max(1);
        }
        let Some(packet) = self.packets.pop_front() else {
            return Playout::Empty;
        };
        self.next = Some(ExtendedSeqNo(packet.seq.0 + 1));
        let (codec, time) = (packet.codec, packet.time);
        // The payload lies where the next packet will find its buffer.
        self.spare.push(packet.payload);
        let payload = self.spare.last().map_or(&[][..], Vec::as_slice);
        Playout::Packet {
            payload,
            codec,
            time,
        }
    }

    fn drop_front(&mut self) {
        if let Some(packet) = self.packets.pop_front() {
            self.next = self.next.map(|_| ExtendedSeqNo(packet.seq.0 + 1));
            self.spare.push(packet.payload);
        }
    }
}

/// Packets above the target that are borne before one is dropped.
const SLACK: usize = 3;

impl Default for JitterBuffer {
    fn default() -> Self {
        JitterBuffer::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reordered_packets_come_out_in_order() {
        let mut buffer = filled(&[1, 3, 2]);
        assert_eq!(drain(&mut buffer), ["1", "2", "3", "-"]);
    }

    #[test]
    fn a_missing_packet_is_told_and_a_late_one_deepens_the_buffer() {
        let mut buffer = filled(&[1, 2, 4]);
        assert_eq!(drain(&mut buffer), ["1", "2", "?", "4", "-"]);
        push(&mut buffer, 5);
        assert_eq!(buffer.pop(), Playout::Empty); // fills up again first
        push(&mut buffer, 6);
        assert_eq!(drain(&mut buffer)[..2], ["5", "6"]);
        let before = buffer.target;
        push(&mut buffer, 7);
        push(&mut buffer, 8);
        buffer.pop();
        push(&mut buffer, 3);
        assert_eq!((buffer.late(), buffer.target), (1, before + 1));
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let mut buffer = JitterBuffer::new();
        for seq in 0..1000 {
            push(&mut buffer, seq);
        }
        assert_eq!(buffer.len(), MAX_PACKETS);
        // And comes back to its depth by dropping one packet a frame.
        for seq in 1000..1000 + MAX_PACKETS as u64 {
            buffer.pop();
            push(&mut buffer, seq);
        }
        assert!(buffer.len() <= buffer.target + SLACK + 1);
    }

    fn filled(seqs: &[u64]) -> JitterBuffer {
        let mut buffer = JitterBuffer::new();
        for seq in seqs {
            push(&mut buffer, *seq);
        }
        buffer
    }

    fn push(buffer: &mut JitterBuffer, seq: u64) {
        buffer.push(
            ExtendedSeqNo(seq),
            RtpTime(seq as u32 * 160),
            0,
            seq.to_string().as_bytes(),
        );
    }

    fn drain(buffer: &mut JitterBuffer) -> Vec<String> {
        let mut out = Vec::new();
        loop {
            match buffer.pop() {
                Playout::Packet { payload, .. } => {
                    out.push(String::from_utf8(payload.to_vec()).unwrap())
                }
                Playout::Lost => out.push("?".into()),
                Playout::Empty => break out.push("-".into()),
            }
        }
        out
    }
}
