//! Runs and the frames in them, and where a cursor may be put.

use lockstep_archive::disk::FileId;
use lockstep_archive::log::log_view::MemoryWindow;
use lockstep_archive::log::segment::SegmentTable;
use lockstep_service::log_entry::{EntryHeader, EntryKind};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::log_buffer::LogBuffer;
use lockstep_transport::position::Geometry;

use super::*;
use crate::log::log_writer::{Appended, LogWriter};

const TERM_LENGTH: usize = 1 << 16;
const MTU: usize = 1408;
const BODY_MAX: usize = 4096;

/// A body of three frames.
const FRAGMENTED: usize = 3000;

/// What one frame was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    /// It completed the entry at this position, with so many bytes of this value.
    Entry(Position, usize, u8),
    Part,
    RunOver,
}

/// A log, its writer, and a cursor at its beginning.
struct Log {
    log: LogBuffer,
    writer: LogWriter,
    segments: SegmentTable,
    reader: LogReader,
    cursor: EntryCursor,
    /// Where the log in memory begins.
    restart: Position,
}

impl Log {
    fn new() -> Self {
        let geometry = Geometry::new(0, TERM_LENGTH).unwrap();
        let log = LogBuffer::allocate(geometry, MTU).unwrap();
        Self {
            writer: LogWriter::new(&log, 1, MTU, 0, LeadershipTermId::new(1), 0),
            log,
            segments: SegmentTable::new(1 << 20),
            reader: LogReader::new(geometry, 0).unwrap(),
            cursor: EntryCursor::new(BODY_MAX),
            restart: 0,
        }
    }

    /// Appends an entry with a body of so many bytes of this value.
    fn append(&mut self, length: usize, value: u8) -> Appended {
        let header = EntryHeader::of_kind(EntryKind::Request);
        let body = vec![value; length];
        let limit = Position::MAX;
        let appended = self.writer.append(&mut self.log, limit, 0, header, &body);
        appended.unwrap()
    }

    fn begin_run(&mut self, limit: Position) -> Result<Run, NodeFault> {
        let geometry = self.log.geometry();
        let view = LogView {
            log: &self.log,
            window: MemoryWindow::new(geometry, self.restart, self.writer.position()),
            segments: &self.segments,
        };
        self.cursor.begin_run(&mut self.reader, view, limit)
    }

    fn next(&mut self) -> Result<Frame, NodeFault> {
        let geometry = self.log.geometry();
        let view = LogView {
            log: &self.log,
            window: MemoryWindow::new(geometry, self.restart, self.writer.position()),
            segments: &self.segments,
        };
        Ok(match self.cursor.next(&self.reader, view)? {
            Passed::Entry(Entry { position, body, .. }) => {
                assert!(body.iter().all(|byte| *byte == body[0]));
                Frame::Entry(position, body.len(), body[0])
            }
            Passed::Part => Frame::Part,
            Passed::RunOver => Frame::RunOver,
        })
    }

    /// The frames of as many runs as there are below `limit`.
    fn pass_all(&mut self, limit: Position) -> Vec<Frame> {
        let mut passed = Vec::new();
        while self.begin_run(limit).unwrap() == Run::Begun {
            loop {
                match self.next().unwrap() {
                    Frame::RunOver => break,
                    frame => passed.push(frame),
                }
            }
        }
        passed
    }

