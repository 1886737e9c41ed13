//! Lockstep's measuring: scenarios, load, the floor, histograms, reports and the latency
//! budget. The command line parses and prints; everything it measures is here.
//!
//! # Unsafe
//! Only [`floor`] may use `unsafe`: it talks to the kernel as directly as possible, or it would be
//! no floor.
#![deny(unsafe_code)]

pub mod budget;
mod cpu_time;
pub mod environment;
#[allow(
    unsafe_code,
    reason = "unsafe fence: as close to the kernel as possible"
)]
pub mod floor;
pub mod histogram;
mod latency_slots;
pub mod load;
pub mod member_summary;
mod memory;
pub mod report;
mod report_words;
pub mod scenario;
pub mod shortfall;
pub mod snapshot_figures;
pub mod watched;
