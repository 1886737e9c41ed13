//! A small record that survives a crash at any point of its update (`rules.md` D12), and
//! the rot of either of its slots.
//!
//! Two 4 KiB slots, each with a sequence number and a checksum; the newest valid one is the
//! record. What must never be forgotten is written to *both*, one after the other
//! ([`SlotFile::write`] cold, [`SlotFile::submit_both`] hot), and counts only then: a torn write
//! spoils one slot and nothing was promised by it, and rot of either slot leaves the newest
//! record in the other. [`SlotFile::submit`] writes one slot: only for a record of which the one
//! before is good enough, like the ack mark of a busy log. Whoever opens a file writes it before it
//! promises anything, so that it always starts from two good slots. Owned by whoever owns the
//! record and gives it meaning: [`crate::files::ack_mark`], and the archive's user.
//!
//! A record has 64 bytes, or what its [kind](SlotFileKind) says:
//!
//! | offset | size | field of a slot |
//! |---|---|---|
//! | 0 | 8 | magic, names the kind of file |
//! | 8 | 8 | sequence, from 1 |
//! | 16 | 64 | the record |
//! | 80 | 4012 | zeros |
//! | 4092 | 4 | crc32c of everything before |

use lockstep_transport::codec::{FieldReader, FieldWriter};
use lockstep_transport::concurrent::AtomicBuffer;
use lockstep_transport::time::Nanos;

use crate::disk::{
    BLOCK_LENGTH, Busy, ColdFiles, Disk, DiskError, DiskOp, Durability, FileId, Token,
};
use crate::log::token::{Owner, TokenSource};

/// Bytes of a record of which nothing else is said.
pub const RECORD_LENGTH: usize = 64;

/// Copies of what a file holds, each in a block of its own: one is good whatever a crash tears.
pub(crate) const SLOTS: u64 = 2;
const CHECKSUM_OFFSET: usize = BLOCK_LENGTH - 4;

/// The record's bytes.
pub type Record = [u8; RECORD_LENGTH];

/// What kind of record a file holds, and how many bytes it has.
#[derive(Clone, Copy, Debug)]
pub struct SlotFileKind<const LENGTH: usize = RECORD_LENGTH> {
    /// The file's name.
    pub name: &'static str,
    /// First eight bytes of each slot.
    pub magic: [u8; 8],
    /// Owner of its tokens.
    pub owner: Owner,
}

/// What a slot file was found to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotContent<const LENGTH: usize = RECORD_LENGTH> {
    /// No such file, or one that was created but never written.
    Blank,
    /// The newest valid record.
    Valid {
        /// The slot that holds it.
        slot: u64,
        /// Of the slot.
        sequence: u64,
        /// The record.
        record: [u8; LENGTH],
    },
    /// Bytes, but no valid slot among them.
    Unreadable,
}

/// What a slot file that was opened was found to hold.
#[derive(Debug)]
pub enum Opened<T> {
    /// A record; the newest.
    Record(T),
    /// No record: there is no such file, or no good slot in it.
    Nothing,
    /// A record that this program would not have written, in a good slot. Rot does not pass the
    /// slot's checksum.
    OtherVersion,
}

impl<T> Opened<T> {
    /// The same with what `make` makes of the record.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Opened<U> {
        match self {
            Self::Record(record) => Opened::Record(make(record)),
            Self::Nothing => Opened::Nothing,
            Self::OtherVersion => Opened::OtherVersion,
        }
    }
}

/// An open slot file with room for one hot write in flight.
#[derive(Debug)]
pub struct SlotFile<const LENGTH: usize = RECORD_LENGTH> {
    file: FileId,
    magic: [u8; 8],
    sequence: u64,
    block: AtomicBuffer,
    tokens: TokenSource,
    in_flight: Option<InFlight>,
    /// The other slot still has to get the record that was written last.
    is_half: bool,
    /// The slot whose content is known to be on stable storage. It is never the one written
    /// to: however many unflushed writes a crash tears, this one remains.
    synced_slot: u64,
    /// The slot that was written last.
    newest_slot: u64,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    token: Token,
    since: Nanos,
    slot: u64,
    is_synced: bool,
}

