//! The ring of buffers that the kernel fills (`IORING_REGISTER_PBUF_RING`).

use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// Each buffer is either the kernel's (it lies in the ring), or ours between the completion
/// that names it and `give_back`. Must be dropped after the `IoUring` that it was registered
/// with: the kernel writes here until that is closed.
pub struct BufferRing {
    entries: NonNull<BufRingEntry>,
    layout: Layout,
    memory: Box<[u8]>,
    buffer_len: usize,
    count: u16,
    tail: u16,
}

impl BufferRing {
    pub const GROUP: u16 = 0;

    /// `count` is a power of two, at most 32,768.
    pub fn register(ring: &IoUring, count: u16, buffer_len: usize) -> io::Result<BufferRing> {
        let layout = Layout::array::<BufRingEntry>(usize::from(count))
            .and_then(|layout| layout.align_to(PAGE))
            .map_err(io::Error::other)?;
        // SAFETY: the layout is not of size zero.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(entries) = NonNull::new(memory.cast::<BufRingEntry>()) else {
            handle_alloc_error(layout)
        };
        let mut this = BufferRing {
            entries,
            layout,
            memory: vec![0; usize::from(count) * buffer_len].into_boxed_slice(),
            buffer_len,
            count,
            tail: 0,
        };
        // SAFETY: page-aligned memory for `count` entries, freed only after the ring is closed.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                count,
                BufferRing::GROUP,
                0,
            )?;
        }
        for buffer in 0..count {
            this.give_back(buffer);
        }
        Ok(this)
    }

    /// Lets the kernel fill this buffer again.
    pub fn give_back(&mut self, buffer: u16) {
        if buffer >= self.count {
            return;
        }
        let at = usize::from(self.tail & (self.count - 1));
        let addr = self.memory[usize::from(buffer) * self.buffer_len..].as_mut_ptr() as u64;
        // SAFETY: `at` is inside the ring; the kernel reads only entries before the tail, so
        // nobody else touches this one. The tail overlays a field that `set_*` do not write.
        let tail = unsafe {
            let entry = &mut *self.entries.as_ptr().add(at);
            entry.set_addr(addr);
            entry.set_len(self.buffer_len as u32);
            entry.set_bid(buffer);
            AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut())
        };
        self.tail = self.tail.wrapping_add(1);
        // The kernel must see the entry before it sees that it counts.
        tail.store(self.tail, Ordering::Release);
    }

    /// The buffer must be ours.
    pub fn bytes(&self, buffer: u16) -> &[u8] {
        &self.memory[usize::from(buffer) * self.buffer_len..][..self.buffer_len]
    }

    /// The buffer must be ours.
    pub fn bytes_mut(&mut self, buffer: u16) -> &mut [u8] {
        &mut self.memory[usize::from(buffer) * self.buffer_len..][..self.buffer_len]
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        // SAFETY: allocated in `register` with this layout.
        unsafe { dealloc(self.entries.as_ptr().cast(), self.layout) };
    }
}

const PAGE: usize = 4_096;
