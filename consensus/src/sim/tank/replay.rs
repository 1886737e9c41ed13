//! Oracles 4 and 5 of the simulator: the committed log is replayed by a model of the cluster that
//! shares no code with it. What each client is handed is the next answer of its session there, byte
//! for byte; members that applied as much have the state that the replay has; and an operation
//! that began after another one had returned stands behind it in the log.
//!
//! Incremental: each committed entry is looked at once.

mod cluster_model;
mod entries;
mod service_model;

use std::collections::BTreeMap;

pub use self::cluster_model::Answer;
use self::cluster_model::ClusterModel;
use self::entries::{EntryReader, i64_at};
use super::client_inbox::ClientNews;
use crate::module::consensus_module::Role;
use crate::sim::tank::member::TankMember;
use crate::sim::{Broken, Rule};

/// Who made a request and its number, as its payload says.
type Operation = (i64, i64);

/// See the module.
#[derive(Debug)]
pub struct ReplayOracle {
    reader: EntryReader,
    model: ClusterModel,
    /// The state after each entry: where it ends, and the hash.
    states: Vec<(i64, u64)>,
    /// How far each member was when it was last looked at.
    seen: Vec<i64>,
    /// The session of each client.
    sessions: BTreeMap<u64, i64>,
    /// How many answers of its session each client was handed.
    handed: BTreeMap<u64, usize>,
    /// The greatest position of an operation that has returned.
    returned: i64,
    /// What had returned when an operation began.
    begun: BTreeMap<Operation, i64>,
}

impl ReplayOracle {
    /// Of an empty log of a cluster with so many members, and places for sessions.
    #[must_use]
    pub fn new(members: usize, sessions_max: usize, is_logged: bool) -> Self {
        Self {
            reader: EntryReader::default(),
            model: ClusterModel::new(sessions_max, is_logged),
            states: vec![(0, 0)],
            seen: vec![0; members],
            sessions: BTreeMap::new(),
            handed: BTreeMap::new(),
            returned: -1,
            begun: BTreeMap::new(),
        }
    }

    /// Replays what is new in `log`, all that is committed.
    ///
    /// # Errors
    /// It says what a replay does not, or in another order than clients saw.
    pub fn advance(&mut self, log: &[u8]) -> Result<(), Broken> {
        loop {
            let entry = self.reader.next(log);
            let Some(entry) = entry.map_err(|what| Rule::Replay.broken(what))? else {
                return Ok(());
            };
            if self.model.apply(&entry)? {
                let operation = i64_at(&entry.body, 0).zip(i64_at(&entry.body, 8));
                let operation = operation.unwrap_or((0, 0));
                let client = operation.0.cast_unsigned() & u64::from(u32::MAX);
                self.sessions.insert(client, entry.session);
                self.check_order(operation, entry.position)?;
            }
            self.states.push((entry.end, self.model.state_hash()));
        }
    }

    fn check_order(&mut self, operation: Operation, position: i64) -> Result<(), Broken> {
        let floor = self.begun.remove(&operation);
        match floor.filter(|floor| position <= *floor) {
            None => Ok(()),
            Some(floor) => Err(Rule::RealTime.broken(format!(
                "request {} of client {:x} is at {position}, and when it was made the one at \
                 {floor} had been answered",
                operation.1, operation.0
            ))),
        }
    }

    /// Compares what a member has applied, if it has applied anything since it was looked at.
    ///
    /// # Errors
    /// It has another state than the replay, or was told an answer twice.
    pub fn look(&mut self, id: usize, member: &TankMember) -> Result<(), Broken> {
        // What a member that has stopped took for committed is not known here.
        let Some(node) = member.node().filter(|node| node.fault().is_none()) else {
            return Ok(());
        };
        let applier = &node.agents().consensus.applier;
        let position = applier.position();
        if position == self.seen[id] {
            return Ok(());
        }
        let Some(container) = node.container() else {
            return Ok(());
        };
        self.seen[id] = position;
        let outbox = node.agents().service.outputs().outbox();
        let repeated = outbox.ignored_responses();
        if repeated > 0 {
            return Err(Rule::Replay.broken(format!(
                "member {id} has applied {repeated} answers that it had applied before"
            )));
        }
        let after = self.states.partition_point(|(end, _)| *end <= position);
        let (end, expected) = self.states[after - 1];
        let found = container.state_hash();
        if found != expected {
            return Err(Rule::EqualStates.broken(format!(
                "member {id} has applied the log up to {position} and has the state {found:x}; \
                 a replay up to {end} has {expected:x}"
            )));
        }
        if after == self.states.len() {
            self.compare_sessions(id, member)?;
        }
        Ok(())
    }

