//! What both ends promise each other, with an engine that finishes when it is told to.

use lockstep_transport::concurrent::AtomicBuffer;

use super::*;
use crate::disk::{BLOCK_LENGTH, Durability, FileId, SegmentName};
use crate::sim::{SimDisk, SimDiskConfig, WholeDisk};

/// Finishes, oldest first, as much as it is told to.
#[derive(Default)]
struct Stub {
    room: usize,
    taken: Vec<DiskOp>,
    may_finish: usize,
}

/// Crosses with everything but preparations.
struct Desk {
    disk: SimDisk,
    kept: Vec<Token>,
}

impl super::Desk for Desk {
    type Files = SimDisk;
    type Work = DiskOp;

    fn files(&mut self) -> &mut SimDisk {
        &mut self.disk
    }

    fn resolve(&mut self, _now: Nanos, operation: DiskOp) -> Result<Option<DiskOp>, Busy> {
        match operation {
            DiskOp::Prepare { token, .. } => {
                self.kept.push(token);
                Ok(None)
            }
            crosses => Ok(Some(crosses)),
        }
    }

    fn poll_completion(&mut self, _now: Nanos) -> Option<Completion> {
        self.kept.pop().map(done)
    }
}

impl Engine for Stub {
    type Work = DiskOp;

    fn submit(&mut self, _now: Nanos, work: DiskOp) -> Result<(), DiskOp> {
        if self.taken.len() == self.room {
            return Err(work);
        }
        self.taken.push(work);
        Ok(())
    }

    fn poll_completion(&mut self, _now: Nanos) -> Option<Completion> {
        if self.may_finish == 0 || self.taken.is_empty() {
            return None;
        }
        self.may_finish -= 1;
        Some(done(self.taken.remove(0).token()))
    }
}

fn done(token: Token) -> Completion {
    let result = Ok(FileId(0));
    Completion { token, result }
}

fn ends(room: usize) -> (QueuedDisk<Desk>, DiskRunner<Stub>) {
    let disk = SimDisk::new(SimDiskConfig::default());
    let desk = Desk { disk, kept: vec![] };
    let engine = Stub {
        room,
        ..Stub::default()
    };
    queued_disk(desk, engine)
}

fn write(token: Token, memory: &AtomicBuffer) -> DiskOp {
    DiskOp::Write {
        token,
        file: FileId(0),
        offset: 0,
        block: memory.kernel_block(0, BLOCK_LENGTH),
        durability: Durability::Synced,
    }
}

fn block() -> AtomicBuffer {
    AtomicBuffer::allocate(BLOCK_LENGTH).unwrap()
}

#[test]
fn what_was_ordered_is_there_at_once_and_carried_out_in_order() {
    let (mut near, mut far) = ends(QUEUE_LENGTH);
    let memory = block();
    assert_eq!((far.do_work(0), far.next_deadline()), (0, None));
    for token in 1..=3 {
        near.submit(0, write(token, &memory)).unwrap();
    }
    assert_eq!(far.next_deadline(), Some(0));
    assert_eq!(far.do_work(0), 3);
    assert_eq!(far.next_deadline(), None);
    let order: Vec<Token> = far.engine().taken.iter().map(DiskOp::token).collect();
    assert_eq!(order, [1, 2, 3]);
    assert_eq!(
        (near.poll_completion(0), near.next_deadline()),
        (None, None)
    );
    far.engine.may_finish = 2;
    assert_eq!(far.do_work(0), 2);
    assert_eq!(near.next_deadline(), Some(0));
    assert_eq!(near.poll_completion(0), Some(done(1)));
    assert_eq!(near.poll_completion(0), Some(done(2)));
    assert_eq!(near.poll_completion(0), None);
}

#[test]
fn a_full_disk_takes_nothing_until_it_has_answered_and_every_answer_has_room() {
    let (mut near, mut far) = ends(QUEUE_LENGTH);
    let memory = block();
    for token in 0..QUEUE_LENGTH as Token {
        near.submit(0, write(token, &memory)).unwrap();
    }
    assert_eq!(near.submit(0, write(99, &memory)), Err(Busy));
    // Taken is not answered.
    while far.do_work(0) > 0 {}
    assert_eq!(near.submit(0, write(99, &memory)), Err(Busy));
    far.engine.may_finish = usize::MAX;
    while far.do_work(0) > 0 {}
    assert_eq!(near.submit(0, write(99, &memory)), Err(Busy));
    assert_eq!(near.poll_completion(0), Some(done(0)));
    near.submit(0, write(99, &memory)).unwrap();
    assert_eq!(near.submit(0, write(100, &memory)), Err(Busy));
    while far.do_work(0) > 0 {}
    for token in (1..QUEUE_LENGTH as Token).chain([99]) {
        assert_eq!(near.poll_completion(0), Some(done(token)));
    }
    assert_eq!(near.poll_completion(0), None);
}

