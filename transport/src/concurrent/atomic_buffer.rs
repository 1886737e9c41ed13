//! Bounds-checked access to mapped memory: plain, and with release / acquire for the one word
//! per frame that publishes it.
//!
//! The single owner may be on any thread (`Send`); nothing is shared between threads of this
//! process through it (`!Sync`, not `Clone`). Other parties are the kernel (reading pages for
//! the disk, filling pages on reads) and other processes that map the same file read-only.

use std::io;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};

use super::region::Region;

/// Exclusively owned view of a mapped range. See the module for who else may look at it.
#[derive(Debug)]
pub struct AtomicBuffer {
    region: Arc<Region>,
    length: usize,
    /// `Cell` makes the type `!Sync`: two threads never read through one buffer.
    not_sync: PhantomData<std::cell::Cell<u8>>,
}

impl AtomicBuffer {
    /// Allocates `length` zeroed bytes, page aligned.
    ///
    /// # Errors
    /// The operating system's, when it has no memory to give.
    pub fn allocate(length: usize) -> io::Result<Self> {
        Ok(Self::over(Region::anonymous(length)?))
    }

    /// Maps `length` bytes of the file at `path` from `offset` on, a multiple of a page, creating
    /// and growing it as needed: a file may have a part for each of its writers.
    ///
    /// # Errors
    /// The operating system's, when the file cannot be opened, grown or mapped.
    pub fn map_file_part(path: &Path, offset: usize, length: usize) -> io::Result<Self> {
        Ok(Self::over(Region::file(path, offset, length)?))
    }

    fn over(region: Region) -> Self {
        let length = region.length();
        Self {
            region: Arc::new(region),
            length,
            not_sync: PhantomData,
        }
    }

    /// Bytes in the buffer.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Writes one byte per page so that later writes meet no page fault.
    pub fn pre_touch(&mut self) {
        for offset in (0..self.length).step_by(4096) {
            let value = self.bytes(offset, 1)[0];
            self.bytes_mut(offset, 1)[0] = value;
        }
    }

    /// Asks the kernel to keep the pages in memory. Returns whether it agreed.
    #[must_use]
    pub fn lock(&self) -> bool {
        self.region.lock()
    }

    #[track_caller]
    fn check(&self, offset: usize, length: usize) {
        assert!(
            offset <= self.length && length <= self.length - offset,
            "range {offset}+{length} outside a buffer of {} bytes",
            self.length
        );
    }

    #[track_caller]
    fn pointer(&self, offset: usize, length: usize) -> *mut u8 {
        self.check(offset, length);
        // SAFETY: the range was checked to lie inside the mapping.
        unsafe { self.region.as_ptr().add(offset) }
    }

    /// The bytes at `offset..offset + length`.
    #[must_use]
    #[track_caller]
    pub fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        let pointer = self.pointer(offset, length);
        // SAFETY: inside the mapping, initialised (mappings start as zeros), and this process
        // writes it only through `&mut self`; kernel reads into it only under the contract of
        // `KernelBlock`.
        unsafe { std::slice::from_raw_parts(pointer, length) }
    }

    /// The bytes at `offset..offset + length`, to be written.
    #[track_caller]
    pub fn bytes_mut(&mut self, offset: usize, length: usize) -> &mut [u8] {
        let pointer = self.pointer(offset, length);
        // SAFETY: as in `bytes`, and `&mut self` makes this the only view in this process.
        unsafe { std::slice::from_raw_parts_mut(pointer, length) }
    }

    /// Fills `offset..offset + length` with zeros.
    #[track_caller]
    pub fn zero(&mut self, offset: usize, length: usize) {
        self.bytes_mut(offset, length).fill(0);
    }

    #[track_caller]
    fn atomic_i32(&self, offset: usize) -> &AtomicI32 {
        assert!(offset.is_multiple_of(4), "an i32 at odd offset {offset}");
        let pointer = self.pointer(offset, 4).cast::<i32>();
        // SAFETY: in bounds, aligned (mappings are page aligned), lives as long as `self`.
        unsafe { AtomicI32::from_ptr(pointer) }
    }

    #[track_caller]
    fn atomic_i64(&self, offset: usize) -> &AtomicI64 {
        assert!(offset.is_multiple_of(8), "an i64 at odd offset {offset}");
        let pointer = self.pointer(offset, 8).cast::<i64>();
        // SAFETY: in bounds, aligned (mappings are page aligned), lives as long as `self`.
        unsafe { AtomicI64::from_ptr(pointer) }
    }

    /// Reads an i32 (little endian hosts only) with acquire; pairs with
    /// [`put_i32_release`](Self::put_i32_release).
    #[must_use]
    pub(crate) fn get_i32_acquire(&self, offset: usize) -> i32 {
        self.atomic_i32(offset).load(Ordering::Acquire)
    }

    /// Publishes an i32 with release; pairs with [`get_i32_acquire`](Self::get_i32_acquire).
    pub(crate) fn put_i32_release(&mut self, offset: usize, value: i32) {
        self.atomic_i32(offset).store(value, Ordering::Release);
    }

    /// Reads an i64 with acquire; pairs with [`put_i64_release`](Self::put_i64_release).
    #[must_use]
    pub fn get_i64_acquire(&self, offset: usize) -> i64 {
        self.atomic_i64(offset).load(Ordering::Acquire)
    }

    /// Publishes an i64 with release; pairs with [`get_i64_acquire`](Self::get_i64_acquire).
    pub fn put_i64_release(&mut self, offset: usize, value: i64) {
        self.atomic_i64(offset).store(value, Ordering::Release);
    }

    /// A range to hand to the kernel. It keeps the mapping alive until dropped.
    #[must_use]
    #[track_caller]
    pub fn kernel_block(&self, offset: usize, length: usize) -> KernelBlock {
        self.check(offset, length);
        KernelBlock {
            region: Arc::clone(&self.region),
            offset,
            length,
        }
    }
}

