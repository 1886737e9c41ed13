//! Lockstep's measuring: scenarios, load, the floor, histograms, reports and the latency
//! budget. The command line parses and prints; everything it measures is here.
//!
//! # Unsafe
//! Only [`floor`] (it talks to the kernel as directly as possible, or it would be no floor)
//! and [`allocations`] (a global allocator) may use `unsafe`.
#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "unsafe fence: implements the global allocator")]
pub mod allocations;
pub mod budget;
pub mod environment;
#[allow(
    unsafe_code,
    reason = "unsafe fence: as close to the kernel as possible"
)]
pub mod floor;
pub mod histogram;
pub mod load;
pub mod member_summary;
pub mod report;
pub mod scenario;
pub mod shortfall;
