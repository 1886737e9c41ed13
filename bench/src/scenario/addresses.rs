//! Loopback addresses that nothing else uses at the moment.
#![allow(
    clippy::disallowed_types,
    reason = "shell: asks the kernel for free ports"
)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use lockstep_consensus::settings::config::MemberEndpoints;
use lockstep_transport::prng::mix;

/// Below the ports that Linux gives to sockets which ask for any: a client's would take the port
/// of a member that is down at the moment.
const PORTS: Range<u16> = 16_384..32_768;

/// Addresses for `members` members. Free when returned; whoever binds them should do so soon.
///
/// # Errors
/// The operating system's.
pub fn reserve(members: usize) -> io::Result<Vec<MemberEndpoints>> {
    // All sockets are held until all are bound, so that no port is given twice.
    let sockets: Vec<UdpSocket> = (0..members * 2)
        .map(|_| bind())
        .collect::<io::Result<_>>()?;
    sockets
        .chunks_exact(2)
        .map(|pair| {
            Ok(MemberEndpoints {
                ingress: pair[0].local_addr()?,
                member: pair[1].local_addr()?,
            })
        })
        .collect()
}

/// A socket at the next free port of this process, which begins elsewhere than others do.
fn bind() -> io::Result<UdpSocket> {
    static START: OnceLock<u64> = OnceLock::new();
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    let start = START.get_or_init(|| mix(std::process::id().into()));
    let count = PORTS.len() as u64;
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..count {
        let next = start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % count;
        let port = PORTS.start + next as u16;
        match UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_is_given_twice() {
        let members = reserve(3).unwrap();
        let mut all: Vec<_> = members.iter().flat_map(|m| [m.ingress, m.member]).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6);
        assert!(all.iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn no_socket_that_asks_for_any_port_gets_a_reserved_one() {
        let any = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let given = any().local_addr().unwrap().port();
        assert!(
            !PORTS.contains(&given),
            "this host gives {given} to anybody"
        );
        let reserved = reserve(2).unwrap();
        assert!(reserved.iter().all(|m| PORTS.contains(&m.ingress.port())));
        // Nor does the next who reserves, while others are down.
        let next = reserve(2).unwrap();
        assert!(next.iter().all(|member| !reserved.contains(member)));
    }
}
