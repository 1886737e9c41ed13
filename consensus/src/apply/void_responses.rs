//! Responses in the log that a majority's services did not say (`log.md` 5.8).
//!
//! The first of them was decided; all later ones of its leadership term follow it. A function
//! of the log: a member that executes the log again comes to the same regions, so nothing of
//! them is stored but in snapshots.

use lockstep_service::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

/// Regions that are remembered: each has cost the cluster a leader. A member that met more
/// stops.
pub(crate) const REGIONS_MAX: usize = 256;

/// In a snapshot, the end of a region whose leadership term goes on.
const NOT_APPLIED: Position = -1;

/// One leader's void Responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Region {
    from: Position,
    /// Where the next leadership term begins; unknown while it has not been applied.
    until: Option<Position>,
    term: LeadershipTermId,
    /// The entry that the first Response answered, and the majority's hash there.
    cause: Position,
    hash: u64,
}

/// All void regions, oldest first.
#[derive(Clone, Debug)]
pub struct VoidResponses {
    regions: Vec<Region>,
    #[cfg(feature = "sim")]
    takes_all: bool,
}

impl Default for VoidResponses {
    fn default() -> Self {
        Self {
            regions: Vec::with_capacity(REGIONS_MAX),
            #[cfg(feature = "sim")]
            takes_all: false,
        }
    }
}

impl VoidResponses {
    /// Breaks `log.md` 5.8 on purpose: a planted fault that the simulator must find. Whatever the
    /// log says is delivered.
    #[cfg(feature = "sim")]
    pub(crate) const fn take_all(&mut self) {
        self.takes_all = true;
    }

    /// Whether a Response is delivered although this member's service did not say it.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) const fn takes_all(&self) -> bool {
        self.takes_all
    }

    /// The Response at `from`, of `term`, answers `cause` otherwise than the majority, whose
    /// output there has this hash. Returns false when there is no room to remember it.
    #[must_use]
    pub fn begin(
        &mut self,
        from: Position,
        term: LeadershipTermId,
        cause: Position,
        hash: u64,
    ) -> bool {
        if self.regions.len() == REGIONS_MAX {
            return false;
        }
        self.regions.push(Region {
            from,
            until: None,
            term,
            cause,
            hash,
        });
        true
    }

    /// Becomes equal to `other`, in the memory it has.
    pub fn copy_from(&mut self, other: &Self) {
        self.regions.clear();
        self.regions.extend_from_slice(&other.regions);
    }

    /// A leadership term begins with the entry at `position`.
    pub(crate) fn on_new_term(&mut self, position: Position) {
        if let Some(region) = self.regions.last_mut()
            && region.until.is_none()
        {
            region.until = Some(position);
        }
    }

    /// Whether Responses of `term`, which is being applied, are void.
    #[must_use]
    pub fn is_open(&self, term: LeadershipTermId) -> bool {
        self.regions
            .last()
            .is_some_and(|region| region.until.is_none() && region.term == term)
    }

    /// Whether the Response at `position`, which is applied, is void.
    #[must_use]
    pub fn contains(&self, position: Position) -> bool {
        let after = self.regions.partition_point(|r| r.from <= position);
        let region = after.checked_sub(1).map(|index| self.regions[index]);
        region.is_some_and(|region| region.until.is_none_or(|until| position < until))
    }

    /// The majority's hash at `cause`, if the first void Response of a region answered it.
    #[must_use]
    pub(crate) fn hash_at(&self, cause: Position) -> Option<u64> {
        let region = self.regions.iter().find(|region| region.cause == cause)?;
        Some(region.hash)
    }

    /// Writes the regions: how many there are as 8 bytes, and each of them:
    ///
    /// | offset | size | field of a region |
    /// |---|---|---|
    /// | 0 | 8 | position of its first Response |
    /// | 8 | 8 | where the next leadership term begins, -1 while that is not applied |
    /// | 16 | 8 | leadership term |
    /// | 24 | 8 | position of the entry that the first Response answered |
    /// | 32 | 8 | the majority's hash there |
    pub(super) fn save(&self, writer: &mut SnapshotWriter) -> Result<(), SnapshotError> {
        writer.u64(self.regions.len() as u64)?;
        for region in &self.regions {
            writer.i64(region.from)?;
            writer.i64(region.until.unwrap_or(NOT_APPLIED))?;
            writer.i64(region.term.get())?;
            writer.i64(region.cause)?;
            writer.u64(region.hash)?;
        }
        Ok(())
    }

    /// Takes over what was saved where the log was applied up to `applied`, in `term`.
    pub(super) fn load(
        &mut self,
        applied: Position,
        term: LeadershipTermId,
        reader: &mut SnapshotReader<'_>,
    ) -> Result<(), SnapshotError> {
        let count = reader.u64()?;
        if count > REGIONS_MAX as u64 {
            return Err(reader.refuse(format!("{count} regions of void Responses")));
        }
        self.regions.clear();
        for _ in 0..count {
            let (from, until) = (reader.i64()?, reader.i64()?);
            let region = Region {
                from,
                until: (until != NOT_APPLIED).then_some(until),
                term: LeadershipTermId::new(reader.i64()?),
                cause: reader.i64()?,
                hash: reader.u64()?,
            };
            if !self.may_follow(&region, applied, term) {
                return Err(reader.refuse(format!("void Responses from {from} to {until}")));
            }
            self.regions.push(region);
        }
        Ok(())
    }

    /// Whether `region` can be the next one where the log is applied up to `applied`, in `term`.
    fn may_follow(&self, region: &Region, applied: Position, term: LeadershipTermId) -> bool {
        // Where one is open, its term goes on, and no other begins.
        let (begins, before) = match self.regions.last() {
            Some(last) => (last.until.unwrap_or(Position::MAX), last.term),
            None => (0, LeadershipTermId::NONE),
        };
        let is_closed = region.until.is_some();
        let until = region.until.unwrap_or(applied);
        let is_last = region.term == term;
        begins <= region.from
            && before < region.term
            && region.term <= term
            && (0..region.from).contains(&region.cause)
            && region.from < until
            && until <= applied
            && is_closed != is_last
    }

    /// Regions so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.regions.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_lasts_to_the_end_of_its_term() {
        let mut void = VoidResponses::default();
        assert!(void.begin(640, LeadershipTermId::new(2), 320, 7));
        assert!(void.is_open(LeadershipTermId::new(2)) && !void.is_open(LeadershipTermId::new(3)));
        assert!(void.contains(640) && void.contains(6400) && !void.contains(608));
        void.on_new_term(960);
        assert!(!void.is_open(LeadershipTermId::new(2)));
        assert!(void.contains(928) && !void.contains(960));
        void.on_new_term(1280);
        assert!(!void.contains(960));
        assert_eq!((void.hash_at(320), void.hash_at(352)), (Some(7), None));
    }

    #[test]
    fn no_more_regions_are_begun_than_are_remembered() {
        let mut void = VoidResponses::default();
        for index in 0..REGIONS_MAX as Position {
            assert!(void.begin(index * 64 + 32, LeadershipTermId::new(index), index * 64, 0));
            void.on_new_term(index * 64 + 64);
        }
        assert!(!void.begin(1 << 30, LeadershipTermId::new(999), 0, 0));
    }
}
