//! The numbers by which members and clients call things, each a type of its own, so that one
//! never stands where another belongs. On the wire, on disk, in counters and in texts they are
//! the plain number.
//!
//! | type | counts | from | given by |
//! |---|---|---|---|
//! | [`LeadershipTermId`] | elections that found a leader | 1 | the members' votes |
//! | [`SessionId`] | sessions of clients with the cluster | 1 | the order of the log |
//! | [`RequestNumber`] | requests of one session | 1 | its client |

use core::fmt;

/// What the numbers have in common.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(i64);

        impl $name {
            /// The one with this number.
            #[must_use]
            pub const fn new(number: i64) -> Self {
                Self(number)
            }

            /// Its number.
            #[must_use]
            pub const fn get(self) -> i64 {
                self.0
            }

            /// The one after it.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        // As the plain number, too: it stands in texts about whole structs.
        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

id! {
    /// A leadership term. Starts at 1 for the first election. Fits 31 bits, because log frames
    /// carry it in the upper half of their reserved value.
    LeadershipTermId
}

impl LeadershipTermId {
    /// What a client names that has not heard of any.
    pub const UNKNOWN: Self = Self(-1);
    /// None yet: before the first election.
    pub const NONE: Self = Self(0);
    /// The first election's.
    pub const FIRST: Self = Self(1);
    /// The greatest: log frames have 32 bits for it, and it must stay positive in 31.
    pub const MAX: Self = Self(i32::MAX as i64);

    /// The one before it.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0 - 1)
    }
}

impl From<u32> for LeadershipTermId {
    fn from(in_frame: u32) -> Self {
        Self(in_frame.into())
    }
}

id! {
    /// A client's session with the cluster, never given twice. Not the `i32` by which frames of
    /// one stream know each other.
    SessionId
}

impl SessionId {
    /// In messages of clients and answers to them: none, or none yet.
    pub const UNKNOWN: Self = Self(-1);
    /// In headers of log entries: none, it is no client's.
    pub const NONE: Self = Self(0);
    /// The first that a cluster gives.
    pub const FIRST: Self = Self(1);

    /// Whether a message names one.
    #[must_use]
    pub const fn is_known(self) -> bool {
        self.0 >= 0
    }
}

id! {
    /// A client's number of its own request within its session: each is one greater than the one
    /// before, and the cluster applies it once. How far a session is applied, appended or told is
    /// the number of its last such request.
    RequestNumber
}

impl RequestNumber {
    /// No request: what is answered is none of that session, none is applied yet, or which one
    /// is expected is not said.
    pub const NONE: Self = Self(0);
    /// A session's first.
    pub const FIRST: Self = Self(1);
    /// The greatest that is believed to be applied. No client comes so far in its life, and above
    /// it there is room for all that it asks after a word that cannot be true.
    pub const APPLIED_MAX: Self = Self(i64::MAX / 2);

    /// The one before it.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0 - 1)
    }
}
