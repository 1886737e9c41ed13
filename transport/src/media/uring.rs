//! A ring that receives datagrams: one multishot `recvmsg` filling a pool of provided buffers.
//!
//! Looking for a datagram reads two words of shared memory; a system call is made only when the
//! kernel says that there is work to take over, or to arm the ring again. Set up with
//! SINGLE_ISSUER, DEFER_TASKRUN and TASKRUN_FLAG (measured so, `performance.md` 2) and bound to
//! the first thread that polls it.
//!
//! Each buffer begins with what the kernel writes ahead of the payload:
//! ```text
//! name length u32 | control length u32 | payload length u32 | flags u32 | name 28 | payload
//! ```

use core::mem::offset_of;
use std::io;
use std::os::fd::RawFd;

use io_uring::types::{BufRingEntry, CancelBuilder, Fd, Timespec};
use io_uring::{IoUring, cqueue, opcode};

use super::error::RingRefusal;
use super::socket_address::ADDRESS_LENGTH_MAX;
use crate::concurrent::AtomicBuffer;
use crate::datagram_port::DATAGRAM_LENGTH_MAX;

/// Buffers in the pool: as many datagrams as are taken over between two polls. More wait in
/// the socket's own buffer, which is the larger one.
const BUFFERS: u16 = 64;
/// Bytes the kernel writes before the payload.
const BUFFER_HEADER_LENGTH: usize = 16 + ADDRESS_LENGTH_MAX;
/// Bytes of one buffer. 65,548 rounded up to whole cache lines is no power of two, so the first
/// lines of successive buffers fall into different cache sets.
const BUFFER_LENGTH: usize = (BUFFER_HEADER_LENGTH + DATAGRAM_LENGTH_MAX).next_multiple_of(64);
/// The only buffer group of the ring.
const GROUP: u16 = 0;
/// Completions the ring holds: every buffer once, the end of the multishot, and room to spare.
const COMPLETIONS: u32 = 2 * BUFFERS as u32;
/// Submissions the ring holds: the receive is the only one there ever is.
const SUBMISSIONS: u32 = 2;
/// `IORING_ENTER_GETEVENTS`: take over finished work.
const ENTER_GETEVENTS: u32 = 1;
/// How long `drop` waits for the receive to end, in seconds; it ends at once.
const CANCEL_TIMEOUT_S: u64 = 1;

const ENTRY_LENGTH: usize = size_of::<BufRingEntry>();
const _: () = assert!(ENTRY_LENGTH == 16);
const _: () = assert!(BUFFERS.is_power_of_two());
const _: () = assert!(!BUFFER_LENGTH.is_power_of_two());

/// Offset, in the table of provided buffers, of the word that publishes its tail: the first
/// entry's buffer id in the low half, the tail in the high half (little endian hosts only).
const TAIL_WORD_OFFSET: usize = 12;

/// The table through which buffers are lent to the kernel, and the buffers.
///
/// ```text
/// entry n: address u64 | length u32 | buffer id u16 | tail u16 (of the table; entry 0 only)
/// ```
#[derive(Debug)]
struct BufferRing {
    table: AtomicBuffer,
    memory: AtomicBuffer,
    tail: u16,
    /// Buffer id in entry 0, rewritten together with the tail.
    first_id: u16,
}

impl BufferRing {
    fn allocate() -> io::Result<Self> {
        let mut ring = Self {
            table: AtomicBuffer::allocate(usize::from(BUFFERS) * ENTRY_LENGTH)?,
            memory: AtomicBuffer::allocate(usize::from(BUFFERS) * BUFFER_LENGTH)?,
            tail: 0,
            first_id: 0,
        };
        for id in 0..BUFFERS {
            ring.lend(id);
        }
        Ok(ring)
    }

    /// Gives buffer `id` to the kernel, which fills it next after those lent before.
    fn lend(&mut self, id: u16) {
        let address = self
            .memory
            .kernel_block(usize::from(id) * BUFFER_LENGTH, BUFFER_LENGTH)
            .as_ptr() as u64;
        let index = self.tail % BUFFERS;
        let offset = usize::from(index) * ENTRY_LENGTH;
        let entry = self.table.bytes_mut(offset, TAIL_WORD_OFFSET);
        entry[..8].copy_from_slice(&address.to_ne_bytes());
        entry[8..].copy_from_slice(&(BUFFER_LENGTH as u32).to_ne_bytes());
        if index == 0 {
            self.first_id = id;
        } else {
            let entry = self.table.bytes_mut(offset + TAIL_WORD_OFFSET, 2);
            entry.copy_from_slice(&id.to_ne_bytes());
        }
        self.tail = self.tail.wrapping_add(1);
        let word = u32::from(self.first_id) | u32::from(self.tail) << 16;
        // Pairs with the kernel's acquire of the tail.
        self.table.put_i32_release(TAIL_WORD_OFFSET, word as i32);
    }

