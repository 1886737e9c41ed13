//! What a port could not do, kept until it is asked for: the port says it to nobody by itself.
//!
//! Pure. One place per kind with the newest case and a count, so that a flood costs nothing.

use core::net::SocketAddr;

/// What can go wrong at a port without ending it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TroubleKind {
    /// The operating system refused to send a datagram.
    SendRefused = 0,
    /// It reported an error instead of a datagram.
    ReceiveFailed = 1,
    /// A datagram was longer than the buffer for it, and dropped.
    TooLong = 2,
    /// A datagram's source was no IP address, and it was dropped.
    UnknownSource = 3,
    /// The ring failed; the port goes on by system calls.
    RingFailed = 4,
    /// Datagrams were not taken in time: the queue of those received is full, and what comes
    /// before there is room waits at the socket, or is lost.
    NotTaken = 5,
}

const KINDS: [TroubleKind; 6] = [
    TroubleKind::SendRefused,
    TroubleKind::ReceiveFailed,
    TroubleKind::TooLong,
    TroubleKind::UnknownSource,
    TroubleKind::RingFailed,
    TroubleKind::NotTaken,
];

/// One kind of trouble since it was last asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortTrouble {
    /// Which.
    pub kind: TroubleKind,
    /// The operating system's error number of the newest case; 0 where there is none.
    pub errno: i32,
    /// Where the newest case's datagram was to go, if to anywhere.
    pub peer: Option<SocketAddr>,
    /// How many cases.
    pub count: u64,
}

/// The troubles of one port.
#[derive(Clone, Copy, Debug, Default)]
pub struct PortTroubles {
    newest: [(i32, Option<SocketAddr>, u64); KINDS.len()],
    is_any: bool,
}

impl PortTroubles {
    /// Something went wrong.
    #[cold]
    pub const fn note(&mut self, kind: TroubleKind, errno: i32, peer: Option<SocketAddr>) {
        let newest = &mut self.newest[kind as usize];
        *newest = (errno, peer, newest.2 + 1);
        self.is_any = true;
    }

    /// The next kind of trouble since it was last asked for.
    #[inline]
    pub fn take(&mut self) -> Option<PortTrouble> {
        if !self.is_any {
            return None;
        }
        for (kind, newest) in KINDS.into_iter().zip(&mut self.newest) {
            let (errno, peer, count) = *newest;
            newest.2 = 0;
            if count > 0 {
                return Some(PortTrouble {
                    kind,
                    errno,
                    peer,
                    count,
                });
            }
        }
        self.is_any = false;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_once_with_its_newest_case_and_a_count() {
        let mut troubles = PortTroubles::default();
        assert_eq!(troubles.take(), None);
        let peer = |port| Some(SocketAddr::from(([10, 0, 0, 1], port)));
        troubles.note(TroubleKind::RingFailed, 9, None);
        troubles.note(TroubleKind::SendRefused, 101, peer(1));
        troubles.note(TroubleKind::SendRefused, 1, peer(2));
        for (kind, errno, peer, count) in [
            (TroubleKind::SendRefused, 1, peer(2), 2),
            (TroubleKind::RingFailed, 9, None, 1),
        ] {
            let expected = PortTrouble {
                kind,
                errno,
                peer,
                count,
            };
            assert_eq!(troubles.take(), Some(expected));
        }
        assert_eq!(troubles.take(), None);
        for (index, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }
}
