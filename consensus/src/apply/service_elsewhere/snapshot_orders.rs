//! The state of a service on a thread of its own: it is ordered to write it, and what it writes is
//! taken as fast as it is wanted.

use lockstep_service::container::ServiceFault;
use lockstep_service::snapshot::{STEP_LENGTH, SnapshotProgress, SnapshotWriter};

use super::{ServiceElsewhere, SnapshotOrder};
use crate::apply::service_queue::{Order, Report};
use crate::node::fault::NodeFault;

/// Orders that there is to be room for when a snapshot is ordered: this one, that it is given up,
/// and the question for a hash.
const ORDERS: usize = 3;

impl ServiceElsewhere {
    /// Whether the service takes snapshots.
    pub const fn takes_snapshots(&self) -> bool {
        self.takes_snapshots
    }

    /// The service is to write its state as it is now: nothing is handed over before that is done
    /// or given up.
    ///
    /// # Panics
    /// When it has not executed everything, or writes already.
    pub fn begin_snapshot(&mut self) {
        assert!(self.handed.is_empty(), "a snapshot in the middle");
        assert!(self.snapshot == SnapshotOrder::None, "one at a time");
        self.snapshot = SnapshotOrder::Wanted;
    }

    /// Nobody wants to know its state any more.
    pub fn abandon_snapshot(&mut self) {
        if self.snapshot == SnapshotOrder::Ordered {
            self.ends.orders.push(Order::AbandonSnapshot, &[]);
            self.is_to_be_woken = true;
            self.snapshots_given_up += 1;
        }
        self.snapshot = SnapshotOrder::None;
    }

    /// Takes the next part of what it has written, about 64 KiB, and hands it on to `writer`. Where
    /// that has got nothing there is nothing, and this end is woken when there is.
    ///
    /// # Errors
    /// When it has stopped, or cannot write its state: then there is no snapshot.
    pub fn snapshot_step(
        &mut self,
        writer: &mut SnapshotWriter,
    ) -> Result<SnapshotProgress, NodeFault> {
        if self.snapshot == SnapshotOrder::Wanted && self.ends.orders.has_room(ORDERS, 0) {
            self.ends.orders.push(Order::Snapshot, &[]);
            self.snapshot = SnapshotOrder::Ordered;
            self.is_to_be_woken = true;
        }
        let taken = self.take_records(writer);
        self.wake();
        taken
    }

    fn take_records(&mut self, writer: &mut SnapshotWriter) -> Result<SnapshotProgress, NodeFault> {
        // In this order: what it did before it stopped was told before.
        let has_stopped = self.has_stopped();
        let mut taken = 0;
        while taken < STEP_LENGTH {
            let Some(report) = self.ends.reports.pop(&mut self.effect) else {
                if has_stopped {
                    return Err(self.why_stopped());
                }
                break;
            };
            self.is_to_be_woken = true;
            match report {
                Report::Hash(state) => self.on_hash(state),
                // All at once: who waits sees by the snapshot whether there may be more.
                Report::SnapshotRecord { .. } if self.snapshots_given_up > 0 => {}
                Report::SnapshotRecord { length } => {
                    taken += length;
                    let appended = writer.append_record(&self.effect);
                    appended.map_err(|error| self.outputs.no_snapshot(error))?;
                }
                Report::SnapshotEnded { has_failed } if self.snapshots_given_up > 0 => {
                    self.drop_ended(has_failed);
                }
                Report::SnapshotEnded { has_failed } => {
                    self.snapshot = SnapshotOrder::None;
                    return match self.take_fault(has_failed) {
                        Some(fault) => Err(fault.into()),
                        None => Ok(SnapshotProgress::Done),
                    };
                }
                Report::Effect { .. } | Report::Executed { .. } => {
                    unreachable!("nothing is executed while a snapshot is written")
                }
            }
        }
        Ok(SnapshotProgress::More)
    }

    /// No more comes of a snapshot that was given up.
    pub(super) fn drop_ended(&mut self, has_failed: bool) {
        self.snapshots_given_up -= 1;
        drop(self.take_fault(has_failed));
    }

    fn take_fault(&mut self, has_failed: bool) -> Option<ServiceFault> {
        let fault = has_failed.then(|| self.ends.snapshot_faults.pop());
        fault.map(|fault| fault.expect("it is told before"))
    }
}
