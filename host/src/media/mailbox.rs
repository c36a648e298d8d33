//! Orders on their way to a media thread: bounded, and never waited for.

use super::sys::EventFd;
use media::{Command, ConnectorEvent, SessionKey};
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::Sender;

#[derive(Debug)]
pub enum Order {
    Command(SessionKey, Command),
    /// Connector events with this number go here and not to the call.
    Listen {
        session: SessionKey,
        id: u32,
        sender: Sender<ConnectorEvent>,
    },
    Forget {
        session: SessionKey,
        id: u32,
    },
}

impl Order {
    /// Whether losing it would leak something. There are as many of these as there were
    /// things opened, so they may pass the bound.
    fn releases(&self) -> bool {
        matches!(
            self,
            Order::Forget { .. }
                | Order::Command(_, Command::Close { .. } | Command::Detach { .. })
        )
    }
}

/// The sending side, shared by all who give orders to one thread.
#[derive(Debug)]
pub struct Mailbox {
    queue: SyncSender<Order>,
    /// Releases that found the queue full. They come after everything in it.
    late: Mutex<Vec<Order>>,
    wake: EventFd,
    signalled: AtomicBool,
    stopping: AtomicBool,
    refused: AtomicU64,
}

/// The media thread's side.
#[derive(Debug)]
pub struct Inbox {
    queue: Receiver<Order>,
    mailbox: Arc<Mailbox>,
}

pub fn mailbox(capacity: usize) -> io::Result<(Arc<Mailbox>, Inbox)> {
    let (sender, receiver) = sync_channel(capacity);
    let mailbox = Arc::new(Mailbox {
        queue: sender,
        late: Mutex::default(),
        wake: EventFd::new()?,
        signalled: AtomicBool::new(false),
        stopping: AtomicBool::new(false),
        refused: AtomicU64::new(0),
    });
    Ok((
        mailbox.clone(),
        Inbox {
            queue: receiver,
            mailbox,
        },
    ))
}

impl Mailbox {
    /// False if there was no room, or if the thread has ended.
    pub fn post(&self, order: Order) -> bool {
        let taken = match self.queue.try_send(order) {
            Ok(()) => true,
            Err(TrySendError::Full(order)) if order.releases() => {
                self.late
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(order);
                true
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                false
            }
        };
        self.wake();
        taken
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        // One write to the eventfd for all orders until the thread has looked.
        if !self.signalled.swap(true, Ordering::AcqRel) {
            self.wake.signal();
        }
    }
}

impl Inbox {
    pub fn wake_fd(&self) -> RawFd {
        self.mailbox.wake.raw()
    }

    pub fn is_stopping(&self) -> bool {
        self.mailbox.stopping.load(Ordering::Acquire)
    }

    /// All that has come, but at most `limit`; the rest follows on the next call.
    pub fn drain(&self, limit: usize, mut handle: impl FnMut(Order)) {
        // Before looking: whoever posts after this wakes us again.
        if !self.mailbox.signalled.swap(false, Ordering::AcqRel) {
            return;
        }
        for _ in 0..limit {
            match self.queue.try_recv() {
                Ok(order) => handle(order),
                Err(_) => {
                    let late = std::mem::take(
                        &mut *self
                            .mailbox
                            .late
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner),
                    );
                    late.into_iter().for_each(handle);
                    return;
                }
            }
        }
        self.mailbox.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::LegKey;

    #[test]
    fn a_full_mailbox_refuses_work_but_takes_releases_last() {
        let (mailbox, inbox) = mailbox(1).unwrap();
        assert!(mailbox.post(unbridge()));
        assert!(mailbox.post(close()));
        assert!(!mailbox.post(unbridge()));
        assert_eq!(mailbox.refused(), 1);
        let mut closes = Vec::new();
        inbox.drain(10, |order| closes.push(order.releases()));
        assert_eq!(closes, [false, true]);
    }

    #[test]
    fn what_one_drain_leaves_the_next_one_gives() {
        let (mailbox, inbox) = mailbox(8).unwrap();
        for _ in 0..5 {
            mailbox.post(unbridge());
        }
        let mut count = 0;
        inbox.drain(3, |_| count += 1);
        inbox.drain(3, |_| count += 1);
        assert_eq!(count, 5);
    }

    fn unbridge() -> Order {
        Order::Command(
            SessionKey(1),
            Command::Unbridge {
                a: LegKey(0),
                b: LegKey(1),
            },
        )
    }

    fn close() -> Order {
        Order::Command(SessionKey(1), Command::Close { leg: LegKey(0) })
    }
}
