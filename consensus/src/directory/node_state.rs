//! `node-state.dat`: what a member must never forget (`log.md` 3.2, invariant E1).
//!
//! Leadership term and vote are durable before any vote or vote request leaves; the incarnation
//! goes up by one, durably, at each start. Owned by the archive agent, which is told what to keep
//! by the consensus module; a [`SlotFile`] holds it.

use lockstep_archive::disk::{Busy, ColdFiles, Completion, Disk, DiskError};
use lockstep_archive::files::slot_file::{Opened, Record, SlotFile, SlotFileKind};
use lockstep_archive::log::token::OWNER_USER;
use lockstep_transport::codec::{decoded, encoded};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::invariant;
use lockstep_transport::time::Nanos;

/// Kind of the file.
pub const NODE_STATE_FILE: SlotFileKind = SlotFileKind {
    name: "node-state.dat",
    magic: *b"LSNODEST",
    owner: OWNER_USER,
};

const VERSION: u32 = 1;

/// The durable state of a member.
///
/// | offset | size | field of the record |
/// |---|---|---|
/// | 0 | 4 | version, 1 |
/// | 4 | 1 | 1 when a vote was given in this term |
/// | 5 | 1 | member voted for |
/// | 6 | 2 | zeros |
/// | 8 | 8 | leadership term |
/// | 16 | 8 | incarnation |
/// | 24 | 16 | cluster uuid |
/// | 40 | 24 | zeros |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// Greatest leadership term the member has taken part in.
    pub leadership_term: LeadershipTermId,
    /// The member it voted for in that term.
    pub vote: Option<u8>,
    /// How often it has started, from 1.
    pub incarnation: u64,
    /// The cluster it belongs to.
    pub cluster: u128,
}

impl NodeState {
    /// The state of a member that has never started.
    #[must_use]
    pub const fn fresh(cluster: u128) -> Self {
        Self {
            leadership_term: LeadershipTermId::NONE,
            vote: None,
            incarnation: 0,
            cluster,
        }
    }

    pub(crate) fn encode(&self) -> Record {
        encoded(|fields| {
            fields.u32(VERSION).u8(u8::from(self.vote.is_some()));
            fields.u8(self.vote.unwrap_or(0)).zeros(2);
            fields.i64(self.leadership_term.get()).u64(self.incarnation);
            fields.u128(self.cluster).zeros(24);
        })
    }

    /// `None` for a record of another version or one this program would not have written.
    pub(crate) fn decode(record: &Record) -> Option<Self> {
        let state = decoded(record, |fields| {
            fields.skip(4)?;
            let (has_vote, vote) = (fields.u8()?, fields.u8()?);
            fields.skip(2)?;
            let state = Self {
                leadership_term: LeadershipTermId::new(fields.i64()?),
                vote: (has_vote == 1).then_some(vote),
                incarnation: fields.u64()?,
                cluster: fields.u128()?,
            };
            fields.skip(24)?;
            Some(state)
        })?;
        (state.encode() == *record && state.leadership_term >= LeadershipTermId::NONE)
            .then_some(state)
    }
}

/// The open file and its newest submitted content.
#[derive(Debug)]
pub struct NodeStateFile {
    slots: SlotFile,
    state: NodeState,
}

