//! End to end: the released binary on loopback addresses, driven from outside only.
//!
//! - [`gatepost`]: one running node in a folder of its own
//! - [`http`]: a small HTTP client for its REST API
//! - [`peer`]: stand-ins of providers, in Python with their official packages
//! - [`sipp`]: callers and callees made of SIPp scenarios
//! - [`ua`]: a user agent of our own, where a test needs to see each packet
//! - [`wav`]: audio that tests play and compare

pub mod gatepost;
pub mod http;
pub mod peer;
pub mod sipp;
pub mod ua;
pub mod wav;

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ has a parent")
        .to_path_buf()
}

/// A component that `cargo xtask build-guests` made.
pub fn component(name: &str) -> PathBuf {
    let path = root().join("target/plugins").join(format!("{name}.wasm"));
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask build-guests`",
        path.display()
    );
    path
}

/// Ports between two that are handed out: SIPp takes the next ones for RTCP and video.
const STEP: u16 = 8;

/// A port that is free on 127.0.0.1 for UDP and TCP at this moment. Ports are handed out
/// below the range that the kernel gives to outgoing sockets, each once a process.
pub fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    if NEXT.load(Ordering::Relaxed) == 0 {
        // Test programs run side by side: each starts somewhere else.
        let start = 12_000 + (std::process::id() % 900) as u16 * 20;
        let _ = NEXT.compare_exchange(0, start, Ordering::Relaxed, Ordering::Relaxed);
    }
    for _ in 0..2_000 {
        let port = NEXT.fetch_add(STEP, Ordering::Relaxed);
        if UdpSocket::bind(("127.0.0.1", port)).is_ok()
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
        {
            return port;
        }
    }
    panic!("no free port on 127.0.0.1");
}

/// Asks `done` until it gives something, for at most `limit`. For the outside of a process
/// only: nothing else can tell that it is ready.
pub fn wait_for<T>(what: &str, limit: Duration, mut done: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < end, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