    /// The log of a member has everything that clients of open sessions were not handed yet, but
    /// what was lost to it; and then it leads nobody (`log.md` 8.8).
    ///
    /// # Errors
    /// It has let go of some of it, or leads and cannot deliver it.
    pub fn look_at_log_start(&self, id: usize, member: &TankMember) -> Result<(), Broken> {
        let Some(node) = member.node().filter(|_| self.model.has_responses()) else {
            return Ok(());
        };
        let index = node.agents().archive.snapshot_index();
        let (start, lacking_below) = (index.log_start().position, index.lacking_below());
        let has_lost = |position| {
            position < lacking_below && node.agents().consensus.module.role() != Role::Leader
        };
        for (client, session) in &self.sessions {
            let handed = self.handed.get(client).copied().unwrap_or(0);
            let Some(open) = self.model.sessions().get(session) else {
                continue;
            };
            // What the process before this one has acknowledged was handed to that one.
            let next = self.model.answers(*session).get(handed);
            let next = next.filter(|next| next.position > open.acknowledged_once);
            let is_gone = |position| position < start && !has_lost(position);
            if let Some(next) = next.filter(|next| is_gone(next.position)) {
                return Err(Rule::TrimFloor.broken(format!(
                    "the log of member {id} starts at {start}, and client {client} has not been \
                     handed the answer at {}: {}",
                    next.position,
                    member.describe()
                )));
            }
        }
        Ok(())
    }

    fn compare_sessions(&self, id: usize, member: &TankMember) -> Result<(), Broken> {
        let Some(node) = member.node() else {
            return Ok(());
        };
        let open = node.agents().consensus.applier.sessions().sessions();
        let of_member = open.iter().map(|s| {
            let granted = (s.connect_epoch, s.incarnation.cast_signed());
            let applied = s.applied_number.get();
            (s.id.get(), granted, applied, s.acknowledged)
        });
        let replayed = self.model.sessions().iter();
        let of_replay = replayed.map(|(id, s)| (*id, s.granted, s.applied, s.acknowledged));
        if of_member.clone().eq(of_replay.clone()) {
            return Ok(());
        }
        let (found, expected): (Vec<_>, Vec<_>) = (of_member.collect(), of_replay.collect());
        Err(Rule::EqualStates.broken(format!(
            "member {id} has the sessions {found:?}, a replay {expected:?}"
        )))
    }

    /// A client made a request, or was handed its `nth` answer.
    ///
    /// # Errors
    /// A replay answers otherwise.
    pub fn hear(&mut self, client: u64, news: &ClientNews) -> Result<(), Broken> {
        let (nth, answer) = match news {
            ClientNews::Made { name, number } => {
                let operation = (name.cast_signed(), *number);
                self.begun.insert(operation, self.returned);
                return Ok(());
            }
            ClientNews::Answered { nth, answer } => (*nth, answer),
        };
        let session = self.sessions.get(&client);
        let answers = session.map_or(&[][..], |session| self.model.answers(*session));
        let owed = answers.get(nth as usize);
        if owed != Some(answer) {
            return Err(Rule::Replay.broken(format!(
                "client {client} was handed {answer:?} as its answer {nth}, and a replay says \
                 {owed:?}"
            )));
        }
        self.returned = self.returned.max(answer.cause);
        let handed = self.handed.entry(client).or_default();
        *handed = (*handed).max(nth as usize + 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
