//! A prompt file's bytes, made into what the engine plays: mono at 8000 samples/s.
//!
//! For the shell, which reads files when a prompt is first needed and keeps the result.

use crate::codec::{AudioCodec, RATE};
use crate::command::Pcm;
use crate::resample::{UnsupportedRate, resample_all};
use std::io::Cursor;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WavError {
    #[error("no audio in the file")]
    Empty,
    #[error("not a WAV file, or a broken one: {0}")]
    Format(String),
    #[error("{seconds} s are more than {MAX_SECONDS}")]
    TooLong { seconds: u32 },
    #[error("{channels} channels are more than {MAX_CHANNELS}")]
    TooManyChannels { channels: u16 },
    #[error("encoding {0} is not understood; PCM, A-law and µ-law are")]
    UnknownEncoding(u16),
    #[error(transparent)]
    Rate(#[from] UnsupportedRate),
}

/// What is loaded stays in memory.
pub const MAX_SECONDS: u32 = 1800;
const MAX_CHANNELS: u16 = 8;

/// WAVE format tags (RFC 2361).
const ALAW: u16 = 6;
const MULAW: u16 = 7;

/// Read a whole file: PCM of 8 to 32 bits, float, A-law or µ-law; any rate; channels are
/// mixed down.
pub fn read(bytes: &[u8]) -> Result<Pcm, WavError> {
    let (samples, channels, rate) = match g711(bytes) {
        Some((codec, channels, rate, data)) => {
            let mut samples = vec![0; data.len()];
            let count = codec.decode(data, &mut samples);
            samples.truncate(count);
            (samples, channels, rate)
        }
        None => linear(bytes)?,
    };
    if channels == 0 || channels > MAX_CHANNELS {
        return Err(WavError::TooManyChannels { channels });
    }
    let mono: Vec<i16> = match channels {
        1 => samples,
        n => {
            let n = i32::from(n);
            samples
                .chunks_exact(n as usize)
                .map(|f| (f.iter().map(|s| i32::from(*s)).sum::<i32>() / n) as i16)
                .collect()
        }
    };
    let seconds = (mono.len() as u64 / u64::from(rate.max(1))) as u32;
    if mono.is_empty() {
        return Err(WavError::Empty);
    }
    if seconds > MAX_SECONDS {
        return Err(WavError::TooLong { seconds });
    }
    let samples = if rate == RATE {
        mono
    } else {
        resample_all(&mono, rate, RATE)?
    };
    Ok(Pcm {
        rate: RATE,
        samples: samples.into(),
    })
}

fn linear(bytes: &[u8]) -> Result<(Vec<i16>, u16, u32), WavError> {
    let broken = |e: hound::Error| WavError::Format(e.to_string());
    let mut reader =
        hound::WavReader::new(Cursor::new(bytes)).map_err(|e| match (e, format_tag(bytes)) {
            (hound::Error::Unsupported, Some(tag)) => WavError::UnknownEncoding(tag),
            (e, _) => broken(e),
        })?;
    let spec = reader.spec();
    let samples: Result<Vec<i16>, _> = match (spec.sample_format, spec.bits_per_sample) {
        (hound::SampleFormat::Float, _) => reader
            .samples::<f32>()
            .map(|s| s.map(|s| (s * 32_767.0) as i16))
            .collect(),
        (hound::SampleFormat::Int, bits @ 17..) => {
            let shift = u32::from(bits) - 16;
            reader
                .samples::<i32>()
                .map(|s| s.map(|s| (s >> shift.min(31)) as i16))
                .collect()
        }
        (hound::SampleFormat::Int, bits) => {
            let shift = 16 - u32::from(bits);
            reader
                .samples::<i16>()
                .map(|s| s.map(|s| s << shift.min(15)))
                .collect()
        }
    };
    Ok((samples.map_err(broken)?, spec.channels, spec.sample_rate))
}

/// The parts of an A-law or µ-law file, which hound does not read.
fn g711(bytes: &[u8]) -> Option<(AudioCodec, u16, u32, &[u8])> {
    let format = chunk(bytes, b"fmt ")?;
    let codec = match u16::from_le_bytes([*format.first()?, *format.get(1)?]) {
        ALAW => AudioCodec::Pcma,
        MULAW => AudioCodec::Pcmu,
        _ => return None,
    };
    let channels = u16::from_le_bytes(format.get(2..4)?.try_into().ok()?);
    let rate = u32::from_le_bytes(format.get(4..8)?.try_into().ok()?);
    Some((codec, channels, rate, chunk(bytes, b"data")?))
}

fn format_tag(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_le_bytes(
        chunk(bytes, b"fmt ")?.get(..2)?.try_into().ok()?,
    ))
}

fn chunk<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WAVE" {
        return None;
    }
    let mut rest = bytes.get(12..)?;
    loop {
        let len = u32::from_le_bytes(rest.get(4..8)?.try_into().ok()?) as usize;
        let body = rest.get(8..)?;
        if rest.get(..4)? == name {
            // Recorders that were killed leave a length that is too long.
            return Some(&body[..len.min(body.len())]);
        }
        rest = body.get(len.checked_add(len & 1)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pcm_of_our_rate_comes_out_as_it_is() {
        let clip: Vec<i16> = (-500..500).collect();
        assert_eq!(&read(&wav(1, 8000, &clip)).unwrap().samples[..], &clip[..]);
    }

    #[test]
    fn stereo_is_mixed_down_and_resampled() {
        let clip: Vec<i16> = (0..48_000).flat_map(|_| [1000, 3000]).collect();
        let pcm = read(&wav(2, 48_000, &clip)).unwrap();
        assert_eq!((pcm.rate, pcm.samples.len()), (8000, 8000));
        assert!((i32::from(pcm.samples[4000]) - 2000).abs() < 5);
    }

    #[test]
    fn a_law_and_mu_law_files_are_decoded() {
        for (tag, silence) in [(ALAW, 0xd5u8), (MULAW, 0xff)] {
            let mut file = b"RIFF\0\0\0\0WAVEfmt \x12\0\0\0".to_vec();
            file.extend(tag.to_le_bytes());
            file.extend(1u16.to_le_bytes());
            file.extend(8000u32.to_le_bytes());
            file.extend(8000u32.to_le_bytes());
            file.extend([1, 0, 8, 0, 0, 0]);
            file.extend(b"fact\x04\0\0\0\0\0\0\0data\xff\xff\xff\x7f");
            file.extend([silence; 160]);
            let pcm = read(&file).unwrap();
            assert_eq!(pcm.samples.len(), 160);
            assert!(pcm.samples.iter().all(|s| s.abs() <= 8));
        }
    }

    #[test]
    fn what_is_no_audio_is_told_in_words() {
        assert!(matches!(read(b"ID3\x04mp3"), Err(WavError::Format(_))));
        assert_eq!(read(&wav(1, 8000, &[])), Err(WavError::Empty));
        let mut gsm = wav(1, 8000, &[0; 10]);
        gsm[20] = 49;
        assert_eq!(read(&gsm), Err(WavError::UnknownEncoding(49)));
    }

    proptest! {
        #[test]
        fn no_file_panics(mut tail in prop::collection::vec(any::<u8>(), 0..80), tag in 0u8..10) {
            let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
            file.extend([tag, 0]);
            file.append(&mut tail);
            let _ = read(&file);
        }
    }

    fn wav(channels: u16, sample_rate: u32, samples: &[i16]) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels,
            sample_rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut out = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut out, spec).unwrap();
        samples
            .iter()
            .for_each(|s| writer.write_sample(*s).unwrap());
        writer.finalize().unwrap();
        out.into_inner()
    }
}
