//! A node's counters: fixed slots of 8 bytes in a mapped file that any process may read. Each
//! agent has a block of the file, which nobody else writes, so it may run on a thread of its own;
//! and so has each thread but the node's, which counts its duty cycles.
//!
//! An agent writes its block in the duty cycles in which something changed; readers see each
//! value whole, not all values at one instant. A slot has one number in all blocks, and what it
//! counts is the sum over them: most counters are one agent's, and 0 in the blocks of the others.

use std::io;
use std::path::Path;

use lockstep_transport::concurrent::AtomicBuffer;
use lockstep_transport::notices::NoticeKind;

use crate::notice::{NodeNotice, NodeNotices};
use crate::settings::threading::AgentName;

/// Name of the file in a node's directory.
pub const COUNTERS_FILE: &str = "counters.dat";

/// Bytes of a block: a page, so that each writer maps its own.
const BLOCK_LENGTH: usize = 4096;

/// Bytes of the file.
pub(crate) const COUNTERS_LENGTH: usize = BLOCKS.len() * BLOCK_LENGTH;

/// Slot of the first kind of [`NodeNotice`]; each kind has the slot of its number above it.
pub const NOTICE_SLOT_FIRST: usize = 256;

const _: () = assert!((NOTICE_SLOT_FIRST + NodeNotice::COUNT) * 8 <= BLOCK_LENGTH);

/// Marks a file written by this version, in slot 0 of the first block.
const MAGIC: i64 = 0x0003_5243_4B43_4F4C;

/// Whose block it is; they lie in the file in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    /// Whoever calls the agents.
    Node,
    /// The agent that decides.
    Consensus,
    /// The agent that faces the disk.
    Archive,
    /// The agent that executes.
    Service,
    /// The agent that faces clients.
    Clients,
    /// The thread whose first agent is the archive, if there is one.
    ArchiveThread,
    /// The same for the clients.
    ClientsThread,
    /// The same for the service.
    ServiceThread,
}

const BLOCKS: [Block; 8] = [
    Block::Node,
    Block::Consensus,
    Block::Archive,
    Block::Service,
    Block::Clients,
    Block::ArchiveThread,
    Block::ClientsThread,
    Block::ServiceThread,
];

/// What a counter means; the number is its slot and never changes meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Process id of the node.
    ProcessId = 1,
    /// Role: 0 follower, 1 pre-candidate, 2 candidate, 3 leader.
    Role = 2,
    /// Current leadership term.
    Term = 3,
    /// Member that leads it, -1 if unknown.
    Leader = 4,
    /// End of the log in memory.
    Append = 5,
    /// Durable end of the log.
    Durable = 6,
    /// Commit position.
    Commit = 7,
    /// Applied position.
    Applied = 8,
    /// Whether ingress is open (1) or not (0).
    IngressOpen = 9,
    /// Hash of the service's state at `HashPosition`; written only when the node is asked to.
    StateHash = 10,
    /// Heap allocations of the process since start; 0 where its program does not count them.
    Allocations = 11,
    /// System calls made by the node's network ports since start.
    SystemCalls = 12,
    /// Duty cycles since start.
    Cycles = 13,
    /// Open sessions.
    Sessions = 14,
    /// Everything that was refused or amiss: the sum of the counts by cause, each of which has a
    /// slot of its own from [`NOTICE_SLOT_FIRST`] on.
    Refused = 15,
    /// 1 once the node has halted on an error.
    Halted = 17,
    /// Elections this node stood in.
    Elections = 18,
    /// Hash of everything the service emitted up to `HashPosition`.
    OutputHash = 19,
    /// Set to 1 by a tool that wants `StateHash` and `OutputHash` written.
    HashRequest = 20,
    /// `Applied` at which `StateHash` and `OutputHash` were taken.
    HashPosition = 21,
    /// Log time minus this member's wall clock, ns; 0 until the log is heard live.
    LogTimeOffset = 40,
    /// Answers that waited until a follower had told what its service put out.
    AnswersWaited = 44,
    /// Answers that left although no majority was known to have the same output.
    AnswersUnverified = 45,
    /// Duty cycles that did work, of the node's own thread.
    WorkCycles = 46,
    /// Their time, ns.
    WorkTime = 47,
    /// Time of the longest of them, ns.
    WorkTimeMax = 48,
    /// Duty cycles that did work, of the thread whose first agent is the archive.
    ArchiveWorkCycles = 49,
    /// Their time, ns.
    ArchiveWorkTime = 50,
    /// Time of the longest of them, ns.
    ArchiveWorkTimeMax = 51,
    /// Duty cycles that did work, of the thread whose first agent is the clients.
    ClientsWorkCycles = 52,
    /// Their time, ns.
    ClientsWorkTime = 53,
    /// Time of the longest of them, ns.
    ClientsWorkTimeMax = 54,
    /// Duty cycles that did work, of the thread whose first agent is the service.
    ServiceWorkCycles = 55,
    /// Their time, ns.
    ServiceWorkTime = 56,
    /// Time of the longest of them, ns.
    ServiceWorkTimeMax = 57,
    /// Snapshots that this node has stored since its start.
    Snapshots = 66,
    /// Where the newest snapshot that it has was taken; 0 if it has none.
    SnapshotPosition = 67,
    /// Time for which applying stood still for a snapshot, of the longest, ns.
    SnapshotPause = 68,
    /// Snapshots of others that this node has fetched and stored since its start.
    SnapshotsFetched = 69,
    /// Where the log starts: what lies below is kept no more.
    LogStart = 70,
    /// Segments of the log made of others that were needed no more.
    SegmentsRecycled = 71,
    /// How often the start of the log has moved up since the node's start.
    Trims = 72,
    /// 1 while a snapshot is being stored here, 0 while none is.
    SnapshotWriting = 73,
    /// 1 once this member votes and counts: a majority knows its present start.
    Voter = 74,
}

