//! Counts heap allocations, so that "no allocation on the hot path" is a number in every report
//! and in tests, and not a hope. The one allocator of the command line and of all tests that count.
//!
//! UNSAFE FENCE: a global allocator cannot be written without `unsafe`. This one only counts
//! and forwards.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Allocations since the process started. Relaxed: a statistic, it orders nothing.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Those of this thread. A constant without a destructor, so that it never allocates itself.
    static OF_THREAD: Cell<u64> = const { Cell::new(0) };
    /// Whether those of this thread count for the process.
    static IS_LEFT_OUT: Cell<bool> = const { Cell::new(false) };
}

/// The system allocator with a counter in front.
///
/// Install it with `#[global_allocator]` in the binary.
#[derive(Debug)]
pub struct CountingAllocator;

/// Allocations (and reallocations) of this process since it started, of all threads but those that
/// [were left out](leave_out_this_thread); 0 for ever when [`CountingAllocator`] is not installed.
#[must_use]
pub fn count() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// Allocations of the calling thread alone, for tests beside which others run.
#[must_use]
pub fn count_of_thread() -> u64 {
    OF_THREAD.get()
}

/// From now on the calling thread does not count for the process: no message waits for it.
pub fn leave_out_this_thread() {
    IS_LEFT_OUT.set(true);
}

fn increment() {
    if !IS_LEFT_OUT.get() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
    OF_THREAD.set(OF_THREAD.get() + 1);
}

// SAFETY: every call is forwarded unchanged to the system allocator, which keeps the contract;
// counting touches one atomic and one cell of the thread.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        increment();
        // SAFETY: the caller keeps the contract of `alloc`, which is passed on unchanged.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        increment();
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        increment();
        // SAFETY: `pointer` came from this allocator, hence from the system's.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from this allocator, hence from the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}
