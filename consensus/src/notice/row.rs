//! How a kind of notice is told, and what the texts share.

use core::fmt::{Display, Formatter, Result};
use core::net::SocketAddr;

use lockstep_transport::notices::Detail;

use super::kind::NodeNotice;
use crate::module::member::MemberId;
use crate::settings::config::{ClusterConfig, MemberEndpoints, NodeConfig};

/// What a text may name besides the numbers of its notice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The member that speaks.
    pub member: MemberId,
    /// Its directory.
    pub directory: String,
    /// Its cluster's name.
    pub cluster: String,
    /// Addresses of all members, by id.
    pub members: Vec<MemberEndpoints>,
}

impl Place {
    /// Where `node` of `cluster` speaks.
    #[must_use]
    pub fn new(cluster: &ClusterConfig, node: &NodeConfig) -> Self {
        Self {
            member: node.member,
            directory: node.directory.display().to_string(),
            cluster: cluster.name.clone(),
            members: cluster.members.clone(),
        }
    }

    /// The address at which other members hear `member`, where there is such a member.
    #[must_use]
    pub(crate) fn member_address(&self, member: u8) -> Option<SocketAddr> {
        let endpoints = self.members.get(usize::from(member))?;
        Some(endpoints.member)
    }
}

/// How one kind is told.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The kind.
    pub kind: NodeNotice,
    /// What happened, where: the beginning of the line.
    pub text: fn(&Detail, &Place, &mut Formatter<'_>) -> Result,
    /// What to do about it: the end of the line.
    pub remedy: &'static str,
}

/// The address a text names, or words for none.
pub struct Source(pub Option<SocketAddr>);

impl Display for Source {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self.0 {
            Some(address) => address.fmt(formatter),
            None => formatter.write_str("an unknown address"),
        }
    }
}

/// Two chain hashes of a notice, the other side's first: its second and third number, with bits
/// in the fourth that say which of them are known.
pub struct ChainHashes<'a>(pub &'a Detail);

impl Display for ChainHashes<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let [_, own, other, known] = self.0.values;
        let show = |f: &mut Formatter<'_>, hash: i64, is_known: bool| match is_known {
            true => write!(f, "{hash:016x}"),
            false => f.write_str("none, for no frame ends there,"),
        };
        f.write_str("chain hash ")?;
        show(f, other, known & 2 != 0)?;
        f.write_str(" there, ")?;
        show(f, own, known & 1 != 0)?;
        f.write_str(" here")
    }
}

/// The operating system's words for an error number.
pub fn system_error(number: i64) -> std::io::Error {
    std::io::Error::from_raw_os_error(i32::try_from(number).unwrap_or_default())
}
