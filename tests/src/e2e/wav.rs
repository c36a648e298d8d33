//! Audio that tests play and compare: G.711 by the tables' formulas (ITU-T G.711) and WAV
//! files, written here again so that the product's codec is not its own judge.

/// µ-law byte to 16-bit linear.
pub fn from_pcmu(byte: u8) -> i16 {
    let u = !byte;
    let magnitude = ((i32::from(u & 0x0f) << 3) + 0x84) << ((u >> 4) & 7);
    let value = magnitude - 0x84;
    (if u & 0x80 != 0 { -value } else { value }) as i16
}

/// A-law byte to 16-bit linear.
pub fn from_pcma(byte: u8) -> i16 {
    let a = byte ^ 0x55;
    let segment = (a >> 4) & 7;
    let mantissa = i32::from(a & 0x0f) << 4;
    let value = match segment {
        0 => mantissa + 8,
        s => (mantissa + 0x108) << (s - 1),
    };
    (if a & 0x80 != 0 { value } else { -value }) as i16
}

/// 16-bit linear to the nearest code of a law, by search over its 256 values.
fn nearest(sample: i16, decode: fn(u8) -> i16) -> u8 {
    (0..=255u8)
        .min_by_key(|&code| (i32::from(decode(code)) - i32::from(sample)).abs())
        .expect("256 codes")
}

pub fn to_pcmu(sample: i16) -> u8 {
    nearest(sample, from_pcmu)
}

pub fn to_pcma(sample: i16) -> u8 {
    nearest(sample, from_pcma)
}

/// A mono 16-bit WAV file.
pub fn file(rate: u32, samples: &[i16]) -> Vec<u8> {
    let data = samples.len() as u32 * 2;
    let mut out = Vec::with_capacity(44 + data as usize);
    out.extend(b"RIFF");
    out.extend((36 + data).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    out.extend(rate.to_le_bytes());
    out.extend((rate * 2).to_le_bytes());
    out.extend(b"\x02\0\x10\0data");
    out.extend(data.to_le_bytes());
    for sample in samples {
        out.extend(sample.to_le_bytes());
    }
    out
}

/// Two tones that no telephone signal uses, `ms` long at 8 kHz.
pub fn chirp(ms: u32) -> Vec<i16> {
    let n = ms as usize * 8;
    (0..n)
        .map(|i| {
            let t = i as f64 / 8_000.0;
            let slow = (2.0 * std::f64::consts::PI * (440.0 + 60.0 * t) * t).sin();
            let fast = (2.0 * std::f64::consts::PI * 1_130.0 * t).sin();
            (7_000.0 * slow + 3_000.0 * fast) as i16
        })
        .collect()
}

/// One tone, `ms` long at 8 kHz.
pub fn tone(hz: f64, ms: usize) -> Vec<i16> {
    (0..ms * 8)
        .map(|i| (6_000.0 * (2.0 * std::f64::consts::PI * hz * i as f64 / 8_000.0).sin()) as i16)
        .collect()
}

/// Share of the energy that lies at this frequency (Goertzel).
fn share(samples: &[i16], hz: f64) -> f64 {
    let c = 2.0 * (2.0 * std::f64::consts::PI * hz / 8_000.0).cos();
    let (mut a, mut b) = (0.0, 0.0);
    for &s in samples {
        (a, b) = (f64::from(s) + c * a - b, a);
    }
    let power = a * a + b * b - c * a * b;
    let energy: f64 = samples.iter().map(|&s| f64::from(s).powi(2)).sum();
    if energy == 0.0 {
        0.0
    } else {
        power / (energy * samples.len() as f64 / 2.0)
    }
}

/// Is this tone in there, for 50 ms at least?
pub fn heard(samples: &[i16], hz: f64) -> bool {
    samples
        .chunks(400)
        .any(|c| c.len() == 400 && share(c, hz) > 0.8)
}
