//! A bounded queue between two threads of records that carry bytes: two rings of `rtrb`, one of
//! the records and one of their bytes.
//!
//! One writer, one reader; neither ever waits. Records that belong together are published together:
//! whoever sees the first of them finds the others, and all of their bytes, which are published
//! before. All memory is reserved and touched when the queue is made.

use rtrb::{Consumer, Producer, RingBuffer};

/// What is queued: how many bytes it carries is part of it.
pub trait Record: Copy {
    /// Bytes that it carries.
    fn length(&self) -> usize;
}

/// The writer's end.
#[derive(Debug)]
pub struct RecordWriter<T> {
    records: Producer<T>,
    bytes: Producer<u8>,
    /// Records that are not published yet; their bytes are.
    staged: Vec<T>,
}

/// The reader's end.
#[derive(Debug)]
pub struct RecordReader<T> {
    records: Consumer<T>,
    bytes: Consumer<u8>,
}

/// A queue for `records_max` records that carry `bytes_max` bytes together.
#[must_use]
pub fn queue<T: Record>(
    records_max: usize,
    bytes_max: usize,
) -> (RecordWriter<T>, RecordReader<T>) {
    let (writer, reader) = RingBuffer::new(records_max);
    let (mut bytes, mut read) = RingBuffer::new(bytes_max);
    // Once around, so that no later write meets a page for the first time.
    if let (Ok(chunk), true) = (bytes.write_chunk(bytes_max), bytes_max > 0) {
        chunk.commit_all();
    }
    if let Ok(chunk) = read.read_chunk(bytes_max) {
        chunk.commit_all();
    }
    let writer = RecordWriter {
        records: writer,
        bytes,
        staged: Vec::with_capacity(records_max),
    };
    let reader = RecordReader {
        records: reader,
        bytes: read,
    };
    (writer, reader)
}

impl<T: Record> RecordWriter<T> {
    /// Whether there is room for `records` more that carry `bytes` together.
    #[must_use]
    pub fn has_room(&self, records: usize, bytes: usize) -> bool {
        // What was free when the writer last looked still is, and costs no look at the reader's.
        (self.records.cached_slots() >= records || self.records.slots() >= records)
            && (self.bytes.cached_slots() >= bytes || self.bytes.slots() >= bytes)
    }

    /// Queues `record` with its bytes, which nobody sees before it is [published](Self::publish).
    ///
    /// # Panics
    /// When there is no room, or they are not as many bytes as it says.
    pub fn stage(&mut self, record: T, bytes: &[u8]) {
        assert_eq!(
            record.length(),
            bytes.len(),
            "a record says what it carries"
        );
        let mut chunk = self
            .bytes
            .write_chunk(bytes.len())
            .expect("the writer asked for room");
        let (first, second) = chunk.as_mut_slices();
        let (head, tail) = bytes.split_at(first.len());
        first.copy_from_slice(head);
        second.copy_from_slice(tail);
        chunk.commit_all();
        self.staged.push(record);
    }

    /// Publishes everything that was staged, at once.
    ///
    /// # Panics
    /// When there is no room.
    pub fn publish(&mut self) {
        let chunk = self.records.write_chunk_uninit(self.staged.len());
        let chunk = chunk.expect("the writer asked for room");
        chunk.fill_from_iter(self.staged.drain(..));
    }

    /// Queues and publishes `record` with its bytes.
    ///
    /// # Panics
    /// As [`stage`](Self::stage).
    pub fn push(&mut self, record: T, bytes: &[u8]) {
        self.stage(record, bytes);
        self.publish();
    }
}

impl<T: Record> RecordReader<T> {
    /// Takes the oldest record, and its bytes into `bytes`, which has room for them.
    pub fn pop(&mut self, bytes: &mut Vec<u8>) -> Option<T> {
        bytes.clear();
        self.take(|first, second| {
            bytes.extend_from_slice(first);
            bytes.extend_from_slice(second);
        })
    }