/// A range of mapped memory on loan to the kernel for one disk operation.
///
/// The loan's contract: for a *write to disk* the owner may go on appending beyond the bytes
/// it counts on (checksums reject a torn tail); for a *read from disk* the owner must not look
/// at the range until the operation has completed.
#[derive(Debug)]
pub struct KernelBlock {
    region: Arc<Region>,
    offset: usize,
    length: usize,
}

impl KernelBlock {
    /// Address for a system call. Rust code must not dereference it.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        // SAFETY: offset and length were checked against the mapping when the block was made.
        unsafe { self.region.as_ptr().add(self.offset) }
    }

    /// Bytes on loan.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Copies the bytes out, as a disk would at some moment of a write.
    ///
    /// For simulated disks, which run on the owner's own thread.
    #[cfg(feature = "sim")]
    pub fn copy_to(&self, target: &mut [u8]) {
        assert!(
            target.len() <= self.length,
            "copy of {} from {}",
            target.len(),
            self.length
        );
        // SAFETY: in bounds by the assertion; the simulator runs disk and owner on one thread,
        // so nothing writes the range during the copy.
        unsafe { std::ptr::copy_nonoverlapping(self.as_ptr(), target.as_mut_ptr(), target.len()) }
    }

    /// Copies bytes in, as a disk does when a read completes. See [`copy_to`](Self::copy_to).
    #[cfg(feature = "sim")]
    pub fn copy_from(&self, source: &[u8]) {
        assert!(
            source.len() <= self.length,
            "copy of {} into {}",
            source.len(),
            self.length
        );
        // SAFETY: in bounds by the assertion; by the loan's contract the owner holds no
        // reference into the range until the operation completes.
        unsafe { std::ptr::copy_nonoverlapping(source.as_ptr(), self.as_ptr(), source.len()) }
    }
}

/// Memory of a simulated host, which outlives the processes that map it one after the other.
#[cfg(feature = "sim")]
#[derive(Debug)]
pub struct HostMemory {
    region: Arc<Region>,
}

#[cfg(feature = "sim")]
impl HostMemory {
    /// Allocates `length` zeroed bytes.
    ///
    /// # Errors
    /// The operating system's, when it has no memory to give.
    pub fn allocate(length: usize) -> io::Result<Self> {
        let region = Arc::new(Region::anonymous(length)?);
        Ok(Self { region })
    }

    /// The memory, for the one process that has it now.
    ///
    /// # Panics
    /// While somebody has it, the kernel included: an [`AtomicBuffer`] has one owner.
    #[must_use]
    pub fn map(&self) -> AtomicBuffer {
        assert_eq!(Arc::strong_count(&self.region), 1, "memory with an owner");
        AtomicBuffer {
            region: Arc::clone(&self.region),
            length: self.region.length(),
            not_sync: PhantomData,
        }
    }

    /// Other memory with the same bytes, for another future.
    ///
    /// # Errors
    /// See [`allocate`](Self::allocate).
    ///
    /// # Panics
    /// See [`map`](Self::map).
    pub fn copy(&self) -> io::Result<Self> {
        let copy = Self::allocate(self.region.length())?;
        let (from, mut to) = (self.map(), copy.map());
        let length = from.length();
        to.bytes_mut(0, length)
            .copy_from_slice(from.bytes(0, length));
        Ok(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_starts_as_zeros_and_keeps_what_is_written() {
        let mut buffer = AtomicBuffer::allocate(8192).unwrap();
        assert!(buffer.bytes(0, 8192).iter().all(|b| *b == 0));
        buffer.bytes_mut(100, 3).copy_from_slice(b"abc");
        buffer.put_i32_release(64, -7);
        assert_eq!(buffer.get_i32_acquire(64), -7);
        assert_eq!(buffer.bytes(100, 3), b"abc");
        buffer.zero(0, 8192);
        assert!(buffer.bytes(0, 8192).iter().all(|b| *b == 0));
    }

    #[cfg(feature = "sim")]
    #[test]
    fn memory_of_a_host_keeps_what_one_process_after_the_other_has_written() {
        let memory = HostMemory::allocate(4096).unwrap();
        memory.map().bytes_mut(7, 2).copy_from_slice(b"ab");
        let copy = memory.copy().unwrap();
        memory.map().bytes_mut(7, 2).copy_from_slice(b"cd");
        assert_eq!(memory.map().bytes(7, 2), b"cd");
        assert_eq!(copy.map().bytes(7, 2), b"ab");
    }

    #[cfg(feature = "sim")]
    #[test]
    #[should_panic(expected = "memory with an owner")]
    fn memory_of_a_host_has_one_owner_at_a_time() {
        let memory = HostMemory::allocate(4096).unwrap();
        let _first = memory.map();
        let _second = memory.map();
    }

    #[test]
    #[should_panic(expected = "outside a buffer")]
    fn access_outside_the_buffer_is_refused() {
        let buffer = AtomicBuffer::allocate(4096).unwrap();
        let _ = buffer.bytes(4090, 7);
    }
}
