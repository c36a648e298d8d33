//! Packets that the engine made itself, waiting to be sent.

use std::collections::VecDeque;
use std::net::SocketAddr;

/// One datagram to send: from our `port` to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit<'a> {
    pub port: u16,
    pub to: SocketAddr,
    pub bytes: &'a [u8],
}

/// All datagrams lie in one buffer that is reused once everything is sent, so a tick of
/// hundreds of legs allocates nothing and goes out in one batch.
#[derive(Debug, Default)]
pub struct TransmitQueue {
    arena: Vec<u8>,
    entries: VecDeque<Entry>,
    dropped: u64,
}

#[derive(Debug)]
struct Entry {
    port: u16,
    to: SocketAddr,
    start: usize,
    len: usize,
}

/// Bytes waiting; a shell that does not drain loses what comes beyond.
const MAX_BYTES: usize = 4 << 20;

impl TransmitQueue {
    /// Append a datagram that `write` fills in; it returns the length, 0 for none.
    pub fn push(
        &mut self,
        port: u16,
        to: SocketAddr,
        capacity: usize,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> bool {
        if self.entries.is_empty() {
            self.arena.clear();
        }
        let start = self.arena.len();
        if start + capacity > MAX_BYTES {
            self.dropped += 1;
            return false;
        }
        self.arena.resize(start + capacity, 0);
        let len = write(&mut self.arena[start..]).min(capacity);
        self.arena.truncate(start + len);
        if len > 0 {
            self.entries.push_back(Entry {
                port,
                to,
                start,
                len,
            });
        }
        len > 0
    }

    pub fn pop(&mut self) -> Option<Transmit<'_>> {
        let entry = self.entries.pop_front()?;
        Some(Transmit {
            port: entry.port,
            to: entry.to,
            bytes: &self.arena[entry.start..entry.start + entry.len],
        })
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = Transmit<'_>> {
        self.entries.iter().map(|entry| Transmit {
            port: entry.port,
            to: entry.to,
            bytes: &self.arena[entry.start..entry.start + entry.len],
        })
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.arena.clear();
    }

    /// Refused because nobody drained.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
