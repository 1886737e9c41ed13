//! UNSAFE FENCE 2: the operating system. Sockets, io_uring, the clock, facts about the host.
//!
//! Two implementations of [`DatagramPort`](crate::datagram_port::DatagramPort) stand behind
//! [`NetworkPort`]: [`SyscallPort`] and [`UringPort`]; [`probe`] says which is better here. A third
//! is the near half of one of them that another thread drives.
//! Shell: nothing of this runs in the simulator.

mod doorbell;
mod error;
pub mod host;
mod network_port;
mod probe;
mod randomness;
mod socket_address;
mod syscall_port;
mod system_clock;
mod uring;
mod uring_port;

pub(crate) use doorbell::{Doorbell, WatchList};
pub use error::{PortError, RingRefusal};
pub use host::lock_memory;
pub use network_port::{Backend, NetworkPort};
pub use probe::{NetworkChoice, probe};
pub use randomness::randomness;
pub use syscall_port::{SocketOptions, SyscallPort};
pub use system_clock::{monotonic_now, realtime_now};
pub use uring_port::UringPort;
