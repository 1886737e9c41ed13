//! A service that runs on a thread of its own, as whoever applies the log knows it: what it was
//! handed and has not executed yet, and what has come of the rest.

use std::collections::VecDeque;

use lockstep_service::container::ServiceOutputs;
use lockstep_service::snapshot::RECORD_LENGTH_MAX;
use lockstep_transport::agent::WakeSources;
use lockstep_transport::invariant;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::apply::service_queue::{ApplierEnds, ORDERS_MAX, Order, Report, Task};
use crate::apply::verdict::ServiceOrder;
use crate::log::entry_assembler::Entry;
use crate::node::fault::NodeFault;

mod snapshot_orders;

/// An entry that the service has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandedEntry {
    /// Which, and what is to be done with it.
    pub task: Task,
    /// Since when the service may be at it: since it was handed over, or the one before was
    /// executed.
    pub since: Nanos,
}

/// An entry that the service has executed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExecutedEntry {
    /// Which.
    pub entry: HandedEntry,
    /// Effects that it had.
    pub effects: usize,
    /// When: see [`Report::Executed`].
    pub times: [Nanos; 3],
}

/// What a service has come to where the log is applied up to `position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateAt {
    /// There.
    pub position: Position,
    /// Hash of its state.
    pub state: u64,
    /// Hash of everything it ever emitted.
    pub output: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ServiceElsewhere {
    outputs: ServiceOutputs,
    ends: ApplierEnds,
    handed: VecDeque<HandedEntry>,
    /// Something was queued, or room made, that the service was not woken for.
    is_to_be_woken: bool,
    effect: Vec<u8>,
    hash: HashQuestion,
    takes_snapshots: bool,
    snapshot: SnapshotOrder,
    /// Snapshots that were given up after they had been ordered, and of which more may come.
    snapshots_given_up: usize,
}

/// Whether the service is to write its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SnapshotOrder {
    None,
    Wanted,
    Ordered,
}

/// What is known of the service's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HashQuestion {
    None,
    /// Asked for where the log was applied up to here.
    Asked(Position),
    Told(StateAt),
}

impl ServiceElsewhere {
    /// Nothing is handed over yet.
    pub fn new(outputs: ServiceOutputs, ends: ApplierEnds, takes_snapshots: bool) -> Self {
        let effect_max = outputs.outbox().limits().effect_bytes_per_cause;
        let effect_max = effect_max.max(RECORD_LENGTH_MAX);
        Self {
            outputs,
            ends,
            handed: VecDeque::with_capacity(ORDERS_MAX),
            is_to_be_woken: false,
            effect: Vec::with_capacity(effect_max),
            hash: HashQuestion::None,
            takes_snapshots,
            snapshot: SnapshotOrder::None,
            snapshots_given_up: 0,
        }
    }

    /// What has come of the service.
    pub const fn outputs(&self) -> &ServiceOutputs {
        &self.outputs
    }

    /// What has come of the service, for what it is not asked about.
    pub const fn outputs_mut(&mut self) -> &mut ServiceOutputs {
        &mut self.outputs
    }

    /// Whether one more entry can be handed over, and the question for a hash.
    pub fn has_room(&self) -> bool {
        self.handed.len() < ORDERS_MAX && self.ends.orders.has_room(2, self.ends.body_max)
    }

    /// Hands over an entry, which the service is to execute.
    ///
    /// # Errors
    /// When it breaks a rule of the log.
    pub fn hand_over(
        &mut self,
        now: Nanos,
        entry: &Entry<'_>,
        order: ServiceOrder,
        is_traced: bool,
    ) -> Result<(), NodeFault> {
        let Entry {
            position,
            end,
            header,
            body,
        } = *entry;
        // What the service passes, it takes no time from, on whatever thread.
        if order != ServiceOrder::Pass {
            self.outputs.enter(&header, position, end)?;
        }
        self.outputs.advance(end);
        // Only a request's body is the service's.
        let body = match order {
            ServiceOrder::Execute => body,
            _ => &[],
        };
        let task = Task {
            position,
            end,
            header,
            order,
        };
        let execute = Order::Execute {
            task,
            is_traced,
            length: body.len(),
        };
        self.ends.orders.push(execute, body);
        self.is_to_be_woken = true;
        self.handed.push_back(HandedEntry { task, since: now });
        Ok(())
    }

    /// Entries that the service has not executed, as far as is known here.
    #[cfg(feature = "sim")]
    pub fn handed(&self) -> usize {
        self.handed.len()
    }