impl<const LENGTH: usize> SlotFile<LENGTH> {
    /// Cold: what the file of this kind holds, without changing anything.
    ///
    /// # Errors
    /// The disk's, other than for a missing file.
    pub fn inspect(
        disk: &mut impl ColdFiles,
        kind: &SlotFileKind<LENGTH>,
    ) -> Result<SlotContent<LENGTH>, DiskError> {
        let mut newest = SlotContent::Unreadable;
        let is_blank = read_slots(disk, kind.name, |slot, block| {
            if let Some((sequence, record)) = decode(block, kind.magic)
                && !matches!(newest, SlotContent::Valid { sequence: other, .. } if other > sequence)
            {
                newest = SlotContent::Valid {
                    slot,
                    sequence,
                    record,
                };
            }
        })?;
        Ok(if is_blank { SlotContent::Blank } else { newest })
    }

    /// Cold: creates the file or reuses a blank one, and makes `record` its durable content.
    ///
    /// # Errors
    /// The disk's.
    pub fn create(
        disk: &mut impl ColdFiles,
        kind: &SlotFileKind<LENGTH>,
        record: &[u8; LENGTH],
    ) -> Result<Self, DiskError> {
        let mut slots = Self::renew(disk, kind)?;
        slots.write(disk, record)?;
        Ok(slots)
    }

    /// Cold: opens a file that holds no record any more, or makes it. It holds none until it is
    /// written.
    ///
    /// # Errors
    /// The disk's.
    pub fn renew(
        disk: &mut impl ColdFiles,
        kind: &SlotFileKind<LENGTH>,
    ) -> Result<Self, DiskError> {
        let file = disk.create(kind.name, SLOTS * BLOCK_LENGTH as u64)?;
        Self::over(file, kind, 0, 0)
    }

    /// Cold: opens the file with its newest record, which `decode` reads, and makes that durable:
    /// the next write goes to the other slot, and a crash in it must find this one good. The owner
    /// writes before it promises anything: the other slot may be torn or rotten.
    ///
    /// # Errors
    /// The disk's, other than for a missing file.
    pub fn open<T>(
        disk: &mut impl ColdFiles,
        kind: &SlotFileKind<LENGTH>,
        decode: impl FnOnce(&[u8; LENGTH]) -> Option<T>,
    ) -> Result<Opened<(Self, T)>, DiskError> {
        let SlotContent::Valid {
            slot,
            sequence,
            record,
        } = Self::inspect(disk, kind)?
        else {
            return Ok(Opened::Nothing);
        };
        let Some(value) = decode(&record) else {
            return Ok(Opened::OtherVersion);
        };
        let file = disk.open(kind.name)?;
        disk.sync(file)?;
        let slots = Self::over(file, kind, slot, sequence)?;
        Ok(Opened::Record((slots, value)))
    }

    /// Cold: the newest record of the file, which `decode` reads. Changes nothing.
    ///
    /// # Errors
    /// The disk's, other than for a missing file.
    pub fn look<T>(
        disk: &mut impl ColdFiles,
        kind: &SlotFileKind<LENGTH>,
        decode: impl FnOnce(&[u8; LENGTH]) -> Option<T>,
    ) -> Result<Opened<T>, DiskError> {
        let found = Self::inspect(disk, kind)?;
        Ok(match found {
            SlotContent::Valid { record, .. } => match decode(&record) {
                Some(value) => Opened::Record(value),
                None => Opened::OtherVersion,
            },
            SlotContent::Blank | SlotContent::Unreadable => Opened::Nothing,
        })
    }

    /// Cold: whether one slot of the file of this kind is spoiled, and the other one good. Changes
    /// nothing.
    ///
    /// # Errors
    /// The disk's, other than for a missing file.
    pub fn has_spoiled_slot(
        disk: &mut impl ColdFiles,
        kind: &SlotFileKind<LENGTH>,
    ) -> Result<bool, DiskError> {
        is_half_good(disk, kind.name, |block| {
            decode::<LENGTH>(block, kind.magic).is_some()
        })
    }

    fn over(
        file: FileId,
        kind: &SlotFileKind<LENGTH>,
        slot: u64,
        sequence: u64,
    ) -> Result<Self, DiskError> {
        let block = AtomicBuffer::allocate(BLOCK_LENGTH).map_err(|error| DiskError::Io {
            operation: "allocation of a buffer",
            name: kind.name.to_owned(),
            detail: error.to_string(),
        })?;
        Ok(Self {
            file,
            magic: kind.magic,
            sequence,
            block,
            tokens: TokenSource::new(kind.owner),
            in_flight: None,
            is_half: false,
            synced_slot: slot,
            newest_slot: slot,
        })
    }

