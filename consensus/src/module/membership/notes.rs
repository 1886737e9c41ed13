//! What a member durably knows of its cluster, as the notes of its identity file.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | version, 2 (0: blank) |
//! | 1 | 1 | whether the record is final |
//! | 2 | 1 | members of the record |
//! | 3 | 1 | why the directory gave up its voice, 0: it has not, see [`Forfeit`] |
//! | 4 | 4 | zeros |
//! | 8 | 8 | draw number |
//! | 16 | 16 | cluster uuid |
//! | 32 | 7 × 16 | directory id of each member |
//! | 144 | 14 × 32 | two known lives of each member: directory id, counter, nonce |
//! | 592 | 7 × 56 | what binds this directory and each member's that counts, see below |
//! | 984 | 40 | zeros |
//!
//! | offset | size | field of what binds them |
//! |---|---|---|
//! | 0 | 16 | its settled life: counter, nonce |
//! | 16 | 16 | the life of this directory that it knows: counter, nonce |
//! | 32 | 4 | the greatest term it told |
//! | 36 | 4 | the term in which it told how far its log was durable |
//! | 40 | 8 | how far |
//! | 48 | 1 | its vote in the greatest term, plus 1; 0 for none |
//! | 49 | 7 | zeros |

use lockstep_archive::files::identity_file::{NOTES_LENGTH, Notes};
use lockstep_transport::codec::{FieldReader, FieldWriter, decoded, encoded};

use super::hello::KnownLife;
use super::promises::Promises;
use crate::module::formation::{DurableFormation, Incarnation};
use crate::module::member::MEMBERS_MAX;

/// Lives remembered of each member: of the directory that counts, and of another one.
pub(super) const LIVES_MAX: usize = 2;

/// The lives known of each member.
pub(super) type KnownLives = [[KnownLife; LIVES_MAX]; MEMBERS_MAX];

const VERSION: u8 = 2;
/// Zeros behind the last field.
const UNUSED: usize = 40;

/// Why a directory cannot answer for what was promised under its id: it took another id, so that
/// it counts for nothing in the cluster that was formed with the first (`log.md` 9.1, 10.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Forfeit {
    /// Its log was acknowledged without syncs, and the host went down since.
    UnsyncedLog = 1,
    /// Term and vote were lost.
    NodeState = 2,
    /// How far it acknowledged was lost.
    AckMark = 3,
    /// What it acknowledged was in a log buffer that is gone.
    LogMemory = 4,
}

impl Forfeit {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::UnsyncedLog),
            2 => Some(Self::NodeState),
            3 => Some(Self::AckMark),
            4 => Some(Self::LogMemory),
            _ => None,
        }
    }

    /// What happened, to follow "because".
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::UnsyncedLog => {
                "it ran with sync = none and its host went down before it had stopped cleanly, so \
                 that what it acknowledged may be missing from its log"
            }
            Self::NodeState => {
                "node-state.dat was missing or damaged, so that it cannot know how it voted"
            }
            Self::AckMark => {
                "ack-mark.dat was missing or damaged, so that it cannot know how far it \
                 acknowledged the log"
            }
            Self::LogMemory => {
                "it ran with sync = none, was killed, and log-buffer.dat in shared memory is gone \
                 or another start's, so that what it acknowledged may be missing from its log"
            }
        }
    }
}

/// What binds this directory and the one that counts of another member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SettledLives {
    /// Its settled life, see [`Lineage`](super::Lineage).
    pub(super) settled: Incarnation,
    /// The life of this directory that it is durably known to know.
    pub(super) own: Incarnation,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MembershipNotes {
    /// How far the cluster has formed.
    pub formation: DurableFormation,
    /// Why this directory has another id than the cluster was formed with, where it knows.
    pub forfeit: Option<Forfeit>,
    pub(super) known: KnownLives,
    pub(super) settled_lives: [SettledLives; MEMBERS_MAX],
    /// What the member of each directory that counts has promised.
    pub(super) promised: [Promises; MEMBERS_MAX],
}

impl MembershipNotes {
    /// The version of notes that are of another one.
    #[must_use]
    pub(crate) const fn other_version(notes: &Notes) -> Option<u8> {
        match notes[0] {
            0 | VERSION => None,
            other => Some(other),
        }
    }

    /// The directory takes another id: what others know of it does not bind that one.
    pub(crate) fn forget_settled_lives(&mut self) {
        self.settled_lives = Default::default();
        self.promised = Default::default();
    }

    /// Encodes the notes.
    #[must_use]
    pub fn encode(&self) -> Notes {
        if *self == Self::default() {
            return [0; NOTES_LENGTH];
        }
        encoded(|fields| self.write(fields))
    }

    fn write(&self, fields: &mut FieldWriter<'_>) {
        let record = &self.formation.record;
        let forfeit = self.forfeit.map_or(0, |forfeit| forfeit as u8);
        fields.u8(VERSION).u8(u8::from(self.formation.is_formed));
        fields.u8(record.members).u8(forfeit).zeros(4);
        fields.u64(record.draw).u128(record.cluster);
        for directory in record.directories {
            fields.u128(directory);
        }
        for life in self.known.as_flattened() {
            fields.u128(life.directory);
            write_life(fields, life.incarnation);
        }
        for (settled_lives, promised) in self.settled_lives.iter().zip(&self.promised) {
            write_life(fields, settled_lives.settled);
            write_life(fields, settled_lives.own);
            write_promises(fields, promised);
        }
        fields.zeros(UNUSED);
    }

    /// Decodes the notes; `None` for those of another version, or ones nobody writes.
    #[must_use]
    pub fn decode(notes: &Notes) -> Option<Self> {
        let read = decoded(notes, Self::read)?;
        (read.encode() == *notes).then_some(read)
    }

