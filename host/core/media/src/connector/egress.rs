//! Audio from a connector to the phone: a bounded queue of utterances that is emptied in
//! frames, and an exact account of what of each was really played.

use super::rate_of;
use crate::codec::{AudioCodec, RATE};
use crate::command::{Encoding, Format};
use crate::resample::{Resampler, UnsupportedRate};
use std::collections::VecDeque;

/// All positions are samples at 8000/s since the session began.
#[derive(Debug)]
pub struct Egress {
    encoding: Encoding,
    rate: u32,
    resampler: Resampler,
    /// First half of a 16-bit sample whose second half is in the next chunk.
    carry: Option<u8>,
    ready: VecDeque<i16>,
    spans: VecDeque<Span>,
    marks: VecDeque<(u64, String)>,
    played: u64,
    /// Where the resampler's current run began, and what it took since (at `rate`).
    run_start: u64,
    run_taken: u64,
    /// The queue ran empty: hold back until there is some to bridge the network's jitter.
    filling: bool,
    waited: usize,
    dropped: u64,
    scratch: Vec<i16>,
}

/// An utterance's place in the queue.
#[derive(Debug)]
struct Span {
    item: String,
    start: u64,
    end: u64,
}

/// 4 min: platforms send an answer much faster than it is spoken.
const MAX_QUEUED: u64 = 240 * RATE as u64;
/// 60 ms
const PREBUFFER: u64 = 60 * RATE as u64 / 1000;
const MAX_MARKS: usize = 4096;

impl Egress {
    pub fn new(format: Format) -> Result<Egress, UnsupportedRate> {
        let rate = rate_of(format)?;
        Ok(Egress {
            encoding: format.encoding,
            rate,
            resampler: Resampler::new(rate, RATE)?,
            carry: None,
            ready: VecDeque::new(),
            spans: VecDeque::new(),
            marks: VecDeque::new(),
            played: 0,
            run_start: 0,
            run_taken: 0,
            filling: true,
            waited: 0,
            dropped: 0,
            scratch: Vec::new(),
        })
    }

    /// Audio of utterance `item`. What is beyond the bound is dropped and counted.
    pub fn enqueue(&mut self, item: &str, audio: &[u8]) {
        let mut samples = std::mem::take(&mut self.scratch);
        samples.clear();
        self.decode(audio, &mut samples);
        let room =
            MAX_QUEUED.saturating_sub(self.queued()) * u64::from(self.rate) / u64::from(RATE);
        let taken = (samples.len() as u64).min(room) as usize;
        self.dropped += (samples.len() - taken) as u64;
        let start = self.end();
        let mut made = Vec::new();
        self.resampler.push(&samples[..taken], &mut made);
        self.ready.extend(made);
        self.run_taken += taken as u64;
        let end = self.end();
        match self.spans.back_mut() {
            Some(last) if last.item == item => last.end = end,
            _ => self.spans.push_back(Span {
                item: item.to_owned(),
                start,
                end,
            }),
        }
        self.scratch = samples;
    }

    /// To be reported once all that was enqueued before has been played.
    pub fn mark(&mut self, name: String) {
        if self.marks.len() < MAX_MARKS {
            self.marks.push_back((self.end(), name));
        }
    }

    /// Drop what was not played. The utterance that was playing, and how much of it was
    /// heard in ms; empty and 0 if none was.
    pub fn clear(&mut self) -> (String, u32) {
        self.forget_played();
        let playing = self.spans.pop_front().filter(|span| span.end > self.played);
        self.spans.clear();
        self.marks.clear();
        self.ready.clear();
        self.resampler.reset();
        self.carry = None;
        self.run_start = self.played;
        self.run_taken = 0;
        self.filling = true;
        self.waited = 0;
        playing.map_or((String::new(), 0), |span| {
            let heard = self.played.saturating_sub(span.start);
            (span.item, (heard * 1000 / u64::from(RATE)) as u32)
        })
    }

    /// The next frame; what is not there is silence.
    pub fn fill(&mut self, out: &mut [i16]) {
        if self.hold_back(out.len()) {
            out.fill(0);
            return;
        }
        if self.ready.len() < out.len() && self.resampler.holds_audio() {
            // The queue ends here, so the filter's last samples are due.
            let mut rest = std::mem::take(&mut self.scratch);
            rest.clear();
            self.run_start = self.end();
            self.run_taken = 0;
            self.resampler.flush(&mut rest);
            self.ready.extend(rest.iter());
            self.scratch = rest;
        }
        let count = out.len().min(self.ready.len());
        for (to, from) in out.iter_mut().zip(self.ready.drain(..count)) {
            *to = from;
        }
        out[count..].fill(0);
        self.played += count as u64;
        self.forget_played();
        if self.queued() == 0 {
            self.filling = true;
            self.waited = 0;
        }
    }

    /// A mark whose audio was all given out in earlier frames.
    pub fn reached_mark(&mut self) -> Option<String> {
        let (at, _) = self.marks.front()?;
        if *at > self.played {
            return None;
        }
        self.marks.pop_front().map(|(_, name)| name)
    }

