//! `identity.dat`: which directory this is, whose, and where it was made (`log.md` 9.1).
//!
//! A directory has a random id for ever. The file remembers its own place on the file system: a
//! file that finds itself elsewhere lies in a copy, and a copy must not speak for the original.
//! Besides, it keeps `notes` for its owner: what a member durably knows of its cluster.
//!
//! Two slots of 4 KiB; each change is written to one, then to the other, and is durable when
//! both are: whichever of them rots later, the other one has the newest content.
//!
//! | offset | size | field of a slot |
//! |---|---|---|
//! | 0 | 8 | magic `LSIDENTI` |
//! | 8 | 8 | sequence, from 1 |
//! | 16 | 4 | version, 1 |
//! | 20 | 1, 1, 2 | member, length of the cluster's name, zeros |
//! | 24 | 16 | directory id |
//! | 40 | 8, 8, 8 | inode, birth time (ns), file system of the file itself |
//! | 64 | 64 | the cluster's name, cut to 64 bytes |
//! | 128 | 1024 | notes |
//! | 1152 | 2940 | zeros |
//! | 4092 | 4 | crc32c of everything before |

use lockstep_transport::codec::{FieldReader, FieldWriter};
use lockstep_transport::concurrent::AtomicBuffer;
use lockstep_transport::time::Nanos;

use crate::disk::{
    BLOCK_LENGTH, Busy, ColdFiles, Completion, Disk, DiskError, DiskOp, Durability, FileId,
    FilePlace, Token,
};
use crate::files::slot_file::{SLOTS, is_half_good, offset_of, read_slots};
use crate::log::token::{OWNER_IDENTITY, TokenSource};

/// The file's name.
pub const IDENTITY_FILE: &str = "identity.dat";

/// Bytes of the owner's notes.
pub const NOTES_LENGTH: usize = 1024;

/// The owner's notes.
pub type Notes = [u8; NOTES_LENGTH];

const MAGIC: [u8; 8] = *b"LSIDENTI";
const VERSION: u32 = 1;
const NAME_MAX: usize = 64;
const CHECKSUM_OFFSET: usize = BLOCK_LENGTH - 4;

/// Who a directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryIdentity {
    /// Its random id.
    pub directory: u128,
    /// The member it was made for.
    pub member: u8,
    /// The name of the cluster it was made for, cut to 64 bytes.
    pub cluster: Vec<u8>,
    /// Where the file lay when the id was drawn.
    pub place: FilePlace,
    /// What its owner wrote down.
    pub notes: Notes,
}

/// What the file was found to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityContent {
    /// No such file, or one that was created but never written.
    Blank,
    /// An identity, and its sequence.
    Valid(Box<DirectoryIdentity>, u64),
    /// Bytes, but no valid slot among them.
    Unreadable,
}

/// A change on its way to both slots.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    token: Token,
    slot: u64,
}

/// The open file with its newest submitted content.
#[derive(Debug)]
pub struct IdentityFile {
    file: FileId,
    identity: DirectoryIdentity,
    sequence: u64,
    block: AtomicBuffer,
    tokens: TokenSource,
    in_flight: Option<InFlight>,
    /// The first slot holds the newest content and the second must follow.
    is_second_due: bool,
}

impl DirectoryIdentity {
    /// A new directory of `member`, without notes.
    #[must_use]
    pub fn new(directory: u128, member: u8, cluster: &str, place: FilePlace) -> Self {
        let name = cluster.as_bytes();
        Self {
            directory,
            member,
            cluster: name[..name.len().min(NAME_MAX)].to_vec(),
            place,
            notes: [0; NOTES_LENGTH],
        }
    }

    /// Whether it is that of a copy, where its file lies at `found`: see
    /// [`IdentityFile::is_copy`].
    #[must_use]
    pub fn is_copy_at(&self, found: &FilePlace) -> bool {
        is_elsewhere(&self.place, found)
    }

    /// Whether it was made for the cluster of this name.
    #[must_use]
    pub fn is_of_cluster(&self, name: &str) -> bool {
        let name = name.as_bytes();
        self.cluster == name[..name.len().min(NAME_MAX)]
    }

