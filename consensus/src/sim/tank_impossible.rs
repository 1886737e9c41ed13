//! What nodes and clients count and the node tank cannot make happen, with the reason.

const OF_SYSTEM: &str = "the simulated network and disks refuse nothing that only an operating \
                         system refuses: transport/tests, cli/tests/poor_hosts.rs";

/// Name of the item, and why.
pub(super) const IMPOSSIBLE: &[(&str, &str)] = &[
    ("node notice SendToMemberRefused", OF_SYSTEM),
    ("node notice PortReceiveFailed", OF_SYSTEM),
    ("node notice PortUnknownSource", OF_SYSTEM),
    ("node notice PortRingFailed", OF_SYSTEM),
];
