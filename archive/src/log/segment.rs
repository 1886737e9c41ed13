//! Segment files: names, base positions, and the table of open ones.
//!
//! A recording is cut into segments of equal power-of-two length, files named
//! `<recordingId>-<position>.rec`. The table says which positions can be read or written
//! now; it is filled at start and as segments are prepared, and never grows beyond its bound.

use lockstep_transport::position::Position;

use crate::disk::{ColdFiles, DiskError, FileId, SegmentName};

/// Segments one recording may have open: a table of a quarter of a megabyte. What a node may have
/// follows from its budget and from the descriptors it is granted ([`SEGMENT_DESCRIPTORS`]).
pub const SEGMENTS_MAX: usize = 16 * 1024;

/// Segments a log cannot do without: the one that is written, and the one prepared ahead of it.
pub const SEGMENTS_MIN: u64 = 2;

/// Descriptors that an open segment costs: direct and buffered.
pub const SEGMENT_DESCRIPTORS: u64 = 2;

/// Most bytes of one write (`performance.md` 3): up to about 80 KiB a sync costs no more than its
/// flush; from about 256 KiB on the transfer takes longer, and a larger batch only delays its
/// first byte.
pub const WRITE_LENGTH_MAX: usize = 256 * 1024;

/// Ending of every segment file.
pub(crate) const SEGMENT_SUFFIX: &str = ".rec";

/// The recording that is the cluster's log.
pub const LOG_RECORDING_ID: i64 = 0;

/// First position of the segment that holds `position`.
#[must_use]
pub const fn base_position(position: Position, segment_length: usize) -> Position {
    position & !(segment_length as Position - 1)
}

/// Offset of `position` in its segment's file.
#[must_use]
pub(crate) const fn segment_offset(position: Position, segment_length: usize) -> u64 {
    (position & (segment_length as Position - 1)) as u64
}

/// How many bytes of `[position, position + length)` lie in the first segment concerned.
#[must_use]
pub const fn length_in_segment(position: Position, length: usize, segment_length: usize) -> usize {
    let left = segment_length - segment_offset(position, segment_length) as usize;
    if length < left { length } else { left }
}

impl SegmentName {
    /// The file's name.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}{SEGMENT_SUFFIX}", self.recording_id, self.position)
    }

    /// The segment with this file name; `None` for every other name, including names that are
    /// not written exactly as [`file_name`](Self::file_name) writes them.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (recording, position) = name.strip_suffix(SEGMENT_SUFFIX)?.split_once('-')?;
        let parsed = Self {
            recording_id: recording.parse().ok()?,
            position: position.parse().ok()?,
        };
        (parsed.recording_id >= 0 && parsed.position >= 0 && parsed.file_name() == name)
            .then_some(parsed)
    }
}

/// The segments of the log in the directory: names and base positions, in the order of these.
fn log_segments(
    disk: &mut impl ColdFiles,
    segment_length: usize,
) -> Result<Vec<(String, Position)>, DiskError> {
    let mut found: Vec<(String, Position)> = disk
        .list()?
        .into_iter()
        .filter_map(|name| {
            let segment = SegmentName::parse(&name)?;
            let is_of_log = segment.recording_id == LOG_RECORDING_ID
                && base_position(segment.position, segment_length) == segment.position;
            is_of_log.then_some((name, segment.position))
        })
        .collect();
    found.sort_by_key(|(_, base)| *base);
    Ok(found)
}

/// Cold: name and first position of the oldest segment of the log in the directory.
///
/// # Errors
/// The disk's.
pub fn lowest_segment(
    disk: &mut impl ColdFiles,
    segment_length: usize,
) -> Result<Option<(String, Position)>, DiskError> {
    Ok(log_segments(disk, segment_length)?.into_iter().next())
}

/// Open segments of one recording, in order of position.
#[derive(Clone, Debug)]
pub struct SegmentTable {
    segment_length: usize,
    log_start: Position,
    open: Vec<(Position, FileId)>,
}

impl SegmentTable {
    /// An empty table for segments of `segment_length` bytes.
    ///
    /// # Panics
    /// When `segment_length` is not a power of two.
    #[must_use]
    pub fn new(segment_length: usize) -> Self {
        assert!(
            segment_length.is_power_of_two(),
            "segments of {segment_length} bytes"
        );
        Self {
            segment_length,
            log_start: 0,
            open: Vec::with_capacity(SEGMENTS_MAX),
        }
    }