    /// Cold: replaces the record in both slots, durable on return.
    ///
    /// # Errors
    /// The disk's; the file keeps its old or has its new content.
    pub fn write(
        &mut self,
        disk: &mut impl ColdFiles,
        record: &[u8; LENGTH],
    ) -> Result<(), DiskError> {
        assert!(!self.is_writing(), "a cold write during a hot one");
        self.encode_next(record);
        for slot in [other_slot(self.synced_slot), self.synced_slot] {
            let bytes = self.block.bytes(0, BLOCK_LENGTH);
            disk.write(self.file, offset_of(slot), bytes)?;
            self.synced_slot = slot;
            self.newest_slot = slot;
        }
        Ok(())
    }

    /// Hot: starts replacing the record in both slots. One at a time; call
    /// [`do_work`](Self::do_work) until [`on_completion`](Self::on_completion) says that it is
    /// complete.
    ///
    /// # Errors
    /// [`Busy`] while the disk's queue is full or the previous write is not complete.
    pub fn submit_both(
        &mut self,
        now: Nanos,
        disk: &mut impl Disk,
        record: &[u8; LENGTH],
    ) -> Result<(), Busy> {
        self.submit(now, disk, record, Durability::Synced)?;
        self.is_half = true;
        Ok(())
    }

    /// Hot: starts the second write of a record that goes to both slots, when it is due.
    pub fn do_work(&mut self, now: Nanos, disk: &mut impl Disk) -> usize {
        if !self.is_half || self.in_flight.is_some() {
            return 0;
        }
        let slot = other_slot(self.synced_slot);
        let started = self.submit_slot(now, disk, slot, Durability::Synced);
        self.is_half = started.is_err();
        usize::from(started.is_ok())
    }

    /// Hot: starts replacing the record in one slot. One at a time.
    ///
    /// # Errors
    /// [`Busy`] while the disk's queue is full or the previous write is in flight.
    pub fn submit(
        &mut self,
        now: Nanos,
        disk: &mut impl Disk,
        record: &[u8; LENGTH],
        durability: Durability,
    ) -> Result<Token, Busy> {
        if self.is_writing() {
            return Err(Busy);
        }
        let before = self.sequence;
        let slot = other_slot(self.synced_slot);
        self.encode_next(record);
        let submitted = self.submit_slot(now, disk, slot, durability);
        if submitted.is_err() {
            self.sequence = before;
        }
        submitted
    }

    fn submit_slot(
        &mut self,
        now: Nanos,
        disk: &mut impl Disk,
        slot: u64,
        durability: Durability,
    ) -> Result<Token, Busy> {
        let token = self.tokens.next_token();
        let operation = DiskOp::Write {
            token,
            file: self.file,
            offset: offset_of(slot),
            block: self.block.kernel_block(0, BLOCK_LENGTH),
            durability,
        };
        disk.submit(now, operation)?;
        self.in_flight = Some(InFlight {
            token,
            since: now,
            slot,
            is_synced: durability == Durability::Synced,
        });
        Ok(token)
    }

    /// Takes the completion of the write in flight: `None` when `token` is not its, else whether
    /// the record is where it was to go. The owner uses the file no more after a failed one.
    pub fn on_completion(&mut self, token: Token) -> Option<bool> {
        let write = self.in_flight.filter(|write| write.token == token)?;
        self.in_flight = None;
        self.newest_slot = write.slot;
        if write.is_synced {
            self.synced_slot = write.slot;
        }
        Some(!self.is_half)
    }

    /// What was written last has reached stable storage with a later write of another file: the
    /// next write goes to the other slot.
    pub(crate) const fn confirm(&mut self) {
        self.synced_slot = self.newest_slot;
    }

    /// Whether a hot write is not complete yet.
    #[must_use]
    pub const fn is_writing(&self) -> bool {
        self.in_flight.is_some() || self.is_half
    }

    /// Since when the write in flight is under way.
    #[must_use]
    pub fn writing_since(&self) -> Option<Nanos> {
        Some(self.in_flight?.since)
    }

    /// Encodes the record with the next sequence number.
    fn encode_next(&mut self, record: &[u8; LENGTH]) {
        self.sequence += 1;
        let block = self.block.bytes_mut(0, BLOCK_LENGTH);
        encode(block, self.magic, self.sequence, record);
    }
}

const fn other_slot(slot: u64) -> u64 {
    (slot + 1) % SLOTS
}

/// Where a slot begins.
pub(crate) const fn offset_of(slot: u64) -> u64 {
    slot * BLOCK_LENGTH as u64
}

