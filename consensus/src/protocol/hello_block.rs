//! The fields of a Hello, in the order they are written.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | draw number of the sender's record, 0 for none |
//! | 8 | 16 | uuid of the record |
//! | 24 | 8 | members of the record; flags in the bytes above: final, ready, asking |
//! | 32 | 7 × 16 | directory id of each member |
//! | 144 | 16, 8, 8 | the life known of the receiver's directory: directory id, counter, nonce |

use super::block::{BlockReader, BlockWriter};
use crate::formation::{DurableFormation, FormationRecord, Incarnation};
use crate::member::MEMBERS_MAX;
use crate::membership::{Hello, KnownLife};

/// Bytes of the block.
pub(super) const LENGTH: usize = 64 + MEMBERS_MAX * 16;

const FINAL: u64 = 1 << 8;
const READY: u64 = 1 << 16;
const ASKING: u64 = 1 << 24;

pub(super) fn write(hello: &Hello, writer: &mut BlockWriter<'_>) {
    let record = &hello.formation.record;
    writer.put_u64(record.draw);
    writer.put_u128(record.cluster);
    let flag = |is_set: bool, flag: u64| if is_set { flag } else { 0 };
    let flags = flag(hello.formation.is_formed, FINAL)
        | flag(hello.is_ready, READY)
        | flag(hello.is_asking, ASKING);
    writer.put_u64(u64::from(record.members) | flags);
    for directory in record.directories {
        writer.put_u128(directory);
    }
    writer.put_u128(hello.known.directory);
    writer.put_u64(hello.known.incarnation.counter);
    writer.put_u64(hello.known.incarnation.nonce);
}

/// `None` for what no sender writes.
pub(super) fn read(reader: &mut BlockReader<'_>) -> Option<Hello> {
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
        known: KnownLife {
            directory: reader.u128()?,
            incarnation: Incarnation {
                counter: reader.u64()?,
                nonce: reader.u64()?,
            },
        },
    };
    let is_plain = word & !(0xFF | FINAL | READY | ASKING) == 0;
    let is_record = if draw == 0 {
        hello.formation == DurableFormation::default()
    } else {
        let (used, unused) = directories.split_at_checked(usize::from(members))?;
        cluster != 0 && !used.contains(&0) && unused.iter().all(|directory| *directory == 0)
    };
    (is_plain && is_record).then_some(hello)
}