impl NodeStateFile {
    /// Cold: makes the file of a member of `cluster` that has never started, or reuses one that
    /// was never written; durable on return.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn create(disk: &mut impl ColdFiles, cluster: u128) -> Result<Self, DiskError> {
        let state = NodeState::fresh(cluster);
        let slots = SlotFile::create(disk, &NODE_STATE_FILE, &state.encode())?;
        Ok(Self { slots, state })
    }

    /// Cold: opens the file, and makes durable what it holds.
    ///
    /// # Errors
    /// The disk's, other than for a missing file.
    pub(super) fn open(disk: &mut impl ColdFiles) -> Result<Opened<Self>, DiskError> {
        let opened = SlotFile::open(disk, &NODE_STATE_FILE, NodeState::decode)?;
        Ok(opened.map(|(slots, state)| Self { slots, state }))
    }

    /// Cold: what the file holds, without changing anything.
    ///
    /// # Errors
    /// The disk's, other than for a missing file.
    pub(crate) fn look(disk: &mut impl ColdFiles) -> Result<Opened<NodeState>, DiskError> {
        SlotFile::look(disk, &NODE_STATE_FILE, NodeState::decode)
    }

    /// Cold: a file without a good slot, or none at all: what a member of `cluster` has promised is
    /// not known. It holds no state until it is written.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn renew(disk: &mut impl ColdFiles, cluster: u128) -> Result<Self, DiskError> {
        let slots = SlotFile::renew(disk, &NODE_STATE_FILE)?;
        let state = NodeState::fresh(cluster);
        Ok(Self { slots, state })
    }

    /// The newest state, durable or on its way.
    #[must_use]
    pub const fn state(&self) -> NodeState {
        self.state
    }

    /// Cold: replaces the state, durable on return.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&mut self, disk: &mut impl ColdFiles, state: NodeState) -> Result<(), DiskError> {
        self.slots.write(disk, &state.encode())?;
        self.state = state;
        Ok(())
    }

    /// Cold: counts one more start, durable on return, and returns the new incarnation.
    ///
    /// # Errors
    /// The disk's.
    pub fn begin_incarnation(&mut self, disk: &mut impl ColdFiles) -> Result<u64, DiskError> {
        let next = NodeState {
            incarnation: self.state.incarnation + 1,
            ..self.state
        };
        self.write(disk, next)?;
        Ok(next.incarnation)
    }

    /// Hot: starts making `leadership_term` and `vote` durable, in both slots; they are when
    /// [`on_completion`](Self::on_completion) says so. One at a time; call
    /// [`do_work`](Self::do_work) meanwhile.
    ///
    /// # Errors
    /// [`Busy`]: ask again in a later cycle.
    ///
    /// # Panics
    /// When the term goes down, or a vote given in a term changes (invariant E1).
    pub fn submit_state(
        &mut self,
        now: Nanos,
        disk: &mut impl Disk,
        leadership_term: LeadershipTermId,
        vote: Option<u8>,
    ) -> Result<(), Busy> {
        let old = self.state;
        invariant!(
            StoredTermKept,
            leadership_term >= old.leadership_term,
            "E1: term {leadership_term} after {}",
            old.leadership_term
        );
        invariant!(
            StoredVoteKept,
            leadership_term > old.leadership_term || old.vote.is_none() || vote == old.vote,
            "E1: a second vote in term {leadership_term}"
        );
        let next = NodeState {
            leadership_term,
            vote,
            ..old
        };
        self.slots.submit_both(now, disk, &next.encode())?;
        self.state = next;
        Ok(())
    }

    /// Hot: goes on with what [`submit_state`](Self::submit_state) began. Returns the number of
    /// writes started.
    pub fn do_work(&mut self, now: Nanos, disk: &mut impl Disk) -> usize {
        self.slots.do_work(now, disk)
    }

    /// Takes a completion of [`submit_state`](Self::submit_state)'s writes: `None` when it is
    /// not one, otherwise whether the state is durable now. An error is final: the file must not
    /// be trusted.
    pub fn on_completion(&mut self, completion: &Completion) -> Option<Result<bool, DiskError>> {
        let is_complete = self.slots.on_completion(completion.token)?;
        let result = completion.result.as_ref();
        Some(result.map(|_| is_complete).map_err(DiskError::clone))
    }

    /// Whether a submitted state has not completed yet.
    #[must_use]
    pub const fn is_writing(&self) -> bool {
        self.slots.is_writing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_state_survives_encoding_and_foreign_bytes_do_not_pass() {
        let state = NodeState {
            leadership_term: LeadershipTermId::new(12),
            vote: Some(2),
            incarnation: 5,
            cluster: 0xABCD << 100,
        };
        let record = state.encode();
        assert_eq!(NodeState::decode(&record), Some(state));
        let mut other_version = record;
        other_version[0] = 2;
        assert_eq!(NodeState::decode(&other_version), None);
        let mut padding = record;
        padding[63] = 1;
        assert_eq!(NodeState::decode(&padding), None);
        let unvoted = NodeState::fresh(1);
        assert_eq!(NodeState::decode(&unvoted.encode()), Some(unvoted));
    }

    #[test]
    fn the_fields_lie_where_the_layout_says() {
        let state = NodeState {
            leadership_term: LeadershipTermId::new(12),
            vote: Some(2),
            incarnation: 5,
            cluster: 0xABCD << 100,
        };
        let fields = [
            &[1, 0, 0, 0, 1, 2, 0, 0][..],
            &12_i64.to_le_bytes(),
            &5_u64.to_le_bytes(),
            &(0xABCD_u128 << 100).to_le_bytes(),
            &[0; 24],
        ];
        assert_eq!(state.encode()[..], fields.concat());
    }
}
