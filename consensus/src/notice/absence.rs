//! Why another member is missed.

/// What keeps a member from taking part in an election here, in the order of what is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Absence {
    /// Nothing: it is heard.
    None = 0,
    /// It has not been heard since this node started.
    NeverHeard = 1,
    /// It was heard, but not for a while.
    Silent = 2,
    /// Its messages are refused here.
    Refused = 3,
    /// It is heard, but refused its vote.
    VoteDenied = 4,
    /// It runs on a directory that does not count, heard at the moment or not: where all have
    /// heard that, nobody has anything to say.
    Voiceless = 5,
}

impl Absence {
    /// The absence with this number; none for numbers that are none's.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::NeverHeard,
            2 => Self::Silent,
            3 => Self::Refused,
            4 => Self::VoteDenied,
            5 => Self::Voiceless,
            _ => Self::None,
        }
    }
}
