//! What tells that a port is in trouble.

use lockstep_transport::notices::Detail;
use lockstep_transport::port_trouble::{PortTrouble, TroubleKind};

use crate::notice::kind::NodeNotice;

/// What tells a port's trouble; `refused` where it is a send.
pub(crate) fn port_notice(trouble: &PortTrouble, refused: NodeNotice) -> (NodeNotice, Detail) {
    let kind = match trouble.kind {
        TroubleKind::SendRefused => refused,
        TroubleKind::ReceiveFailed => NodeNotice::PortReceiveFailed,
        TroubleKind::TooLong => NodeNotice::PortDatagramTooLong,
        TroubleKind::UnknownSource => NodeNotice::PortUnknownSource,
        TroubleKind::RingFailed => NodeNotice::PortRingFailed,
        TroubleKind::NotTaken => NodeNotice::PortNotTaken,
    };
    let detail = Detail {
        subject: 0,
        source: trouble.peer,
        values: [i64::from(trouble.errno), 0, 0, 0],
    };
    (kind, detail)
}
