//! Lockstep's transport: the bytes everything else is built on.
//!
//! Three-term log buffers with Aeron's layout ([`log_buffer`]), Aeron's frames on the wire
//! ([`protocol`]), the fields of everything else ([`codec`]), the two sides of a reliable stream
//! as plain structs ([`stream`]), and the ports through which they reach a network
//! ([`datagram_port`], implemented in [`media`]).
//!
//! # Colours
//! Everything here is *pure* (arguments only) except [`media`] and [`agent`], which are shells:
//! sockets, io_uring, mapped files, threads and the real clock live there.
//!
//! # Surface
//! What is public though nobody in this workspace needs it:
//! - [`log_buffer::ExclusiveAppender::abort`]: the other end of a claim.
//!
//! # Unsafe
//! Only [`concurrent`] (memory shared with the kernel or other processes), [`media`] (system
//! calls) and [`allocations`] (a global allocator) may use `unsafe`; everything else is denied it.
#![deny(unsafe_code)]

pub mod agent;
#[allow(unsafe_code, reason = "unsafe fence: implements the global allocator")]
pub mod allocations;
pub mod codec;
#[allow(
    unsafe_code,
    reason = "unsafe fence: memory shared with the kernel and other processes"
)]
pub mod concurrent;
pub mod datagram_port;
pub mod fault;
#[cfg(feature = "sim")]
pub mod fill;
pub mod ids;
pub mod invariants;
pub mod log_buffer;
pub mod marks;
#[allow(unsafe_code, reason = "unsafe fence: system calls")]
pub mod media;
pub mod notices;
pub mod port_counters;
pub mod port_trouble;
pub mod position;
pub mod prng;
pub mod protocol;
pub mod queued_port;
pub mod record_ring;
pub mod setting;
#[cfg(feature = "sim")]
pub mod sim;
pub mod stable_hash;
pub mod stream;
pub mod time;
pub mod trace;
