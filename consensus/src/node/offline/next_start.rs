//! From what the next start goes on (`log.md` 8.5), as a look from outside finds it by the same
//! choice. A start that is refused for other reasons is no matter of this.

use lockstep_archive::log::recovery::{LogOrigin, RecoveredTerm};
use lockstep_transport::position::Position;

use super::directory_look::DirectoryLook;
use crate::node::snapshot_start::FoundSnapshots;
use crate::settings::config::NodeConfig;

/// From what it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// From the beginning of the log, which is at 0.
    Log,
    /// From the snapshot that was taken here.
    Snapshot(Position),
    /// From nothing: it is refused, and this is why.
    Nothing(String),
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextStart {
    /// From what it goes on.
    pub from: Beginning,
    /// The snapshots that it passes over, and why.
    pub passed_over: Vec<(Position, String)>,
    /// Where it reads the log from although that does not lead there from its start: the snapshot
    /// alone says what was below.
    pub(super) above: Option<LogOrigin>,
}

impl NextStart {
    /// Of a directory whose snapshots and whose log, with its end and its leadership terms, are
    /// these. How much of the log it looks at below a snapshot the directory does not tell: taken
    /// is what is so unless it is configured otherwise.
    pub(super) fn of(
        directory: &DirectoryLook,
        snapshots: &FoundSnapshots,
        (end, terms): (Position, &[RecoveredTerm]),
    ) -> Self {
        if directory.is_start_lost {
            return Self::refused(
                "snapshots.idx is lost, and the log does not begin at 0: what it follows from \
                 cannot be known",
            );
        }
        let is_looked_at = snapshots
            .whole_origin(NodeConfig::default().start_scan_bytes)
            .is_some();
        let borne_out = snapshots.borne_out(end, terms);
        let is_borne_out = borne_out.as_ref().is_some_and(|begun| {
            let newest = snapshots.evidence().map_or(0, |(_, position)| position);
            is_looked_at || begun.position() == newest
        });
        let (begun, above) = match borne_out.filter(|_| is_borne_out) {
            Some(begun) => (begun, None),
            None => match snapshots.newest() {
                Some((begun, origin)) => (begun, Some(origin)),
                None => return Self::refused(&snapshots.none_usable().to_string()),
            },
        };
        let position = begun.snapshot.as_ref().map(|snapshot| snapshot.position());
        Self {
            from: position.map_or(Beginning::Log, Beginning::Snapshot),
            passed_over: begun.passed_over().cloned().collect(),
            above,
        }
    }

    fn refused(reason: &str) -> Self {
        Self {
            from: Beginning::Nothing(reason.to_owned()),
            passed_over: Vec::new(),
            above: None,
        }
    }
}
