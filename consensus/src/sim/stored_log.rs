//! What a disk holds of the log, looked at from outside: oracles and scenarios ask, no node does.

use lockstep_archive::disk::{Disk, SegmentName};
use lockstep_archive::log::segment::LOG_RECORDING_ID;
use lockstep_archive::sim::SimDisk;
use lockstep_transport::log_buffer::HEADER_LENGTH;
use lockstep_transport::log_buffer::frame_seal::FramePlace;
use lockstep_transport::position::Position;

use crate::log::archive_agent::ArchiveAgent;
use crate::log::member_log::MemberLog;

/// The end of a log that is in memory that outlives its process, and not on disk yet.
#[derive(Clone, Debug, Default)]
pub struct MemoryTail {
    start: Position,
    bytes: Vec<u8>,
}

impl MemoryTail {
    /// Of a running node.
    #[must_use]
    pub fn of<D: Disk>(archive: &ArchiveAgent<D>, log: &MemberLog) -> Self {
        let start = archive.written();
        let mut bytes = Vec::new();
        if log.outlives_process() {
            let geometry = log.buffer().geometry();
            let mut position = start;
            while position < log.append() {
                let rest = geometry.term_length() - geometry.term_offset(position);
                let length = rest.min((log.append() - position) as usize);
                bytes.extend_from_slice(log.buffer().bytes(position, length));
                position += length as Position;
            }
        }
        Self { start, bytes }
    }

    /// What of it lies at `position` and behind.
    fn from(&self, position: Position) -> Option<&[u8]> {
        let offset = usize::try_from(position - self.start).ok()?;
        self.bytes.get(offset..).filter(|rest| !rest.is_empty())
    }

    /// How much may be read at `position` before it begins.
    fn before(&self, position: Position) -> usize {
        match self.start - position {
            distance if distance > 0 && !self.bytes.is_empty() => distance as usize,
            _ => usize::MAX,
        }
    }
}

/// The log on a disk, and what memory has of it above.
#[derive(Clone, Debug)]
pub struct StoredLog<'a> {
    /// Where it is.
    pub disk: &'a SimDisk,
    /// Bytes of it in one file.
    pub segment_length: usize,
    /// Its end, where that is not on disk.
    pub tail: MemoryTail,
}

impl StoredLog<'_> {
    /// The file and the offset in it where the disk holds the log at `position`, and how much of
    /// the log follows there.
    #[must_use]
    pub fn place_of(&self, position: Position) -> (String, usize, usize) {
        let length = self.segment_length as Position;
        let base = position / length * length;
        let name = SegmentName {
            recording_id: LOG_RECORDING_ID,
            position: base,
        };
        let offset = (position - base) as usize;
        (name.file_name(), offset, self.segment_length - offset)
    }

    /// What the disk holds of the log at `position`, at most `length` bytes of one segment.
    #[must_use]
    pub fn part(&self, position: Position, length: usize) -> Option<Vec<u8>> {
        let (name, offset, rest) = self.place_of(position);
        let length = length.min(rest).min(self.tail.before(position));
        match self.tail.from(position) {
            Some(tail) => Some(tail[..length.min(tail.len())].to_vec()),
            None => self.disk.part(&name, offset, length),
        }
    }

    /// What the disk holds of the log between two positions, unless a segment is missing.
    #[must_use]
    pub fn range(&self, from: Position, to: Position) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut position = from;
        while position < to {
            let part = self.part(position, (to - position) as usize)?;
            position += part.len() as Position;
            bytes.extend_from_slice(&part);
        }
        Some(bytes)
    }

    /// The frames that the disk holds between `from`, where one begins, and `to`: from and to.
    #[must_use]
    pub fn frames(&self, from: Position, to: Position) -> Vec<(Position, Position)> {
        let mut frames = Vec::new();
        let mut start = from;
        while start < to {
            let header = self.part(start, HEADER_LENGTH);
            let place = header.and_then(|header| FramePlace::read(&header).ok());
            let end = place.map(|place| start + place.aligned_length as Position);
            let Some(end) = end.filter(|end| *end <= to) else {
                break;
            };
            frames.push((start, end));
            start = end;
        }
        frames
    }

    /// Whether the disk holds what a read finds of the log between two positions as
    /// [`holds`](Self::holds) asks.
    #[must_use]
    pub fn holds_what_it_has(&self, from: Position, to: Position, is_cache_enough: bool) -> bool {
        let found = self.range(from, to);
        found.is_some_and(|found| self.holds(from, &found, is_cache_enough))
    }

    /// Whether the disk holds these `bytes` of the log at `position`, on stable storage or, if
    /// `is_cache_enough`, in its cache.
    #[must_use]
    pub fn holds(&self, mut position: Position, mut bytes: &[u8], is_cache_enough: bool) -> bool {
        while !bytes.is_empty() {
            let (name, offset, rest) = self.place_of(position);
            let whole = rest.min(bytes.len()).min(self.tail.before(position));
            let tail = self.tail.from(position);
            let length = tail.map_or(whole, |tail| whole.min(tail.len()));
            let (here, after) = bytes.split_at(length);
            let is_there = if is_cache_enough {
                self.part(position, length).as_deref() == Some(here)
            } else {
                self.disk.holds_durably(&name, offset, here)
            };
            if !is_there {
                return false;
            }
            position += here.len() as Position;
            bytes = after;
        }
        true
    }
}
