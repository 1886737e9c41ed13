//! UNSAFE FENCE 1: memory that the kernel or another process may also touch.
//!
//! [`AtomicBuffer`] owns a page-aligned mapping and is the only way the rest of the crate sees
//! one. It is not `Clone` and not `Sync`: within a process one owner writes, so Rust's own
//! borrow rules keep readers and the writer apart. What must be handed to the kernel travels as
//! a [`KernelBlock`], which keeps the mapping alive but cannot be read or written from Rust.

mod atomic_buffer;
mod region;

#[cfg(feature = "sim")]
pub use atomic_buffer::HostMemory;
pub use atomic_buffer::{AtomicBuffer, KernelBlock};
