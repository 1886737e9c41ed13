//! A service on a thread of its own: executes what it is handed and says what came of it.
//!
//! It sees no log, no leader and no client, only its queues (`apply::service_queue`). A slow
//! service holds up applying, and with it answers: never acknowledgements, commit or heartbeats.

use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::container::{Container, ServiceFault, ServiceOutputs};
use lockstep_service::outbox::OutboxLimits;
use lockstep_service::snapshot::{SnapshotProgress, SnapshotReader, SnapshotWriter};
use lockstep_transport::agent::{Agent, WakeSources};
use lockstep_transport::time::Nanos;

use crate::apply::service_queue::{Order, Report, ServiceEnds, Task};
use crate::apply::verdict::ServiceOrder;

/// Entries executed in one call: between calls the thread sees that it is to end.
const ORDERS_PER_CALL: usize = 8;

/// See the module.
#[derive(Debug)]
pub struct ServiceRunner<S> {
    container: Container<S>,
    ends: ServiceEnds,
    body: Vec<u8>,
    clock: fn() -> Nanos,
    has_stopped: bool,
    /// The records of a snapshot that are not handed over yet.
    records: SnapshotWriter,
    snapshot: Option<Writing>,
}

/// A snapshot that is being written.
#[derive(Debug)]
enum Writing {
    /// This is the service's next step.
    Step(u64),
    /// All is written, or cannot be for this reason.
    Over(Option<ServiceFault>),
}

impl<S: ClusteredService> ServiceRunner<S> {
    /// For a service that nothing was handed to. The limits are the cluster's;
    /// `clock` is the trace's.
    #[must_use]
    pub(crate) fn new(
        service: S,
        (limits, message_max): (OutboxLimits, usize),
        ends: ServiceEnds,
        clock: fn() -> Nanos,
    ) -> Self {
        // Nothing waits here: the effects of an entry are handed over when it is executed.
        let limits = OutboxLimits {
            enabled: false,
            ..limits
        };
        let body = Vec::with_capacity(ends.body_max);
        Self {
            container: Container::new(service, limits.service, limits, message_max),
            ends,
            body,
            clock,
            has_stopped: false,
            records: SnapshotWriter::new(),
            snapshot: None,
        }
    }

    /// Has the service take its state from the sections that `reader` comes to next. `outputs` is
    /// what has come of it up to there.
    ///
    /// # Errors
    /// When it panics or refuses that.
    pub(crate) fn load_snapshot(
        &mut self,
        outputs: &ServiceOutputs,
        reader: &mut SnapshotReader<'_>,
    ) -> Result<(), ServiceFault> {
        self.container.outputs_mut().resume(outputs);
        self.container.load_snapshot(reader)
    }

    /// The service, to look at.
    #[must_use]
    pub const fn container(&self) -> &Container<S> {
        &self.container
    }

    fn execute_next(&mut self) -> bool {
        if self.has_stopped {
            return false;
        }
        let (records, bytes) = self.ends.effects_max;
        let has_room = self.ends.reports.has_room(records, bytes);
        // Also while a snapshot is written: it may be given up.
        let order = has_room.then(|| self.ends.orders.pop(&mut self.body));
        let Some(order) = order.flatten() else {
            return self.write_next();
        };
        match order {
            Order::Snapshot => {
                self.records.restart();
                let head = self.records.pending().len();
                self.records.consume(head);
                self.snapshot = Some(Writing::Step(0));
            }
            Order::AbandonSnapshot => {
                if self.snapshot.take().is_some() {
                    let ended = Report::SnapshotEnded { has_failed: false };
                    self.ends.reports.push(ended, &[]);
                }
            }
            Order::Hash => {
                let hash = Report::Hash(self.container.state_hash());
                self.ends.reports.push(hash, &[]);
            }
            Order::Execute {
                task, is_traced, ..
            } => self.execute(&task, is_traced),
        }
        // For each: the next one may take long, and this one's answer is not to wait for it.
        self.ends.applier_waker.wake();
        true
    }