    /// Samples that were refused because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn end(&self) -> u64 {
        self.run_start + self.run_taken * u64::from(RATE) / u64::from(self.rate)
    }

    fn queued(&self) -> u64 {
        self.end() - self.played
    }

    fn hold_back(&mut self, frame: usize) -> bool {
        if !self.filling {
            return false;
        }
        let queued = self.queued();
        if queued > 0 {
            self.waited += frame;
        }
        self.filling = queued == 0 || (queued < PREBUFFER && (self.waited as u64) < PREBUFFER);
        self.filling
    }

    /// Keep the last span even if it is over: more of the same utterance may come.
    fn forget_played(&mut self) {
        while self.spans.len() > 1 && self.spans[0].end <= self.played {
            self.spans.pop_front();
        }
    }

    fn decode(&mut self, audio: &[u8], samples: &mut Vec<i16>) {
        let codec = match self.encoding {
            Encoding::PcmS16le => {
                let mut bytes = audio;
                if let (Some(low), Some((high, rest))) = (self.carry, bytes.split_first()) {
                    samples.push(i16::from_le_bytes([low, *high]));
                    self.carry = None;
                    bytes = rest;
                }
                let pairs = bytes.chunks_exact(2);
                if let [odd] = pairs.remainder() {
                    self.carry = Some(*odd);
                }
                samples.extend(pairs.map(|p| i16::from_le_bytes([p[0], p[1]])));
                return;
            }
            Encoding::Pcma => AudioCodec::Pcma,
            Encoding::Pcmu => AudioCodec::Pcmu,
        };
        samples.resize(audio.len(), 0);
        let count = codec.decode(audio, samples);
        samples.truncate(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PCM24: Format = Format {
        encoding: Encoding::PcmS16le,
        rate: 24_000,
    };
    const PCMU: Format = Format {
        encoding: Encoding::Pcmu,
        rate: 8000,
    };

    #[test]
    fn what_was_heard_of_an_utterance_is_exact() {
        let mut egress = Egress::new(PCM24).unwrap();
        egress.enqueue("a", &silence(24_000, 100));
        egress.enqueue("b", &silence(24_000, 500));
        frames(&mut egress, 10);
        assert_eq!(egress.clear(), ("b".into(), 100));
        assert_eq!(egress.clear(), (String::new(), 0));
        egress.enqueue("c", &silence(24_000, 500));
        frames(&mut egress, 3);
        assert_eq!(egress.clear(), ("c".into(), 60));
    }

    #[test]
    fn a_mark_is_reached_when_all_before_it_was_played() {
        let mut egress = Egress::new(PCM24).unwrap();
        egress.enqueue("a", &silence(24_000, 100));
        egress.mark("first".into());
        egress.enqueue("a", &silence(24_000, 30));
        egress.mark("second".into());
        frames(&mut egress, 4);
        assert_eq!(egress.reached_mark(), None);
        frames(&mut egress, 1);
        assert_eq!(egress.reached_mark().as_deref(), Some("first"));
        assert_eq!(egress.reached_mark(), None);
        frames(&mut egress, 2);
        assert_eq!(egress.reached_mark().as_deref(), Some("second"));
        egress.mark("nothing before".into());
        assert_eq!(egress.reached_mark().as_deref(), Some("nothing before"));
    }

    #[test]
    fn samples_may_be_cut_between_chunks() {
        let mut egress = Egress::new(Format {
            encoding: Encoding::PcmS16le,
            rate: 8000,
        })
        .unwrap();
        let bytes: Vec<u8> = (0..480i16).flat_map(i16::to_le_bytes).collect();
        for piece in bytes.chunks(7) {
            egress.enqueue("a", piece);
        }
        let out = frames(&mut egress, 3);
        assert!(out.iter().copied().eq(0..480));
    }

    #[test]
    fn g711_is_played_sample_by_sample() {
        let mut egress = Egress::new(PCMU).unwrap();
        egress.enqueue("a", &[0x80; 480]); // the loudest positive sample
        assert!(frames(&mut egress, 3).iter().all(|s| *s == 32_124));
        assert!(frames(&mut egress, 1).iter().all(|s| *s == 0));
    }

    #[test]
    fn a_thin_stream_waits_for_60_ms_or_as_long() {
        let mut egress = Egress::new(PCMU).unwrap();
        egress.enqueue("a", &[0x80; 160]);
        assert!(frames(&mut egress, 2).iter().all(|s| *s == 0));
        assert!(frames(&mut egress, 1).iter().all(|s| *s == 32_124));
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut egress = Egress::new(PCMU).unwrap();
        for _ in 0..300 {
            egress.enqueue("a", &[0xff; 8000]);
        }
        assert_eq!(egress.dropped(), 60 * 8000);
        assert_eq!(egress.queued(), MAX_QUEUED);
    }

    fn frames(egress: &mut Egress, count: usize) -> Vec<i16> {
        let mut out = vec![0; 160 * count];
        out.chunks_mut(160).for_each(|frame| egress.fill(frame));
        out
    }

    fn silence(rate: usize, ms: usize) -> Vec<u8> {
        vec![0; rate * ms / 1000 * 2]
    }
}
