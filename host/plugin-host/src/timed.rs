//! CPU time of a future: the time that its polls take on whatever thread runs them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

pub(crate) struct Timed<F> {
    future: Pin<Box<F>>,
    spent: Duration,
}

impl<F: Future> Timed<F> {
    pub(crate) fn new(future: F) -> Self {
        Timed {
            future: Box::pin(future),
            spent: Duration::ZERO,
        }
    }
}

impl<F: Future> Future for Timed<F> {
    type Output = (F::Output, Duration);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let before = thread_time();
        let result = self.future.as_mut().poll(cx);
        self.spent += thread_time().saturating_sub(before);
        result.map(|output| (output, self.spent))
    }
}

/// CPU time of the calling thread so far.
pub fn thread_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the result.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) } != 0;
    if failed {
        Duration::ZERO
    } else {
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}