    fn encode(&self, sequence: u64, block: &mut [u8]) {
        let mut fields = FieldWriter::new(block);
        fields.bytes(&MAGIC).u64(sequence).u32(VERSION);
        fields.u8(self.member).u8(self.cluster.len() as u8).zeros(2);
        fields.u128(self.directory).u64(self.place.inode);
        fields.u64(self.place.birth_ns).u64(self.place.file_system);
        fields.bytes(&self.cluster);
        fields.zeros(NAME_MAX - self.cluster.len());
        fields.bytes(&self.notes);
        fields.zeros(CHECKSUM_OFFSET - fields.length());
        let crc = crc32c::crc32c(fields.written());
        fields.u32(crc);
    }

    fn decode(block: &[u8; BLOCK_LENGTH]) -> Option<(Self, u64)> {
        let (identity, sequence) = Self::read(&mut FieldReader::new(block))?;
        let mut again = [0; BLOCK_LENGTH];
        identity.encode(sequence, &mut again);
        (again == *block).then_some((identity, sequence))
    }

    /// The fields, whatever magic, version and checksum are.
    fn read(fields: &mut FieldReader<'_>) -> Option<(Self, u64)> {
        fields.skip(MAGIC.len())?;
        let sequence = fields.u64()?;
        fields.skip(4)?;
        let (member, name_length) = (fields.u8()?, usize::from(fields.u8()?));
        fields.skip(2)?;
        let directory = fields.u128()?;
        let place = FilePlace {
            inode: fields.u64()?,
            birth_ns: fields.u64()?,
            file_system: fields.u64()?,
        };
        let name = fields.bytes(NAME_MAX)?;
        let identity = Self {
            directory,
            member,
            cluster: name[..name_length.min(NAME_MAX)].to_vec(),
            place,
            notes: *fields.array()?,
        };
        Some((identity, sequence))
    }
}

impl IdentityFile {
    /// Cold: what the file holds, without changing anything.
    ///
    /// # Errors
    /// The disk's, other than for a missing file.
    pub fn inspect(disk: &mut impl ColdFiles) -> Result<IdentityContent, DiskError> {
        let mut newest = None;
        let is_blank = read_slots(disk, IDENTITY_FILE, |_, block| {
            if let Some((identity, sequence)) = DirectoryIdentity::decode(block)
                && newest.as_ref().is_none_or(|(_, known)| sequence > *known)
            {
                newest = Some((identity, sequence));
            }
        })?;
        Ok(match newest {
            Some((identity, sequence)) => IdentityContent::Valid(Box::new(identity), sequence),
            None if is_blank => IdentityContent::Blank,
            None => IdentityContent::Unreadable,
        })
    }

    /// Cold: whether one of its slots is spoiled, and the other one good. Changes nothing.
    ///
    /// # Errors
    /// The disk's, other than for a missing file.
    pub fn has_spoiled_slot(disk: &mut impl ColdFiles) -> Result<bool, DiskError> {
        is_half_good(disk, IDENTITY_FILE, |block| {
            DirectoryIdentity::decode(block).is_some()
        })
    }

    /// Cold: makes the file, or reuses one that was never finished: `directory` is the id of a
    /// new directory of `member`, durable on return.
    ///
    /// # Errors
    /// The disk's.
    pub fn create(
        disk: &mut impl ColdFiles,
        directory: u128,
        member: u8,
        cluster: &str,
    ) -> Result<Self, DiskError> {
        let file = disk.create(IDENTITY_FILE, SLOTS * BLOCK_LENGTH as u64)?;
        let place = disk.place(file)?;
        let identity = DirectoryIdentity::new(directory, member, cluster, place);
        let mut this = Self::over(file, identity, 0)?;
        this.write(disk)?;
        Ok(this)
    }

    /// Cold: opens the file that was found to hold `identity` with `sequence`, and makes that
    /// durable: a crash in the next change must find one of the slots good.
    ///
    /// # Errors
    /// The disk's.
    pub fn open(
        disk: &mut impl ColdFiles,
        identity: DirectoryIdentity,
        sequence: u64,
    ) -> Result<Self, DiskError> {
        let file = disk.open(IDENTITY_FILE)?;
        disk.sync(file)?;
        Self::over(file, identity, sequence)
    }