    fn execute(&mut self, task: &Task, is_traced: bool) {
        let clock = self.clock;
        let time = || if is_traced { clock() } else { 0 };
        let called = time();
        if let Err(fault) = self.call(task) {
            self.stop(fault);
            return;
        }
        let returned = time();
        self.stage_effects();
        let executed = Report::Executed {
            position: task.position,
            output_hash: self.container.outputs().output_hash(),
            times: [called, returned, time()],
        };
        // At once: an entry is executed as a whole, or nothing is known of it.
        self.ends.reports.stage(executed, &[]);
        self.ends.reports.publish();
    }

    fn stop(&mut self, fault: ServiceFault) {
        self.has_stopped = true;
        let is_told = self.ends.faults.push(fault).is_ok();
        assert!(is_told, "a service stops once");
    }

    /// Hands over the next record of a snapshot, as fast as there is room, and has the service
    /// write more where there is none. Returns whether there was anything to do.
    fn write_next(&mut self) -> bool {
        let Some(snapshot) = &mut self.snapshot else {
            return false;
        };
        let reports = &mut self.ends.reports;
        let record = self.records.first_record();
        let length = record.len();
        if length > 0 {
            if !reports.has_room(1, length) {
                return false;
            }
            reports.push(Report::SnapshotRecord { length }, record);
            self.records.consume(length);
        } else {
            match snapshot {
                Writing::Step(step) => {
                    let step = *step;
                    self.write_step(step);
                }
                Writing::Over(fault) => {
                    let is_told = fault.is_none() || !self.ends.snapshot_faults.is_full();
                    if !is_told || !reports.has_room(1, 0) {
                        return false;
                    }
                    let fault = fault.take();
                    let has_failed = fault.is_some();
                    if let Some(fault) = fault {
                        let is_told = self.ends.snapshot_faults.push(fault).is_ok();
                        assert!(is_told, "there was room");
                    }
                    reports.push(Report::SnapshotEnded { has_failed }, &[]);
                    self.snapshot = None;
                }
            }
        }
        self.ends.applier_waker.wake();
        true
    }

    fn write_step(&mut self, step: u64) {
        self.snapshot = Some(
            match self.container.snapshot_step(step, &mut self.records) {
                Ok(SnapshotProgress::More) => Writing::Step(step + 1),
                Ok(SnapshotProgress::Done) => Writing::Over(None),
                Err(fault @ ServiceFault::Snapshot { .. }) => Writing::Over(Some(fault)),
                Err(fault) => return self.stop(fault),
            },
        );
    }

    fn call(&mut self, task: &Task) -> Result<(), ServiceFault> {
        let (position, end, header) = (task.position, task.end, &task.header);
        let container = &mut self.container;
        match task.order {
            ServiceOrder::Execute => container.apply_request(header, position, end, &self.body),
            ServiceOrder::Open(session) => {
                container.apply_session_open(header, position, end, session)
            }
            ServiceOrder::Close => container.apply_session_close(header, position, end),
            ServiceOrder::Term(term) => {
                container.apply_new_leadership_term(header, position, end, term)
            }
            ServiceOrder::Pass => {
                container.outputs_mut().advance(end);
                Ok(())
            }
            ServiceOrder::Compare | ServiceOrder::PassOver => {
                unreachable!("{:?} is not the service's to execute", task.order)
            }
        }
    }

    fn stage_effects(&mut self) {
        let reports = &mut self.ends.reports;
        for effect in self.container.outputs().outbox().direct() {
            let report = Report::Effect {
                session: effect.session,
                is_failure: effect.is_failure,
                length: effect.message.len(),
            };
            reports.stage(report, effect.message);
        }
        self.container.outputs_mut().outbox_mut().clear_direct();
    }
}

impl<S: ClusteredService> Agent for ServiceRunner<S> {
    fn role_name(&self) -> &'static str {
        "service"
    }

    fn do_work(&mut self, _now: Nanos) -> usize {
        let mut work = 0;
        while work < ORDERS_PER_CALL && self.execute_next() {
            work += 1;
        }
        work
    }

    fn name_wake_sources(&mut self, sources: &mut WakeSources) {
        self.ends.own_waker.fill(sources.waker());
    }

    fn next_deadline(&self, _now: Nanos) -> Option<Nanos> {
        None
    }

    /// Once the service has stopped, or whoever applies the log has gone and left nothing to do.
    fn has_ended(&self) -> bool {
        self.has_stopped || self.ends.orders.is_abandoned() && self.ends.orders.is_empty()
    }
}