    fn read(fields: &mut FieldReader<'_>) -> Option<Self> {
        let mut notes = Self::default();
        fields.skip(1)?;
        notes.formation.is_formed = fields.u8()? == 1;
        let record = &mut notes.formation.record;
        record.members = fields.u8()?;
        notes.forfeit = Forfeit::from_number(fields.u8()?);
        fields.skip(4)?;
        record.draw = fields.u64()?;
        record.cluster = fields.u128()?;
        for directory in &mut record.directories {
            *directory = fields.u128()?;
        }
        for life in notes.known.as_flattened_mut() {
            life.directory = fields.u128()?;
            life.incarnation = read_life(fields)?;
        }
        for (settled_lives, promised) in notes.settled_lives.iter_mut().zip(&mut notes.promised) {
            settled_lives.settled = read_life(fields)?;
            settled_lives.own = read_life(fields)?;
            *promised = read_promises(fields)?;
        }
        fields.skip(UNUSED)?;
        Some(notes)
    }
}

fn write_life(fields: &mut FieldWriter<'_>, life: Incarnation) {
    fields.u64(life.counter).u64(life.nonce);
}

fn read_life(fields: &mut FieldReader<'_>) -> Option<Incarnation> {
    Some(Incarnation {
        counter: fields.u64()?,
        nonce: fields.u64()?,
    })
}

fn write_promises(fields: &mut FieldWriter<'_>, promises: &Promises) {
    // Leadership terms fit 31 bits, as log frames carry them.
    fields.u32(promises.term.get() as u32);
    fields.u32(promises.ack_term.get() as u32);
    fields.i64(promises.acked);
    fields.u8(promises.vote.map_or(0, |vote| vote + 1)).zeros(7);
}

fn read_promises(fields: &mut FieldReader<'_>) -> Option<Promises> {
    let promises = Promises {
        term: fields.u32()?.into(),
        ack_term: fields.u32()?.into(),
        acked: fields.i64()?,
        vote: fields.u8()?.checked_sub(1),
    };
    fields.skip(7)?;
    Some(promises)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::formation::FormationRecord;
    use lockstep_transport::ids::LeadershipTermId;

    #[test]
    fn notes_survive_encoding_and_foreign_bytes_do_not_pass() {
        let mut notes = MembershipNotes::default();
        assert_eq!(MembershipNotes::decode(&notes.encode()), Some(notes));
        notes.formation.is_formed = true;
        notes.formation.record = FormationRecord {
            cluster: 3 << 90,
            draw: 4,
            members: 2,
            directories: [9; MEMBERS_MAX],
        };
        notes.forfeit = Some(Forfeit::AckMark);
        notes.known[6][1] = KnownLife {
            directory: 1 << 127,
            incarnation: Incarnation {
                counter: 5,
                nonce: u64::MAX,
            },
        };
        let life = |counter| Incarnation {
            counter,
            nonce: u64::MAX - counter,
        };
        notes.settled_lives[6] = SettledLives {
            settled: life(7),
            own: life(8),
        };
        notes.promised[0].vote = Some(6);
        notes.promised[6] = Promises {
            term: LeadershipTermId::new(1 << 30),
            vote: None,
            ack_term: LeadershipTermId::new((1 << 31) - 1),
            acked: 1 << 60,
        };
        let encoded = notes.encode();
        assert_eq!(MembershipNotes::decode(&encoded), Some(notes));
        for index in [0, 1, 3, 4, 592 + 49, 984, NOTES_LENGTH - 1] {
            let mut other = encoded;
            other[index] ^= 0x80;
            assert_eq!(MembershipNotes::decode(&other), None, "byte {index}");
        }
        let mut older = encoded;
        older[0] = 1;
        assert_eq!(MembershipNotes::other_version(&older), Some(1));
        assert_eq!(MembershipNotes::other_version(&encoded), None);
    }

    #[test]
    fn the_fields_lie_where_the_layout_says() {
        let life = |counter| Incarnation { counter, nonce: 9 };
        let mut notes = MembershipNotes::default();
        notes.formation.is_formed = true;
        notes.formation.record = FormationRecord {
            cluster: 3 << 90,
            draw: 4,
            members: 2,
            directories: [5; MEMBERS_MAX],
        };
        notes.forfeit = Some(Forfeit::AckMark);
        notes.known[6][1] = KnownLife {
            directory: 6,
            incarnation: life(7),
        };
        notes.settled_lives[6] = SettledLives {
            settled: life(8),
            own: life(10),
        };
        notes.promised[6] = Promises {
            term: LeadershipTermId::new(11),
            vote: Some(6),
            ack_term: LeadershipTermId::new(12),
            acked: 13,
        };
        let encoded = notes.encode();
        let words = |words: &[u64]| -> Vec<u8> {
            let bytes = words.iter().map(|word| word.to_le_bytes());
            bytes.flatten().collect()
        };
        assert_eq!(
            encoded[..16],
            [&[2, 1, 2, 3, 0, 0, 0, 0][..], &words(&[4])].concat()
        );
        assert_eq!(encoded[16..32], (3_u128 << 90).to_le_bytes());
        assert_eq!(encoded[32..144], words(&[5, 0].repeat(MEMBERS_MAX)));
        assert_eq!(encoded[144..560], [0; 416]);
        assert_eq!(encoded[560..592], words(&[6, 0, 7, 9]));
        assert_eq!(encoded[592..928], [0; 336]);
        assert_eq!(encoded[928..960], words(&[8, 9, 10, 9]));
        assert_eq!(encoded[960..984], words(&[11 | 12 << 32, 13, 7]));
        assert_eq!(encoded[984..], [0; 40]);
    }
}