    /// Takes the oldest record, and its bytes to the front of `buffer`. Those of a record that
    /// carries more than `buffer` has room for are dropped.
    pub(crate) fn pop_into(&mut self, buffer: &mut [u8]) -> Option<T> {
        self.take(|first, second| {
            if let Some((buffer, _)) = buffer.split_at_mut_checked(first.len() + second.len()) {
                let (head, tail) = buffer.split_at_mut(first.len());
                head.copy_from_slice(first);
                tail.copy_from_slice(second);
            }
        })
    }

    /// Takes the oldest record; `copy` sees its bytes, which lie in two pieces.
    fn take(&mut self, copy: impl FnOnce(&[u8], &[u8])) -> Option<T> {
        let record = self.records.pop().ok()?;
        let chunk = self.bytes.read_chunk(record.length());
        let chunk = chunk.expect("the bytes of a record are published before it");
        let (first, second) = chunk.as_slices();
        copy(first, second);
        chunk.commit_all();
        Some(record)
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether the writer's end is gone.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.records.is_abandoned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "two threads are what is tried")]

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Length(usize);

    impl Record for Length {
        fn length(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn records_come_in_order_with_their_bytes_however_these_lie_in_the_ring() {
        let (mut writer, mut reader) = queue(4, 16);
        let mut bytes = Vec::with_capacity(16);
        for round in 0..50_u8 {
            for length in [7, 0, 5] {
                assert!(writer.has_room(1, length));
                writer.push(Length(length), &vec![round; length]);
            }
            for length in [7, 0, 5] {
                assert_eq!(reader.pop(&mut bytes), Some(Length(length)));
                assert_eq!(bytes, vec![round; length]);
            }
            assert_eq!(reader.pop(&mut bytes), None);
        }
    }

    #[test]
    fn what_is_longer_than_the_readers_buffer_is_dropped_and_its_record_says_so() {
        let (mut writer, mut reader) = queue(4, 16);
        let mut buffer = [0; 5];
        for round in 1..50_u8 {
            for length in [5, 6, 4] {
                writer.push(Length(length), &vec![round; length]);
            }
            for (length, copied) in [(5, 5), (6, 0), (4, 4)] {
                buffer = [0; 5];
                assert_eq!(reader.pop_into(&mut buffer), Some(Length(length)));
                let is_of_round = buffer.map(|byte| byte == round);
                assert_eq!(is_of_round.iter().filter(|is| **is).count(), copied);
            }
        }
        assert_eq!(reader.pop_into(&mut buffer), None);
    }

    #[test]
    fn a_full_queue_says_so_for_records_and_for_bytes() {
        let (mut writer, mut reader) = queue(2, 8);
        writer.push(Length(6), &[1; 6]);
        assert!(writer.has_room(1, 2) && !writer.has_room(1, 3));
        writer.push(Length(0), &[]);
        assert!(!writer.has_room(1, 0));
        let mut bytes = Vec::new();
        assert!(reader.pop(&mut bytes).is_some());
        assert!(writer.has_room(1, 8) && !writer.has_room(2, 0));
    }

    #[test]
    fn two_threads_hand_over_records_whole_and_those_that_belong_together_together() {
        const GROUPS: usize = 20_000;
        let (mut writer, mut reader) = queue(8, 128);
        let thread = std::thread::spawn(move || {
            for group in 0..GROUPS {
                let length = group % 33;
                while !writer.has_room(3, 2 * length) {
                    std::thread::yield_now();
                }
                writer.stage(Length(length), &vec![group as u8; length]);
                writer.stage(Length(length), &vec![group as u8; length]);
                writer.stage(Length(0), &[]);
                writer.publish();
            }
        });
        let mut bytes = Vec::with_capacity(64);
        for group in 0..GROUPS {
            let first = loop {
                match reader.pop(&mut bytes) {
                    Some(record) => break record,
                    None => std::thread::yield_now(),
                }
            };
            assert_eq!(first, Length(group % 33));
            assert!(bytes.iter().all(|byte| *byte == group as u8));
            assert_eq!(reader.pop(&mut bytes), Some(first));
            assert!(bytes.iter().all(|byte| *byte == group as u8));
            assert_eq!(reader.pop(&mut bytes), Some(Length(0)));
        }
        thread.join().unwrap();
        assert!(reader.pop(&mut bytes).is_none());
    }
}
