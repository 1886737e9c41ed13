//! How long a member waits for votes: longer where a term or a vote takes long to become durable,
//! for a round that is over before the votes are there elects nobody, and the next one is no better
//! (`log.md` 4.5; invariant LV1).

use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::time::Nanos;

use super::ConsensusModule;

/// A vote takes as long at a voter as here, twice as long where two are on their way to its disk.
const DISKS_WAITED_FOR: Nanos = 2;

/// So many election timeouts are waited at most for a disk as slow as the own one.
const DISK_TIMEOUTS_MAX: Nanos = 16;

/// So many election timeouts are waited at most for candidacies that came to nothing.
const FAILED_MAX: Nanos = 16;

impl ConsensusModule {
    /// A leader is there: what was before says nothing of the next election.
    pub(super) fn forget_patience(&mut self) {
        let patience = &mut self.election.patience;
        (patience.failed, patience.persisting_took) = (0, 0);
    }

    /// A term or a vote is on its way to the disk.
    pub(super) const fn note_persisting(&mut self, now: Nanos) {
        self.election.patience.persisting_since = now;
    }

    /// It is durable.
    pub(super) const fn note_persisted(&mut self, now: Nanos) {
        let patience = &mut self.election.patience;
        patience.persisting_took = now - patience.persisting_since;
    }

    /// A candidacy is given up: the disks of others may be slower than the own one.
    pub(super) fn note_failed_candidacy(&mut self) {
        sometimes(Mark::CandidacyFailed);
        let patience = &mut self.election.patience;
        patience.failed = FAILED_MAX.min(patience.failed + 1);
    }

    /// Votes are waited for from now on: of others for this member, or of this one and others for
    /// somebody else.
    pub(super) fn await_votes(&mut self, now: Nanos) {
        self.reset_election_deadline(now);
        let (timeout, patience) = (self.config.election_timeout_ns, self.election.patience);
        let of_disk = DISKS_WAITED_FOR * patience.persisting_took;
        let of_disk = of_disk.min(DISK_TIMEOUTS_MAX * timeout);
        self.election.deadline += of_disk + patience.failed * timeout;
    }
}
