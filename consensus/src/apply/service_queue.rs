//! What goes between whoever applies the log and a service on a thread of its own.
//!
//! The one hands over what the service is to execute, copied, in the order of the log; the other
//! says what the service emitted and that it is done. Both queues are bounded: while the first is
//! full nothing more is applied, while the second is, nothing more is executed.

use lockstep_service::container::ServiceFault;
use lockstep_service::log_entry::EntryHeader;
use lockstep_service::outbox::{EFFECT_CHARGE_MIN, FAILURE_CHARGE, OutboxLimits};
use lockstep_transport::agent::WakerSlot;
use lockstep_transport::ids::SessionId;
use lockstep_transport::position::Position;
use lockstep_transport::record_ring::{self, Record, RecordReader, RecordWriter};
use lockstep_transport::time::Nanos;

use crate::apply::verdict::ServiceOrder;

/// Entries that may wait for the service: some milliseconds of one that is quick.
pub(crate) const ORDERS_MAX: usize = 1024;

/// Bytes of entries that may wait; room for two of the greatest, if these are longer.
const ORDER_BYTES: usize = 1 << 20;

/// Bytes of effects on their way, or of a snapshot; room for the effects of two entries at their
/// worst, if these are more.
const REPORT_BYTES: usize = 1 << 20;

/// An entry, and what the service is to do with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    /// Position of its first frame.
    pub position: Position,
    /// Position after its last frame.
    pub end: Position,
    /// Its header.
    pub header: EntryHeader,
    /// What to do with it.
    pub order: ServiceOrder,
}

/// What the service is to do next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Does this with an entry, whose body it carries.
    Execute {
        /// This.
        task: Task,
        /// Whether to tell when it was done, for the trace.
        is_traced: bool,
        /// Bytes of its body.
        length: usize,
    },
    /// Tells the hash of its state.
    Hash,
    /// Writes its state: record after record of a snapshot, while nothing else is executed.
    Snapshot,
    /// Gives up the snapshot ordered last, if it is not written yet.
    AbandonSnapshot,
}

impl Record for Order {
    fn length(&self) -> usize {
        match self {
            Self::Execute { length, .. } => *length,
            Self::Hash | Self::Snapshot | Self::AbandonSnapshot => 0,
        }
    }
}

/// What the service has done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Report {
    /// Emitted this, in the entry that it says it has executed next.
    Effect {
        /// To this session.
        session: SessionId,
        /// It only says that the service could not emit what it wanted.
        is_failure: bool,
        /// Bytes of it.
        length: usize,
    },
    /// Executed the entry.
    Executed {
        /// Its position.
        position: Position,
        /// Hash over everything ever emitted.
        output_hash: u64,
        /// Before the service was called, after it, and after its effects were handed over, by
        /// the trace's clock; 0 where not asked for.
        times: [Nanos; 3],
    },
    /// This is the hash of its state, after everything that was ordered before.
    Hash(u64),
    /// The next record of the snapshot that was ordered.
    SnapshotRecord {
        /// Bytes of it.
        length: usize,
    },
    /// No more comes of the snapshot: it is written, was given up, or has failed. Once for each
    /// that was ordered.
    SnapshotEnded {
        /// It could not be written: why is among the snapshots' faults.
        has_failed: bool,
    },
}

impl Record for Report {
    fn length(&self) -> usize {
        match self {
            Self::Effect { length, .. } | Self::SnapshotRecord { length } => *length,
            Self::Executed { .. } | Self::Hash(_) | Self::SnapshotEnded { .. } => 0,
        }
    }
}

/// The applier's ends.
#[derive(Debug)]
pub(crate) struct ApplierEnds {
    /// Orders to the service.
    pub orders: RecordWriter<Order>,
    /// What it has done.
    pub reports: RecordReader<Report>,
    /// Why it has stopped.
    pub faults: rtrb::Consumer<ServiceFault>,
    /// Why it has not written a snapshot.
    pub snapshot_faults: rtrb::Consumer<ServiceFault>,
    /// Wakes this end.
    pub own_waker: WakerSlot,
    /// Wakes the service.
    pub service_waker: WakerSlot,
    /// Bytes of an entry's body at most.
    pub body_max: usize,
}

/// The service's ends.
#[derive(Debug)]
pub(crate) struct ServiceEnds {
    /// Orders from the applier.
    pub orders: RecordReader<Order>,
    /// What was done.
    pub reports: RecordWriter<Report>,
    /// Why it has stopped.
    pub faults: rtrb::Producer<ServiceFault>,
    /// Why it has not written a snapshot.
    pub snapshot_faults: rtrb::Producer<ServiceFault>,
    /// Wakes this end.
    pub own_waker: WakerSlot,
    /// Wakes the applier.
    pub applier_waker: WakerSlot,
    /// Records and bytes that one entry's effects take at most.
    pub effects_max: (usize, usize),
    /// Bytes of an entry's body at most.
    pub body_max: usize,
}

/// The queues for a service of these limits that is handed bodies of at most `body_max` bytes.
#[must_use]
pub(crate) fn queues(limits: &OutboxLimits, body_max: usize) -> (ApplierEnds, ServiceEnds) {
    let effects_bytes = limits.effect_bytes_per_cause + FAILURE_CHARGE;
    let by_bytes = effects_bytes / EFFECT_CHARGE_MIN;
    let effects = by_bytes.min(limits.effects_per_cause as usize + 1);
    // Each entry's effects, and that it is executed.
    let effects_max = (effects + 1, effects_bytes);
    let order_bytes = ORDER_BYTES.max(2 * body_max);
    let report_bytes = REPORT_BYTES.max(2 * effects_bytes);
    let reports_max = ORDERS_MAX.max(2 * effects_max.0);
    let (orders, orders_end) = record_ring::queue(ORDERS_MAX, order_bytes);
    let (reports_end, reports) = record_ring::queue(reports_max, report_bytes);
    let (faults_end, faults) = rtrb::RingBuffer::new(1);
    let (snapshot_faults_end, snapshot_faults) = rtrb::RingBuffer::new(1);
    let (applier_waker, service_waker) = (WakerSlot::default(), WakerSlot::default());
    let applier = ApplierEnds {
        orders,
        reports,
        faults,
        snapshot_faults,
        own_waker: applier_waker.clone(),
        service_waker: service_waker.clone(),
        body_max,
    };
    let service = ServiceEnds {
        orders: orders_end,
        reports: reports_end,
        faults: faults_end,
        snapshot_faults: snapshot_faults_end,
        own_waker: service_waker,
        applier_waker,
        effects_max,
        body_max,
    };
    (applier, service)
}
