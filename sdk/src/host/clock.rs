//! Time as the host sees it; in a replay, the recorded time.

/// Milliseconds since 1970-01-01 UTC.
pub fn now_ms() -> u64 {
    super::sys::clock::now_ms()
}

/// Microseconds since an arbitrary start; never goes back.
pub fn monotonic_us() -> u64 {
    super::sys::clock::monotonic_us()
}
