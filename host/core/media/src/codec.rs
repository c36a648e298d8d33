//! The audio codecs that we can decode and encode: one table, one door to `audio_codec`.
//!
//! All run at 8000 samples/s. A new codec is a row in [`AudioCodec::of`] and an arm below.

use audio_codec::{Decoder, Encoder};
use std::sync::LazyLock;

/// Samples of 20 ms at [`RATE`].
pub const FRAME: usize = 160;
/// Hz: the rate of every codec in the table, and of all audio inside the engine.
pub const RATE: u32 = 8000;
/// Samples that one packet can hold: an Ethernet frame of G.711.
pub const MAX_PACKET_SAMPLES: usize = 1472;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudioCodec {
    /// G.711 A-law
    Pcma,
    /// G.711 µ-law
    Pcmu,
}

impl AudioCodec {
    /// By encoding name, RTP clock and channels, as an rtpmap gives them.
    pub fn of(name: &str, clock: u32, channels: u8) -> Option<AudioCodec> {
        match () {
            () if clock != 8000 || channels != 1 => None,
            () if name.eq_ignore_ascii_case("PCMA") => Some(AudioCodec::Pcma),
            () if name.eq_ignore_ascii_case("PCMU") => Some(AudioCodec::Pcmu),
            () => None,
        }
    }

    /// Samples decoded; what does not fit into `out` is cut off.
    pub fn decode(self, payload: &[u8], out: &mut [i16]) -> usize {
        let payload = &payload[..payload.len().min(out.len())];
        let decoded = match self {
            AudioCodec::Pcma => audio_codec::pcma::PcmaDecoder::new().decode_into(payload, out),
            AudioCodec::Pcmu => audio_codec::pcmu::PcmuDecoder::new().decode_into(payload, out),
        };
        decoded.unwrap_or(0)
    }

    /// Bytes encoded; what does not fit into `out` is cut off.
    pub fn encode(self, samples: &[i16], out: &mut [u8]) -> usize {
        let samples = &samples[..samples.len().min(out.len())];
        let encoded = match self {
            AudioCodec::Pcma => {
                for (to, sample) in out.iter_mut().zip(samples) {
                    *to = A_LAW[usize::from((*sample as u16 ^ 0x8000) >> 3)];
                }
                return samples.len();
            }
            AudioCodec::Pcmu => audio_codec::pcmu::PcmuEncoder::new().encode_into(samples, out),
        };
        encoded.unwrap_or(0)
    }

    /// Decode and encode in one step. G.711 has no memory from sample to sample, so each
    /// code of one law becomes the same code of the other every time.
    pub fn translation(self, to: AudioCodec) -> &'static [u8; 256] {
        static TO_PCMA: LazyLock<[u8; 256]> =
            LazyLock::new(|| translate(AudioCodec::Pcmu, AudioCodec::Pcma));
        static TO_PCMU: LazyLock<[u8; 256]> =
            LazyLock::new(|| translate(AudioCodec::Pcma, AudioCodec::Pcmu));
        static SAME: LazyLock<[u8; 256]> = LazyLock::new(|| std::array::from_fn(|code| code as u8));
        match (self, to) {
            (AudioCodec::Pcmu, AudioCodec::Pcma) => &TO_PCMA,
            (AudioCodec::Pcma, AudioCodec::Pcmu) => &TO_PCMU,
            (AudioCodec::Pcma, AudioCodec::Pcma) | (AudioCodec::Pcmu, AudioCodec::Pcmu) => &SAME,
        }
    }

    /// Bytes for so many samples.
    pub fn encoded_len(self, samples: usize) -> usize {
        match self {
            AudioCodec::Pcma | AudioCodec::Pcmu => samples,
        }
    }
}

fn translate(from: AudioCodec, to: AudioCodec) -> [u8; 256] {
    let codes: [u8; 256] = std::array::from_fn(|code| code as u8);
    let (mut samples, mut translated) = ([0; 256], [0; 256]);
    from.decode(&codes, &mut samples);
    to.encode(&samples, &mut translated);
    translated
}

/// ITU-T G.711 table 1, for the 13 bits that A-law looks at, from the most negative up.
/// Our own because `audio_codec` puts most negative samples one step too low (-372 becomes
/// -360, not -376), which adds noise to everything that is transcoded.
static A_LAW: [u8; 8192] = {
    let mut table = [0; 8192];
    let mut i = 0;
    while i < table.len() {
        let sample = i as i32 - 4096;
        // Ones' complement: -1 is the smallest negative interval, as 0 is the positive one.
        let (magnitude, sign) = if sample < 0 {
            (!sample, 0)
        } else {
            (sample, 0x80)
        };
        let segment = if magnitude < 32 {
            0
        } else {
            27 - magnitude.leading_zeros() as i32
        };
        let mantissa = if segment == 0 {
            magnitude >> 1
        } else {
            magnitude >> segment & 15
        };
        table[i] = (sign | segment << 4 | mantissa) as u8 ^ 0x55;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_decoding_and_encoding() {
        let all: Vec<u8> = (0..=255).collect();
        for codec in [AudioCodec::Pcma, AudioCodec::Pcmu] {
            let (mut samples, mut back) = ([0; 256], [0; 256]);
            assert_eq!(
                (
                    codec.decode(&all, &mut samples),
                    codec.encode(&samples, &mut back)
                ),
                (256, 256)
            );
            for (code, again) in all.iter().zip(back) {
                // µ-law has two zeros.
                assert!(
                    *code == again || (codec == AudioCodec::Pcmu && *code == 0x7f && again == 0xff),
                    "{code:#x}"
                );
            }
        }
    }

    #[test]
    fn every_sample_is_off_by_half_a_step_at_most() {
        for codec in [AudioCodec::Pcma, AudioCodec::Pcmu] {
            for sample in i16::MIN..=i16::MAX {
                let (mut code, mut back) = ([0], [0]);
                codec.encode(&[sample], &mut code);
                codec.decode(&code, &mut back);
                let error = (i32::from(back[0]) - i32::from(sample)).abs();
                // Sixteen steps in each octave.
                let half = (i32::from(sample).abs() + 132) / 32 + 4;
                assert!(error <= half, "{codec:?} {sample}: {error}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_off() {
        let mut small = [0; 3];
        assert_eq!(AudioCodec::Pcma.decode(&[0; 10], &mut small), 3);
        assert_eq!(AudioCodec::Pcmu.encode(&[0; 10], &mut [0; 2]), 2);
    }
}
