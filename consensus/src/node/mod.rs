//! A member as a whole: its duty cycle, how it starts and ends, and the shell around it.

pub mod applying;
pub mod birth;
#[cfg(feature = "sim")]
pub(crate) mod bounds;
pub mod client_duties;
pub mod closing;
pub mod cluster_node;
pub mod counters;
pub mod cycle_budget;
pub mod fault;
pub mod housekeeping;
pub mod identity;
pub mod launch;
pub mod leadership;
pub mod member_duties;
pub mod membership_duties;
pub mod notice_printer;
pub mod output_duties;
#[cfg(feature = "sim")]
pub(crate) mod planting;
mod recovering;
pub mod shared_file;
mod sightings;
mod standing_watch;
pub mod start;
pub mod start_error;
pub mod start_line;
mod watch;
