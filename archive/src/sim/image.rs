//! Files as a crash would find them: durable bytes, and writes that may or may not survive.
//!
//! Per file there is what reads see (`current`), what stable storage holds (`durable`) and the
//! list of writes in between. A crash decides for each such write, sector by sector, whether
//! it was kept, dropped or torn (`rules.md` D1, D2).

use lockstep_transport::prng::SplitMix64;

/// A device replaces a sector as a whole, or (rarely, and here on purpose) tears it.
pub const SECTOR_LENGTH: usize = 512;

/// Seeded generator; the disk needs no better one.
#[derive(Clone, Debug)]
pub(super) struct Dice(SplitMix64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(SplitMix64(seed))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound` (0 for a bound of 0).
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }
}

/// How far a write has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteStage {
    /// Submitted; its completion is outstanding.
    InFlight(u64),
    /// Completed into the page cache.
    Cached,
    /// Completed into the device's own cache: durable with the next flush.
    Unflushed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Unsynced {
    offset: usize,
    bytes: Vec<u8>,
    stage: WriteStage,
    /// Whether reads see it.
    is_seen: bool,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileImage {
    pub(super) name: String,
    pub(super) exists: bool,
    /// Its owner had it removed: who writes to it has made a mistake. One that others took away is
    /// written to as before, and nobody finds it again.
    pub(super) is_closed: bool,
    /// Its number on the file system; a copy gets another one.
    pub(super) inode: u64,
    /// It was made without a length: writes at its end lengthen it.
    grows: bool,
    current: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
}

fn apply(target: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if end > target.len() {
        target.resize(end, 0);
    }
    target[offset..end].copy_from_slice(bytes);
}

impl FileImage {
    pub(super) fn zeros(name: &str, length: usize, inode: u64) -> Self {
        Self {
            name: name.to_owned(),
            exists: true,
            is_closed: false,
            inode,
            grows: length == 0,
            current: vec![0; length],
            durable: vec![0; length],
            unsynced: Vec::new(),
        }
    }

    /// It is no more, and what it held takes no memory.
    pub(super) fn discard(&mut self) {
        self.exists = false;
        self.is_closed = true;
        self.current = Vec::new();
        self.durable = Vec::new();
        self.unsynced = Vec::new();
    }

    pub(super) fn length(&self) -> usize {
        self.current.len()
    }

    /// What a crash leaves at least.
    pub(super) fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// What a backup tool reads of it, and writes elsewhere or back.
    pub(super) fn copied(&self) -> Self {
        Self {
            name: self.name.clone(),
            exists: true,
            is_closed: false,
            inode: self.inode,
            grows: self.grows,
            current: self.current.clone(),
            durable: self.current.clone(),
            unsynced: Vec::new(),
        }
    }

    pub(super) fn range(&self, offset: usize, length: usize) -> Option<&[u8]> {
        self.current.get(offset..offset.checked_add(length)?)
    }

    /// How much longer a write makes the file; `None` when it does not lie in it.
    pub(super) fn growth(&self, offset: usize, length: usize) -> Option<usize> {
        let growth = offset.checked_add(length)?.saturating_sub(self.length());
        let lies_in_it = growth == 0 || (self.grows && offset <= self.length());
        lies_in_it.then_some(growth)
    }

    /// Takes a write; `false` when it does not lie in the file.
    pub(super) fn write(&mut self, offset: usize, bytes: Vec<u8>, stage: WriteStage) -> bool {
        self.submit(offset, bytes, stage, true)
    }

    /// The same, of a write that reads do not see before it has completed unless `is_seen`.
    pub(super) fn submit(
        &mut self,
        offset: usize,
        bytes: Vec<u8>,
        stage: WriteStage,
        is_seen: bool,
    ) -> bool {
        if self.growth(offset, bytes.len()).is_none() {
            return false;
        }
        if is_seen {
            apply(&mut self.current, offset, &bytes);
        }
        self.unsynced.push(Unsynced {
            offset,
            bytes,
            stage,
            is_seen,
        });
        true
    }

    /// The write with this ticket has completed into a cache.
    pub(super) fn complete(&mut self, ticket: u64, stage: WriteStage) {
        for write in &mut self.unsynced {
            if write.stage == WriteStage::InFlight(ticket) {
                write.stage = stage;
                if !write.is_seen {
                    write.is_seen = true;
                    apply(&mut self.current, write.offset, &write.bytes);
                }
            }
        }
    }

    /// Makes the write with this ticket durable, after all older ones it overlaps.
    pub(super) fn sync_write(&mut self, ticket: u64) {
        let Some(index) = self
            .unsynced
            .iter()
            .position(|write| write.stage == WriteStage::InFlight(ticket))
        else {
            return;
        };
        let synced = self.unsynced.remove(index);
        let end = synced.offset + synced.bytes.len();
        let mut position = 0;
        let (older, left) = std::mem::take(&mut self.unsynced)
            .into_iter()
            .partition(|write| {
                let overlaps =
                    write.offset < end && synced.offset < write.offset + write.bytes.len();
                let is_older = position < index;
                position += 1;
                overlaps && is_older
            });
        self.unsynced = left;
        self.store(older);
        self.store(vec![synced]);
    }

    /// These writes are on stable storage, and reads see them.
    fn store(&mut self, writes: Vec<Unsynced>) {
        for write in writes {
            apply(&mut self.durable, write.offset, &write.bytes);
            if !write.is_seen {
                apply(&mut self.current, write.offset, &write.bytes);
            }
        }
    }

    /// A flush of the device's cache reaches this file.
    pub(super) fn flush_device(&mut self) {
        let (flushed, left) = std::mem::take(&mut self.unsynced)
            .into_iter()
            .partition(|write| write.stage == WriteStage::Unflushed);
        self.unsynced = left;
        self.store(flushed);
    }

    /// fsync: everything that was submitted is durable.
    pub(super) fn sync_all(&mut self) {
        let writes = std::mem::take(&mut self.unsynced);
        self.store(writes);
    }

    /// A write error: its pages are dropped and marked clean, as some systems do.
    pub(super) fn lose_write(&mut self, ticket: u64) {
        self.unsynced
            .retain(|write| write.stage != WriteStage::InFlight(ticket));
        self.current.clone_from(&self.durable);
        for write in self.unsynced.iter().filter(|write| write.is_seen) {
            apply(&mut self.current, write.offset, &write.bytes);
        }
    }

    /// The host crashes: each write not yet durable is kept, dropped or torn by sectors.
    pub(super) fn crash(&mut self, dice: &mut Dice) {
        for write in std::mem::take(&mut self.unsynced) {
            let whole = dice.below(4);
            let mut start = 0;
            while start < write.bytes.len() {
                let sector_end =
                    (write.offset + start) / SECTOR_LENGTH * SECTOR_LENGTH + SECTOR_LENGTH;
                let end = (sector_end - write.offset).min(write.bytes.len());
                let kept = match (whole, dice.below(8)) {
                    (0, _) => 0,
                    (1, _) => end - start,
                    (_, 0..=3) => end - start,
                    (_, 4..=6) => 0,
                    _ => dice.below((end - start) as u64) as usize,
                };
                // A file that grows may do so by a later part only: zeros are before it then.
                if kept > 0 {
                    apply(
                        &mut self.durable,
                        write.offset + start,
                        &write.bytes[start..start + kept],
                    );
                }
                start = end;
            }
        }
        self.current.clone_from(&self.durable);
    }

    /// The process dies and the host lives: caches survive, writes in flight may.
    pub(super) fn kill(&mut self, dice: &mut Dice) {
        let mut lost = Vec::new();
        for write in &mut self.unsynced {
            if let WriteStage::InFlight(ticket) = write.stage {
                if dice.below(2) == 0 {
                    lost.push(ticket);
                } else {
                    write.stage = WriteStage::Cached;
                    if !write.is_seen {
                        write.is_seen = true;
                        apply(&mut self.current, write.offset, &write.bytes);
                    }
                }
            }
        }
        for ticket in lost {
            self.lose_write(ticket);
        }
    }

    /// Rot: flips one bit of what is stored.
    pub(super) fn flip_bit(&mut self, offset: usize, bit: u32) {
        self.rot(offset, 1, |_, byte| *byte ^= 1 << bit);
    }

    /// Replaces stored bytes without any write having happened; a cache that has yet to be written
    /// back has them too.
    pub(super) fn overwrite(&mut self, offset: usize, bytes: &[u8]) {
        self.rot(offset, bytes.len(), |index, byte| *byte = bytes[index]);
    }

    /// Changes `length` bytes wherever they are kept: what is in a cache has rotted too, or else
    /// the next flush would heal what a read has already found rotten.
    fn rot(&mut self, offset: usize, length: usize, change: impl Fn(usize, &mut u8)) {
        for index in 0..length {
            let at = offset + index;
            change(index, &mut self.current[at]);
            if let Some(byte) = self.durable.get_mut(at) {
                change(index, byte);
            }
            for write in self.unsynced.iter_mut().filter(|write| write.is_seen) {
                let inside = at.checked_sub(write.offset);
                if let Some(byte) = inside.and_then(|inside| write.bytes.get_mut(inside)) {
                    change(index, byte);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with a write that reads do not see yet.
    fn with_an_unseen_write() -> FileImage {
        let mut file = FileImage::zeros("file", 8, 1);
        assert!(file.submit(0, vec![1; 4], WriteStage::InFlight(1), false));
        assert_eq!(file.range(0, 8).unwrap(), [0; 8]);
        file
    }

    #[test]
    fn what_is_durable_is_seen() {
        let mut synced = with_an_unseen_write();
        synced.sync_all();
        let mut overlapped = with_an_unseen_write();
        assert!(overlapped.submit(2, vec![2; 4], WriteStage::InFlight(2), false));
        overlapped.sync_write(2);
        for (file, bytes) in [
            (synced, [1, 1, 1, 1, 0, 0, 0, 0]),
            (overlapped, [1, 1, 2, 2, 2, 2, 0, 0]),
        ] {
            assert_eq!(file.durable(), bytes);
            assert_eq!(file.range(0, 8).unwrap(), bytes);
        }
    }

    #[test]
    fn rot_under_a_write_in_a_cache_is_not_healed_by_a_flush() {
        let mut file = FileImage::zeros("x", 8, 1);
        assert!(file.write(2, vec![7; 4], WriteStage::Cached));
        file.flip_bit(3, 0);
        file.overwrite(5, &[9, 9]);
        let rotten: &[u8] = &[0, 0, 7, 6, 7, 9, 9, 0];
        assert_eq!(file.range(0, 8), Some(rotten));
        file.sync_all();
        assert_eq!(file.durable(), rotten);
    }
}
