//! Playing prompts to a leg: sample by sample, so that what was played is known exactly.

use crate::codec::RATE;
use crate::command::{PlayEnd, Prompt};
use crate::resample::Resampler;
use crate::tone::Tone;
use std::sync::Arc;

/// One `Play` command.
#[derive(Debug)]
pub struct Playback {
    pub id: u32,
    pub interruptible: bool,
    prompts: Vec<Prompt>,
    /// Rounds still to begin after this one; none without end.
    rounds: Option<u32>,
    index: usize,
    part: Option<Part>,
    /// Samples really given out.
    played: u64,
    /// Whether this round had any sample: a loop of nothing must end.
    sounded: bool,
}

/// What of a prompt is left.
#[derive(Debug)]
enum Part {
    Clip {
        samples: Arc<[i16]>,
        at: usize,
    },
    /// At another rate: brought to ours piece by piece, so that a long one blocks nobody.
    Resampled {
        samples: Arc<[i16]>,
        at: usize,
        rate: u32,
        resampler: Box<Resampler>,
        ready: Vec<i16>,
        given: usize,
    },
    Silence {
        left: u64,
    },
    Tone(Tone),
}

impl Playback {
    /// `repeat`: how often; 0 until stopped.
    pub fn new(id: u32, prompts: Vec<Prompt>, interruptible: bool, repeat: u32) -> Playback {
        let rounds = repeat.checked_sub(1);
        Playback {
            id,
            interruptible,
            prompts,
            rounds,
            index: 0,
            part: None,
            played: 0,
            sounded: false,
        }
    }

    /// Fill a frame; the rest of it is silence. `Some` when the last sample is in a frame
    /// that was given out before: everything was heard, or a prompt cannot be played.
    pub fn fill(&mut self, out: &mut [i16]) -> Option<PlayEnd> {
        let mut filled = 0;
        while filled < out.len() {
            let Some(part) = &mut self.part else {
                match self.begin_next() {
                    Ok(true) => continue,
                    Ok(false) if filled == 0 => return Some(PlayEnd::Finished),
                    Ok(false) => break,
                    Err(CannotPlay) if filled == 0 => return Some(PlayEnd::Failed),
                    Err(CannotPlay) => break,
                }
            };
            let count = part.fill(&mut out[filled..]);
            if count == 0 {
                self.part = None;
                self.index += 1;
            }
            filled += count;
        }
        out[filled..].fill(0);
        self.played += filled as u64;
        self.sounded |= filled > 0;
        None
    }

    /// Audio given out so far, ms.
    pub fn played_ms(&self) -> u32 {
        (self.played * 1000 / u64::from(RATE)) as u32
    }

    /// Whether there was a part to begin.
    fn begin_next(&mut self) -> Result<bool, CannotPlay> {
        if self.index >= self.prompts.len() {
            match &mut self.rounds {
                None if !self.sounded => return Ok(false),
                None => {}
                Some(0) => return Ok(false),
                Some(rounds) => *rounds -= 1,
            }
            self.index = 0;
            self.sounded = false;
            if self.prompts.is_empty() {
                return Ok(false);
            }
        }
        self.part = Some(Part::new(&self.prompts[self.index])?);
        Ok(true)
    }
}

struct CannotPlay;

impl Part {
    fn new(prompt: &Prompt) -> Result<Part, CannotPlay> {
        match prompt {
            Prompt::File(_) => Err(CannotPlay),
            Prompt::Pcm(pcm) if pcm.rate == RATE => Ok(Part::Clip {
                samples: pcm.samples.clone(),
                at: 0,
            }),
            Prompt::Pcm(pcm) => {
                let resampler = Box::new(Resampler::new(pcm.rate, RATE).map_err(|_| CannotPlay)?);
                let samples = pcm.samples.clone();
                Ok(Part::Resampled {
                    samples,
                    at: 0,
                    rate: pcm.rate,
                    resampler,
                    ready: Vec::new(),
                    given: 0,
                })
            }
            Prompt::Silence(ms) => Ok(Part::Silence {
                left: u64::from(*ms) * u64::from(RATE) / 1000,
            }),
            Prompt::Tone(name) => Ok(Part::Tone(Tone::named(name).ok_or(CannotPlay)?)),
        }
    }

