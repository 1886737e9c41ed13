//! Segments are made before they are needed, and asked for again where there was no space. Those
//! that hold nothing of the log any more are made into new ones, or removed, one at a time and the
//! oldest first: that the oldest is there proves that all are (`log.md` 8.6).

use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use super::{PREPARE_RETRY_NS, Preparing, Recorder, segment_at};
use crate::disk::{Completion, Disk, DiskError, DiskOp, SegmentName};

impl Recorder {
    /// The log starts at `position` from now on, which is durable: whole segments below are room
    /// for those to come.
    ///
    /// # Panics
    /// When that is above the durable end.
    pub fn start_log_at(&mut self, position: Position) {
        assert!(
            position <= self.durable,
            "a log that ends at {} starts at {position}",
            self.durable
        );
        self.segments.raise_log_start(position);
    }

    /// Of the budget, so many bytes are not for segments.
    pub const fn keep_beside(&mut self, bytes: u64) {
        self.config.budget.beside = bytes;
    }

    /// Whether files beside the segments may take `bytes` bytes: the budget holds two segments too.
    ///
    /// # Errors
    /// What the budget would have to be, and what it is.
    pub const fn check_beside(&self, bytes: u64) -> Result<(), (u64, u64)> {
        let segments = 2 * self.segments.segment_length() as u64;
        let (needed, budget) = (bytes.saturating_add(segments), self.config.budget.bytes);
        if needed <= budget {
            Ok(())
        } else {
            Err((needed, budget))
        }
    }

    /// Whether two more segments cannot be had, as far as is known, unless the log is let go of
    /// below.
    #[must_use]
    pub fn is_short(&self) -> bool {
        let (count, length) = (self.segments.count(), self.segments.segment_length());
        let is_allowed = self.config.budget.allows_segment(count + 1, length);
        self.segments.oldest_gone().is_none() && (self.prepare_refused || !is_allowed)
    }

    pub(super) fn prepare_ahead(&mut self, now: Nanos, disk: &mut impl Disk) -> usize {
        if self.preparing.is_some() || self.removing.is_some() {
            return 0;
        }
        let segment_length = self.segments.segment_length();
        let mut name = segment_at(self.written, segment_length);
        if self.segments.locate(name.position).is_some() {
            name.position += segment_length as Position;
            if self.segments.locate(name.position).is_some() {
                self.prepare_refused = false;
                self.prepare_retry_at = None;
                return self.remove_spare(now, disk);
            }
        }
        if let Some(gone) = self.segments.oldest_gone() {
            return self.recycle(now, gone, name, disk);
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
        self.preparing = Some(Preparing {
            token,
            base: name.position,
            is_recycled: false,
        });
        1
    }

    /// Makes the segment `to` of the one at `gone`.
    fn recycle(
        &mut self,
        now: Nanos,
        gone: Position,
        to: SegmentName,
        disk: &mut impl Disk,
    ) -> usize {
        let token = self.tokens.next_token();
        let length = self.segments.segment_length();
        let operation = DiskOp::Recycle {
            token,
            from: segment_at(gone, length),
            to,
            length: length as u64,
        };
        if disk.submit(now, operation).is_err() {
            return 0;
        }
        self.segments.remove(gone);
        self.preparing = Some(Preparing {
            token,
            base: to.position,
            is_recycled: true,
        });
        1
    }

    /// Removes the oldest of the segments that hold nothing of the log any more, but for one, which
    /// the next one is made of.
    fn remove_spare(&mut self, now: Nanos, disk: &mut impl Disk) -> usize {
        let length = self.segments.segment_length();
        let Some(gone) = self.segments.oldest_gone().filter(|gone| {
            let next = gone + length as Position;
            self.segments.log_start() >= next + length as Position
        }) else {
            return 0;
        };
        let token = self.tokens.next_token();
        let name = segment_at(gone, length);
        let operation = DiskOp::Remove { token, name };
        if disk.submit(now, operation).is_err() {
            return 0;
        }
        self.segments.remove(gone);
        self.removing = Some(token);
        1
    }

    pub(super) fn on_prepared(&mut self, preparing: Preparing, completion: &Completion) {
        match &completion.result {
            Ok(file) => {
                self.segments.insert(preparing.base, *file);
                self.counters.recycled += u64::from(preparing.is_recycled);
                if self.prepare_refused {
                    sometimes(Mark::SegmentAfterRefusal);
                }
                self.prepare_refused = false;
                self.prepare_retry_at = None;
            }
            Err(DiskError::Full { .. }) => self.refuse_segment(),
            // Not for want of space: nobody knows what the device holds now (D4).
            Err(error) => {
                sometimes(Mark::SegmentFailed);
                self.failed.get_or_insert_with(|| error.clone());
            }
        }
    }

    pub(super) fn on_removed(&mut self, completion: &Completion) {
        match &completion.result {
            Ok(_) => self.counters.removed += 1,
            // Nobody knows whether it is there, or what else is.
            Err(error) => {
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