    /// The first `length` bytes of buffer `id`, which a completion has given back.
    fn filled(&self, id: u16, length: usize) -> &[u8] {
        self.memory.bytes(usize::from(id) * BUFFER_LENGTH, length)
    }
}

/// One completion of the receive.
#[derive(Clone, Copy, Debug)]
pub(super) enum Completion {
    /// A buffer with `length` bytes, to be given back with [`ReceiveRing::release`].
    Filled {
        /// The buffer.
        id: u16,
        /// Bytes the kernel wrote into it.
        length: usize,
    },
    /// Every buffer was in use; the receive has ended and must be armed again.
    Exhausted,
    /// The receive met an error, which says nothing about later datagrams: its number, or 0
    /// where the kernel said what makes no sense.
    Error(i32),
}

/// What a filled buffer holds.
#[derive(Debug)]
pub(super) struct Message<'a> {
    /// The sender's address in the kernel's form.
    pub(super) source: &'a [u8],
    /// The datagram; `None` when it did not fit the buffer.
    pub(super) payload: Option<&'a [u8]>,
}

/// The ring. Fields drop in order: the ring goes before the memory that the kernel may write.
pub(super) struct ReceiveRing {
    ring: IoUring,
    /// The socket. Not registered with the ring: a multishot looks its file up once, when armed,
    /// and a registered file would outlive the socket's close.
    fd: RawFd,
    buffers: BufferRing,
    /// A `msghdr` of zeros but for the length of names, at a stable address.
    request: AtomicBuffer,
    armed: bool,
    enabled: bool,
}

impl core::fmt::Debug for ReceiveRing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ReceiveRing")
            .field("armed", &self.armed)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

impl ReceiveRing {
    /// Sets up a ring that will receive from the socket `fd`.
    ///
    /// The ring starts disabled, so that it binds to the thread that polls it first and not to
    /// the one that opens it.
    pub(super) fn new(fd: RawFd) -> Result<Self, RingRefusal> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(COMPLETIONS)
            .setup_r_disabled()
            .build(SUBMISSIONS)?;
        let buffers = BufferRing::allocate()?;
        let length = buffers.table.length();
        let table = buffers.table.kernel_block(0, length).as_ptr() as u64;
        // SAFETY: the table is page aligned, has `BUFFERS` entries, and lives as long as the
        // ring: `drop` ends the receive, and the ring's field drops before the memory's.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(table, BUFFERS, GROUP, 0)
        }?;
        let mut request = AtomicBuffer::allocate(size_of::<libc::msghdr>())?;
        let name_length = ADDRESS_LENGTH_MAX as libc::socklen_t;
        request
            .bytes_mut(
                offset_of!(libc::msghdr, msg_namelen),
                size_of_val(&name_length),
            )
            .copy_from_slice(&name_length.to_ne_bytes());
        Ok(Self {
            ring,
            fd,
            buffers,
            request,
            armed: false,
            enabled: false,
        })
    }

    /// Whether the receive must be [armed](Self::arm) before anything can come.
    pub(super) const fn is_armed(&self) -> bool {
        self.armed
    }

    /// Starts the receive. One system call (two the first time).
    #[cold]
    #[inline(never)]
    pub(super) fn arm(&mut self) -> io::Result<()> {
        if !self.enabled {
            self.ring.submitter().register_enable_rings()?;
            self.enabled = true;
        }
        let request = self.request.kernel_block(0, self.request.length());
        let entry = opcode::RecvMsgMulti::new(Fd(self.fd), request.as_ptr().cast(), GROUP)
            .flags(libc::MSG_TRUNC as u32)
            .build();
        // SAFETY: the entry's only pointer is to `request`, which lives as long as the ring.
        unsafe { self.ring.submission().push(&entry) }
            .map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))?;
        self.ring.submit()?;
        self.armed = true;
        Ok(())
    }

    /// The oldest completion; `None` when there is none yet. No system call.
    pub(super) fn complete(&mut self) -> Option<Completion> {
        let completion = self.ring.completion().next()?;
        if !cqueue::more(completion.flags()) {
            self.armed = false;
        }
        let id = cqueue::buffer_select(completion.flags());
        Some(match (usize::try_from(completion.result()), id) {
            (Ok(length), Some(id)) if id < BUFFERS && length <= BUFFER_LENGTH => {
                Completion::Filled { id, length }
            }
            (Err(_), _) if completion.result() == -libc::ENOBUFS => Completion::Exhausted,
            _ => Completion::Error(completion.result().min(0).saturating_neg()),
        })
    }

    /// Whether the kernel has work that [`take_over`](Self::take_over) turns into completions.
    pub(super) fn has_work(&mut self) -> bool {
        let submissions = self.ring.submission();
        submissions.taskrun() || submissions.cq_overflow()
    }

    /// Lets the kernel finish what arrived. One system call; never waits.
    pub(super) fn take_over(&mut self) -> io::Result<()> {
        // SAFETY: nothing is submitted and no argument is passed.
        unsafe {
            self.ring
                .submitter()
                .enter::<libc::sigset_t>(0, 0, ENTER_GETEVENTS, None)
        }
        .map(drop)
    }

    /// The contents of a filled buffer; `None` when what the kernel wrote makes no sense.
    pub(super) fn message(&self, id: u16, length: usize) -> Option<Message<'_>> {
        let bytes = self.buffers.filled(id, length);
        let field = |offset: usize| -> Option<u32> {
            Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
        };
        let (name_length, payload_length, flags) = (field(0)?, field(8)?, field(12)?);
        let name_length = (name_length as usize).min(ADDRESS_LENGTH_MAX);
        let source = bytes.get(16..16 + name_length)?;
        let payload = bytes.get(BUFFER_HEADER_LENGTH..)?;
        let is_whole =
            flags & libc::MSG_TRUNC as u32 == 0 && payload_length as usize <= payload.len();
        Some(Message {
            source,
            payload: is_whole.then(|| &payload[..payload_length as usize]),
        })
    }

    /// Gives a buffer back to the kernel.
    pub(super) fn release(&mut self, id: u16) {
        self.buffers.lend(id);
    }
}

