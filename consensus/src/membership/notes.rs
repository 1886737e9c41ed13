//! What a member durably knows of its cluster, as the notes of its identity file.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | version, 1 (0: blank) |
//! | 1 | 1 | whether the record is final |
//! | 2 | 1 | members of the record |
//! | 3 | 1 | why the directory gave up its voice, 0: it has not, see [`Forfeit`] |
//! | 4 | 4 | zeros |
//! | 8 | 8 | draw number |
//! | 16 | 16 | cluster uuid |
//! | 32 | 7 × 16 | directory id of each member |
//! | 144 | 14 × 32 | two known lives of each member: directory id, counter, nonce |
//! | 592 | 432 | zeros |

use lockstep_archive::identity_file::{NOTES_LENGTH, Notes};

use super::KnownLife;
use crate::formation::{DurableFormation, FormationRecord, Incarnation};
use crate::member::MEMBERS_MAX;

/// Lives remembered of each member: of the directory that counts, and of another one.
pub(super) const LIVES_MAX: usize = 2;

/// The lives known of each member.
pub(super) type KnownLives = [[KnownLife; LIVES_MAX]; MEMBERS_MAX];

const VERSION: u8 = 1;
const DIRECTORIES_OFFSET: usize = 32;
const LIVES_OFFSET: usize = DIRECTORIES_OFFSET + MEMBERS_MAX * 16;
const LIFE_LENGTH: usize = 32;

const _: () = assert!(LIVES_OFFSET + MEMBERS_MAX * LIVES_MAX * LIFE_LENGTH <= NOTES_LENGTH);

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

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MembershipNotes {
    /// How far the cluster has formed.
    pub formation: DurableFormation,
    /// Why this directory has another id than the cluster was formed with, where it knows.
    pub forfeit: Option<Forfeit>,
    pub(super) known: KnownLives,
}

impl MembershipNotes {
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
        let places = notes[LIVES_OFFSET..].chunks_exact_mut(LIFE_LENGTH);
        for (place, life) in places.zip(self.known.as_flattened()) {
            place[..16].copy_from_slice(&life.directory.to_le_bytes());
            place[16..24].copy_from_slice(&life.incarnation.counter.to_le_bytes());
            place[24..].copy_from_slice(&life.incarnation.nonce.to_le_bytes());
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
            known: KnownLives::default(),
        };
        let directories = &mut decoded.formation.record.directories;
        for (index, slot) in directories.iter_mut().enumerate() {
            *slot = directory(DIRECTORIES_OFFSET + index * 16)?;
        }
        let lives = decoded.known.as_flattened_mut();
        for (index, life) in lives.iter_mut().enumerate() {
            let offset = LIVES_OFFSET + index * LIFE_LENGTH;
            *life = KnownLife {
                directory: directory(offset)?,
                incarnation: Incarnation {
                    counter: number(offset + 16)?,
                    nonce: number(offset + 24)?,
                },
            };
        }
        (decoded.encode() == *notes).then_some(decoded)
    }
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
        let encoded = notes.encode();
        assert_eq!(MembershipNotes::decode(&encoded), Some(notes));
        for index in [0, 1, 3, 4, 592, NOTES_LENGTH - 1] {
            let mut other = encoded;
            other[index] ^= 0x80;
            assert_eq!(MembershipNotes::decode(&other), None, "byte {index}");
        }
    }
}
