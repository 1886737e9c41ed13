//! One 4 KiB durable write at a time, as fast as this host does it: `O_DIRECT` with
//! `RWF_DSYNC` into a pre-written file, through io_uring where it is permitted and a blocked
//! helper thread where it is not.
//!
//! UNSAFE FENCE: submitting to io_uring.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;

use io_uring::{IoUring, opcode, types};
use lockstep_archive::disk::BLOCK_LENGTH;
use lockstep_transport::concurrent::AtomicBuffer;

/// Blocks of the file. Small entries rewrite the tail block several times before they move to
/// the next, and so does the floor.
const FILE_BLOCKS: u64 = 256;

/// Writes to one block before moving on to the next.
const WRITES_PER_BLOCK: u64 = 8;

/// Entries of the ring: one write is in flight at most.
const RING_ENTRIES: u32 = 4;

/// Writes one block at a time and tells when it is durable. Removes its file when dropped.
pub struct BlockWriter {
    path: PathBuf,
    file: std::fs::File,
    block: AtomicBuffer,
    engine: Engine,
    started: u64,
    is_in_flight: bool,
}

enum Engine {
    Uring(Box<IoUring>),
    Thread(HelperThread),
}

struct HelperThread {
    state: Arc<HelperState>,
    thread: Option<JoinHandle<()>>,
}

/// Shared with the helper: `offset` is -1 while it has nothing to do, and it stores -2 there
/// after a failed write.
struct HelperState {
    offset: AtomicI64,
    is_stopped: AtomicBool,
}

const IDLE: i64 = -1;
const FAILED: i64 = -2;

