//! What committed entries do, in order, on every member.

pub mod applier;
pub mod cause_numbers;
pub mod void_responses;
