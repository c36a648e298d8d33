//! Call progress tones and in-band digits, made sample by sample.

use crate::codec::RATE;
use std::f32::consts::TAU;

/// One or two frequencies, on and off in a cadence.
#[derive(Debug, Clone)]
pub struct Tone {
    /// Hz; 0 for a single tone.
    frequencies: [f32; 2],
    /// Samples on, samples off, repeated until `left` is over.
    on: u32,
    off: u32,
    position: u32,
    /// Samples; none without end.
    left: Option<u32>,
}

impl Tone {
    /// `ringback`, `busy`, `congestion` (North American, without end), `beep`, or
    /// `HZ[+HZ]:MS`.
    pub fn named(name: &str) -> Option<Tone> {
        match name {
            "ringback" => Some(Tone::new([440.0, 480.0], 2000, 4000, None)),
            "busy" => Some(Tone::new([480.0, 620.0], 500, 500, None)),
            "congestion" => Some(Tone::new([480.0, 620.0], 250, 250, None)),
            "beep" => Some(Tone::new([1000.0, 0.0], 200, 0, Some(200))),
            _ => {
                let (hz, ms) = name.split_once(':')?;
                let ms = ms
                    .parse::<u32>()
                    .ok()
                    .filter(|ms| (1..=MAX_MS).contains(ms))?;
                let (first, second) = hz.split_once('+').map_or((hz, None), |(a, b)| (a, Some(b)));
                let second = second.map_or(Some(0.0), frequency)?;
                Some(Tone::new([frequency(first)?, second], ms, 0, Some(ms)))
            }
        }
    }

    /// A DTMF digit (ITU-T Q.23).
    pub fn digit(digit: char, ms: u32) -> Option<Tone> {
        let (row, column) = ["123A", "456B", "789C", "*0#D"]
            .iter()
            .enumerate()
            .find_map(|(row, keys)| Some((row, keys.find(digit.to_ascii_uppercase())?)))?;
        let low = [697.0, 770.0, 852.0, 941.0][row];
        let high = [1209.0, 1336.0, 1477.0, 1633.0][column];
        Some(Tone::new([low, high], ms, 0, Some(ms)))
    }

    fn new(frequencies: [f32; 2], on_ms: u32, off_ms: u32, total_ms: Option<u32>) -> Tone {
        let samples = |ms: u32| ms * (RATE / 1000);
        Tone {
            frequencies,
            on: samples(on_ms),
            off: samples(off_ms),
            position: 0,
            left: total_ms.map(samples),
        }
    }

    /// Samples written; fewer than asked for only at the end.
    pub fn fill(&mut self, out: &mut [i16]) -> usize {
        let count = self
            .left
            .map_or(out.len(), |left| out.len().min(left as usize));
        for sample in &mut out[..count] {
            *sample = self.sample();
            self.position += 1;
            if self.position >= self.on + self.off {
                self.position = 0;
            }
        }
        if let Some(left) = &mut self.left {
            *left -= count as u32;
        }
        count
    }

    fn sample(&self) -> i16 {
        if self.position >= self.on {
            return 0;
        }
        let wave = |hz: f32| {
            // The fraction of a period first, so that the sine's argument stays small and exact.
            let phase = (f64::from(hz) * f64::from(self.position) / f64::from(RATE)).fract();
            (phase as f32 * TAU).sin()
        };
        let [first, second] = self.frequencies;
        (LEVEL * (wave(first) + if second > 0.0 { wave(second) } else { 0.0 })) as i16
    }
}

/// About -13 dBm0 for each frequency.
const LEVEL: f32 = 5000.0;
const MAX_MS: u32 = 600_000;

fn frequency(text: &str) -> Option<f32> {
    text.parse::<u16>()
        .ok()
        .filter(|hz| (20..4000).contains(hz))
        .map(f32::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_by_numbers_lasts_as_long_as_it_says() {
        let mut tone = Tone::named("440+480:25").unwrap();
        let mut out = [0; 160];
        assert_eq!(
            (
                tone.fill(&mut out),
                tone.fill(&mut out),
                tone.fill(&mut out)
            ),
            (160, 40, 0)
        );
        assert!(out.iter().any(|s| *s > 1000));
    }

    #[test]
    fn busy_is_on_and_off_by_turns() {
        let mut tone = Tone::named("busy").unwrap();
        let mut out = vec![0; 16_000];
        assert_eq!(tone.fill(&mut out), 16_000);
        let loud = |part: &[i16]| part.iter().any(|s| s.abs() > 1000);
        assert!(loud(&out[..4000]) && !loud(&out[4000..8000]) && loud(&out[8000..12_000]));
    }

    #[test]
    fn what_is_no_tone_is_refused() {
        for name in [
            "",
            "la",
            "440",
            "440:",
            "440:0",
            "5:100",
            "440+:100",
            "440:99999999",
            "440+9000:10",
        ] {
            assert!(Tone::named(name).is_none(), "{name}");
        }
    }
}
