//! What a member's disk holds of the log, looked at from outside: the oracles ask, no node does.

use lockstep_transport::log_buffer::HEADER_LENGTH;
use lockstep_transport::log_buffer::frame_seal::FramePlace;

use super::TankMember;
use crate::sim::stored_log::StoredLog;

impl TankMember {
    fn stored(&self) -> StoredLog<'_> {
        StoredLog {
            disk: &self.disk,
            segment_length: self.cluster.segment_length,
        }
    }

    /// The file and the offset in it where its disk holds the log at `position`, and how much of
    /// the log follows there.
    #[must_use]
    pub fn place_of(&self, position: i64) -> (String, usize, usize) {
        self.stored().place_of(position)
    }

    /// What its disk holds of the log at `position`, at most `length` bytes of one segment.
    #[must_use]
    pub fn stored_log(&self, position: i64, length: usize) -> Option<Vec<u8>> {
        self.stored().part(position, length)
    }

    /// Whether stable storage holds these `bytes` of the log at `position`; of a member without
    /// syncs, whether its page cache does.
    #[must_use]
    pub fn holds_durably(&self, position: i64, bytes: &[u8]) -> bool {
        self.stored().holds(position, bytes, self.is_unsynced())
    }

    /// Whether stable storage holds what a read finds of the log between two positions.
    #[must_use]
    pub fn is_stored_durably(&self, mut from: i64, to: i64) -> bool {
        while from < to {
            let Some(bytes) = self.stored_log(from, (to - from) as usize) else {
                return false;
            };
            if !self.holds_durably(from, &bytes) {
                return false;
            }
            from += bytes.len() as i64;
        }
        true
    }

    /// The frames that its disk holds between `from`, where one begins, and `to`: from and to.
    #[must_use]
    pub fn frames(&self, from: i64, to: i64) -> Vec<(i64, i64)> {
        let mut frames = Vec::new();
        let mut start = from;
        while start < to {
            let header = self.stored_log(start, HEADER_LENGTH);
            let place = header.and_then(|header| FramePlace::read(&header).ok());
            let Some(end) = place.map(|place| start + place.aligned_length as i64) else {
                break;
            };
            if end > to {
                break;
            }
            frames.push((start, end));
            start = end;
        }
        frames
    }
}
