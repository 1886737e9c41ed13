//! Finds the chain hash of the own log at a given position, a bounded piece per duty cycle: from
//! the nearest checkpoint below, forward over the frames. One question per member waits.

use std::io;

use lockstep_archive::disk::Completion;
use lockstep_archive::log::chain::{CHECKPOINT_INTERVAL, Checkpoint};
use lockstep_archive::log::log_reader::{LogRead, LogReader, ReadSpan};
use lockstep_archive::log::log_view::LogView;
use lockstep_transport::log_buffer::frames;
use lockstep_transport::position::{Geometry, Position};

use crate::log::member_log::MemberLog;
use crate::module::event::{Event, LogHash};
use crate::module::member::{MEMBERS_MAX, MemberId};

/// Bytes looked at per cycle: the distance of two checkpoints, so that most questions take one.
const BYTES_PER_CYCLE: usize = CHECKPOINT_INTERVAL as usize;

/// The questions that wait, and the one that is being answered.
#[derive(Debug)]
pub(crate) struct ChainQuery {
    reader: LogReader,
    asked: [Option<Position>; MEMBERS_MAX],
    active: Option<Question>,
}

/// Who asks, about where, and how far its answer has come.
type Question = (MemberId, Position, Option<Checkpoint>);

const fn hashed(member: MemberId, position: Position, hash: LogHash) -> Event {
    Event::LogHashed {
        member,
        position,
        hash,
    }
}

impl ChainQuery {
    /// Nothing is asked; its reader is number `reader` of the node's disk.
    ///
    /// # Errors
    /// The operating system's, when it has no memory to give.
    pub fn new(geometry: Geometry, reader: u16) -> io::Result<Self> {
        Ok(Self {
            reader: LogReader::new(geometry, reader)?,
            asked: [None; MEMBERS_MAX],
            active: None,
        })
    }

    /// Asks for the hash at `position`, on behalf of `member`.
    pub fn ask(&mut self, member: MemberId, position: Position) {
        self.asked[usize::from(member)] = Some(position);
    }

    /// The log was truncated: what was read of it is not it any more.
    pub fn reset(&mut self) {
        self.reader.reset();
        self.active = None;
        self.asked = [None; MEMBERS_MAX];
    }

    /// Takes a completion; `false` when it is not its reader's.
    pub fn on_completion(&mut self, completion: &Completion) -> bool {
        self.reader.on_completion(completion)
    }

    /// Its reader, whose orders from disk are to be submitted after [`do_work`](Self::do_work).
    pub const fn reader_mut(&mut self) -> &mut LogReader {
        &mut self.reader
    }

    /// Goes on; an answer is an event for the module. Also returns whether it moved.
    pub fn do_work(&mut self, log: &MemberLog, view: LogView<'_>) -> (bool, Option<Event>) {
        let Some((member, position, known)) = self.active.or_else(|| self.next_question()) else {
            return (false, None);
        };
        let Some(start) = known.or_else(|| log.checkpoint_below(position)) else {
            self.active = None;
            return (true, Some(hashed(member, position, LogHash::Gone)));
        };
        let mut at = start;
        let hash = Self::advance(&mut self.reader, position, &mut at, (log, view));
        self.active = hash.is_none().then_some((member, position, Some(at)));
        let event = hash.map(|hash| hashed(member, position, hash));
        (event.is_some() || at != start, event)
    }

    fn next_question(&mut self) -> Option<Question> {
        let index = self.asked.iter().position(Option::is_some)?;
        let position = self.asked[index].take()?;
        self.reader.reset();
        Some((index as MemberId, position, None))
    }

    fn advance(
        reader: &mut LogReader,
        position: Position,
        at: &mut Checkpoint,
        (log, view): (&MemberLog, LogView<'_>),
    ) -> Option<LogHash> {
        if position > log.append() {
            return Some(LogHash::NoBoundary);
        }
        let mut looked_at = 0;
        while at.position < position {
            if looked_at >= BYTES_PER_CYCLE {
                return None;
            }
            let span = ReadSpan {
                position: at.position,
                limit: log.append(),
                length_max: BYTES_PER_CYCLE,
            };
            let before = at.position;
            match reader.read(span, view) {
                LogRead::Pending => return None,
                LogRead::Damaged => return Some(LogHash::Unreadable),
                LogRead::Gone => return Some(LogHash::Gone),
                LogRead::Frames { bytes, .. } => {
                    for frame in frames(bytes) {
                        let end = at.position + frame.aligned_length() as Position;
                        if end > position {
                            return Some(LogHash::NoBoundary);
                        }
                        *at = at.fold(frame.reserved_value(), end);
                        if end == position {
                            break;
                        }
                    }
                }
            }
            if at.position == before {
                return Some(LogHash::Unreadable);
            }
            looked_at += (at.position - before) as usize;
        }
        Some(LogHash::Is(at.hash))
    }
}
