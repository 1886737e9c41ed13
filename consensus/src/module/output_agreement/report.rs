//! What members tell each other about their output.

use lockstep_transport::position::{FRAME_ALIGNMENT, Position};

/// The output of a service up to and including one entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputAt {
    /// Position of the entry executed last; 0 and hash 0 before the first.
    pub position: Position,
    /// Hash of everything emitted so far.
    pub hash: u64,
}

impl OutputAt {
    /// Of a member that will not tell for a while what its service put out. No entry has this
    /// place, for the first of a log is longer, so there is nothing to compare it with, and nobody
    /// waits for more.
    pub(crate) const WITHHELD: Self = Self {
        position: FRAME_ALIGNMENT as Position,
        hash: 0,
    };
}

/// What members tell each other about their output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputMessage {
    /// Whose output is the same?
    Question {
        /// The asking member's output at the entry in question.
        output: OutputAt,
        /// Position of the Response it holds at, 0 for none.
        response: Position,
    },
    /// To a question about the same positions.
    Answer {
        /// The entry in question.
        cause: Position,
        /// Position of the Response in question, 0 for none.
        response: Position,
        /// The answering member's hash there, if it remembers.
        hash: Option<u64>,
        /// Whether the Response is what its own service said, if it knows.
        matches: Option<bool>,
    },
}
