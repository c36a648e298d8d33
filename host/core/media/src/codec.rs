//! The audio codecs that we can decode and encode: one table, one door to `audio_codec`.
//!
//! All run at 8000 samples/s. A new codec is a row in [`AudioCodec::of`] and an arm below.

use audio_codec::{Decoder, Encoder};

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
            AudioCodec::Pcma => audio_codec::pcma::PcmaEncoder::new().encode_into(samples, out),
            AudioCodec::Pcmu => audio_codec::pcmu::PcmuEncoder::new().encode_into(samples, out),
        };
        encoded.unwrap_or(0)
    }

    /// Bytes for so many samples.
    pub fn encoded_len(self, samples: usize) -> usize {
        match self {
            AudioCodec::Pcma | AudioCodec::Pcmu => samples,
        }
    }
}
