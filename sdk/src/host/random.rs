//! Randomness fit for keys; in a replay, the recorded randomness.

pub fn number() -> u64 {
    super::sys::random::number()
}

/// At most 4,096 bytes a call; more gives 4,096.
pub fn bytes(len: u32) -> Vec<u8> {
    super::sys::random::bytes(len)
}