    /// Cold: opens all segments of the log that exist in the directory and hold anything of a log
    /// that starts at `log_start`. One that goes on the way, as it may while somebody else's
    /// directory is looked at, is not there.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn open_all(
        disk: &mut impl ColdFiles,
        segment_length: usize,
        log_start: Position,
    ) -> Result<Self, DiskError> {
        let mut table = Self::new(segment_length);
        table.log_start = log_start;
        for (name, base) in log_segments(disk, segment_length)? {
            if table.is_gone(base) || table.is_full() {
                continue;
            }
            match disk.open(&name) {
                Ok(file) => table.insert(base, file),
                Err(DiskError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(table)
    }

    /// Cold: removes the segments in the directory that hold nothing of the log any more, the
    /// lowest first. Somebody has made durable before that the log starts above them.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn remove_gone(&self, disk: &mut impl ColdFiles) -> Result<(), DiskError> {
        for (name, base) in log_segments(disk, self.segment_length)? {
            if self.is_gone(base) {
                disk.remove(&name)?;
            }
        }
        Ok(())
    }

    /// First position of the oldest segment that is open and holds nothing of the log any more.
    pub(crate) fn oldest_gone(&self) -> Option<Position> {
        self.start().filter(|base| self.is_gone(*base))
    }

    /// Forgets the segment that begins at `base`.
    pub(crate) fn remove(&mut self, base: Position) {
        self.open.retain(|entry| entry.0 != base);
    }

    /// Whether the segment that begins at `base` holds nothing of the log any more.
    const fn is_gone(&self, base: Position) -> bool {
        base + self.segment_length as Position <= self.log_start
    }

    /// Where the log starts. Bytes below may still lie in a segment, or have gone: whoever reads
    /// asks for none of them.
    #[must_use]
    pub const fn log_start(&self) -> Position {
        self.log_start
    }

    /// The log starts at `position` from now on, if that is higher.
    pub(crate) fn raise_log_start(&mut self, position: Position) {
        self.log_start = self.log_start.max(position);
    }

    /// Whether a segment of the log is missing below `end`: the first that is.
    pub(crate) fn missing_below(&self, end: Position) -> Option<Position> {
        let mut base = base_position(self.log_start, self.segment_length);
        while base < end {
            if self.locate(base).is_none() {
                return Some(base);
            }
            base += self.segment_length as Position;
        }
        None
    }

    /// Bytes in each segment.
    #[must_use]
    pub const fn segment_length(&self) -> usize {
        self.segment_length
    }

    /// Open segments.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// Whether no further segment can be opened.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.open.len() == SEGMENTS_MAX
    }

    /// Adds the segment that begins at `base`; one already there is replaced.
    ///
    /// # Panics
    /// When the table is full: the caller asks [`is_full`](Self::is_full) first.
    pub fn insert(&mut self, base: Position, file: FileId) {
        match self.open.binary_search_by_key(&base, |entry| entry.0) {
            Ok(index) => self.open[index].1 = file,
            Err(index) => {
                assert!(!self.is_full(), "more than {SEGMENTS_MAX} segments");
                self.open.insert(index, (base, file));
            }
        }
    }

    /// File and offset of `position`, when its segment is open.
    #[must_use]
    pub fn locate(&self, position: Position) -> Option<(FileId, u64)> {
        let base = base_position(position, self.segment_length);
        let index = self
            .open
            .binary_search_by_key(&base, |entry| entry.0)
            .ok()?;
        Some((
            self.open[index].1,
            segment_offset(position, self.segment_length),
        ))
    }

    /// End of the newest open segment.
    #[must_use]
    pub fn end(&self) -> Option<Position> {
        let newest = self.open.last()?;
        Some(newest.0 + self.segment_length as Position)
    }

    /// First position of the oldest open segment.
    #[must_use]
    pub fn start(&self) -> Option<Position> {
        self.open.first().map(|entry| entry.0)
    }

    /// Cold: makes everything in the segments that begin below `end` durable: what was written
    /// may still be in a cache.
    ///
    /// # Errors
    /// The disk's.
    pub fn sync_below(&self, disk: &mut impl ColdFiles, end: Position) -> Result<(), DiskError> {
        for (_, file) in self.open.iter().filter(|(base, _)| *base < end) {
            disk.sync(*file)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_name_survives_its_file_name_and_nothing_else_parses() {
        let name = SegmentName {
            recording_id: 0,
            position: 67_108_864,
        };
        assert_eq!(name.file_name(), "0-67108864.rec");
        assert_eq!(SegmentName::parse("0-67108864.rec"), Some(name));
        for other in [
            "0-067108864.rec",
            "0-1.rec.tmp",
            "-1-0.rec",
            "0--1.rec",
            "x",
            "",
        ] {
            assert_eq!(SegmentName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_range_is_split_where_its_segment_ends() {
        assert_eq!(length_in_segment(65_536 - 32, 100, 65_536), 32);
        assert_eq!(length_in_segment(65_536, 100, 65_536), 100);
        assert_eq!(base_position(3 * 65_536 + 5, 65_536), 3 * 65_536);
        assert_eq!(segment_offset(3 * 65_536 + 5, 65_536), 5);
    }

    #[test]
    fn a_position_is_located_in_its_open_segment_only() {
        let mut table = SegmentTable::new(65_536);
        table.insert(131_072, FileId(2));
        table.insert(65_536, FileId(1));
        assert_eq!(table.start(), Some(65_536));
        assert_eq!(table.locate(131_073), Some((FileId(2), 1)));
        assert_eq!(table.locate(131_071), Some((FileId(1), 65_535)));
        assert_eq!(table.locate(0), None);
        assert_eq!(table.locate(196_608), None);
        table.insert(65_536, FileId(9));
        assert_eq!(
            (table.count(), table.locate(65_536)),
            (2, Some((FileId(9), 0)))
        );
    }
}
