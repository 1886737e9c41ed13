//! `archive.catalog`: what a directory holds, fixed when it was made (`rules.md` O6).
//!
//! Two equal 4 KiB blocks, so that the rot of one leaves the other. Whoever opens a directory says
//! what it expects to find; every difference is refused by name, with its remedy, before anything
//! is written. Who makes a directory writes the catalog last, so one that
//! verifies stands for a complete directory.

use lockstep_transport::codec::{FieldReader, FieldWriter};

use crate::disk::{BLOCK_LENGTH, ColdFiles, DiskError};
use crate::files::slot_file::{SLOTS, is_half_good, offset_of};

/// The catalog's file name.
pub const CATALOG_FILE: &str = "archive.catalog";

const MAGIC: [u8; 8] = *b"LSARCHIV";
const VERSION: u32 = 1;
/// Everything lies in one sector, which the device replaces whole (`files.md` 1.4).
const CHECKSUM_OFFSET: usize = 68;

/// Stream id of the cluster's log.
pub const LOG_STREAM_ID: i32 = 100;

/// What the directory's one recording, the log, looks like.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | magic `LSARCHIV` |
/// | 8 | 4 | version, 1 |
/// | 12 | 4 | mtu |
/// | 16 | 16 | cluster uuid |
/// | 32 | 8 | recording id, 0 |
/// | 40 | 8 | segment length |
/// | 48 | 8 | term length |
/// | 56 | 4, 4, 4 | session id, stream id, initial term id |
/// | 68 | 4 | crc32c of bytes 0..68 |
/// | 72 | 4024 | zeros |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// The cluster it belongs to.
    pub cluster: u128,
    /// Session id of the log's frames.
    pub session_id: i32,
    /// Stream id of the log's frames: [`LOG_STREAM_ID`].
    pub stream_id: i32,
    /// Term id at position 0.
    pub initial_term_id: i32,
    /// Bytes in a term.
    pub term_length: usize,
    /// Bytes in a segment file.
    pub segment_length: usize,
    /// Largest frame, in bytes.
    pub mtu: usize,
}

/// Why a directory is not the one expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogMismatch {
    /// It belongs to another cluster.
    #[error(
        "the directory belongs to cluster {found:032x}, not {expected:032x}: choose this \
         cluster's directory"
    )]
    Cluster {
        /// Of the directory.
        found: u128,
        /// Of the configuration.
        expected: u128,
    },
    /// A value that cannot change once a log exists.
    #[error(
        "{what} is {found} in the directory and {expected} in the configuration: set it back to \
         {found}"
    )]
    Value {
        /// Which value.
        what: &'static str,
        /// Of the directory.
        found: i64,
        /// Of the configuration.
        expected: i64,
    },
    /// Written by another version of this program.
    #[error(
        "the directory has format version {found}, this program knows {VERSION}: use the \
         program that wrote it"
    )]
    Version {
        /// Of the directory.
        found: u32,
    },
}

/// What the catalog's file was found to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogContent {
    /// No file, or one that was created but never written.
    Blank,
    /// A catalog with a good checksum.
    Valid(Catalog),
    /// A good checksum and an unknown version.
    OtherVersion(u32),
    /// Anything else.
    Unreadable,
}

impl Catalog {
    /// Cold: what the file holds, without changing anything.
    ///
    /// # Errors
    /// The disk's, other than for a missing file.
    pub fn inspect(disk: &mut impl ColdFiles) -> Result<CatalogContent, DiskError> {
        let file = match disk.open(CATALOG_FILE) {
            Ok(file) => file,
            Err(DiskError::Missing { .. }) => return Ok(CatalogContent::Blank),
            Err(error) => return Err(error),
        };
        let length = disk.length(file)?;
        let mut is_blank = true;
        for slot in 0..SLOTS {
            let offset = offset_of(slot);
            if length < offset + BLOCK_LENGTH as u64 {
                return Ok(CatalogContent::Unreadable);
            }
            let mut block = [0; BLOCK_LENGTH];
            disk.read(file, offset, &mut block)?;
            match Self::decode(&block) {
                CatalogContent::Blank => {}
                CatalogContent::Unreadable => is_blank = false,
                content => return Ok(content),
            }
        }
        Ok(if is_blank {
            CatalogContent::Blank
        } else {
            CatalogContent::Unreadable
        })
    }

    /// Cold: whether one of the two blocks is spoiled, and the other one good. Changes nothing.
    ///
    /// # Errors
    /// The disk's, other than for a missing file.
    pub fn has_spoiled_slot(disk: &mut impl ColdFiles) -> Result<bool, DiskError> {
        is_half_good(disk, CATALOG_FILE, |block| {
            matches!(Self::decode(block), CatalogContent::Valid(_))
        })
    }

