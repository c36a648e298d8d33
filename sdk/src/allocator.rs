//! The guest's allocator: dlmalloc that first hands out a static arena.
//!
//! `memory.grow` takes the host process's memory-map lock, so a router that grows its
//! memory for each decision makes two threads slower than one. A decision fits in the
//! arena; only what outgrows it pays for growing.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use dlmalloc::Dlmalloc;

/// Untouched pages of it cost nothing: it is zero-initialised memory.
const ARENA_BYTES: usize = 256 * 1024;
const PAGE_BYTES: usize = 64 * 1024;

#[global_allocator]
static ALLOCATOR: Guest = Guest(UnsafeCell::new(Dlmalloc::new_with_allocator(Pages {
    arena_used: Cell::new(false),
})));

#[repr(align(16))]
struct Arena(UnsafeCell<[u8; ARENA_BYTES]>);

static ARENA: Arena = Arena(UnsafeCell::new([0; ARENA_BYTES]));

struct Guest(UnsafeCell<Dlmalloc<Pages>>);

struct Pages {
    arena_used: Cell<bool>,
}

// SAFETY: a plugin has one thread; the host enables no shared memory.
unsafe impl Sync for Arena {}
// SAFETY: as above.
unsafe impl Sync for Guest {}
// SAFETY: as above.
unsafe impl Send for Pages {}

// SAFETY: each method hands on to dlmalloc under the contract of `GlobalAlloc`; there is one
// thread and dlmalloc does not call back, so the exclusive borrow is one.
unsafe impl GlobalAlloc for Guest {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { (*self.0.get()).malloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe { (*self.0.get()).calloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        unsafe { (*self.0.get()).free(start, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        unsafe { (*self.0.get()).realloc(start, layout.size(), layout.align(), size) }
    }
}

// SAFETY: the arena is handed out once, and fresh wasm pages belong to who grew the memory.
unsafe impl dlmalloc::Allocator for Pages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        if !self.arena_used.get() && size <= ARENA_BYTES {
            self.arena_used.set(true);
            return (ARENA.0.get().cast(), ARENA_BYTES, 0);
        }
        let pages = size.div_ceil(PAGE_BYTES);
        let before = core::arch::wasm32::memory_grow(0, pages);
        if before == usize::MAX {
            return (core::ptr::null_mut(), 0, 0);
        }
        ((before * PAGE_BYTES) as *mut u8, pages * PAGE_BYTES, 0)
    }

    fn remap(&self, _start: *mut u8, _old: usize, _new: usize, _can_move: bool) -> *mut u8 {
        core::ptr::null_mut()
    }

    fn free_part(&self, _start: *mut u8, _old: usize, _new: usize) -> bool {
        false
    }

    fn free(&self, _start: *mut u8, _size: usize) -> bool {
        false
    }

    fn can_release_part(&self, _flags: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE_BYTES
    }
}
