//! The consensus module as action lists: what it asks for, in which order, after which event.

mod commit;
mod election;
mod hand_over;
mod harness;
mod joining;
mod log_truth;
mod regressions;
