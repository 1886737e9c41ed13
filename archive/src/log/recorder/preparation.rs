//! Segments are made before they are needed, and asked for again where there was no space.

use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use super::{PREPARE_RETRY_NS, Recorder, segment_at};
use crate::disk::{Completion, Disk, DiskError, DiskOp};

impl Recorder {
    pub(super) fn prepare_ahead(&mut self, now: Nanos, disk: &mut impl Disk) -> usize {
        if self.preparing.is_some() {
            return 0;
        }
        let segment_length = self.segments.segment_length();
        let mut name = segment_at(self.written, segment_length);
        if self.segments.locate(name.position).is_some() {
            name.position += segment_length as Position;
            if self.segments.locate(name.position).is_some() {
                self.prepare_refused = false;
                self.prepare_retry_at = None;
                return 0;
            }
        }
        if self.prepare_refused {
            let retry_at = *self.prepare_retry_at.get_or_insert(now + PREPARE_RETRY_NS);
            if now < retry_at {
                return 0;
            }
            self.prepare_retry_at = None;
        }
        let budget = self.config.budget;
        if self.segments.is_full() || !budget.allows_segment(self.segments.count(), segment_length)
        {
            self.refuse_segment();
            return 0;
        }
        let token = self.tokens.next_token();
        let operation = DiskOp::Prepare {
            token,
            name,
            length: segment_length as u64,
        };
        if disk.submit(now, operation).is_err() {
            return 0;
        }
        self.preparing = Some((token, name.position));
        1
    }

    pub(super) fn on_prepared(&mut self, base: Position, completion: &Completion) {
        match &completion.result {
            Ok(file) => {
                self.segments.insert(base, *file);
                if self.prepare_refused {
                    sometimes(Mark::SegmentAfterRefusal);
                }
                self.prepare_refused = false;
            }
            Err(DiskError::Full { .. }) => self.refuse_segment(),
            // Not for want of space: nobody knows what the device holds now (D4).
            Err(error) => {
                sometimes(Mark::SegmentFailed);
                self.failed.get_or_insert_with(|| error.clone());
            }
        }
    }

    fn refuse_segment(&mut self) {
        sometimes(Mark::SegmentRefused);
        // The node says that it has no room, and how to get some, while it lasts.
        self.prepare_refused = true;
    }
}
