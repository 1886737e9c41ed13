//! The first sections of a snapshot: which log it is of, where it was taken, and the leadership
//! terms up to there. From them a start knows the log below without reading it.

use lockstep_archive::log::chain::Checkpoint;
use lockstep_archive::log::recovery::RecoveredTerm;
use lockstep_transport::codec::{FieldReader, decoded, encoded};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::{FRAME_ALIGNMENT, Position};

use crate::apply::applied_log::{AppliedLog, PutOff};
use crate::log::entry_body::NewLeadershipTerm;

/// What a snapshot is of.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | version of this section |
/// | 4 | 4 | zero |
/// | 8 | 8 | S: position behind the entry that asked for it |
/// | 16 | 8 | chain hash of the log below S |
/// | 24 | 8 | log time of the last entry below S, ns |
/// | 32 | 8 | leadership terms that began below S |
/// | 40 | ... | the body of the first entry of the last of them, see `wire.md` E.2 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotHeader {
    /// S, and the chain hash there.
    pub at: Checkpoint,
    /// Log time of the last entry below, ns.
    pub log_time: i64,
    /// Leadership terms that began below.
    pub terms: u64,
    /// The first entry of the last of them: it names the cluster, its members' directories and the
    /// limits.
    pub term: NewLeadershipTerm,
}

/// Version of the section.
const VERSION: u32 = 1;

impl SnapshotHeader {
    /// Name of the section.
    pub const SECTION: &'static str = "header";

    /// Bytes of the section.
    pub const LENGTH: usize = 40 + NewLeadershipTerm::LENGTH;

    /// Behind the entry that `waits`, which is the next one of what is applied of `log`; `None`
    /// before any term.
    #[must_use]
    pub(crate) fn of(log: &AppliedLog, waits: PutOff) -> Option<Self> {
        Some(Self {
            at: waits.end,
            log_time: waits.log_time,
            terms: log.terms().len() as u64,
            term: *log.newest_term()?,
        })
    }

    /// Encodes the section.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        encoded(|fields| {
            fields.u32(VERSION).zeros(4);
            fields.i64(self.at.position).u64(self.at.hash);
            fields.i64(self.log_time).u64(self.terms);
            fields.bytes(&self.term.encode());
        })
    }

    /// Decodes the section; `None` for another version, or bytes that no member writes.
    #[must_use]
    pub fn decode(bytes: &[u8; Self::LENGTH]) -> Option<Self> {
        let header = decoded(bytes, Self::read)?;
        let is_boundary = header.at.position > 0
            && header.at.position % FRAME_ALIGNMENT as Position == 0
            && header.terms > 0;
        (is_boundary && header.encode() == *bytes).then_some(header)
    }

    fn read(fields: &mut FieldReader<'_>) -> Option<Self> {
        fields.skip(8)?;
        let at = Checkpoint {
            position: fields.i64()?,
            hash: fields.u64()?,
        };
        Some(Self {
            at,
            log_time: fields.i64()?,
            terms: fields.u64()?,
            term: NewLeadershipTerm::decode(fields.bytes(NewLeadershipTerm::LENGTH)?)?,
        })
    }
}

/// Name of the section with the leadership terms, oldest first.
pub(crate) const TERMS_SECTION: &str = "terms";

/// Bytes of one of them: term, base, random id, chain hash below the base.
pub(crate) const TERM_LENGTH: usize = 40;

/// Encodes one of them.
#[must_use]
pub(crate) fn encode_term(term: &RecoveredTerm) -> [u8; TERM_LENGTH] {
    encoded(|fields| {
        fields.i64(term.term.get()).i64(term.base);
        fields.u128(term.id).u64(term.chain);
    })
}

/// Decodes one of them; `None` if no log has it.
#[must_use]
pub(crate) fn decode_term(bytes: &[u8; TERM_LENGTH]) -> Option<RecoveredTerm> {
    let term = decoded(bytes, |fields| {
        Some(RecoveredTerm {
            term: LeadershipTermId::new(fields.i64()?),
            base: fields.i64()?,
            id: fields.u128()?,
            chain: fields.u64()?,
        })
    })?;
    (term.term > LeadershipTermId::NONE && term.base >= 0).then_some(term)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::formation::FormationRecord;
    use crate::settings::cluster_limits::ClusterLimits;
    use crate::settings::config::ClusterConfig;

    fn header() -> SnapshotHeader {
        SnapshotHeader {
            at: Checkpoint {
                position: 640,
                hash: 7,
            },
            log_time: 8,
            terms: 2,
            term: NewLeadershipTerm {
                term: LeadershipTermId::new(3),
                leader: 1,
                id: 9,
                formation: FormationRecord::default(),
                limits: ClusterLimits::of(&ClusterConfig::default()),
            },
        }
    }

    #[test]
    fn a_header_survives_encoding_and_what_no_member_writes_is_refused() {
        let bytes = header().encode();
        assert_eq!(SnapshotHeader::decode(&bytes), Some(header()));
        for (offset, value) in [(0, 2), (4, 1), (8, 1), (8, 0)] {
            let mut other = bytes;
            other[offset] = value;
            if offset == 8 && value == 0 {
                other[9] = 0;
            }
            assert_eq!(SnapshotHeader::decode(&other), None, "{offset}: {value}");
        }
    }

    #[test]
    fn a_term_survives_encoding_and_one_that_no_log_has_is_refused() {
        let term = RecoveredTerm {
            term: LeadershipTermId::new(3),
            base: 640,
            id: 5 << 64,
            chain: 11,
        };
        assert_eq!(decode_term(&encode_term(&term)), Some(term));
        assert_eq!(decode_term(&[0; TERM_LENGTH]), None);
    }
}
