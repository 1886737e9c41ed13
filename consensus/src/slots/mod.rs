//! Bounded tables of rows in numbered slots, and the orders in which rows want attention.
//!
//! A node has up to tens of thousands of sessions, images and channels, of which a cycle
//! concerns a handful. `SlotTable` keeps the rows and counts every look at one,
//! `SlotIndex` finds a row by what it is known as, `SlotList` holds those with work to do
//! in the order they got it, `SlotHeap` those that wait for a moment or a position, `DueSlots`
//! both, and says how many of them a duty cycle visits. Nothing here allocates after construction,
//! and nothing walks all rows.

mod due;
mod heap;
mod index;
mod list;
mod table;

pub(crate) use due::DueSlots;
pub(crate) use heap::SlotHeap;
pub(crate) use index::{HOST_GROUPS, SlotIndex, address_hash, host_group};
pub(crate) use list::SlotList;
pub use table::Slot;
pub(crate) use table::SlotTable;

/// In place of a slot's number, where there is none.
const NONE: u32 = u32::MAX;
