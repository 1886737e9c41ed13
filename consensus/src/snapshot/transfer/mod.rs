//! How a snapshot gets from a member that has it to one that lacks it (`wire.md` D.5).
//!
//! [`offers`] knows who has which one, [`fetch`] asks for it in pieces and puts them in order,
//! [`serve`] answers. The latter two are driven by whoever owns the members' port and the disk.
//! What was fetched is looked at by whoever installs it: here it is bytes.

pub mod fetch;
pub mod offers;
mod pace;
mod patience;
pub mod serve;
