//! What a running node can be asked for, and what it answers, as lines.

use core::fmt;
use core::str::FromStr;

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use crate::module::consensus_module::HandOverRefusal;
use crate::module::member::MemberId;
use crate::node::consensus_agent::snapshots::SnapshotRefusal;

/// The answer of a node: in words, whether it does it or refuses.
pub type ControlAnswer = Result<String, String>;

const SNAPSHOT: &str = "snapshot";
const TRANSFER: &str = "transfer";

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRequest {
    /// All members take a snapshot.
    Snapshot,
    /// The member hands its leadership over.
    Transfer {
        /// To this one; to any if nobody is named.
        to: Option<MemberId>,
    },
}

impl fmt::Display for ControlRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot => f.write_str(SNAPSHOT),
            Self::Transfer { to: None } => f.write_str(TRANSFER),
            Self::Transfer { to: Some(to) } => write!(f, "{TRANSFER} {to}"),
        }
    }
}

/// Nothing that this version can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is nothing that this node does: it does {SNAPSHOT}, {TRANSFER}, {TRANSFER} <member>"
)]
pub struct UnknownRequest(String);

impl FromStr for ControlRequest {
    type Err = UnknownRequest;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownRequest(line.to_owned());
        match line.split_once(' ') {
            None if line == SNAPSHOT => Ok(Self::Snapshot),
            None if line == TRANSFER => Ok(Self::Transfer { to: None }),
            Some((TRANSFER, to)) => {
                // Whatever it is instead of a number is in the words.
                let to = to.parse().map_err(|_| unknown())?;
                Ok(Self::Transfer { to: Some(to) })
            }
            _ => Err(unknown()),
        }
    }
}

/// Why a leadership was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::node) enum TransferRefusal {
    /// It was refused at once.
    #[error(transparent)]
    Refused(#[from] HandOverRefusal),
    /// It came to nothing.
    #[error(
        "nobody has taken over within an election timeout, and this member goes on to lead: see \
         that the other members run and are not far behind, and ask again"
    )]
    Failed,
    /// This member leads no more.
    #[error("this member leads no more, and does not hear yet who does: ask the others")]
    Unheard,
}

/// An answer without words, which the node has no time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum NodeAnswer {
    /// Where the snapshot is to be.
    Snapshot(Result<Position, SnapshotRefusal>),
    /// Who leads now, and in which term.
    Transfer(Result<(MemberId, LeadershipTermId), TransferRefusal>),
}

impl NodeAnswer {
    pub(super) fn into_words(self) -> ControlAnswer {
        match self {
            Self::Snapshot(Ok(position)) => {
                Ok(format!("asked all members for a snapshot at {position}"))
            }
            Self::Snapshot(Err(refusal)) => Err(refusal.to_string()),
            Self::Transfer(Ok((member, term))) => {
                Ok(format!("member {member} leads now, in term {term}"))
            }
            Self::Transfer(Err(refusal)) => Err(refusal.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_is_written_and_anything_else_is_named() {
        for request in [
            ControlRequest::Snapshot,
            ControlRequest::Transfer { to: None },
            ControlRequest::Transfer { to: Some(6) },
        ] {
            assert_eq!(request.to_string().parse(), Ok(request));
        }
        for line in [
            "",
            "snapshots",
            "transfer ",
            "transfer x",
            "transfer 256",
            "snapshot 1",
        ] {
            let error = line.parse::<ControlRequest>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{line:?}")), "{error}");
        }
    }
}
