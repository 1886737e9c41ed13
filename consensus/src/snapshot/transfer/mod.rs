//! How a snapshot gets from a member that has it to one that lacks it (`wire.md` D.5).
//!
//! [`offers`] knows who has which one, [`fetch`] asks for it in pieces and puts them in order,
//! [`receiver`] does all that until it lies in a file, [`serve`] answers. They are driven by
//! whoever owns the members' port and the disk. What it says is looked at by whoever installs it.

pub mod fetch;
pub mod offers;
mod pace;
mod patience;
pub mod receiver;
pub mod serve;
