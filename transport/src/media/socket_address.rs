//! Socket addresses as the kernel writes them (`sockaddr_in`, `sockaddr_in6`), converted by hand
//! without allocation or pointer casts.
//!
//! ```text
//! sockaddr_in    family u16 | port u16 BE | address 4 | zero 8                        16 bytes
//! sockaddr_in6   family u16 | port u16 BE | flow u32 | address 16 | scope u32         28 bytes
//! ```

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Bytes of a `sockaddr_in`.
const IPV4_LENGTH: usize = size_of::<libc::sockaddr_in>();
/// Bytes of a `sockaddr_in6`, the longest address met here.
pub(super) const ADDRESS_LENGTH_MAX: usize = size_of::<libc::sockaddr_in6>();

const _: () = assert!(IPV4_LENGTH == 16);
const _: () = assert!(ADDRESS_LENGTH_MAX == 28);

/// Room for either kind of address, aligned as the kernel's types are.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub(super) struct SocketAddress {
    bytes: [u8; 32],
    length: libc::socklen_t,
}

impl SocketAddress {
    /// Room for an address that the kernel will fill in.
    pub(super) const fn empty() -> Self {
        Self {
            bytes: [0; 32],
            length: ADDRESS_LENGTH_MAX as libc::socklen_t,
        }
    }

    /// `address` as the kernel wants it.
    pub(super) fn encode(address: SocketAddr) -> Self {
        let mut encoded = Self::empty();
        let bytes = &mut encoded.bytes;
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(address) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                bytes[4..8].copy_from_slice(&address.ip().octets());
                encoded.length = IPV4_LENGTH as libc::socklen_t;
            }
            SocketAddr::V6(address) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                bytes[4..8].copy_from_slice(&address.flowinfo().to_be_bytes());
                bytes[8..24].copy_from_slice(&address.ip().octets());
                bytes[24..28].copy_from_slice(&address.scope_id().to_ne_bytes());
            }
        }
        encoded
    }

    /// The address as Rust knows it; `None` when it is neither IPv4 nor IPv6.
    pub(super) fn decode(&self) -> Option<SocketAddr> {
        let length = (self.length as usize).min(ADDRESS_LENGTH_MAX);
        decode(&self.bytes[..length])
    }

    /// Where the kernel reads the address.
    pub(super) fn as_ptr(&self) -> *const libc::sockaddr {
        self.bytes.as_ptr().cast()
    }

    /// Where the kernel writes an address.
    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        self.bytes.as_mut_ptr().cast()
    }

    /// Bytes that the address takes.
    pub(super) const fn length(&self) -> libc::socklen_t {
        self.length
    }

    /// Where the kernel reads the room it has and writes what it took.
    pub(super) fn length_mut(&mut self) -> *mut libc::socklen_t {
        &raw mut self.length
    }
}

/// Reads an address that the kernel wrote; `None` when it is neither IPv4 nor IPv6.
///
/// The flow label is left out: replies do not depend on it and addresses must compare equal.
pub(super) fn decode(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*bytes.first_chunk()?);
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    if family == libc::AF_INET as u16 {
        let octets: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
        Some(SocketAddrV4::new(Ipv4Addr::from(octets), port).into())
    } else if family == libc::AF_INET6 as u16 {
        let octets: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
        let scope = u32::from_ne_bytes(*bytes.get(24..)?.first_chunk()?);
        Some(SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, scope).into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_through_the_kernels_form() {
        for text in [
            "127.0.0.1:20110",
            "255.1.2.3:65535",
            "[::1]:9",
            "[fe80::7%3]:80",
        ] {
            let address: SocketAddr = text.parse().unwrap();
            let encoded = SocketAddress::encode(address);
            assert_eq!(encoded.decode(), Some(address), "{text}");
        }
    }

    #[test]
    fn short_and_foreign_addresses_are_refused() {
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[2, 0, 1]), None);
        let local = SocketAddress::encode("[::1]:9".parse().unwrap());
        assert_eq!(decode(&local.bytes[..20]), None);
        assert_eq!(decode(&[1; 28]), None);
    }
}
