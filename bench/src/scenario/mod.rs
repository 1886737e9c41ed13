//! Scenarios: whole clusters under load, in one process or in several.

pub mod addresses;
pub mod agreement;
pub mod bench_client;
pub mod bench_error;
pub mod cluster;
pub mod cluster_bench;
mod cluster_run;
pub mod disk_plan;
pub mod embedded;
pub mod failover;
mod failover_report;
pub mod idle;
pub mod load_client;
pub mod node_process;
pub mod orders;
mod outage;
pub mod process_cluster;
pub mod run_directory;
pub mod service_choice;
mod snapshot_request;
mod state_plan;
pub mod thread_plan;
pub mod trace_plan;
pub mod victims;
mod watch;
pub mod workload;
