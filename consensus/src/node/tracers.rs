//! A node's trace: one file with a ring of records for each agent that traces, so that every ring
//! has one writer.

use std::io;
use std::path::Path;

use lockstep_transport::concurrent::AtomicBuffer;
use lockstep_transport::time::Nanos;
use lockstep_transport::trace::{TRACE_HEADER_LENGTH, TRACE_RECORD_LENGTH, TraceRecord, Tracer};

/// Name of the trace file in a node's directory.
pub const TRACE_FILE: &str = "trace.dat";

/// Records kept of a node: 40 MiB.
const TRACE_RECORDS: usize = 1 << 20;

/// Records of the rings of consensus, of the service and of the side that faces clients. A leader
/// of three writes three of a message into the second and one into the third; into the first
/// sixteen in a closed loop, and nine where answers are not logged: twelve is between them.
/// `lockstep bench` traces as many messages as fit into each.
pub const RING_RECORDS: [usize; 3] = [
    TRACE_RECORDS / 16 * 12,
    TRACE_RECORDS / 16 * 3,
    TRACE_RECORDS / 16,
];

/// Where each ring begins: on a page.
const RING_OFFSETS: [usize; 3] = [
    0,
    ring_length(RING_RECORDS[0]),
    ring_length(RING_RECORDS[0]) + ring_length(RING_RECORDS[1]),
];

/// Bytes of the trace file.
pub(super) const TRACE_LENGTH: usize = RING_OFFSETS[2] + ring_length(RING_RECORDS[2]);

/// Bytes of a ring of so many records, in whole pages.
const fn ring_length(records: usize) -> usize {
    (TRACE_HEADER_LENGTH + records * TRACE_RECORD_LENGTH).next_multiple_of(4096)
}

/// Where the agents of a node trace to.
#[derive(Debug)]
pub struct Tracers {
    /// Ingress, append, replication, acknowledgements, commit.
    pub consensus: Tracer,
    /// Execution.
    pub service: Tracer,
    /// Connects and egress.
    pub clients: Tracer,
}

impl Tracers {
    /// None of them records anything.
    #[must_use]
    pub fn disabled() -> Self {
        let [consensus, service, clients] = [(); 3].map(|()| Tracer::disabled());
        Self {
            consensus,
            service,
            clients,
        }
    }

    /// Records for `member` into the trace file at `path`, afresh: one message in `sample_every`,
    /// at the times of `clock`.
    ///
    /// # Errors
    /// The operating system's, when the file cannot be mapped.
    pub(super) fn create(
        path: &Path,
        member: u8,
        clock: fn() -> Nanos,
        sample_every: u64,
    ) -> io::Result<Self> {
        let tracer = |mut ring: AtomicBuffer| {
            ring.zero(0, TRACE_HEADER_LENGTH);
            ring.pre_touch();
            Tracer::new(member, ring, clock, sample_every)
        };
        let [consensus, service, clients] = rings(path)?.map(tracer);
        Ok(Self {
            consensus,
            service,
            clients,
        })
    }
}

/// The records in a node's trace file, each agent's oldest first; none where there is no such file,
/// as where nothing is traced. For cold readers, after the run.
///
/// # Errors
/// The operating system's, when the file cannot be mapped.
pub fn read_trace(path: &Path) -> io::Result<Vec<TraceRecord>> {
    // Mapping it would make it, with all its length on the member's disk.
    if !path.try_exists()? {
        return Ok(Vec::new());
    }
    Ok(rings(path)?.iter().flat_map(Tracer::read).collect())
}

fn rings(path: &Path) -> io::Result<[AtomicBuffer; 3]> {
    let ring = |index: usize| {
        let length = ring_length(RING_RECORDS[index]);
        AtomicBuffer::map_file_part(path, RING_OFFSETS[index], length)
    };
    Ok([ring(0)?, ring(1)?, ring(2)?])
}

#[cfg(test)]
mod tests {
    use lockstep_transport::trace::TracePoint;

    use super::*;

    #[test]
    fn who_looks_for_a_trace_where_none_is_makes_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(TRACE_FILE);
        assert_eq!(read_trace(&path).unwrap(), []);
        assert!(!path.exists());
    }

    #[test]
    fn each_agent_has_a_ring_of_its_own_and_a_reader_finds_them_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(TRACE_FILE);
        let mut tracers = Tracers::create(&path, 1, || 42, 1).unwrap();
        tracers.clients.message(TracePoint::ConnectCommit, 7, 0);
        for position in 0..=RING_RECORDS[1] as i64 {
            let point = TracePoint::ExecuteService;
            tracers.service.effect(point, position, position + 32);
        }
        tracers.consensus.cursor(TracePoint::RequestCommit, 0, 64);
        let points = |point| {
            let records = read_trace(&path).unwrap();
            records
                .iter()
                .filter(|record| record.point == point)
                .count()
        };
        assert_eq!(points(TracePoint::RequestCommit), 1);
        assert_eq!(points(TracePoint::ConnectCommit), 1);
        // One more than it has room for, in whole pages: its neighbours lost nothing by it.
        assert!(points(TracePoint::ExecuteService) >= RING_RECORDS[1]);
        let length = std::fs::metadata(&path).unwrap().len();
        assert_eq!(length, TRACE_LENGTH as u64);
    }
}
