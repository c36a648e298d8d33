//! Messages on their way to the platform. A task of its own writes them, so that a peer which
//! does not read stops neither the session nor what the session hears.

use futures::{Sink, SinkExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Error, Message};

pub struct Outbox {
    queue: Sender<Message>,
    bytes: Arc<AtomicUsize>,
    max_bytes: usize,
    writer: JoinHandle<Result<(), Error>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Outbox {
    /// Each write must be done in `patience`.
    pub fn new<S>(mut sink: S, max_messages: usize, max_bytes: usize, patience: Duration) -> Outbox
    where
        S: Sink<Message, Error = Error> + Send + Unpin + 'static,
    {
        let (queue, mut messages) = channel::<Message>(max_messages);
        let bytes = Arc::new(AtomicUsize::new(0));
        let waiting = bytes.clone();
        let writer = tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                let (len, is_close) = (message.len(), message.is_close());
                match tokio::time::timeout(patience, sink.send(message)).await {
                    Ok(result) => result?,
                    Err(_) => return Err(Error::Io(std::io::ErrorKind::TimedOut.into())),
                }
                waiting.fetch_sub(len, Ordering::AcqRel);
                if is_close {
                    break;
                }
            }
            Ok(())
        });
        Outbox {
            queue,
            bytes,
            max_bytes,
            writer,
        }
    }

    pub fn send(&self, message: Message) -> Result<(), Full> {
        let len = message.len();
        if self.bytes.fetch_add(len, Ordering::AcqRel) + len > self.max_bytes {
            self.bytes.fetch_sub(len, Ordering::AcqRel);
            return Err(Full);
        }
        self.queue.try_send(message).map_err(|_| {
            self.bytes.fetch_sub(len, Ordering::AcqRel);
            Full
        })
    }

    /// Whether there is room for audio: half of it stays free for what must not be lost.
    pub fn has_room_for_audio(&self) -> bool {
        self.queue.capacity() * 2 >= self.queue.max_capacity()
            && self.bytes.load(Ordering::Acquire) * 2 <= self.max_bytes
    }

    /// Ready when the writer has ended: after a close frame, or by an error.
    pub async fn ended(&mut self) -> Result<(), Error> {
        match (&mut self.writer).await {
            Ok(result) => result,
            Err(_) => Err(Error::ConnectionClosed),
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.writer.abort();
    }
}
