//! Loopback addresses that nothing else uses at the moment.
#![allow(
    clippy::disallowed_types,
    reason = "shell: asks the kernel for free ports"
)]

use std::io;
use std::net::{Ipv4Addr, UdpSocket};

use lockstep_consensus::config::MemberEndpoints;

/// Addresses for `members` members. Free when returned; whoever binds them should do so soon.
///
/// # Errors
/// The operating system's.
pub fn reserve(members: usize) -> io::Result<Vec<MemberEndpoints>> {
    // All sockets are held until all are bound, so that no port is given twice.
    let bind = |_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    let sockets: Vec<UdpSocket> = (0..members * 2).map(bind).collect::<io::Result<_>>()?;
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
}