    /// Cold: makes this the directory's catalog, durable on return.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&self, disk: &mut impl ColdFiles) -> Result<(), DiskError> {
        let file = disk.create(CATALOG_FILE, SLOTS * BLOCK_LENGTH as u64)?;
        let block = self.encode();
        for slot in 0..SLOTS {
            disk.write(file, offset_of(slot), &block)?;
        }
        Ok(())
    }

    /// Cold: writes again what does not hold this catalog any more of its file, which exists. The
    /// copy that does is made durable first.
    ///
    /// # Errors
    /// The disk's.
    pub fn repair(&self, disk: &mut impl ColdFiles) -> Result<(), DiskError> {
        let file = disk.open(CATALOG_FILE)?;
        disk.sync(file)?;
        let block = self.encode();
        for slot in 0..SLOTS {
            let offset = offset_of(slot);
            let mut found = [0; BLOCK_LENGTH];
            disk.read(file, offset, &mut found)?;
            if found != block {
                disk.write(file, offset, &block)?;
            }
        }
        Ok(())
    }

    /// Compares with what the configuration expects.
    ///
    /// # Errors
    /// The first difference, with its remedy.
    pub fn expect_equal(&self, expected: &Self) -> Result<(), CatalogMismatch> {
        if self.cluster != expected.cluster {
            return Err(CatalogMismatch::Cluster {
                found: self.cluster,
                expected: expected.cluster,
            });
        }
        let values = [
            (
                "term_length",
                self.term_length as i64,
                expected.term_length as i64,
            ),
            (
                "segment_length",
                self.segment_length as i64,
                expected.segment_length as i64,
            ),
            ("log_mtu", self.mtu as i64, expected.mtu as i64),
            (
                "initial term id",
                self.initial_term_id.into(),
                expected.initial_term_id.into(),
            ),
            (
                "session id",
                self.session_id.into(),
                expected.session_id.into(),
            ),
            (
                "stream id",
                self.stream_id.into(),
                expected.stream_id.into(),
            ),
        ];
        for (what, found, expected) in values {
            if found != expected {
                return Err(CatalogMismatch::Value {
                    what,
                    found,
                    expected,
                });
            }
        }
        Ok(())
    }

    fn encode(&self) -> [u8; BLOCK_LENGTH] {
        let mut block = [0; BLOCK_LENGTH];
        let mut fields = FieldWriter::new(&mut block);
        fields.bytes(&MAGIC).u32(VERSION).u32(self.mtu as u32);
        fields.u128(self.cluster).zeros(8);
        fields.u64(self.segment_length as u64);
        fields.u64(self.term_length as u64);
        fields.i32(self.session_id).i32(self.stream_id);
        fields.i32(self.initial_term_id);
        let crc = crc32c::crc32c(fields.written());
        fields.u32(crc);
        block
    }

    fn decode(block: &[u8; BLOCK_LENGTH]) -> CatalogContent {
        if block.iter().all(|byte| *byte == 0) {
            return CatalogContent::Blank;
        }
        match Self::read(block) {
            Some((VERSION, catalog)) if catalog.encode() == *block => {
                CatalogContent::Valid(catalog)
            }
            Some((version, _)) if version != VERSION => CatalogContent::OtherVersion(version),
            _ => CatalogContent::Unreadable,
        }
    }

    /// Version and fields of a block with the right magic and checksum.
    fn read(block: &[u8]) -> Option<(u32, Self)> {
        let mut fields = FieldReader::new(block);
        let mut covered = fields.block(CHECKSUM_OFFSET)?;
        if fields.u32()? != crc32c::crc32c(covered.rest()) || *covered.array()? != MAGIC {
            return None;
        }
        let length = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let (version, mtu) = (covered.u32()?, covered.u32()? as usize);
        let cluster = covered.u128()?;
        covered.skip(8)?;
        let catalog = Self {
            cluster,
            mtu,
            segment_length: length(covered.u64()?),
            term_length: length(covered.u64()?),
            session_id: covered.i32()?,
            stream_id: covered.i32()?,
            initial_term_id: covered.i32()?,
        };
        Some((version, catalog))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        Catalog {
            cluster: 77 << 64,
            session_id: -5,
            stream_id: LOG_STREAM_ID,
            initial_term_id: 3,
            term_length: 65_536,
            segment_length: 131_072,
            mtu: 1408,
        }
    }

    #[test]
    fn a_catalog_survives_encoding_and_any_flipped_bit_is_noticed() {
        let block = catalog().encode();
        assert_eq!(Catalog::decode(&block), CatalogContent::Valid(catalog()));
        for bit in 0..BLOCK_LENGTH * 8 {
            let mut damaged = block;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                Catalog::decode(&damaged),
                CatalogContent::Unreadable,
                "{bit}"
            );
        }
    }

    #[test]
    fn a_difference_is_named_with_both_values_and_a_remedy() {
        let mut other = catalog();
        other.term_length *= 2;
        let message = catalog().expect_equal(&other).unwrap_err().to_string();
        assert!(message.contains("term_length is 65536"), "{message}");
        assert!(message.contains("131072"), "{message}");
        let mut other = catalog();
        other.cluster = 1;
        let message = catalog().expect_equal(&other).unwrap_err().to_string();
        assert!(
            message.contains("another") || message.contains("cluster"),
            "{message}"
        );
        assert_eq!(catalog().expect_equal(&catalog()), Ok(()));
    }

    #[test]
    fn the_fields_lie_where_the_layout_says() {
        let block = catalog().encode();
        let fields = [
            &MAGIC[..],
            &VERSION.to_le_bytes(),
            &1408_u32.to_le_bytes(),
            &(77_u128 << 64).to_le_bytes(),
            &[0; 8],
            &131_072_u64.to_le_bytes(),
            &65_536_u64.to_le_bytes(),
            &(-5_i32).to_le_bytes(),
            &LOG_STREAM_ID.to_le_bytes(),
            &3_i32.to_le_bytes(),
        ];
        let fields = fields.concat();
        let crc = crc32c::crc32c(&fields).to_le_bytes();
        assert_eq!(block[..72], [&fields[..], &crc].concat());
        assert!(block[72..].iter().all(|byte| *byte == 0));
    }
}