    /// 0 only at the end.
    fn fill(&mut self, out: &mut [i16]) -> usize {
        match self {
            Part::Clip { samples, at } => {
                let rest = &samples[*at..];
                let count = rest.len().min(out.len());
                out[..count].copy_from_slice(&rest[..count]);
                *at += count;
                count
            }
            Part::Resampled {
                samples,
                at,
                rate,
                resampler,
                ready,
                given,
            } => {
                while *given == ready.len() {
                    ready.clear();
                    *given = 0;
                    if *at == samples.len() {
                        if !resampler.holds_audio() {
                            return 0;
                        }
                        resampler.flush(ready);
                    } else {
                        let until = (*at + *rate as usize / 50).min(samples.len());
                        resampler.push(&samples[*at..until], ready);
                        *at = until;
                    }
                }
                let count = (ready.len() - *given).min(out.len());
                out[..count].copy_from_slice(&ready[*given..*given + count]);
                *given += count;
                count
            }
            Part::Silence { left } => {
                let count = out.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                out[..count].fill(0);
                *left -= count as u64;
                count
            }
            Part::Tone(tone) => tone.fill(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Pcm;

    #[test]
    fn samples_come_out_exactly_and_their_time_is_counted() {
        let clip: Vec<i16> = (0..1000).collect();
        let mut playback = Playback::new(1, vec![pcm(&clip, 8000)], false, 1);
        let (out, end) = play(&mut playback);
        assert_eq!(out[..1000], clip[..]);
        assert!(out[1000..].iter().all(|s| *s == 0));
        assert_eq!(
            (out.len(), end, playback.played_ms()),
            (1120, PlayEnd::Finished, 125)
        );
    }

    #[test]
    fn rounds_follow_each_other_without_a_gap() {
        let clip: Vec<i16> = (1..=100).collect();
        let mut playback = Playback::new(1, vec![pcm(&clip, 8000), Prompt::Silence(1)], false, 3);
        let (out, _) = play(&mut playback);
        assert_eq!(out[108..208], clip[..]);
        assert_eq!(playback.played_ms(), 3 * 108 / 8);
    }

    #[test]
    fn another_rate_is_resampled_to_the_exact_length() {
        let mut playback = Playback::new(1, vec![pcm(&vec![500; 24_000], 24_000)], false, 1);
        let (_, end) = play(&mut playback);
        assert_eq!((end, playback.played_ms()), (PlayEnd::Finished, 1000));
    }

    #[test]
    fn nothing_repeated_for_ever_ends() {
        for prompts in [
            vec![],
            vec![Prompt::Silence(0)],
            vec![pcm(&[], 8000), pcm(&[], 16_000)],
        ] {
            assert_eq!(
                play(&mut Playback::new(1, prompts, false, 0)).1,
                PlayEnd::Finished
            );
        }
    }

    #[test]
    fn what_cannot_be_played_fails_after_what_can() {
        let mut playback = Playback::new(
            1,
            vec![Prompt::Silence(20), Prompt::File("x.wav".into())],
            false,
            1,
        );
        let (_, end) = play(&mut playback);
        assert_eq!((end, playback.played_ms()), (PlayEnd::Failed, 20));
    }

    fn play(playback: &mut Playback) -> (Vec<i16>, PlayEnd) {
        let mut out = Vec::new();
        loop {
            let mut frame = [1; 160];
            if let Some(end) = playback.fill(&mut frame) {
                return (out, end);
            }
            out.extend_from_slice(&frame);
        }
    }

    fn pcm(samples: &[i16], rate: u32) -> Prompt {
        Prompt::Pcm(Pcm {
            rate,
            samples: samples.into(),
        })
    }
}
