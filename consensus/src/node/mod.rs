//! A member as a whole: its duty cycle, how it starts and ends, and the shell around it.

mod agent_threads;
pub mod birth;
#[cfg(feature = "sim")]
pub(crate) mod bounds;
mod carrying_out;
pub mod closing;
pub mod cluster_node;
mod completions;
pub mod consensus_agent;
pub mod control;
pub mod counters;
pub mod cycle_budget;
pub mod facts;
pub mod fault;
mod forfeiture;
pub mod launch;
pub mod launch_error;
pub mod leadership;
mod leaving;
mod leaving_step;
pub mod log_file;
mod log_memory;
mod measured_agent;
pub mod notice_printer;
pub mod offline;
#[cfg(feature = "sim")]
pub(crate) mod planting;
mod publishing;
mod recovering;
pub mod shared_file;
mod slow_service;
mod snapshot_on_stop;
mod snapshot_start;
pub mod start;
pub mod start_error;
pub mod start_line;
pub mod thread_plan;
pub mod tracers;
mod unusable_snapshot;
mod work_time;