#[test]
fn an_engine_without_room_keeps_the_order_and_gets_nothing_twice() {
    let (mut near, mut far) = ends(1);
    let memory = block();
    for token in 1..=3 {
        near.submit(0, write(token, &memory)).unwrap();
    }
    assert_eq!((far.do_work(0), far.do_work(0)), (1, 0));
    // Nothing to do before the engine has finished something.
    assert_eq!(far.next_deadline(), None);
    far.engine.may_finish = 3;
    while far.do_work(0) > 0 {}
    for token in 1..=3 {
        assert_eq!(near.poll_completion(0), Some(done(token)));
    }
}

#[test]
fn one_call_of_the_far_end_is_bounded() {
    let (mut near, mut far) = ends(QUEUE_LENGTH);
    let memory = block();
    for token in 0..QUEUE_LENGTH as Token {
        near.submit(0, write(token, &memory)).unwrap();
    }
    assert_eq!(far.do_work(0), PIECES_PER_CALL);
}

#[test]
fn what_the_desk_takes_never_crosses_and_is_answered_while_the_far_end_stalls() {
    let (mut near, far) = ends(QUEUE_LENGTH);
    let memory = block();
    near.submit(0, write(1, &memory)).unwrap();
    let name = SegmentName {
        recording_id: 0,
        position: 0,
    };
    let prepare = DiskOp::Prepare {
        token: 2,
        name,
        length: 4096,
    };
    near.submit(0, prepare).unwrap();
    assert_eq!(near.poll_completion(0), Some(done(2)));
    assert_eq!(near.poll_completion(0), None);
    assert_eq!(far.work.slots(), 1);
}

#[test]
fn a_far_end_goes_when_the_near_one_has_and_nothing_is_left_to_do() {
    let (mut near, mut far) = ends(1);
    let memory = block();
    near.submit(0, write(1, &memory)).unwrap();
    near.submit(0, write(2, &memory)).unwrap();
    assert!(!far.has_ended());
    drop((near, memory));
    assert!(!far.has_ended(), "work waits");
    far.do_work(0);
    assert!(!far.has_ended(), "work is in hand and under way");
    far.engine.may_finish = 1;
    assert_eq!((far.do_work(0), far.do_work(0)), (1, 1));
    assert!(!far.has_ended(), "work is under way");
    // Its memory is there although nobody else has it.
    let DiskOp::Write { block, .. } = &far.engine().taken[0] else {
        panic!("a write");
    };
    let mut bytes = [1; BLOCK_LENGTH];
    block.copy_to(&mut bytes);
    assert_eq!(bytes, [0; BLOCK_LENGTH]);
    far.engine.may_finish = 1;
    far.do_work(0);
    assert!(far.has_ended());
}

#[test]
fn a_far_end_that_is_lost_fails_what_it_has_not_answered_by_name() {
    let (mut near, mut far) = ends(QUEUE_LENGTH);
    let memory = block();
    for token in 1..=3 {
        near.submit(0, write(token, &memory)).unwrap();
    }
    far.engine.may_finish = 1;
    far.do_work(0);
    drop(far);
    assert_eq!(near.next_deadline(), Some(0));
    assert_eq!(near.poll_completion(0), Some(done(1)));
    near.submit(0, write(4, &memory)).unwrap();
    let mut failed = Vec::new();
    while let Some(Completion { token, result }) = near.poll_completion(0) {
        let said = result.unwrap_err().to_string();
        assert!(said.contains("the thread of the disk failed"), "{said}");
        failed.push(token);
    }
    failed.sort_unstable();
    assert_eq!(failed, [2, 3, 4]);
    assert_eq!(near.next_deadline(), None);
}

#[test]
#[should_panic(expected = "changed on their way")]
fn a_page_that_changes_before_the_far_end_has_taken_its_write_is_found() {
    let disk = SimDisk::new(SimDiskConfig::default());
    let (mut near, mut far) = queued_disk(WholeDisk(disk.clone()), WholeDisk(disk));
    let mut memory = block();
    near.submit(0, write(1, &memory)).unwrap();
    memory.bytes_mut(17, 1)[0] = 1;
    far.do_work(0);
}
