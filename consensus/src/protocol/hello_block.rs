//! The fields of a Hello, in the order they are written.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | draw number of the sender's record, 0 for none, at most 2^63 - 1 |
//! | 8 | 16 | uuid of the record |
//! | 24 | 8 | members of the record; above: final, ready, asking, settled, outlived (1 each) |
//! | 32 | 7 × 16 | directory id of each member |
//! | 144 | 16, 8, 8 | the life known of the receiver's directory: directory id, counter, nonce |
//! | 176 | 16, 8, 8 | the receiver's directory, and the sender's life that it is known to know |
//! | 208 | 8, 8 | what the sender's start found: term, vote in it plus 1 (0 for none) |
//! | 224 | 8, 8 | and of the log: its last term, its end |

use lockstep_transport::codec::{FieldReader, FieldWriter};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::FRAME_ALIGNMENT;

use crate::module::formation::{DurableFormation, FormationRecord, Incarnation};
use crate::module::member::{MEMBERS_MAX, MemberId};
use crate::module::membership::{Found, Hello, KnownLife};

/// Bytes of the block.
pub(super) const LENGTH: usize = 128 + MEMBERS_MAX * 16;

const FINAL: u64 = 1 << 8;
const READY: u64 = 1 << 16;
const ASKING: u64 = 1 << 24;
const SETTLED: u64 = 1 << 32;
const OUTLIVED: u64 = 1 << 40;
const FLAGS: u64 = FINAL | READY | ASKING | SETTLED | OUTLIVED;

pub(super) fn write(hello: &Hello, writer: &mut FieldWriter<'_>) {
    let record = &hello.formation.record;
    writer.u64(record.draw).u128(record.cluster);
    let flag = |is_set: bool, flag: u64| if is_set { flag } else { 0 };
    let flags = flag(hello.formation.is_formed, FINAL)
        | flag(hello.is_ready, READY)
        | flag(hello.is_asking, ASKING)
        | flag(hello.is_settled, SETTLED)
        | flag(hello.is_outlived, OUTLIVED);
    writer.u64(u64::from(record.members) | flags);
    for directory in record.directories {
        writer.u128(directory);
    }
    for life in [&hello.known, &hello.named] {
        writer.u128(life.directory);
        writer.u64(life.incarnation.counter);
        writer.u64(life.incarnation.nonce);
    }
    let found = &hello.found;
    let vote = found.vote.map_or(0, |vote| u64::from(vote) + 1);
    writer.i64(found.term.get()).u64(vote);
    writer.i64(found.log_term.get()).i64(found.end);
}

fn read_life(reader: &mut FieldReader<'_>) -> Option<KnownLife> {
    Some(KnownLife {
        directory: reader.u128()?,
        incarnation: Incarnation {
            counter: reader.u64()?,
            nonce: reader.u64()?,
        },
    })
}

fn read_found(reader: &mut FieldReader<'_>) -> Option<Found> {
    let (term, vote) = (LeadershipTermId::new(reader.i64()?), reader.u64()?);
    let (log_term, end) = (LeadershipTermId::new(reader.i64()?), reader.i64()?);
    let is_plain = (LeadershipTermId::NONE..=LeadershipTermId::MAX).contains(&term)
        && vote <= MEMBERS_MAX as u64
        && (LeadershipTermId::NONE..=LeadershipTermId::MAX).contains(&log_term)
        && end >= 0
        && end % FRAME_ALIGNMENT as i64 == 0;
    is_plain.then_some(Found {
        term,
        vote: vote.checked_sub(1).map(|vote| vote as MemberId),
        log_term,
        end,
    })
}

/// `None` for what no sender writes.
pub(super) fn read(reader: &mut FieldReader<'_>) -> Option<Hello> {
    let (draw, cluster, word) = (reader.u64()?, reader.u128()?, reader.u64()?);
    let mut directories = [0; MEMBERS_MAX];
    for directory in &mut directories {
        *directory = reader.u128()?;
    }
    let members = (word & 0xFF) as u8;
    let hello = Hello {
        formation: DurableFormation {
            record: FormationRecord {
                cluster,
                draw,
                members,
                directories,
            },
            is_formed: word & FINAL != 0,
        },
        is_ready: word & READY != 0,
        is_asking: word & ASKING != 0,
        is_settled: word & SETTLED != 0,
        is_outlived: word & OUTLIVED != 0,
        known: read_life(reader)?,
        named: read_life(reader)?,
        found: read_found(reader)?,
    };
    let is_plain = word & !(0xFF | FLAGS) == 0;
    let is_record = if draw == 0 {
        hello.formation == DurableFormation::default()
    } else {
        let (used, unused) = directories.split_at_checked(usize::from(members))?;
        let is_drawn = draw <= FormationRecord::DRAW_MAX && cluster != 0;
        is_drawn && !used.contains(&0) && unused.iter().all(|directory| *directory == 0)
    };
    (is_plain && is_record).then_some(hello)
}
