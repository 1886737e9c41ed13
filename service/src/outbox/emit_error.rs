//! Why a service could not emit what it wanted.

/// Why an emission was refused. The same on every node, because it depends on the log alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// The entry already has as many effects as it may have.
    #[error("this entry already emitted its limit of {limit} effects")]
    TooManyEffects {
        /// Most effects per cause.
        limit: u32,
    },
    /// The entry's effects would exceed their bytes.
    #[error("this entry's effects would exceed {limit} bytes")]
    TooManyBytes {
        /// Most bytes per cause.
        limit: usize,
    },
    /// The message alone is longer than the log accepts.
    #[error("a message of {length} bytes exceeds the limit of {limit}")]
    MessageTooLong {
        /// Bytes of the message.
        length: usize,
        /// Most bytes of one message.
        limit: usize,
    },
}

impl EmitError {
    /// The reason as clients are told it; never changes meaning.
    #[must_use]
    pub const fn number(&self) -> u8 {
        match self {
            Self::TooManyEffects { .. } => 1,
            Self::TooManyBytes { .. } => 2,
            Self::MessageTooLong { .. } => 3,
        }
    }
}
