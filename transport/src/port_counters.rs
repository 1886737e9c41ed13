//! What a port drops, refuses and meets, in numbers.
//!
//! Pure. Counted by the ports of [`media`](crate::media), and read also from another thread than
//! the port's ([`queued_port`](crate::queued_port)).

/// What a port dropped, refused or met. Monotone counts since the port was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// See [`system_calls`](Self::system_calls).
    pub(crate) system_calls: u64,
    /// Datagrams dropped because they were longer than the buffer to receive them.
    pub too_long: u64,
    /// Sends that found the socket's queue full.
    pub back_pressured: u64,
    /// Datagrams the operating system refused to send.
    pub refused: u64,
    /// Failures of the ring; after one the port receives by system call (io_uring only).
    pub ring_failures: u64,
}

impl PortCounters {
    /// System calls made to send, to receive and to find nothing.
    #[must_use]
    pub const fn system_calls(&self) -> u64 {
        self.system_calls
    }

    /// One by one, in the order of the fields.
    pub(crate) const fn to_array(self) -> [u64; 5] {
        let Self {
            system_calls,
            too_long,
            back_pressured,
            refused,
            ring_failures,
        } = self;
        [
            system_calls,
            too_long,
            back_pressured,
            refused,
            ring_failures,
        ]
    }

    /// From [`to_array`](Self::to_array).
    pub(crate) const fn from_array(counts: [u64; 5]) -> Self {
        let [
            system_calls,
            too_long,
            back_pressured,
            refused,
            ring_failures,
        ] = counts;
        Self {
            system_calls,
            too_long,
            back_pressured,
            refused,
            ring_failures,
        }
    }
}