    fn malformed_at(&mut self) -> Position {
        assert_eq!(self.begin_run(Position::MAX).unwrap(), Run::Begun);
        loop {
            match self.next() {
                Ok(Frame::Part) => {}
                Err(NodeFault::MalformedEntry { position }) => return position,
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_run_is_passed_frame_by_frame_up_to_the_limit() {
    let mut log = Log::new();
    let (one, two) = (log.append(8, 1), log.append(FRAGMENTED, 2));
    let three = log.append(8, 3);
    assert_eq!(log.next().unwrap(), Frame::RunOver, "none is begun");
    assert_eq!(log.begin_run(0).unwrap(), Run::Nothing);
    let (first, second) = (
        Frame::Entry(one.position, 8, 1),
        Frame::Entry(two.position, FRAGMENTED, 2),
    );
    let frames = log.pass_all(two.end);
    assert_eq!(frames, [first, Frame::Part, Frame::Part, second]);
    assert_eq!(log.cursor.position(), two.end);
    assert_eq!(log.begin_run(two.end).unwrap(), Run::Nothing);
    let third = Frame::Entry(three.position, 8, 3);
    assert_eq!(log.pass_all(Position::MAX), [third]);
    assert_eq!(log.cursor.position(), three.end);
}

#[test]
fn a_new_run_goes_on_where_the_cursor_stands_within_an_entry_too() {
    let mut log = Log::new();
    let entry = log.append(FRAGMENTED, 1);
    for expected in [Frame::Part, Frame::Part] {
        assert_eq!(log.begin_run(entry.end).unwrap(), Run::Begun);
        assert_eq!(log.next().unwrap(), expected);
    }
    assert_eq!(
        log.cursor.position(),
        entry.position + 2 * MTU as Position,
        "two frames are passed"
    );
    let whole = Frame::Entry(entry.position, FRAGMENTED, 1);
    assert_eq!(log.pass_all(entry.end), [whole]);
}

#[test]
fn of_an_entry_whose_beginning_was_left_out_nothing_is_handed_on() {
    let mut log = Log::new();
    let (one, two) = (log.append(FRAGMENTED, 1), log.append(FRAGMENTED, 2));
    log.cursor.move_to_frame(one.position + MTU as Position);
    let second = Frame::Entry(two.position, FRAGMENTED, 2);
    let mut frames = vec![Frame::Part; 4];
    frames.push(second);
    assert_eq!(log.pass_all(Position::MAX), frames);
    // Where an entry begins nothing is left out.
    log.cursor.move_to_frame(two.position);
    assert_eq!(
        log.pass_all(Position::MAX),
        [Frame::Part, Frame::Part, second]
    );
}

#[test]
fn a_cursor_put_within_an_entry_as_if_one_began_there_says_where_the_log_is_malformed() {
    let mut log = Log::new();
    let entry = log.append(FRAGMENTED, 1);
    let within = entry.position + MTU as Position;
    log.cursor.move_to(within);
    assert_eq!(log.malformed_at(), within);
}

#[test]
fn an_entry_that_is_held_is_looked_at_again_from_its_first_frame() {
    let mut log = Log::new();
    log.append(8, 1);
    let held = log.append(FRAGMENTED, 2);
    log.append(8, 3);
    let once = Frame::Entry(held.position, FRAGMENTED, 2);
    assert_eq!(log.pass_all(held.end).last(), Some(&once));
    for _ in 0..2 {
        log.cursor.move_to(held.position);
        assert_eq!(log.cursor.position(), held.position);
        assert_eq!(log.next().unwrap(), Frame::RunOver, "its run is not begun");
        assert_eq!(log.pass_all(held.end), [Frame::Part, Frame::Part, once]);
    }
    // Nor is what was gathered of it mixed with what comes after.
    log.cursor.move_to(held.position);
    assert_eq!(log.begin_run(held.end).unwrap(), Run::Begun);
    assert_eq!(log.next().unwrap(), Frame::Part);
    log.cursor.move_to(held.end);
    assert_eq!(log.pass_all(Position::MAX), [Frame::Entry(held.end, 8, 3)]);
}

#[test]
fn padding_is_passed_and_no_entry() {
    let mut log = Log::new();
    let mut last = log.append(FRAGMENTED, 1);
    while last.end < TERM_LENGTH as Position {
        last = log.append(FRAGMENTED, 1);
    }
    let first = Frame::Entry(last.position, FRAGMENTED, 1);
    assert_eq!(last.position, TERM_LENGTH as Position);
    let frames = log.pass_all(Position::MAX);
    assert_eq!(
        frames[frames.len() - 4..],
        [Frame::Part, Frame::Part, Frame::Part, first],
        "the padding, then an entry of three frames"
    );
    // Where padding is the first that is seen, the entry behind it is whole.
    let entry_length = last.end - last.position;
    let padding = (last.position / entry_length) * entry_length;
    log.cursor.move_to_frame(padding);
    assert_eq!(log.pass_all(Position::MAX).last(), Some(&first));
}

#[test]
fn an_entry_longer_than_there_is_room_for_is_malformed() {
    let mut log = Log::new();
    log.append(BODY_MAX + 1, 1);
    let position = log.malformed_at();
    assert!(position > 0, "its first frames fit");
}

#[test]
fn what_is_not_in_memory_comes_from_a_segment_or_is_damaged() {
    let mut log = Log::new();
    let (one, two) = (log.append(8, 1), log.append(8, 2));
    log.restart = two.position;
    let missing = log.begin_run(Position::MAX);
    assert!(matches!(missing, Err(NodeFault::DamagedLog { position }) if position == one.position));
    log.reader.reset();
    log.segments.insert(0, FileId(1));
    for _ in 0..2 {
        assert_eq!(log.begin_run(Position::MAX).unwrap(), Run::Pending);
        assert_eq!(log.next().unwrap(), Frame::RunOver);
        assert_eq!(log.cursor.position(), one.position);
    }
    log.cursor.move_to(two.position);
    let second = Frame::Entry(two.position, 8, 2);
    assert_eq!(log.pass_all(Position::MAX), [second]);
}
