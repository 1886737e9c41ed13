//! What the ack mark says: how far a member acknowledged the log, and what of that it has lost.
//!
//! The bytes of a record in `ack-mark.dat`; [`crate::files::ack_mark`] says when they are written.

use core::cmp::Ordering;

use lockstep_transport::codec::{decoded, encoded};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use crate::files::slot_file::Record;

const VERSION: u32 = 2;

/// What a member acknowledged although its log no longer shows it (D6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostAcks {
    /// How far.
    pub position: Position,
    /// None of it is of a greater leadership term.
    pub term: LeadershipTermId,
    /// The header of the last frame is gone too: zeros at its end may lie above `position`. No
    /// other frame begins there, so whoever has more than `position` has all of it.
    pub is_open: bool,
}

impl LostAcks {
    /// What covers both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        let is_open = match self.position.cmp(&other.position) {
            Ordering::Less => other.is_open,
            // One of them knows the end.
            Ordering::Equal => self.is_open && other.is_open,
            Ordering::Greater => self.is_open,
        };
        Self {
            position: self.position.max(other.position),
            term: self.term.max(other.term),
            is_open,
        }
    }

    /// Whether a log whose last frame is of `term` and ends at `end` has it all: bytes of one
    /// term at one position are written once (W1), and a log that a later leader's term begins in
    /// holds everything committed before (L3).
    #[must_use]
    pub fn is_covered_by(&self, term: LeadershipTermId, end: Position) -> bool {
        (term, end) >= (self.term, self.position)
    }
}

/// What the file holds.
///
/// | offset | size | field of the record |
/// |---|---|---|
/// | 0 | 4 | version, 2 |
/// | 4 | 4 | leadership term |
/// | 8 | 8 | position |
/// | 16 | 8 | commit |
/// | 24 | 8 | end of the truncated bytes, 0 for none |
/// | 32 | 8 | position of what is lost, 0 for nothing |
/// | 40 | 16 | boot id, 0 for none |
/// | 56 | 4 | leadership term of what is lost |
/// | 60 | 1 | 1 when what it covers was acknowledged without syncs, else 0 |
/// | 61 | 1 | 1 when the last frame of what is lost may reach beyond its position, else 0 |
/// | 62 | 2 | 1 when what was acknowledged without syncs may be in the log buffer only, else 0 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AckRecord {
    /// How far the log was acknowledged.
    pub position: Position,
    /// No frame below `position` is of a greater leadership term.
    pub term: LeadershipTermId,
    /// How far the log was known to be committed.
    pub commit: Position,
    /// A truncation to `position` is on its way: what lies above it, up to here, is no part of
    /// the log. 0 when none is.
    pub truncated_end: Position,
    /// What was acknowledged and had gone when the member started.
    pub lost: Option<LostAcks>,
    /// The run of the host in which the record was written, see
    /// [`ColdFiles::boot_id`](crate::disk::ColdFiles::boot_id).
    pub boot_id: Option<u128>,
    /// What was acknowledged in that run may be in the page cache only (`sync = none`).
    pub is_unsynced: bool,
    /// Even the page cache may not have it: it is in the log buffer of that life, in memory that
    /// outlives its process.
    pub is_in_memory: bool,
}

impl AckRecord {
    /// Whether what was acknowledged may have gone without a trace, now that this run of the host
    /// is `boot_id`: it was never synced, and the page cache that held it is another run's. A
    /// host that does not tell counts as another run each time.
    #[must_use]
    pub fn may_have_gone(&self, boot_id: Option<u128>) -> bool {
        self.is_unsynced && (boot_id.is_none() || self.boot_id != boot_id)
    }

    pub(crate) fn encode(&self) -> Record {
        let lost = self.lost.unwrap_or(LostAcks {
            position: 0,
            term: LeadershipTermId::NONE,
            is_open: false,
        });
        // Leadership terms fit 31 bits, as log frames carry them.
        encoded(|fields| {
            fields.u32(VERSION).u32(self.term.get() as u32);
            fields.i64(self.position).i64(self.commit);
            fields.i64(self.truncated_end).i64(lost.position);
            fields.u128(self.boot_id.unwrap_or(0));
            fields
                .u32(lost.term.get() as u32)
                .u8(u8::from(self.is_unsynced));
            fields.u8(u8::from(lost.is_open));
            fields.u8(u8::from(self.is_in_memory)).zeros(1);
        })
    }

    /// `None` for a record of another version or one this program would not have written.
    pub(crate) fn decode(record: &Record) -> Option<Self> {
        let mark = decoded(record, |fields| {
            fields.skip(4)?;
            let mut mark = Self {
                term: fields.u32()?.into(),
                position: fields.i64()?,
                commit: fields.i64()?,
                truncated_end: fields.i64()?,
                ..Self::default()
            };
            let position = fields.i64()?;
            mark.boot_id = Some(fields.u128()?).filter(|id| *id != 0);
            let term = fields.u32()?.into();
            mark.is_unsynced = fields.u8()? == 1;
            let is_open = fields.u8()? == 1;
            mark.lost = (position > 0).then_some(LostAcks {
                position,
                term,
                is_open,
            });
            mark.is_in_memory = fields.u8()? == 1;
            fields.skip(1)?;
            Some(mark)
        })?;
        let numbers = [mark.position, mark.commit, mark.truncated_end];
        let is_plain = numbers.iter().all(|number| *number >= 0);
        (is_plain && mark.encode() == *record).then_some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_encoding_and_bits_that_nobody_sets_do_not_pass() {
        for is_unsynced in [false, true] {
            let mark = AckRecord {
                position: 4096,
                term: LeadershipTermId::new(3),
                commit: 2048,
                truncated_end: 0,
                lost: None,
                boot_id: Some(7 << 100),
                is_unsynced,
                is_in_memory: is_unsynced,
            };
            let record = mark.encode();
            assert_eq!(AckRecord::decode(&record), Some(mark));
            for byte in 60..record.len() {
                let mut other = record;
                other[byte] ^= 2;
                assert_eq!(AckRecord::decode(&other), None, "byte {byte}");
            }
        }
    }

    #[test]
    fn what_was_not_synced_may_have_gone_with_the_run_of_the_host_it_was_written_in() {
        let mark = |boot_id, is_unsynced| AckRecord {
            boot_id,
            is_unsynced,
            ..AckRecord::default()
        };
        assert!(!mark(Some(1), true).may_have_gone(Some(1)));
        for (written, found) in [(Some(1), Some(2)), (Some(1), None), (None, None)] {
            assert!(mark(written, true).may_have_gone(found));
            assert!(!mark(written, false).may_have_gone(found));
        }
    }

    #[test]
    fn the_fields_lie_where_the_layout_says() {
        let lost = LostAcks {
            position: 9056,
            term: LeadershipTermId::new(4),
            is_open: true,
        };
        let mark = AckRecord {
            position: 4096,
            term: LeadershipTermId::new(3),
            commit: 2048,
            truncated_end: 8192,
            lost: Some(lost),
            boot_id: Some(7 << 100),
            is_unsynced: true,
            is_in_memory: true,
        };
        let fields = [
            &[2, 0, 0, 0, 3, 0, 0, 0][..],
            &[4096_i64, 2048, 8192, 9056].map(i64::to_le_bytes).concat(),
            &(7_u128 << 100).to_le_bytes(),
            &[4, 0, 0, 0, 1, 1, 1, 0],
        ];
        let record = mark.encode();
        assert_eq!(record[..], fields.concat());
        assert_eq!(AckRecord::decode(&record), Some(mark));
    }
}
