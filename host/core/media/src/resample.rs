//! Changing the sample rate of a stream: the only door to `rubato`.
//!
//! For audio of prompts and connectors. The FFT resampler works in chunks of 20 ms; its
//! delay is cut off at the start and its tail is drawn out by [`Resampler::flush`], so as
//! many samples come out as the ratio says and position n of one rate is position
//! n · out / in of the other.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _};

pub struct Resampler {
    from: u32,
    to: u32,
    /// None where the rates are equal.
    fft: Option<Fft<f32>>,
    /// Fed to `fft` once it is a whole chunk.
    pending: Vec<f32>,
    chunk_out: Vec<f32>,
    /// Of the current run, since the last flush.
    taken: u64,
    given: u64,
    /// Output of the filter's delay, still to be cut off.
    skip: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot resample from {from} to {to} Hz")]
pub struct UnsupportedRate {
    pub from: u32,
    pub to: u32,
}

impl Resampler {
    pub fn new(from: u32, to: u32) -> Result<Resampler, UnsupportedRate> {
        let unsupported = UnsupportedRate { from, to };
        if !(MIN_RATE..=MAX_RATE).contains(&from) || !(MIN_RATE..=MAX_RATE).contains(&to) {
            return Err(unsupported);
        }
        let fft = if from == to {
            None
        } else {
            let chunk = from as usize / 50;
            let fft = Fft::new_custom(
                from as usize,
                to as usize,
                chunk,
                1,
                1,
                rubato::WindowFunction::BlackmanHarris2,
                FixedSync::Both,
            );
            Some(fft.map_err(|_| unsupported)?)
        };
        let skip = fft.as_ref().map_or(0, |f| f.output_delay());
        let chunk_out = vec![0.0; fft.as_ref().map_or(0, |f| f.output_frames_max())];
        Ok(Resampler {
            from,
            to,
            fft,
            pending: Vec::new(),
            chunk_out,
            taken: 0,
            given: 0,
            skip,
        })
    }

    /// Append what comes out for `samples`; up to 30 ms of it come with later ones.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        let Some(fft) = &mut self.fft else {
            out.extend_from_slice(samples);
            return;
        };
        self.taken += samples.len() as u64;
        let need = fft.input_frames_next();
        for &sample in samples {
            self.pending.push(f32::from(sample) / SCALE);
            if self.pending.len() == need {
                let made = run(fft, &self.pending, &mut self.chunk_out);
                self.pending.clear();
                emit(
                    &self.chunk_out[..made],
                    &mut self.skip,
                    u64::MAX,
                    &mut self.given,
                    out,
                );
            }
        }
    }

    /// The input pauses or ends: append what is still inside, and begin anew.
    pub fn flush(&mut self, out: &mut Vec<i16>) {
        let Some(fft) = &mut self.fft else { return };
        let due = self.taken * u64::from(self.to) / u64::from(self.from);
        let need = fft.input_frames_next();
        // Delay and rest are shorter than a few chunks; the bound is only there to end.
        for _ in 0..8 {
            if self.given >= due {
                break;
            }
            self.pending.resize(need, 0.0);
            let made = run(fft, &self.pending, &mut self.chunk_out);
            self.pending.clear();
            emit(
                &self.chunk_out[..made],
                &mut self.skip,
                due,
                &mut self.given,
                out,
            );
        }
        self.reset();
    }

    /// Forget what is inside.
    pub fn reset(&mut self) {
        if let Some(fft) = &mut self.fft {
            fft.reset();
            self.skip = fft.output_delay();
        }
        self.pending.clear();
        self.taken = 0;
        self.given = 0;
    }

    /// Whether a flush would give something.
    pub fn holds_audio(&self) -> bool {
        self.fft.is_some() && self.given < self.taken * u64::from(self.to) / u64::from(self.from)
    }
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resampler")
            .field("from", &self.from)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

/// All of a clip at once.
pub fn resample_all(samples: &[i16], from: u32, to: u32) -> Result<Vec<i16>, UnsupportedRate> {
    let mut resampler = Resampler::new(from, to)?;
    let mut out =
        Vec::with_capacity((samples.len() as u64 * u64::from(to) / u64::from(from)) as usize + 1);
    resampler.push(samples, &mut out);
    resampler.flush(&mut out);
    Ok(out)
}

const MIN_RATE: u32 = 4000;
const MAX_RATE: u32 = 192_000;
const SCALE: f32 = 32_768.0;

/// Samples made of one chunk; 0 if the filter refuses, which its fixed sizes rule out.
fn run(fft: &mut Fft<f32>, input: &[f32], output: &mut [f32]) -> usize {
    let frames = output.len();
    let Ok(from) = InterleavedSlice::new(input, 1, input.len()) else {
        return 0;
    };
    let Ok(mut to) = InterleavedSlice::new_mut(output, 1, frames) else {
        return 0;
    };
    fft.process_into_buffer(&from, &mut to, None)
        .map_or(0, |(_, made)| made)
}

fn emit(made: &[f32], skip: &mut usize, due: u64, given: &mut u64, out: &mut Vec<i16>) {
    let cut = (*skip).min(made.len());
    *skip -= cut;
    let room = usize::try_from(due - (*given).min(due)).unwrap_or(usize::MAX);
    let rest = &made[cut..];
    let rest = &rest[..rest.len().min(room)];
    *given += rest.len() as u64;
    // `as` saturates: a filter may overshoot a little beyond full scale.
    out.extend(rest.iter().map(|s| (s * SCALE).round() as i16));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_samples_come_out_as_the_ratio_says() {
        for rate in [8000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000] {
            for len in [1usize, 100, 160, 4801, 48_000] {
                let clip = vec![1000i16; len];
                let out = resample_all(&clip, rate, 8000).unwrap();
                assert_eq!(
                    out.len(),
                    (len as u64 * 8000 / u64::from(rate)) as usize,
                    "{rate} {len}"
                );
            }
        }
    }

    #[test]
    fn a_tone_keeps_its_level_and_its_phase() {
        for (from, to) in [
            (8000, 24_000),
            (24_000, 8000),
            (8000, 16_000),
            (48_000, 8000),
        ] {
            let tone = |rate: u32, n: usize| {
                (n as f64 * 1000.0 * std::f64::consts::TAU / f64::from(rate)).sin() * 8000.0
            };
            let clip: Vec<i16> = (0..from as usize).map(|n| tone(from, n) as i16).collect();
            let out = resample_all(&clip, from, to).unwrap();
            let middle = to as usize / 4..to as usize * 3 / 4;
            let worst = middle
                .map(|n| (f64::from(out[n]) - tone(to, n)).abs())
                .fold(0.0, f64::max);
            assert!(worst < 80.0, "{from} to {to}: {worst}");
        }
    }

    #[test]
    fn pieces_of_any_length_give_the_same_as_the_whole() {
        let clip: Vec<i16> = (0..24_000)
            .map(|n| ((n * 37) % 2000 - 1000) as i16)
            .collect();
        let mut resampler = Resampler::new(24_000, 8000).unwrap();
        let mut out = Vec::new();
        for piece in clip.chunks(331) {
            resampler.push(piece, &mut out);
        }
        resampler.flush(&mut out);
        assert_eq!(out, resample_all(&clip, 24_000, 8000).unwrap());
    }

    #[test]
    fn rates_that_make_no_sense_are_refused() {
        assert!(Resampler::new(0, 8000).is_err());
        assert!(Resampler::new(8000, u32::MAX).is_err());
    }
}