    fn over(file: FileId, identity: DirectoryIdentity, sequence: u64) -> Result<Self, DiskError> {
        let block = AtomicBuffer::allocate(BLOCK_LENGTH).map_err(|error| DiskError::Io {
            operation: "allocation of a buffer",
            name: IDENTITY_FILE.to_owned(),
            detail: error.to_string(),
        })?;
        Ok(Self {
            file,
            identity,
            sequence,
            block,
            tokens: TokenSource::new(OWNER_IDENTITY),
            in_flight: None,
            is_second_due: false,
        })
    }

    /// Cold: writes again the slot that does not hold what the file was opened with, durable on
    /// return. The next change begins with the first slot, whichever it is that is spoiled: a
    /// crash then must find the other one good.
    ///
    /// # Errors
    /// The disk's.
    pub fn repair(&mut self, disk: &mut impl ColdFiles) -> Result<(), DiskError> {
        assert!(!self.is_writing(), "a cold write during a hot one");
        let block = self.block.bytes_mut(0, BLOCK_LENGTH);
        self.identity.encode(self.sequence, block);
        let length = disk.length(self.file)?;
        for slot in 0..SLOTS {
            let mut found = [0; BLOCK_LENGTH];
            let offset = offset_of(slot);
            if offset + BLOCK_LENGTH as u64 <= length {
                disk.read(self.file, offset, &mut found)?;
            }
            let wanted = self.block.bytes(0, BLOCK_LENGTH);
            if found != wanted {
                disk.write(self.file, offset, wanted)?;
            }
        }
        Ok(())
    }

    /// Who the directory is, with the newest notes, durable or on their way.
    #[must_use]
    pub const fn identity(&self) -> &DirectoryIdentity {
        &self.identity
    }

    /// Cold: whether the file lies elsewhere than where it was made: a copy, or a backup put
    /// back. Where the file system keeps birth times, inode and birth time decide; a device
    /// that got another number at boot makes no copy.
    ///
    /// # Errors
    /// The disk's.
    pub fn is_copy(&self, disk: &mut impl ColdFiles) -> Result<bool, DiskError> {
        Ok(self.identity.is_copy_at(&disk.place(self.file)?))
    }

    /// Cold: the directory is another one from now on, with `notes`, durable on return.
    ///
    /// # Errors
    /// The disk's.
    pub fn rename(
        &mut self,
        disk: &mut impl ColdFiles,
        directory: u128,
        notes: &Notes,
    ) -> Result<(), DiskError> {
        self.identity.directory = directory;
        self.identity.place = disk.place(self.file)?;
        self.identity.notes = *notes;
        self.write(disk)
    }

    /// Cold: replaces the notes, durable on return.
    ///
    /// # Errors
    /// The disk's.
    pub fn write_notes(
        &mut self,
        disk: &mut impl ColdFiles,
        notes: &Notes,
    ) -> Result<(), DiskError> {
        self.identity.notes = *notes;
        self.write(disk)
    }

    fn write(&mut self, disk: &mut impl ColdFiles) -> Result<(), DiskError> {
        assert!(!self.is_writing(), "a cold write during a hot one");
        self.encode();
        for slot in 0..SLOTS {
            let bytes = self.block.bytes(0, BLOCK_LENGTH);
            disk.write(self.file, offset_of(slot), bytes)?;
        }
        Ok(())
    }

    fn encode(&mut self) {
        self.sequence += 1;
        let block = self.block.bytes_mut(0, BLOCK_LENGTH);
        self.identity.encode(self.sequence, block);
    }

    /// Hot: starts replacing id and notes. One change at a time;
    /// [`on_completion`](Self::on_completion) tells when it is durable.
    ///
    /// # Errors
    /// [`Busy`] while the disk's queue is full or the previous change is on its way.
    pub fn submit(
        &mut self,
        now: Nanos,
        disk: &mut impl Disk,
        directory: u128,
        notes: &Notes,
    ) -> Result<(), Busy> {
        if self.is_writing() {
            return Err(Busy);
        }
        self.identity.directory = directory;
        self.identity.notes = *notes;
        self.encode();
        self.submit_slot(now, disk, 0)
    }

    fn submit_slot(&mut self, now: Nanos, disk: &mut impl Disk, slot: u64) -> Result<(), Busy> {
        let token = self.tokens.next_token();
        let operation = DiskOp::Write {
            token,
            file: self.file,
            offset: offset_of(slot),
            block: self.block.kernel_block(0, BLOCK_LENGTH),
            durability: Durability::Synced,
        };
        disk.submit(now, operation)?;
        self.in_flight = Some(InFlight { token, slot });
        Ok(())
    }

