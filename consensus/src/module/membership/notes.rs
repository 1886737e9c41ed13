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

use super::promises::Promises;
use super::words::KnownLife;
use crate::module::formation::{DurableFormation, FormationRecord, Incarnation};
use crate::module::member::MEMBERS_MAX;

/// Lives remembered of each member: of the directory that counts, and of another one.
pub(super) const LIVES_MAX: usize = 2;

/// The lives known of each member.
pub(super) type KnownLives = [[KnownLife; LIVES_MAX]; MEMBERS_MAX];

const VERSION: u8 = 2;
const DIRECTORIES_OFFSET: usize = 32;
const LIVES_OFFSET: usize = DIRECTORIES_OFFSET + MEMBERS_MAX * 16;
const LIFE_LENGTH: usize = 32;

const BONDS_OFFSET: usize = LIVES_OFFSET + MEMBERS_MAX * LIVES_MAX * LIFE_LENGTH;
const BOND_LENGTH: usize = 56;

const _: () = assert!(BONDS_OFFSET + MEMBERS_MAX * BOND_LENGTH <= NOTES_LENGTH);

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
}

impl Forfeit {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::UnsyncedLog),
            2 => Some(Self::NodeState),
            3 => Some(Self::AckMark),
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
        }
    }
}

/// What binds this directory and the one that counts of another member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bond {
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
    pub(super) bonds: [Bond; MEMBERS_MAX],
    /// What the member of each directory that counts has promised.
    pub(super) promised: [Promises; MEMBERS_MAX],
}

impl MembershipNotes {
    /// The version of notes that are of another one.
    #[must_use]
    pub const fn other_version(notes: &Notes) -> Option<u8> {
        match notes[0] {
            0 | VERSION => None,
            other => Some(other),
        }
    }

    /// The directory takes another id: what others know of it does not bind that one.
    pub fn forget_bonds(&mut self) {
        self.bonds = Default::default();
        self.promised = Default::default();
    }

    /// Encodes the notes.
    #[must_use]
    pub fn encode(&self) -> Notes {
        let mut notes = [0; NOTES_LENGTH];
        if *self == Self::default() {
            return notes;
        }
        let record = &self.formation.record;
        notes[0] = VERSION;
        notes[1] = u8::from(self.formation.is_formed);
        notes[2] = record.members;
        notes[3] = self.forfeit.map_or(0, |forfeit| forfeit as u8);
        notes[8..16].copy_from_slice(&record.draw.to_le_bytes());
        notes[16..32].copy_from_slice(&record.cluster.to_le_bytes());
        let places = notes[DIRECTORIES_OFFSET..LIVES_OFFSET].chunks_exact_mut(16);
        for (place, directory) in places.zip(record.directories) {
            place.copy_from_slice(&directory.to_le_bytes());
        }
        let places = notes[LIVES_OFFSET..BONDS_OFFSET].chunks_exact_mut(LIFE_LENGTH);
        for (place, life) in places.zip(self.known.as_flattened()) {
            place[..16].copy_from_slice(&life.directory.to_le_bytes());
            put_life(&mut place[16..], life.incarnation);
        }
        let places = notes[BONDS_OFFSET..].chunks_exact_mut(BOND_LENGTH);
        for ((place, bond), promised) in places.zip(&self.bonds).zip(&self.promised) {
            put_life(place, bond.settled);
            put_life(&mut place[16..], bond.own);
            put_promises(&mut place[32..], promised);
        }
        notes
    }

    /// Decodes the notes; `None` for those of another version, or ones nobody writes.
    #[must_use]
    pub fn decode(notes: &Notes) -> Option<Self> {
        let directory = |offset: usize| -> Option<u128> {
            Some(u128::from_le_bytes(*notes.get(offset..)?.first_chunk()?))
        };
        let number = |offset: usize| -> Option<u64> {
            Some(u64::from_le_bytes(*notes.get(offset..)?.first_chunk()?))
        };
        let life = |offset: usize| -> Option<Incarnation> {
            Some(Incarnation {
                counter: number(offset)?,
                nonce: number(offset + 8)?,
            })
        };
        let mut decoded = Self {
            formation: DurableFormation {
                record: FormationRecord {
                    cluster: directory(16)?,
                    draw: number(8)?,
                    members: notes[2],
                    directories: [0; MEMBERS_MAX],
                },
                is_formed: notes[1] == 1,
            },
            forfeit: Forfeit::from_number(notes[3]),
            ..Self::default()
        };
        let directories = &mut decoded.formation.record.directories;
        for (index, slot) in directories.iter_mut().enumerate() {
            *slot = directory(DIRECTORIES_OFFSET + index * 16)?;
        }
        let lives = decoded.known.as_flattened_mut();
        for (index, known) in lives.iter_mut().enumerate() {
            let offset = LIVES_OFFSET + index * LIFE_LENGTH;
            *known = KnownLife {
                directory: directory(offset)?,
                incarnation: life(offset + 16)?,
            };
        }
        for index in 0..MEMBERS_MAX {
            let offset = BONDS_OFFSET + index * BOND_LENGTH;
            decoded.bonds[index] = Bond {
                settled: life(offset)?,
                own: life(offset + 16)?,
            };
            decoded.promised[index] = promises(notes.get(offset + 32..)?)?;
        }
        (decoded.encode() == *notes).then_some(decoded)
    }
}

fn put_life(place: &mut [u8], life: Incarnation) {
    place[..8].copy_from_slice(&life.counter.to_le_bytes());
    place[8..16].copy_from_slice(&life.nonce.to_le_bytes());
}

fn put_promises(place: &mut [u8], promises: &Promises) {
    // Leadership terms fit 31 bits, as log frames carry them.
    place[..4].copy_from_slice(&(promises.term as u32).to_le_bytes());
    place[4..8].copy_from_slice(&(promises.ack_term as u32).to_le_bytes());
    place[8..16].copy_from_slice(&promises.acked.to_le_bytes());
    place[16] = promises.vote.map_or(0, |vote| vote + 1);
}

fn promises(place: &[u8]) -> Option<Promises> {
    let term = |offset: usize| -> Option<i64> {
        Some(u32::from_le_bytes(*place.get(offset..)?.first_chunk()?).into())
    };
    Some(Promises {
        term: term(0)?,
        vote: place.get(16)?.checked_sub(1),
        ack_term: term(4)?,
        acked: i64::from_le_bytes(*place.get(8..)?.first_chunk()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        notes.bonds[6] = Bond {
            settled: life(7),
            own: life(8),
        };
        notes.promised[0].vote = Some(6);
        notes.promised[6] = Promises {
            term: 1 << 30,
            vote: None,
            ack_term: (1 << 31) - 1,
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
        notes.bonds[6] = Bond {
            settled: life(8),
            own: life(10),
        };
        notes.promised[6] = Promises {
            term: 11,
            vote: Some(6),
            ack_term: 12,
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