impl Drop for ReceiveRing {
    fn drop(&mut self) {
        // Ends the receive before its memory goes. Refused when another thread drops the ring
        // than polled it; then closing the ring ends it: by construction of DEFER_TASKRUN the
        // kernel writes the buffers only inside a system call of the polling thread.
        let timeout = Timespec::new().sec(CANCEL_TIMEOUT_S);
        let submitter = self.ring.submitter();
        let _ = submitter.register_sync_cancel(Some(timeout), CancelBuilder::any());
        // What was cancelled is freed here, and with it the kernel's hold on the socket: its
        // address can be bound again as soon as the socket is closed.
        let _ = self.take_over();
        let _ = self.ring.submitter().unregister_buf_ring(GROUP);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::datagram_port::{DatagramPort, SendOutcome};
    use crate::media::{SocketOptions, SyscallPort};

    fn socket() -> SyscallPort {
        let address = ([127, 0, 0, 1], 0).into();
        SyscallPort::bind(address, SocketOptions::default()).unwrap()
    }

    /// A ring on `socket`; says so and returns nothing when the host permits none.
    fn ring(socket: &SyscallPort) -> Option<ReceiveRing> {
        let ring = ReceiveRing::new(socket.as_raw_fd());
        ring.inspect_err(|refusal| eprintln!("SKIPPED: no io_uring here: {refusal}"))
            .ok()
    }

    #[test]
    fn a_pool_that_runs_out_is_reported_and_nothing_is_lost() {
        let mut socket = socket();
        let Some(mut ring) = ring(&socket) else {
            return;
        };
        ring.arm().unwrap();
        let to = socket.local_address();
        let count = 2 * BUFFERS;
        for number in 0..count {
            let sent = socket.send(0, to, &number.to_le_bytes());
            assert_eq!(sent, SendOutcome::Sent);
        }
        // Taking over without giving buffers back, which the port never does.
        for _ in 0..count {
            ring.take_over().unwrap();
        }
        let (mut next, mut exhausted) = (0_u16, 0);
        for _ in 0..10 * count {
            match ring.complete() {
                Some(Completion::Filled { id, length }) => {
                    let payload = ring.message(id, length).unwrap().payload.unwrap();
                    assert_eq!(payload, next.to_le_bytes());
                    next += 1;
                    ring.release(id);
                }
                Some(Completion::Exhausted) => exhausted += 1,
                Some(Completion::Error(_)) => panic!("an error on an undisturbed socket"),
                None if ring.is_armed() => ring.take_over().unwrap(),
                None => ring.arm().unwrap(),
            }
        }
        assert_eq!(next, count);
        assert_eq!(exhausted, 1);
    }

    #[test]
    fn an_idle_ring_has_no_work_and_costs_no_call() {
        let socket = socket();
        let Some(mut ring) = ring(&socket) else {
            return;
        };
        ring.arm().unwrap();
        for _ in 0..1_000 {
            assert!(ring.complete().is_none());
            assert!(!ring.has_work());
        }
    }

    #[test]
    fn what_the_kernel_did_not_write_in_full_is_refused() {
        let socket = socket();
        let Some(ring) = ring(&socket) else {
            return;
        };
        assert!(ring.message(0, 0).is_none());
        assert!(ring.message(0, BUFFER_HEADER_LENGTH - 1).is_none());
        let message = ring.message(0, BUFFER_HEADER_LENGTH).unwrap();
        assert_eq!(message.payload, Some(&[][..]));
        assert!(message.source.is_empty());
    }
}
