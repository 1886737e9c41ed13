//! The disk and the ports as a member's node has them: the host's, or near ends of queues, whose
//! far ends run apart. Nothing is done at either end for a process that has ended.

use core::net::SocketAddr;

use lockstep_archive::disk::{Busy, Completion, Disk, DiskOp};
use lockstep_archive::queued_disk::{DiskRunner, QueuedDisk, queued_disk};
use lockstep_archive::sim::WholeDisk;
use lockstep_transport::datagram_port::{DatagramPort, Received, SendOutcome};
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::port_trouble::PortTrouble;
use lockstep_transport::queued_port::{PortRunner, QueuedPort, queued_port};
use lockstep_transport::time::Nanos;

use crate::sim::tank::disk::TankDisk;
use crate::sim::tank::host::{TankHost, TankPort};

/// The disk of a member's node.
#[derive(Debug)]
pub enum MemberDisk {
    /// It carries out what it is told by itself.
    Whole(TankDisk),
    /// The archive's thread does, on another handle of the same disk.
    Near(QueuedDisk<WholeDisk<TankDisk>>, TankDisk),
}

/// The archive of a member that has a thread for it.
pub type FarDisk = DiskRunner<WholeDisk<TankDisk>>;

impl MemberDisk {
    /// Of a member whose archive runs apart: the node's end, and the archive's.
    #[must_use]
    pub fn cut(disk: TankDisk) -> (Self, FarDisk) {
        let (near, far) = queued_disk(WholeDisk(disk.handle(false)), WholeDisk(disk.handle(true)));
        (Self::Near(near, disk), far)
    }

    /// Its process has ended.
    pub fn end(&self) {
        if let Self::Near(near, _) = self
            && near.next_deadline().is_some()
        {
            sometimes(Mark::CompletionsUnheard);
        }
    }
}

impl Disk for MemberDisk {
    type Files = TankDisk;

    fn files(&mut self) -> &mut TankDisk {
        match self {
            Self::Whole(disk) => disk,
            Self::Near(near, _) => near.files(),
        }
    }

    fn submit(&mut self, now: Nanos, operation: DiskOp) -> Result<(), Busy> {
        match self {
            Self::Whole(disk) => disk.submit(now, operation),
            // The process may end before an operation is handed over as well as after it.
            Self::Near(_, whole) if whole.has_ended_before_operation() => Ok(()),
            Self::Near(near, _) => near.submit(now, operation),
        }
    }

    fn poll_completion(&mut self, now: Nanos) -> Option<Completion> {
        match self {
            Self::Whole(disk) => disk.poll_completion(now),
            Self::Near(_, whole) if whole.has_ended() => None,
            Self::Near(near, _) => near.poll_completion(now),
        }
    }

    fn flush(&mut self, now: Nanos) {
        match self {
            Self::Whole(disk) => disk.flush(now),
            Self::Near(near, _) => near.flush(now),
        }
    }

    fn next_deadline(&self) -> Option<Nanos> {
        match self {
            Self::Whole(disk) => disk.next_deadline(),
            Self::Near(near, _) => near.next_deadline(),
        }
    }
}

/// A port of a member's node.
#[derive(Debug)]
pub enum MemberPort {
    /// It sends and receives by itself.
    Whole(TankPort),
    /// The thread of the clients' side does.
    Near(Box<QueuedPort>, TankHost),
}

/// The clients' side of a member that has a thread for it.
pub type FarPort = PortRunner<TankPort>;

impl MemberPort {
    /// Of a member whose clients' side runs apart: the node's end, and the clients'.
    #[must_use]
    pub fn cut(port: TankPort, host: TankHost) -> (Self, FarPort) {
        let (near, far) = queued_port(port);
        (Self::Near(Box::new(near), host), far)
    }
}

impl DatagramPort for MemberPort {
    fn local_address(&self) -> SocketAddr {
        match self {
            Self::Whole(port) => port.local_address(),
            Self::Near(near, _) => near.local_address(),
        }
    }

    fn receive(&mut self, now: Nanos, buffer: &mut [u8]) -> Option<Received> {
        match self {
            Self::Whole(port) => port.receive(now, buffer),
            Self::Near(near, _) => near.receive(now, buffer),
        }
    }

    fn send(&mut self, now: Nanos, to: SocketAddr, datagram: &[u8]) -> SendOutcome {
        match self {
            Self::Whole(port) => port.send(now, to, datagram),
            Self::Near(_, host) if host.is_dead() => SendOutcome::Refused,
            Self::Near(near, _) => near.send(now, to, datagram),
        }
    }

    fn flush(&mut self, now: Nanos) {
        match self {
            Self::Whole(port) => port.flush(now),
            Self::Near(near, _) => near.flush(now),
        }
    }

    fn take_trouble(&mut self) -> Option<PortTrouble> {
        match self {
            Self::Whole(port) => port.take_trouble(),
            Self::Near(near, _) => near.take_trouble(),
        }
    }

    fn next_deadline(&self) -> Option<Nanos> {
        match self {
            Self::Whole(port) => port.next_deadline(),
            Self::Near(near, _) => near.next_deadline(),
        }
    }
}

