//! The leader's pen: the only thing that appends entries to the log (`log.md` 1.6).
//!
//! One writer lives for one leadership term. It stamps log time (monotone, continuing from
//! the log it inherited), the leader's commit position and, through [`FrameSeal`], the
//! checksum and leadership term of every frame.

use lockstep_archive::files::catalog::LOG_STREAM_ID;
use lockstep_service::log_entry::{ENTRY_HEADER_LENGTH, EntryHeader};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::log_buffer::frame_seal::FrameSeal;
use lockstep_transport::log_buffer::{ExclusiveAppender, LogBuffer, Offer, aligned_length};
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;

/// Where an entry was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Position of its first frame: the entry's name.
    pub position: Position,
    /// Position after its last frame.
    pub end: Position,
}

/// Appends the entries of one leadership term.
#[derive(Debug)]
pub struct LogWriter {
    appender: ExclusiveAppender,
    seal: FrameSeal,
    mtu: usize,
    log_time: i64,
}

impl LogWriter {
    /// A writer for `term` that starts at the end of the log, `start`, and whose clock
    /// continues from `log_time`.
    #[must_use]
    pub fn new(
        log: &LogBuffer,
        session_id: i32,
        mtu: usize,
        start: Position,
        term: LeadershipTermId,
        log_time: i64,
    ) -> Self {
        let appender =
            ExclusiveAppender::new(log.geometry(), session_id, LOG_STREAM_ID, mtu, start);
        let term = u32::try_from(term.get()).expect("leadership terms fit 31 bits");
        Self {
            appender,
            seal: FrameSeal::new(term),
            mtu,
            log_time,
        }
    }

    /// End of the log.
    #[must_use]
    pub fn position(&self) -> Position {
        self.appender.position()
    }

    /// Log time of the last entry, ns.
    #[must_use]
    pub const fn log_time(&self) -> i64 {
        self.log_time
    }

    /// Appends an entry if it fits below `limit`; stamps it with `log_time`, never earlier
    /// than the entry before.
    pub fn append(
        &mut self,
        log: &mut LogBuffer,
        limit: Position,
        log_time: i64,
        mut header: EntryHeader,
        body: &[u8],
    ) -> Option<Appended> {
        header.log_time = self.log_time.max(log_time);
        let encoded = header.encode();
        match self
            .appender
            .offer(log, limit, &[&encoded, body], &mut self.seal)
        {
            Offer::Accepted(end) => {
                self.log_time = header.log_time;
                let length = aligned_length(ENTRY_HEADER_LENGTH + body.len(), self.mtu);
                Some(Appended {
                    position: end - length as Position,
                    end,
                })
            }
            _ => {
                sometimes(Mark::AppendLimitReached);
                None
            }
        }
    }
}
