//! A service that runs on a thread of its own, as whoever applies the log knows it: what it was
//! handed and has not executed yet, and what has come of the rest.

use std::collections::VecDeque;

use lockstep_service::container::ServiceOutputs;
use lockstep_service::log_entry::EntryHeader;
use lockstep_transport::agent::WakeSources;
use lockstep_transport::invariant;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::apply::service_queue::{ApplierEnds, ORDERS_MAX, Order, Report};
use crate::apply::verdict::ServiceOrder;
use crate::log::entry_assembler::Entry;
use crate::node::fault::NodeFault;

/// An entry that the service has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandedEntry {
    /// Position of its first frame.
    pub position: Position,
    /// Position after its last frame.
    pub end: Position,
    /// Its header.
    pub header: EntryHeader,
    /// What the service is to do with it.
    pub order: ServiceOrder,
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

/// See the module.
#[derive(Debug)]
pub(crate) struct ServiceElsewhere {
    outputs: ServiceOutputs,
    ends: ApplierEnds,
    handed: VecDeque<HandedEntry>,
    /// Something was queued, or room made, that the service was not woken for.
    is_to_be_woken: bool,
    /// End of the entry that was handed over last.
    handed_end: Position,
    effect: Vec<u8>,
    hash: HashQuestion,
}

/// What is known of the service's state where it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HashQuestion {
    None,
    /// After the entry that was handed over last, which ends here.
    Asked(Position),
    /// The same, and what it is.
    Told(Position, u64),
}

impl ServiceElsewhere {
    /// Nothing is handed over yet.
    pub fn new(outputs: ServiceOutputs, ends: ApplierEnds) -> Self {
        let effect_max = outputs.outbox().limits().effect_bytes_per_cause;
        Self {
            outputs,
            ends,
            handed: VecDeque::with_capacity(ORDERS_MAX),
            is_to_be_woken: false,
            handed_end: 0,
            effect: Vec::with_capacity(effect_max),
            hash: HashQuestion::None,
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
        self.outputs.enter(&header, position, end)?;
        self.outputs.advance(end);
        // Only a request's body is the service's.
        let body = if order == ServiceOrder::Execute {
            body
        } else {
            &[]
        };
        let length = body.len();
        let order_of = Order::Execute {
            position,
            end,
            header,
            order,
            is_traced,
            length,
        };
        self.ends.orders.push(order_of, body);
        self.handed_end = end;
        self.is_to_be_woken = true;
        self.handed.push_back(HandedEntry {
            position,
            end,
            header,
            order,
            since: now,
        });
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
            self.ends.service_bell.ring();
        }
    }

    /// Names what wakes this end.
    pub fn name_wake_sources(&self, sources: &WakeSources) {
        self.ends.own_bell.hang(sources);
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
        let mut effects = 0;
        // In this order: what it did before it stopped was told before.
        let has_stopped = !self.ends.faults.is_empty() || self.ends.faults.is_abandoned();
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
                Report::Hash(hash) => {
                    if let HashQuestion::Asked(end) = self.hash {
                        self.hash = HashQuestion::Told(end, hash);
                    }
                }
            }
        }
        assert_eq!(
            effects, 0,
            "effects come with the word that their cause is executed"
        );
        if !has_stopped {
            return Ok(None);
        }
        let fault = self.ends.faults.pop();
        Err(fault.map_or(NodeFault::ServiceEnded, NodeFault::from))
    }

    /// What comes is of the oldest entry.
    fn begin(&mut self) {
        let entry = self.handed.front();
        let entry = entry.expect("the service says what it was told");
        if entry.order.may_emit() {
            self.outputs.outbox_mut().begin(entry.position);
        }
    }

    fn finish(&mut self, now: Nanos, position: Position, output_hash: u64) -> HandedEntry {
        let entry = self
            .handed
            .pop_front()
            .expect("the service says what it was told");
        invariant!(
            ServiceInOrder,
            entry.position == position,
            "S3: the service has executed {position}, and {} is next",
            entry.position
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

    /// The hash of the service's state after everything that was handed over: asks for it until it
    /// is told.
    pub fn take_hash(&mut self) -> Option<u64> {
        match self.hash {
            HashQuestion::None if self.ends.orders.has_room(1, 0) => {
                self.ends.orders.push(Order::Hash, &[]);
                self.is_to_be_woken = true;
                self.hash = HashQuestion::Asked(self.handed_end);
                None
            }
            HashQuestion::Told(end, hash) => {
                self.hash = HashQuestion::None;
                (end == self.handed_end).then_some(hash)
            }
            HashQuestion::None | HashQuestion::Asked(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