    /// Hot: goes on with a change whose first slot is written.
    pub fn do_work(&mut self, now: Nanos, disk: &mut impl Disk) {
        if self.is_second_due && self.submit_slot(now, disk, 1).is_ok() {
            self.is_second_due = false;
        }
    }

    /// Takes a completion: `None` when it is not of this file; otherwise whether the change is
    /// durable now, or the error after which the file must not be trusted.
    pub fn on_completion(&mut self, completion: &Completion) -> Option<Result<bool, DiskError>> {
        let write = self
            .in_flight
            .filter(|write| write.token == completion.token)?;
        self.in_flight = None;
        if let Err(error) = &completion.result {
            return Some(Err(error.clone()));
        }
        self.is_second_due = write.slot == 0;
        Some(Ok(!self.is_second_due))
    }

    /// Whether a change is not durable yet.
    #[must_use]
    pub const fn is_writing(&self) -> bool {
        self.in_flight.is_some() || self.is_second_due
    }
}

/// Whether the file that was made in one place is not the one found in another.
fn is_elsewhere(made: &FilePlace, found: &FilePlace) -> bool {
    let has_birth = made.birth_ns != 0 && found.birth_ns != 0;
    let is_same_file = (made.inode, made.birth_ns) == (found.inode, found.birth_ns);
    !is_same_file || (!has_birth && made.file_system != found.file_system)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> DirectoryIdentity {
        let place = FilePlace {
            inode: 7,
            birth_ns: 8,
            file_system: 9,
        };
        let mut identity = DirectoryIdentity::new(5 << 100, 2, "alpha", place);
        identity.notes[NOTES_LENGTH - 1] = 0xAB;
        identity
    }

    #[test]
    fn an_identity_survives_encoding_and_any_flipped_bit_is_noticed() {
        let mut block = [0; BLOCK_LENGTH];
        identity().encode(3, &mut block);
        let decoded = DirectoryIdentity::decode(&block);
        assert_eq!(decoded, Some((identity(), 3)));
        for bit in 0..BLOCK_LENGTH * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(DirectoryIdentity::decode(&block), None, "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_long_cluster_name_is_recognised_by_what_was_kept_of_it() {
        let name = "x".repeat(100);
        let identity = DirectoryIdentity::new(1, 0, &name, FilePlace::default());
        assert!(identity.is_of_cluster(&name));
        assert!(!identity.is_of_cluster("x"));
    }

    #[test]
    fn inode_and_birth_tell_a_copy_and_the_device_only_where_no_births_are_kept() {
        let place = |inode, birth_ns, file_system| FilePlace {
            inode,
            birth_ns,
            file_system,
        };
        for (made, found, is_copy) in [
            (place(1, 5, 7), place(1, 5, 7), false),
            (place(1, 5, 7), place(2, 5, 7), true),
            (place(1, 5, 7), place(1, 6, 7), true),
            // The device got another number at boot.
            (place(1, 5, 7), place(1, 5, 8), false),
            (place(1, 0, 7), place(1, 0, 7), false),
            (place(1, 0, 7), place(1, 0, 8), true),
            (place(1, 5, 7), place(1, 0, 7), true),
            (place(1, 0, 7), place(1, 5, 7), true),
        ] {
            assert_eq!(is_elsewhere(&made, &found), is_copy, "{made:?} {found:?}");
        }
    }

    #[test]
    fn the_fields_lie_where_the_layout_says() {
        let mut block = [0xFF; BLOCK_LENGTH];
        identity().encode(3, &mut block);
        let fields = [
            &MAGIC[..],
            &3_u64.to_le_bytes(),
            &[1, 0, 0, 0, 2, 5, 0, 0],
            &(5_u128 << 100).to_le_bytes(),
            &[7_u64, 8, 9].map(u64::to_le_bytes).concat(),
            b"alpha",
            &[0; 59],
        ];
        assert_eq!(block[..128], fields.concat());
        assert_eq!(block[128 + NOTES_LENGTH - 1], 0xAB);
        assert!(block[1152..4092].iter().all(|byte| *byte == 0));
        let crc = crc32c::crc32c(&block[..4092]);
        assert_eq!(block[4092..], crc.to_le_bytes());
    }
}
