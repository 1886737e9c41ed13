//! Whether the members of a cluster agree, seen from outside: counters, hashes, log files.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "shell: reads files of other processes, yields"
)]

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use lockstep_archive::disk::SegmentName;
use lockstep_archive::log::segment::LOG_RECORDING_ID;
use lockstep_consensus::node::counters::Counter;
use lockstep_transport::media::monotonic_now;
use lockstep_transport::position::Position;
use lockstep_transport::time::{Nanos, SECOND};

use super::bench_error::BenchError;
use super::node_process::NodeProcess;
use super::process_cluster::ProcessCluster;

/// Members that have not caught up after so long will not.
const CATCH_UP_TIMEOUT_NS: Nanos = 30 * SECOND;

/// Bytes of two logs compared at a time.
const COMPARE_LENGTH: usize = 1 << 20;

fn disagreement(problem: String) -> BenchError {
    BenchError::Cluster { problem }
}

/// Waits until `reached` holds for all members; `meanwhile` is called over and over.
fn await_all(
    cluster: &mut ProcessCluster,
    what: &str,
    mut reached: impl FnMut(&mut NodeProcess) -> bool,
    mut meanwhile: impl FnMut(Nanos) -> usize,
) -> Result<(), BenchError> {
    let started = monotonic_now();
    while !cluster.members.iter_mut().all(&mut reached) {
        if meanwhile(monotonic_now()) > 0 {
            continue;
        }
        cluster.check()?;
        if monotonic_now() - started > CATCH_UP_TIMEOUT_NS {
            let seconds = CATCH_UP_TIMEOUT_NS / SECOND;
            let problem = format!("not all members {what} within {seconds} s");
            return Err(disagreement(problem));
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// Waits until every member has applied, durably, what the leader has committed by now.
///
/// # Errors
/// When there is no leader, a member ends, or one does not catch up.
pub fn await_caught_up(cluster: &mut ProcessCluster) -> Result<Position, BenchError> {
    await_caught_up_while(cluster, |_| 0)
}

/// The same, while `meanwhile` is called over and over with the time.
///
/// # Errors
/// When there is no leader, a member ends, or one does not catch up.
pub(crate) fn await_caught_up_while(
    cluster: &mut ProcessCluster,
    meanwhile: impl FnMut(Nanos) -> usize,
) -> Result<Position, BenchError> {
    let leader = cluster.await_leader()?;
    let commit = cluster.members[leader].counter(Counter::Commit);
    let has_all = |member: &mut NodeProcess| {
        member.counter(Counter::Applied) >= commit && member.counter(Counter::Durable) >= commit
    };
    await_all(cluster, "caught up", has_all, meanwhile)?;
    Ok(commit)
}

/// Asks every member for the hash of its service's state, once all have applied the same log;
/// `meanwhile` is called over and over with the time, to keep a client's session alive whose
/// end would change the state.
///
/// # Errors
/// When a member does not answer, or the hashes differ.
pub(crate) fn state_hash_while(
    cluster: &mut ProcessCluster,
    mut meanwhile: impl FnMut(Nanos) -> usize,
) -> Result<u64, BenchError> {
    let commit = await_caught_up_while(cluster, &mut meanwhile)?;
    for member in &mut cluster.members {
        if let Some(counters) = member.counters() {
            counters.ask_for_hashes();
        }
    }
    let has_told = |member: &mut NodeProcess| {
        member.counter(Counter::HashRequest) == 0 && member.counter(Counter::HashPosition) >= commit
    };
    await_all(cluster, "told their state's hash", has_told, meanwhile)?;
    let mut hashes = cluster.members.iter_mut().map(|member| {
        let hash = member.counter(Counter::StateHash) as u64;
        (hash, member.counter(Counter::OutputHash) as u64)
    });
    let first = hashes.next().unwrap_or_default();
    let others: Vec<_> = hashes.collect();
    if others.iter().any(|other| *other != first) {
        let problem = format!("the members' states differ: {first:x?} and {others:x?}");
        return Err(disagreement(problem));
    }
    Ok(first.0)
}

/// The same, without anything to do meanwhile.
///
/// # Errors
/// When a member does not answer, or the hashes differ.
pub fn state_hash(cluster: &mut ProcessCluster) -> Result<u64, BenchError> {
    state_hash_while(cluster, |_| 0)
}

/// Compares the recorded logs of all members byte by byte below `commit`, as far down as all of
/// them still keep theirs. Returns from where on.
///
/// # Errors
/// Where two of them differ, or what cannot be read.
pub fn compare_logs(
    cluster: &mut ProcessCluster,
    segment_length: usize,
    commit: Position,
) -> Result<Position, BenchError> {
    let mut from = log_start(cluster);
    loop {
        let members = cluster.members.iter();
        let directories: Vec<&Path> = members.map(NodeProcess::directory).collect();
        let compared = compare(&directories, segment_length, (from, commit));
        // What could not be read may have been let go of meanwhile.
        let start = log_start(cluster);
        match compared {
            Err(_) if start > from => from = start,
            compared => return compared.map(|()| from),
        }
    }
}

/// Where the log starts that begins last.
fn log_start(cluster: &mut ProcessCluster) -> Position {
    let members = cluster.members.iter_mut();
    let starts = members.map(|member| member.counter(Counter::LogStart));
    starts.max().unwrap_or(0)
}

fn compare(
    directories: &[&Path],
    segment_length: usize,
    (from, commit): (Position, Position),
) -> Result<(), BenchError> {
    let segment = segment_length as Position;
    let Some((first, others)) = directories.split_first() else {
        return Ok(());
    };
    let mut one = vec![0; COMPARE_LENGTH];
    let mut other = vec![0; COMPARE_LENGTH];
    let mut position = from;
    while position < commit {
        let base = position - position % segment;
        let end = commit.min(base + segment);
        let length = ((end - position) as usize).min(COMPARE_LENGTH);
        let offset = (position - base) as u64;
        read(first, base, offset, &mut one[..length])?;
        for directory in others {
            read(directory, base, offset, &mut other[..length])?;
            if let Some(at) = (0..length).find(|at| one[*at] != other[*at]) {
                let problem = format!(
                    "the logs in {} and {} differ at {}, below the commit position {commit}",
                    first.display(),
                    directory.display(),
                    position + at as Position
                );
                return Err(disagreement(problem));
            }
        }
        position += length as Position;
    }
    Ok(())
}

fn read(directory: &Path, base: Position, offset: u64, bytes: &mut [u8]) -> Result<(), BenchError> {
    let name = SegmentName {
        recording_id: LOG_RECORDING_ID,
        position: base,
    };
    let path = directory.join(name.file_name());
    let what = format!("failed to read {} at {offset}", path.display());
    let file = std::fs::File::open(&path).map_err(BenchError::io(what.clone()))?;
    file.read_exact_at(bytes, offset)
        .map_err(BenchError::io(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_compared_from_where_all_keep_them_up_to_the_commit_position_and_no_further() {
        let place = tempfile::tempdir().unwrap();
        let directories = [place.path().join("a"), place.path().join("b")];
        for (index, directory) in directories.iter().enumerate() {
            std::fs::create_dir(directory).unwrap();
            for base in [0, 4096] {
                let mut bytes = vec![7_u8; 4096];
                bytes[4000] = index as u8;
                let name = format!("0-{base}.rec");
                std::fs::write(directory.join(name), &bytes).unwrap();
            }
        }
        let paths: Vec<&Path> = directories.iter().map(|path| path.as_path()).collect();
        assert!(compare(&paths, 4096, (0, 4000)).is_ok());
        let error = compare(&paths, 4096, (0, 4032)).unwrap_err().to_string();
        assert!(error.contains("differ at 4000"), "{error}");
        assert!(compare(&paths, 4096, (0, 3 * 4096)).is_err());
        // What is kept no more is not compared.
        std::fs::remove_file(directories[0].join("0-0.rec")).unwrap();
        assert!(compare(&paths, 4096, (0, 4000)).is_err());
        assert!(compare(&paths, 4096, (4096, 8000)).is_ok());
    }
}