impl BlockWriter {
    /// Creates and pre-writes the file at `path`.
    ///
    /// # Errors
    /// The operating system's.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut fresh = std::fs::File::create(path)?;
        fresh.write_all(&vec![0; BLOCK_LENGTH * FILE_BLOCKS as usize])?;
        fresh.sync_all()?;
        drop(fresh);
        let open = |flags: i32| {
            let mut options = OpenOptions::new();
            options.write(true).custom_flags(flags).open(path)
        };
        // File systems in memory refuse O_DIRECT; there a buffered write is all there is.
        let direct = |extra| open(libc::O_DIRECT | extra).or_else(|_| open(extra));
        let (engine, file) = match IoUring::builder().setup_coop_taskrun().build(RING_ENTRIES) {
            Ok(ring) => (Engine::Uring(Box::new(ring)), direct(0)?),
            // The same fallback as a node's, and as loud: the report names the backend.
            Err(_) => {
                let file = direct(libc::O_DSYNC)?;
                let helper = HelperThread::start(file.try_clone()?)?;
                (Engine::Thread(helper), file)
            }
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            block: AtomicBuffer::allocate(BLOCK_LENGTH)?,
            engine,
            started: 0,
            is_in_flight: false,
        })
    }

    /// Starts writing the block. The previous write must have completed.
    ///
    /// # Errors
    /// The operating system's.
    pub fn start(&mut self) -> io::Result<()> {
        let offset = self.started / WRITES_PER_BLOCK % FILE_BLOCKS * BLOCK_LENGTH as u64;
        self.started += 1;
        self.is_in_flight = true;
        match &mut self.engine {
            Engine::Uring(ring) => {
                let pointer = self.block.kernel_block(0, BLOCK_LENGTH).as_ptr();
                let descriptor = types::Fd(self.file.as_raw_fd());
                let write = opcode::Write::new(descriptor, pointer, BLOCK_LENGTH as u32)
                    .offset(offset)
                    .rw_flags(libc::RWF_DSYNC)
                    .build();
                let mut submissions = ring.submission();
                // SAFETY: the block and the file live in `self`, whose `drop` waits for a
                // write in flight; nothing else writes the block.
                let pushed = unsafe { submissions.push(&write) };
                pushed.map_err(io::Error::other)?;
                drop(submissions);
                ring.submit()?;
            }
            Engine::Thread(helper) => {
                // Release pairs with the helper's Acquire.
                helper.state.offset.store(offset as i64, Ordering::Release);
                if let Some(thread) = &helper.thread {
                    thread.thread().unpark();
                }
            }
        }
        Ok(())
    }

    /// Whether the write that was started is durable now. To be called only while one is in
    /// flight, and to return true only once.
    ///
    /// # Errors
    /// A failed or short write.
    pub fn poll(&mut self) -> io::Result<bool> {
        let outcome = self.poll_engine();
        self.is_in_flight = matches!(outcome, Ok(false));
        outcome
    }

    /// Sleeps in the kernel until the write in flight is done; [`poll`](Self::poll) then says
    /// how it went. With a helper thread there is nothing to sleep on: returns at once.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn sleep_until_done(&mut self) -> io::Result<()> {
        match &mut self.engine {
            Engine::Uring(ring) => ring.submit_and_wait(1).map(|_| ()),
            Engine::Thread(_) => Ok(()),
        }
    }

    /// Whether a write was started that has not completed.
    #[must_use]
    pub(crate) fn is_in_flight(&self) -> bool {
        self.is_in_flight
    }

    fn poll_engine(&mut self) -> io::Result<bool> {
        match &mut self.engine {
            Engine::Uring(ring) => match ring.completion().next() {
                None => Ok(false),
                Some(entry) if entry.result() == BLOCK_LENGTH as i32 => Ok(true),
                Some(entry) if entry.result() < 0 => {
                    Err(io::Error::from_raw_os_error(-entry.result()))
                }
                Some(_) => Err(io::Error::other("a block was written in part only")),
            },
            // Acquire pairs with the helper's Release.
            Engine::Thread(helper) => match helper.state.offset.load(Ordering::Acquire) {
                IDLE => Ok(true),
                FAILED => Err(io::Error::other("the helper thread's write failed")),
                _ => Ok(false),
            },
        }
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        match &mut self.engine {
            Engine::Uring(ring) => {
                // The kernel may still read the block of an unfinished write: wait for it.
                if self.is_in_flight && ring.completion().is_empty() {
                    // Where waiting fails, closing the ring waits.
                    let _ = ring.submit_and_wait(1);
                }
            }
            Engine::Thread(helper) => helper.stop(),
        }
        // The run's directory goes with all that is in it.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl HelperThread {
    #[allow(
        clippy::disallowed_methods,
        reason = "shell: blocks in the kernel for the floor"
    )]
    fn start(file: std::fs::File) -> io::Result<Self> {
        let state = Arc::new(HelperState {
            offset: AtomicI64::new(IDLE),
            is_stopped: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let block = AtomicBuffer::allocate(BLOCK_LENGTH)?;
        let thread = std::thread::spawn(move || serve(&file, &block, &shared));
        Ok(Self {
            state,
            thread: Some(thread),
        })
    }

    fn stop(&mut self) {
        self.state.is_stopped.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic was reported by the thread's own hook.
            let _ = thread.join();
        }
    }
}

fn serve(file: &std::fs::File, block: &AtomicBuffer, state: &HelperState) {
    while !state.is_stopped.load(Ordering::Acquire) {
        let offset = state.offset.load(Ordering::Acquire);
        let Ok(start) = u64::try_from(offset) else {
            std::thread::park();
            continue;
        };
        let written = file.write_all_at(block.bytes(0, BLOCK_LENGTH), start);
        let next = if written.is_ok() { IDLE } else { FAILED };
        state.offset.store(next, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_becomes_durable_and_the_file_goes_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("floor.dat");
        let mut writer = BlockWriter::create(&path).unwrap();
        for _ in 0..20 {
            writer.start().unwrap();
            while !writer.poll().unwrap() {
                std::thread::yield_now();
            }
        }
        drop(writer);
        assert!(!path.exists());
    }

    #[test]
    fn the_helper_thread_does_what_the_ring_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("floor.dat");
        let mut writer = BlockWriter::create(&path).unwrap();
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_DSYNC)
            .open(&path)
            .unwrap();
        writer.engine = Engine::Thread(HelperThread::start(file).unwrap());
        for _ in 0..5 {
            writer.start().unwrap();
            while !writer.poll().unwrap() {
                std::thread::yield_now();
            }
        }
    }
}
