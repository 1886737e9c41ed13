//! The main job: a cluster under load, the floor beside it, and the report.

use std::path::Path;

use super::bench_client::client;
use super::bench_error::BenchError;
use super::cluster_bench::ClusterBench;
use super::cluster_run::ClusterRun;
use super::embedded::{self, EmbeddedRun};
use super::process_cluster;
use super::run_directory::RunDirectory;
use super::watch::Watch;
use crate::budget::budget;
use crate::environment::Environment;
use crate::floor;
use crate::load::{Load, LoadConfig};
use crate::report::{FloorReport, Report};
use crate::shortfall::shortfalls;
use crate::snapshot_figures::{SLOTS_NS, SnapshotFigures};

/// Runs the scenario.
///
/// # Errors
/// When it could not be run; a run that went wrong is a report with errors.
pub fn run(bench: &ClusterBench) -> Result<Report, BenchError> {
    let (bench, downgrades) = bench.fitted();
    let bench = &bench;
    bench.check()?;
    for note in &downgrades {
        eprintln!("lockstep: {note}");
    }
    let cluster = bench.cluster_config()?;
    let plan = bench.disk_plan(&cluster);
    if let Some(plan) = &plan {
        plan.check_load(&bench.load)?;
    }
    for node in bench.node_configs(&bench.directory) {
        node.validate(&cluster)?;
    }
    let directory = RunDirectory::create(&bench.directory, bench.is_kept)?;
    let floor_config = bench
        .has_floor()
        .then(|| bench.floor_config(directory.path()));
    let before = floor_config.as_ref().map(floor::measure).transpose()?;
    let capped = LoadConfig {
        messages_cap: plan.map_or(u64::MAX, |plan| plan.messages_max()),
        ..bench.load
    };
    let load = Load::in_slots(capped, &SLOTS_NS);
    let nodes = bench.node_configs(directory.path());
    let directories = nodes.iter().map(|node| node.directory.clone());
    let watch = Watch::start(directories.collect(), bench.disk_budget_bytes)
        .map_err(BenchError::io("a thread to look at the members"))?;
    let mut run = if bench.is_processes {
        process_cluster::run(bench, &cluster, directory.path(), load)?
    } else {
        let run = EmbeddedRun {
            cluster: &cluster,
            nodes: &nodes,
            service: bench.service,
            idle: bench.idle,
            cores: &bench.cores,
        };
        let open = || client(&cluster, bench.workload(), 0, bench.trace_every);
        embedded::run(&run, open, load)?
    };
    let watched = watch.finish();
    for (member, seen) in run.members.iter_mut().zip(&watched.members) {
        member.disk_bytes_max = seen.disk_bytes_max;
        member.memory = seen.memory;
    }
    let snapshots = run.client.load();
    let snapshots = snapshots.map(|load| SnapshotFigures::of(load, &watched));
    let after = floor_config.as_ref().map(floor::measure).transpose()?;
    let floor = before
        .zip(after)
        .map(|(before, after)| FloorReport::smaller_of(&before, &after));
    Ok(Report {
        notes: [bench.notes(), downgrades].concat(),
        snapshots: snapshots.unwrap_or_default(),
        ..report(bench, directory.path(), run, floor)
    })
}

fn report(
    bench: &ClusterBench,
    directory: &Path,
    run: ClusterRun,
    floor: Option<FloorReport>,
) -> Report {
    let mut environment = Environment::read(directory);
    environment.io_backend = run.start_lines.first().cloned().unwrap_or_default();
    let mut errors = run.client.faults();
    let load = run.client.load();
    let sent = load.map_or(0, Load::sent);
    let received = load.map_or(0, Load::received);
    match load {
        Some(load) => errors.extend(shortfalls(load)),
        None => errors.push("the load never started".to_owned()),
    }
    let measured = load.map_or(0, |load| load.latencies().count());
    let per_message = |count: i64| (measured > 0).then(|| count as f64 / measured as f64);
    let allocations = run.client.allocations().unwrap_or(0) as i64 + run.other_allocations;
    Report {
        title: bench.title(),
        notes: Vec::new(),
        config: bench.to_json(),
        environment,
        throughput_per_s: load.map_or(0.0, Load::throughput),
        sent,
        received,
        errors,
        members: run.members,
        disk_budget_bytes: bench.disk_budget_bytes,
        snapshots: SnapshotFigures::default(),
        latency: load
            .map(|load| load.latencies_of_all_due().summary())
            .unwrap_or_default(),
        budget: (bench.trace_every > 0).then(|| budget(&run.trace)),
        allocations_per_message: per_message(allocations),
        syscalls_per_message: per_message(run.calls).filter(|calls| *calls > 0.0),
        floor,
    }
}
