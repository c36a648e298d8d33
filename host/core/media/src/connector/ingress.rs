//! Audio from the phone to a connector: pieces of the length and format that it wants.

use super::rate_of;
use crate::codec::{AudioCodec, RATE};
use crate::command::{Encoding, Format};
use crate::resample::{Resampler, UnsupportedRate};
use bytes::Bytes;

#[derive(Debug)]
pub struct Ingress {
    encoding: Encoding,
    resampler: Resampler,
    /// Samples in a piece.
    frame: usize,
    ready: Vec<i16>,
}

impl Ingress {
    /// `frame_ms`: 20 to 200.
    pub fn new(format: Format, frame_ms: u32) -> Result<Ingress, UnsupportedRate> {
        let rate = rate_of(format)?;
        let frame = (rate * frame_ms.clamp(20, 200) / 1000) as usize;
        let resampler = Resampler::new(RATE, rate)?;
        Ok(Ingress {
            encoding: format.encoding,
            resampler,
            frame,
            ready: Vec::new(),
        })
    }

    /// Samples at 8000/s.
    pub fn push(&mut self, samples: &[i16]) {
        self.resampler.push(samples, &mut self.ready);
    }

    /// The next piece that is whole.
    pub fn next_piece(&mut self) -> Option<Bytes> {
        if self.ready.len() < self.frame {
            return None;
        }
        let piece = encode(self.encoding, &self.ready[..self.frame]);
        self.ready.drain(..self.frame);
        Some(piece)
    }
}

fn encode(encoding: Encoding, samples: &[i16]) -> Bytes {
    let codec = match encoding {
        Encoding::PcmS16le => return samples.iter().flat_map(|s| s.to_le_bytes()).collect(),
        Encoding::Pcma => AudioCodec::Pcma,
        Encoding::Pcmu => AudioCodec::Pcmu,
    };
    let mut out = vec![0; codec.encoded_len(samples.len())];
    let len = codec.encode(samples, &mut out);
    out.truncate(len);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_the_length_and_format_that_was_asked_for() {
        for (encoding, rate, bytes) in [
            (Encoding::PcmS16le, 24_000, 4800),
            (Encoding::PcmS16le, 8000, 1600),
            (Encoding::Pcma, 8000, 800),
        ] {
            let mut ingress = Ingress::new(Format { encoding, rate }, 100).unwrap();
            let mut pieces = 0;
            for _ in 0..50 {
                ingress.push(&[1000; 160]);
                while let Some(piece) = ingress.next_piece() {
                    assert_eq!(piece.len(), bytes);
                    pieces += 1;
                }
            }
            // The resampler keeps 10 ms to itself.
            assert!(pieces >= 9, "{encoding:?} {rate}: {pieces}");
        }
    }
}
