//! Reads the workspace's sources as far as names go: tokens, items, modules, and which item a
//! path means. No types: what a call of a method reaches is not known here.
#![allow(dead_code, reason = "each test uses its part")]

pub mod circles;
pub mod items;
pub mod surface;
pub mod tokens;
pub mod world;