    /// Wakes the service where something was handed over, or taken from it, since the last time.
    pub fn wake(&mut self) {
        if core::mem::take(&mut self.is_to_be_woken) {
            self.ends.service_waker.wake();
        }
    }

    /// Names what wakes this end.
    pub fn name_wake_sources(&self, sources: &WakeSources) {
        self.ends.own_waker.fill(sources.waker());
    }

    /// The oldest entry that the service has not executed, as far as is known here.
    pub fn oldest(&self) -> Option<&HandedEntry> {
        self.handed.front()
    }

    /// Takes what has come of the oldest entry handed over; `None` as long as it is not executed.
    ///
    /// # Errors
    /// Why the service has stopped.
    pub fn take_executed(&mut self, now: Nanos) -> Result<Option<ExecutedEntry>, NodeFault> {
        // It executes nothing meanwhile, and what it writes is not taken here.
        if self.snapshot != SnapshotOrder::None {
            return Ok(None);
        }
        let mut effects = 0;
        // In this order: what it did before it stopped was told before.
        let has_stopped = self.has_stopped();
        while let Some(report) = self.ends.reports.pop(&mut self.effect) {
            match report {
                Report::Effect {
                    session,
                    is_failure,
                    ..
                } => {
                    if effects == 0 {
                        self.begin();
                    }
                    effects += 1;
                    let outbox = self.outputs.outbox_mut();
                    outbox.accept(session, &self.effect, is_failure);
                }
                Report::Executed {
                    position,
                    output_hash,
                    times,
                } => {
                    if effects == 0 {
                        self.begin();
                    }
                    let entry = self.finish(now, position, output_hash);
                    return Ok(Some(ExecutedEntry {
                        entry,
                        effects,
                        times,
                    }));
                }
                Report::Hash(state) => self.on_hash(state),
                // Of a snapshot that was given up.
                Report::SnapshotRecord { .. } => self.is_to_be_woken = true,
                Report::SnapshotEnded { has_failed } => self.drop_ended(has_failed),
            }
        }
        assert_eq!(
            effects, 0,
            "effects come with the word that their cause is executed"
        );
        if has_stopped {
            return Err(self.why_stopped());
        }
        Ok(None)
    }

    fn has_stopped(&self) -> bool {
        !self.ends.faults.is_empty() || self.ends.faults.is_abandoned()
    }

    #[cold]
    fn why_stopped(&mut self) -> NodeFault {
        let fault = self.ends.faults.pop();
        fault.map_or(NodeFault::ServiceEnded, NodeFault::from)
    }

    /// What comes is of the oldest entry.
    fn begin(&mut self) {
        let entry = self.handed.front();
        let entry = entry.expect("the service says what it was told");
        if entry.task.order.may_emit() {
            self.outputs.outbox_mut().begin(entry.task.position);
        }
    }

    fn finish(&mut self, now: Nanos, position: Position, output_hash: u64) -> HandedEntry {
        let entry = self
            .handed
            .pop_front()
            .expect("the service says what it was told");
        invariant!(
            ServiceInOrder,
            entry.task.position == position,
            "S3: the service has executed {position}, and {} is next",
            entry.task.position
        );
        invariant!(
            EffectsHandedOver,
            self.outputs.output_hash() == output_hash,
            "S3: what came of the entry at {position} is not what the service emitted"
        );
        if let Some(next) = self.handed.front_mut() {
            next.since = next.since.max(now);
            // It may sleep for want of room for what comes of this one.
            self.is_to_be_woken = true;
        }
        entry
    }

    /// The service's state as it was where it was asked for: asks, for where the log is `applied`
    /// up to now, until it is told.
    pub fn take_state(&mut self, applied: Position) -> Option<StateAt> {
        match self.hash {
            HashQuestion::None if self.ends.orders.has_room(1, 0) => {
                self.ends.orders.push(Order::Hash, &[]);
                self.is_to_be_woken = true;
                self.hash = HashQuestion::Asked(applied);
                None
            }
            HashQuestion::Told(state) => {
                self.hash = HashQuestion::None;
                Some(state)
            }
            HashQuestion::None | HashQuestion::Asked(_) => None,
        }
    }

    /// It is told behind all that was emitted before, and before all that came after.
    fn on_hash(&mut self, state: u64) {
        if let HashQuestion::Asked(position) = self.hash {
            let output = self.outputs.output_hash();
            self.hash = HashQuestion::Told(StateAt {
                position,
                state,
                output,
            });
        }
    }
}

#[cfg(test)]
mod tests;
