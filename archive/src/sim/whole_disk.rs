//! A whole disk as desk and as engine of a queued one: what crosses is the operation as ordered.

use lockstep_transport::time::Nanos;

use super::disk::bytes_of;
use crate::disk::{Busy, Completion, Disk, DiskOp};
use crate::queued_disk::{Desk, Engine};

/// One of two handles onto the same disk, for either end. See the module.
#[derive(Debug)]
pub struct WholeDisk<D>(pub D);

/// An operation on its way, with the checksum of what it is to write.
#[derive(Debug)]
pub struct Ordered {
    operation: DiskOp,
    checksum: Option<u32>,
}

fn checksum(operation: &DiskOp) -> Option<u32> {
    match operation {
        DiskOp::Write { block, .. } => Some(bytes_of(block).1),
        _ => None,
    }
}

impl<D: Disk> Desk for WholeDisk<D> {
    type Files = D::Files;
    type Work = Ordered;

    fn files(&mut self) -> &mut Self::Files {
        self.0.files()
    }

    fn resolve(&mut self, _now: Nanos, operation: DiskOp) -> Result<Option<Ordered>, Busy> {
        let checksum = checksum(&operation);
        Ok(Some(Ordered {
            operation,
            checksum,
        }))
    }

    fn poll_completion(&mut self, _now: Nanos) -> Option<Completion> {
        None
    }
}

impl<D: Disk> Engine for WholeDisk<D> {
    type Work = Ordered;

    fn submit(&mut self, now: Nanos, work: Ordered) -> Result<(), Ordered> {
        assert_eq!(
            checksum(&work.operation),
            work.checksum,
            "bytes of a write changed on their way to the disk"
        );
        let taken = self.0.submit(now, work.operation);
        assert!(
            taken.is_ok(),
            "a disk has room for all that a near end lets out"
        );
        Ok(())
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        self.0.poll_completion(now)
    }

    fn flush(&mut self, now: Nanos) {
        self.0.flush(now);
    }

    fn next_deadline(&self) -> Option<Nanos> {
        self.0.next_deadline()
    }
}
