//! G.711 and something with the statistics of speech.

pub fn lin2ulaw(x: i32) -> u8 {
    let s = if x < 0 { 0x80u8 } else { 0 };
    let m = x.abs().min(32635) + 132;
    let mut e = 7;
    while e > 0 && m & (0x80 << e) == 0 {
        e -= 1
    }
    !(s | (e as u8) << 4 | ((m >> (e + 3)) & 15) as u8)
}
pub fn ulaw2lin(u: u8) -> i32 {
    let u = !u;
    let t = (((u as i32 & 15) << 3) + 132) << ((u as i32 >> 4) & 7);
    if u & 0x80 != 0 { 132 - t } else { t - 132 }
}
pub fn lin2alaw(x: i32) -> u8 {
    let s = if x >= 0 { 0x80u8 } else { 0 };
    let m = (if x < 0 { -x - 1 } else { x }).min(32767) >> 3;
    let v = if m < 32 {
        (m >> 1) as u8
    } else {
        let mut e = 1;
        while m >> e >= 32 {
            e += 1
        }
        ((e as u8) << 4) | ((m >> e) & 15) as u8
    };
    (s | v) ^ 0x55
}
/// 10 s of something with the statistics of speech: voiced syllables of
/// wandering pitch, fricative noise, pauses.
pub fn speech() -> Vec<i16> {
    let (mut seed, mut ph) = (12345u32, 0f64);
    let mut rnd = move || {
        seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
        (seed >> 8) as f64 / (1u32 << 24) as f64
    };
    let mut v = Vec::with_capacity(80_000);
    while v.len() < 80_000 {
        let n = (8000.0 * (0.12 + 0.2 * rnd())) as usize;
        let kind = rnd();
        let (f0, f1, f2) = (
            100.0 + 100.0 * rnd(),
            300.0 + 500.0 * rnd(),
            900.0 + 1400.0 * rnd(),
        );
        for i in 0..n {
            let env = (std::f64::consts::PI * i as f64 / n as f64).sin();
            let mut x = 0.0;
            if kind < 0.65 {
                let f = f0 * (1.0 + 0.1 * (i as f64 / n as f64));
                ph += f / 8000.0;
                for h in 1..16 {
                    let fr = f * h as f64;
                    let g = (-((fr - f1) / 150.0).powi(2)).exp()
                        + 0.5 * (-((fr - f2) / 200.0).powi(2)).exp()
                        + 0.05;
                    x += g * (2.0 * std::f64::consts::PI * ph * h as f64).sin();
                }
                x *= 5000.0;
            } else if kind < 0.85 {
                x = 3000.0 * (rnd() - 0.5);
            } else {
                x = 30.0 * (rnd() - 0.5);
            }
            v.push((env * x).clamp(-30000.0, 30000.0) as i16);
        }
    }
    v.truncate(80_000);
    v
}