/// Cold: hands over each slot that the file of this name has, with its number. Whether all of them
/// are blank, as they are where there is no such file.
///
/// # Errors
/// The disk's, other than for a missing file.
pub(crate) fn read_slots(
    disk: &mut impl ColdFiles,
    name: &str,
    mut look: impl FnMut(u64, &[u8; BLOCK_LENGTH]),
) -> Result<bool, DiskError> {
    let file = match disk.open(name) {
        Ok(file) => file,
        Err(DiskError::Missing { .. }) => return Ok(true),
        Err(error) => return Err(error),
    };
    let length = disk.length(file)?;
    let mut is_blank = true;
    for slot in 0..SLOTS {
        let offset = offset_of(slot);
        if length < offset + BLOCK_LENGTH as u64 {
            break;
        }
        let mut block = [0; BLOCK_LENGTH];
        disk.read(file, offset, &mut block)?;
        is_blank &= block.iter().all(|byte| *byte == 0);
        look(slot, &block);
    }
    Ok(is_blank)
}

/// Cold: whether one slot of the file of this name is spoiled, and the other one good.
///
/// # Errors
/// The disk's, other than for a missing file.
pub(crate) fn is_half_good(
    disk: &mut impl ColdFiles,
    name: &str,
    is_good: impl Fn(&[u8; BLOCK_LENGTH]) -> bool,
) -> Result<bool, DiskError> {
    let mut good = 0;
    read_slots(disk, name, |_, block| good += u64::from(is_good(block)))?;
    Ok(0 < good && good < SLOTS)
}

/// The newest valid record of a file's content, with its sequence.
#[cfg(feature = "sim")]
pub(crate) fn newest(content: &[u8], magic: [u8; 8]) -> Option<(u64, Record)> {
    let (blocks, _) = content.as_chunks();
    let valid = blocks.iter().filter_map(|block| decode(block, magic));
    valid.max_by_key(|(sequence, _)| *sequence)
}

/// The record that both slots of a file with this content hold.
#[cfg(feature = "sim")]
pub(crate) fn in_both(content: &[u8], magic: [u8; 8]) -> Option<Record> {
    let (blocks, _) = content.as_chunks();
    let mut records = blocks.iter().map(|block| decode(block, magic));
    let (one, other) = (records.next()??.1, records.next()??.1);
    (one == other).then_some(one)
}

/// Writes a slot into `block`, which is as long as one.
pub(crate) fn encode(block: &mut [u8], magic: [u8; 8], sequence: u64, record: &[u8]) {
    let mut fields = FieldWriter::new(block);
    fields.bytes(&magic).u64(sequence).bytes(record);
    fields.zeros(CHECKSUM_OFFSET - fields.length());
    let crc = crc32c::crc32c(fields.written());
    fields.u32(crc);
}

pub(crate) fn decode<const LENGTH: usize>(
    block: &[u8; BLOCK_LENGTH],
    magic: [u8; 8],
) -> Option<(u64, [u8; LENGTH])> {
    let mut fields = FieldReader::new(block);
    let mut covered = fields.block(CHECKSUM_OFFSET)?;
    if *covered.array()? != magic || fields.u32()? != crc32c::crc32c(&block[..CHECKSUM_OFFSET]) {
        return None;
    }
    Some((covered.u64()?, *covered.array()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_its_fields_where_the_layout_says_and_any_flipped_bit_is_noticed() {
        let mut record = [0; RECORD_LENGTH];
        record[RECORD_LENGTH - 1] = 0xAB;
        let mut slot = [0xFF; BLOCK_LENGTH];
        encode(&mut slot, *b"LSNODEST", 7, &record);
        let fields = [&b"LSNODEST"[..], &7_u64.to_le_bytes(), &record].concat();
        assert_eq!(slot[..80], fields);
        assert!(slot[80..4092].iter().all(|byte| *byte == 0));
        assert_eq!(slot[4092..], crc32c::crc32c(&slot[..4092]).to_le_bytes());
        assert_eq!(decode(&slot, *b"LSNODEST"), Some((7, record)));
        assert_eq!(decode::<RECORD_LENGTH>(&slot, *b"LSACKMRK"), None);
        for bit in 0..BLOCK_LENGTH * 8 {
            slot[bit / 8] ^= 1 << (bit % 8);
            let found = decode::<RECORD_LENGTH>(&slot, *b"LSNODEST");
            assert_eq!(found, None, "bit {bit}");
            slot[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