/// The far ends of a member's process.
#[derive(Debug, Default)]
pub struct FarEnds {
    /// Its archive's, where that runs apart.
    pub disk: Option<FarDisk>,
    /// Its clients' side's, where that runs apart.
    pub port: Option<FarPort>,
}

impl FarEnds {
    /// Their process has ended, and what lies in their queues with it.
    pub fn end(&mut self) {
        let disk = self.disk.take();
        if disk.is_some_and(|disk| disk.next_deadline() == Some(0)) {
            sometimes(Mark::OrderedWorkLost);
        }
        let port = self.port.take();
        if port.is_some_and(|port| !port.has_ended()) {
            sometimes(Mark::QueuedDatagramsLost);
        }
    }
}

#[cfg(test)]
mod tests {
    use lockstep_archive::disk::{ColdFiles, Durability, FileId};
    use lockstep_archive::sim::{SimDisk, SimDiskConfig};
    use lockstep_transport::concurrent::AtomicBuffer;
    use lockstep_transport::marks;
    use lockstep_transport::sim::{LinkProfile, SimNetwork};
    use lockstep_transport::time::MILLISECOND;

    use super::*;
    use crate::sim::PlantedFault;
    use crate::sim::tank::crash::Crash;

    const NAME: &str = "0-0.rec";
    const LENGTH: usize = 4096;

    /// A disk that is cut in two, with a file that has room for two writes.
    fn cut(planted: Option<PlantedFault>) -> (SimDisk, TankHost, MemberDisk, FarDisk, FileId) {
        let disk = SimDisk::new(SimDiskConfig::default());
        let host = TankHost::default();
        let whole = TankDisk::new(disk.clone(), host.clone(), planted, 1);
        let (mut near, far) = MemberDisk::cut(whole);
        let file = near.files().create(NAME, 2 * LENGTH as u64).unwrap();
        (disk, host, near, far, file)
    }

    /// Orders a block of `byte` written at that place.
    fn order(disk: &mut MemberDisk, file: FileId, place: usize, byte: u8) {
        let memory = AtomicBuffer::allocate(LENGTH).unwrap();
        let block = memory.kernel_block(0, LENGTH);
        block.copy_from(&[byte; LENGTH]);
        let operation = DiskOp::Write {
            token: place as u64,
            file,
            offset: (place * LENGTH) as u64,
            block,
            durability: Durability::Synced,
        };
        disk.submit(0, operation).unwrap();
    }

    fn is_written(disk: &SimDisk, place: usize, byte: u8) -> bool {
        disk.holds_durably(NAME, place * LENGTH, &[byte; LENGTH])
    }

    #[test]
    fn what_the_archives_thread_has_not_begun_when_its_process_ends_never_happens() {
        let _before = marks::take();
        let (disk, host, mut near, mut far, file) = cut(None);
        order(&mut near, file, 0, 7);
        assert!(far.do_work(host.tell_time(0)) > 0);
        assert!(far.do_work(host.tell_time(MILLISECOND)) > 0);
        order(&mut near, file, 1, 8);
        host.crash_after(0, Crash::Kill, 1);
        order(&mut near, file, 0, 9);
        assert!(host.is_dead());
        near.end();
        let mut far_ends = FarEnds {
            disk: Some(far),
            port: None,
        };
        far_ends.end();
        assert!(is_written(&disk, 0, 7) && is_written(&disk, 1, 0));
        let reached = marks::take();
        assert!(reached.contains(Mark::CompletionsUnheard));
        assert!(reached.contains(Mark::OrderedWorkLost));
    }

    #[test]
    fn an_archives_thread_that_lies_tells_before_it_writes() {
        let (disk, host, mut near, mut far, file) = cut(Some(PlantedFault::CompletedBeforeWritten));
        order(&mut near, file, 0, 7);
        far.do_work(host.tell_time(0));
        assert!(
            near.poll_completion(0)
                .is_some_and(|done| done.result == Ok(file))
        );
        assert!(!is_written(&disk, 0, 7));
        far.do_work(host.tell_time(MILLISECOND));
        assert!(is_written(&disk, 0, 7) && near.poll_completion(0).is_none());
    }

    #[test]
    fn what_the_clients_sides_thread_has_not_sent_when_its_process_ends_is_lost() {
        let _before = marks::take();
        let network = SimNetwork::new(1, LinkProfile::default());
        let address = |port| SocketAddr::from(([10, 0, 0, 1], port));
        let (host, own) = (TankHost::default(), network.port(address(1)));
        let (mut near, mut far) = MemberPort::cut(TankPort::new(own, host.clone()), host.clone());
        assert_eq!(near.send(0, address(2), &[1]), SendOutcome::Sent);
        assert_eq!(far.do_work(host.tell_time(0)), 1);
        assert_eq!(near.send(0, address(2), &[2]), SendOutcome::Sent);
        drop(near);
        let mut far_ends = FarEnds {
            disk: None,
            port: Some(far),
        };
        far_ends.end();
        assert_eq!(network.sent(address(1), address(2)), 1);
        assert!(marks::take().contains(Mark::QueuedDatagramsLost));
    }
}
