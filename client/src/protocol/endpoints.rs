//! Ingress endpoints of all members as text: `0=10.0.0.1:9010,1=10.0.0.2:9010`.
//!
//! The form of Aeron Cluster's redirect detail (`wire.md` C.1), with numeric addresses only:
//! a client never resolves a name that a datagram told it.

use core::fmt;
use core::net::SocketAddr;
use core::str;

use super::ProtocolError;

/// Most members a cluster may have (`wire.md` C.1).
pub const MEMBERS_MAX: usize = 7;

/// Ingress addresses by member id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    addresses: [Option<SocketAddr>; MEMBERS_MAX],
}

impl Endpoints {
    /// Addresses of members 0, 1, …; those beyond [`MEMBERS_MAX`] are left out.
    #[must_use]
    pub fn new(addresses: &[SocketAddr]) -> Self {
        let mut endpoints = Self::default();
        for (slot, address) in endpoints.addresses.iter_mut().zip(addresses) {
            *slot = Some(*address);
        }
        endpoints
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// When it is not such a list, names a member twice, or a member beyond the limit.
    pub fn decode(text: &[u8]) -> Result<Self, ProtocolError> {
        let invalid = ProtocolError::InvalidEndpoints;
        let text = str::from_utf8(text).map_err(|_| invalid)?;
        let mut endpoints = Self::default();
        for entry in text.split(',') {
            let (id, address) = entry.split_once('=').ok_or(invalid)?;
            let id: usize = id.parse().map_err(|_| invalid)?;
            let address = address.parse().map_err(|_| invalid)?;
            let slot = endpoints.addresses.get_mut(id).ok_or(invalid)?;
            if slot.replace(address).is_some() {
                return Err(invalid);
            }
        }
        Ok(endpoints)
    }

    /// Ingress address of `member`.
    #[must_use]
    pub fn get(&self, member: usize) -> Option<SocketAddr> {
        self.addresses.get(member).copied().flatten()
    }

    /// The member that has this ingress address.
    #[must_use]
    pub fn member_at(&self, address: SocketAddr) -> Option<usize> {
        self.addresses
            .iter()
            .position(|candidate| *candidate == Some(address))
    }

    /// Takes over the addresses of members that are unknown here.
    pub(crate) fn learn(&mut self, other: &Self) {
        for (mine, theirs) in self.addresses.iter_mut().zip(other.addresses) {
            *mine = mine.or(theirs);
        }
    }

    /// The first member at or after `member`, cyclically, that has an address.
    #[must_use]
    pub(crate) fn at_or_after(&self, member: usize) -> Option<usize> {
        (0..MEMBERS_MAX)
            .map(|step| (member + step) % MEMBERS_MAX)
            .find(|candidate| self.addresses[*candidate].is_some())
    }

    /// Members that have an address.
    #[must_use]
    pub fn count(&self) -> usize {
        self.addresses.iter().flatten().count()
    }
}

/// The text form, as [`decode`](Endpoints::decode) reads it.
impl fmt::Display for Endpoints {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (id, address) in self.addresses.iter().enumerate() {
            if let Some(address) = address {
                write!(formatter, "{separator}{id}={address}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}