impl Counter {
    /// Whether it is written into this block.
    #[inline]
    const fn is_of(self, block: Block) -> bool {
        match self {
            Self::ProcessId
            | Self::Allocations
            | Self::Cycles
            | Self::Halted
            | Self::WorkCycles
            | Self::WorkTime
            | Self::WorkTimeMax => matches!(block, Block::Node),
            Self::Role
            | Self::Term
            | Self::Leader
            | Self::Append
            | Self::Commit
            | Self::Applied
            | Self::IngressOpen
            | Self::Sessions
            | Self::Elections
            | Self::LogTimeOffset
            | Self::AnswersWaited
            | Self::AnswersUnverified
            | Self::SnapshotPause
            | Self::Voter => matches!(block, Block::Consensus),
            Self::Durable
            | Self::LogStart
            | Self::SegmentsRecycled
            | Self::Trims
            | Self::SnapshotWriting
            | Self::Snapshots
            | Self::SnapshotsFetched
            | Self::SnapshotPosition => {
                matches!(block, Block::Archive)
            }
            Self::StateHash | Self::OutputHash | Self::HashRequest | Self::HashPosition => {
                matches!(block, Block::Service)
            }
            Self::SystemCalls | Self::Refused => matches!(block, Block::Consensus | Block::Clients),
            Self::ArchiveWorkCycles | Self::ArchiveWorkTime | Self::ArchiveWorkTimeMax => {
                matches!(block, Block::ArchiveThread)
            }
            Self::ClientsWorkCycles | Self::ClientsWorkTime | Self::ClientsWorkTimeMax => {
                matches!(block, Block::ClientsThread)
            }
            Self::ServiceWorkCycles | Self::ServiceWorkTime | Self::ServiceWorkTimeMax => {
                matches!(block, Block::ServiceThread)
            }
        }
    }

    /// What is counted of the thread whose first agent is this one: its duty cycles that did work,
    /// their time, and that of the longest, ns.
    #[must_use]
    pub const fn work_of(first: AgentName) -> [Self; 3] {
        match first {
            AgentName::Consensus => [Self::WorkCycles, Self::WorkTime, Self::WorkTimeMax],
            AgentName::Archive => [
                Self::ArchiveWorkCycles,
                Self::ArchiveWorkTime,
                Self::ArchiveWorkTimeMax,
            ],
            AgentName::Clients => [
                Self::ClientsWorkCycles,
                Self::ClientsWorkTime,
                Self::ClientsWorkTimeMax,
            ],
            AgentName::Service => [
                Self::ServiceWorkCycles,
                Self::ServiceWorkTime,
                Self::ServiceWorkTimeMax,
            ],
        }
    }

    /// Where it is in a block, in bytes.
    const fn offset(self) -> usize {
        self as usize * 8
    }
}

/// The counters of one agent, which alone writes them.
#[derive(Debug)]
pub struct CounterBlock {
    block: Block,
    buffer: AtomicBuffer,
    /// Sum of the counts of notices when they were written last.
    noted: u64,
}

impl CounterBlock {
    fn afresh(block: Block, mut buffer: AtomicBuffer) -> Self {
        buffer.zero(0, BLOCK_LENGTH);
        let noted = 0;
        Self {
            block,
            buffer,
            noted,
        }
    }

    /// Sets a counter.
    ///
    /// # Panics
    /// If it is another agent's.
    #[inline]
    pub(crate) fn set(&mut self, counter: Counter, value: i64) {
        let block = self.block;
        assert!(
            counter.is_of(block),
            "{counter:?} is no counter of {block:?}"
        );
        self.buffer.put_i64_release(counter.offset(), value);
    }

