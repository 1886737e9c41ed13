//! What committed entries do, in order, on every member.

pub mod answers;
pub(crate) mod applied_log;
pub mod applier;
pub mod cause_numbers;
pub mod service_agent;
pub mod service_elsewhere;
pub mod service_queue;
pub mod service_runner;
pub mod verdict;
pub mod void_responses;
