//! What a node says about outputs that differ, cluster-wide limits and log time.

use super::{NodeNotice, Row};

pub(super) const ROWS: &[Row] = &[Row {
    kind: NodeNotice::LogTimeOffset,
    text: |detail, _, f| {
        let offset = detail.values[0];
        let side = if offset < 0 { "behind" } else { "ahead of" };
        let offset = offset.unsigned_abs();
        write!(
            f,
            "log time is {offset} ms {side} this member's clock and approaches its leader's \
             clock at half of real time"
        )
    },
    remedy: "synchronise the clocks of all members (NTP or PTP)",
}];