    /// Writes the counts of all notices of its agent, where there are new ones.
    pub(crate) fn set_notices(&mut self, notices: &NodeNotices) {
        if notices.total() == self.noted {
            return;
        }
        self.noted = notices.total();
        let slots = (NOTICE_SLOT_FIRST * 8..BLOCK_LENGTH).step_by(8);
        for (offset, count) in slots.zip(notices.counts()) {
            self.buffer.put_i64_release(offset, *count as i64);
        }
    }

    /// What it says of a counter: 0 if it is another agent's.
    pub(crate) fn get(&self, counter: Counter) -> i64 {
        self.buffer.get_i64_acquire(counter.offset())
    }
}

/// Where the agents of a node count, and whoever calls them.
#[derive(Debug)]
pub struct CounterBlocks {
    pub(crate) node: CounterBlock,
    pub(crate) consensus: CounterBlock,
    pub(crate) archive: CounterBlock,
    pub(crate) service: CounterBlock,
    pub(crate) clients: CounterBlock,
}

/// Where the threads that a node may have besides its own count.
#[derive(Debug)]
pub(super) struct ThreadBlocks {
    archive: Option<CounterBlock>,
    clients: Option<CounterBlock>,
    service: Option<CounterBlock>,
}

impl ThreadBlocks {
    fn afresh(buffer: impl Fn(Block) -> io::Result<AtomicBuffer>) -> io::Result<Self> {
        let block = |block: Block| Ok::<_, io::Error>(CounterBlock::afresh(block, buffer(block)?));
        Ok(Self {
            archive: Some(block(Block::ArchiveThread)?),
            clients: Some(block(Block::ClientsThread)?),
            service: Some(block(Block::ServiceThread)?),
        })
    }

    /// Takes that of the thread whose first agent is this one; there is one for each.
    pub const fn take(&mut self, first: AgentName) -> Option<CounterBlock> {
        match first {
            AgentName::Consensus => None,
            AgentName::Archive => self.archive.take(),
            AgentName::Clients => self.clients.take(),
            AgentName::Service => self.service.take(),
        }
    }
}

impl CounterBlocks {
    /// Counters of this process alone (embedded nodes, simulation).
    ///
    /// # Errors
    /// The operating system's, when it has no memory to give.
    pub fn in_memory() -> io::Result<Self> {
        Self::afresh(|_| AtomicBuffer::allocate(BLOCK_LENGTH))
    }

    /// Counts into the file at `path`, afresh, and so do the threads besides the node's own.
    ///
    /// # Errors
    /// The operating system's, when the file cannot be mapped.
    pub(super) fn create(path: &Path) -> io::Result<(Self, ThreadBlocks)> {
        // Before the magic number says that all of it is this node's.
        let threads = ThreadBlocks::afresh(|block| map(path, block))?;
        Ok((Self::afresh(|block| map(path, block))?, threads))
    }

    fn afresh(buffer: impl Fn(Block) -> io::Result<AtomicBuffer>) -> io::Result<Self> {
        let block = |block: Block| Ok::<_, io::Error>(CounterBlock::afresh(block, buffer(block)?));
        // The one with the magic number first: what an earlier node left is no one's from here on.
        let mut blocks = Self {
            node: block(Block::Node)?,
            consensus: block(Block::Consensus)?,
            archive: block(Block::Archive)?,
            service: block(Block::Service)?,
            clients: block(Block::Clients)?,
        };
        blocks.consensus.set(Counter::Leader, -1);
        let process = i64::from(std::process::id());
        blocks.node.set(Counter::ProcessId, process);
        blocks.node.buffer.put_i64_release(0, MAGIC);
        Ok(blocks)
    }
}

/// The counters of a node as its directory has them, for other processes and for itself.
#[derive(Debug)]
pub struct Counters {
    /// In the order of [`BLOCKS`].
    blocks: Vec<AtomicBuffer>,
}

impl Counters {
    /// Opens the counters of the node in `directory`; `None` while it has not started.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(directory: &Path) -> io::Result<Option<Self>> {
        let path = directory.join(COUNTERS_FILE);
        if !path.exists() {
            return Ok(None);
        }
        // A file of another version is not grown by looking at it.
        if map(&path, Block::Node)?.get_i64_acquire(0) != MAGIC {
            return Ok(None);
        }
        Self::map(&path).map(Some)
    }

    /// Those of the file at `path`, which is of this version.
    pub(super) fn map(path: &Path) -> io::Result<Self> {
        let blocks = BLOCKS.iter().map(|block| map(path, *block));
        let blocks = blocks.collect::<io::Result<_>>()?;
        Ok(Self { blocks })
    }

    /// Asks the node for `StateHash` and `OutputHash`; `HashRequest` is 0 again when they are
    /// written.
    pub fn ask_for_hashes(&mut self) {
        let service = &mut self.blocks[Block::Service as usize];
        service.put_i64_release(Counter::HashRequest.offset(), 1);
    }

    /// Reads the count of one kind of notice.
    #[must_use]
    pub fn notice(&self, kind: NodeNotice) -> i64 {
        self.sum((NOTICE_SLOT_FIRST + kind.index()) * 8)
    }

    /// Reads a counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> i64 {
        self.sum(counter.offset())
    }

    fn sum(&self, offset: usize) -> i64 {
        let blocks = self.blocks.iter();
        blocks.map(|block| block.get_i64_acquire(offset)).sum()
    }
}

fn map(path: &Path, block: Block) -> io::Result<AtomicBuffer> {
    AtomicBuffer::map_file_part(path, block as usize * BLOCK_LENGTH, BLOCK_LENGTH)
}

#[cfg(test)]
mod tests {
    use lockstep_transport::notices::Detail;

    use super::*;

    #[test]
    fn another_process_reads_what_every_agent_wrote() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(COUNTERS_FILE);
        let open = || Counters::open(directory.path()).unwrap();
        assert!(open().is_none());
        let (mut blocks, _) = CounterBlocks::create(&path).unwrap();
        let mut reader = open().unwrap();
        assert_eq!(reader.get(Counter::Leader), -1);
        let process = i64::from(std::process::id());
        assert_eq!(reader.get(Counter::ProcessId), process);
        blocks.consensus.set(Counter::Commit, 4096);
        blocks.archive.set(Counter::Durable, 8192);
        assert_eq!(reader.get(Counter::Commit), 4096);
        assert_eq!(reader.get(Counter::Durable), 8192);
        reader.ask_for_hashes();
        assert_eq!(blocks.service.get(Counter::HashRequest), 1);
        let length = std::fs::metadata(&path).unwrap().len();
        assert_eq!(length, COUNTERS_LENGTH as u64);
    }

    #[test]
    fn what_two_agents_count_is_read_as_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(COUNTERS_FILE);
        let (mut blocks, _) = CounterBlocks::create(&path).unwrap();
        let kind = NodeNotice::PortUnknownSource;
        let mut notices = [NodeNotices::new(), NodeNotices::new()];
        notices[0].note(0, kind, Detail::default());
        notices[1].note(0, kind, Detail::default());
        notices[1].note(0, kind, Detail::default());
        let CounterBlocks {
            consensus, clients, ..
        } = &mut blocks;
        for (block, notices) in [consensus, clients].into_iter().zip(&notices) {
            block.set(Counter::Refused, notices.total() as i64);
            block.set_notices(notices);
        }
        let reader = Counters::open(directory.path()).unwrap().unwrap();
        assert_eq!((reader.notice(kind), reader.get(Counter::Refused)), (3, 3));
        // The next node of the directory begins anew.
        let _next = CounterBlocks::create(&path).unwrap();
        assert_eq!((reader.notice(kind), reader.get(Counter::Refused)), (0, 0));
    }

    #[test]
    fn each_thread_counts_in_a_block_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(COUNTERS_FILE);
        let (_, mut threads) = CounterBlocks::create(&path).unwrap();
        let cases = [
            (AgentName::Archive, Counter::ArchiveWorkTimeMax),
            (AgentName::Clients, Counter::ClientsWorkTimeMax),
            (AgentName::Service, Counter::ServiceWorkTimeMax),
        ];
        assert!(threads.take(AgentName::Consensus).is_none());
        let reader = Counters::open(directory.path()).unwrap().unwrap();
        for (value, (first, counter)) in (1..).zip(cases) {
            let mut block = threads.take(first).unwrap();
            assert!(threads.take(first).is_none());
            block.set(counter, value);
            assert_eq!(reader.get(counter), value);
        }
    }

    #[test]
    fn a_file_of_another_version_is_not_read_and_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(COUNTERS_FILE);
        let mut before = vec![0; BLOCK_LENGTH];
        before[..8].copy_from_slice(&0x0001_5243_4B43_4F4C_i64.to_le_bytes());
        std::fs::write(&path, &before).unwrap();
        assert!(Counters::open(directory.path()).unwrap().is_none());
        assert!(std::fs::read(&path).unwrap() == before);
    }

    #[test]
    #[should_panic(expected = "Durable is no counter of Consensus")]
    fn an_agent_does_not_write_what_another_one_counts() {
        let mut blocks = CounterBlocks::in_memory().unwrap();
        blocks.consensus.set(Counter::Durable, 1);
    }
}
