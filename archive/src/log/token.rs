//! Tokens: who an operation on the one shared disk belongs to.
//!
//! A token is `owner << 48 | sequence`. Each part of the archive that submits operations has
//! one owner number, as has its user, so a completion finds its way by looking at the token alone,
//! and a completion that belongs to nobody is recognised as such.

use crate::disk::Token;

/// Number of a submitter, in the upper 16 bits of its tokens.
pub type Owner = u16;

/// The log's recorder.
pub const OWNER_RECORDER: Owner = 1;
/// The slot file that the archive's user keeps beside those of the archive.
pub const OWNER_USER: Owner = 2;
/// The file with the ack mark.
pub(crate) const OWNER_ACK_MARK: Owner = 3;
/// The file that says which directory this is.
pub(crate) const OWNER_IDENTITY: Owner = 4;
/// The file that says which snapshots there are.
pub(crate) const OWNER_SNAPSHOT_INDEX: Owner = 5;
/// Whoever removes snapshots that are out of date.
pub const OWNER_SNAPSHOT_STORE: Owner = 6;
/// The writer of a snapshot's file.
pub const OWNER_SNAPSHOT_WRITER: Owner = 7;
/// The first log reader; reader `n` is this plus `n`. All from here on are readers.
pub const OWNER_READER_FIRST: Owner = 16;
/// The first reader of snapshot files; reader `n` is this plus `n`.
pub const OWNER_SNAPSHOT_READER_FIRST: Owner = 256;

const SEQUENCE_BITS: u32 = 48;

/// The submitter of the operation with this token.
#[must_use]
pub const fn owner(token: Token) -> Owner {
    (token >> SEQUENCE_BITS) as Owner
}

/// Makes the tokens of one submitter; no two are equal within 2^48 operations.
#[derive(Clone, Copy, Debug)]
pub struct TokenSource {
    owner: Owner,
    sequence: u64,
}

impl TokenSource {
    /// Tokens of `owner`.
    #[must_use]
    pub const fn new(owner: Owner) -> Self {
        Self { owner, sequence: 0 }
    }

    /// The next token.
    pub fn next_token(&mut self) -> Token {
        self.sequence = (self.sequence + 1) & ((1 << SEQUENCE_BITS) - 1);
        u64::from(self.owner) << SEQUENCE_BITS | self.sequence
    }

    /// Whether `token` was made by this submitter.
    #[must_use]
    pub(crate) const fn owns(&self, token: Token) -> bool {
        owner(token) == self.owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_owner_even_after_its_sequence_wraps() {
        let mut source = TokenSource {
            owner: 17,
            sequence: (1 << SEQUENCE_BITS) - 1,
        };
        let token = source.next_token();
        assert_eq!(owner(token), 17);
        assert!(source.owns(token));
        assert_ne!(token, source.next_token());
        assert!(!TokenSource::new(OWNER_RECORDER).owns(token));
    }

    #[test]
    fn whoever_is_no_reader_has_a_number_below_all_readers_and_no_other_has_it() {
        let owners = [
            OWNER_RECORDER,
            OWNER_USER,
            OWNER_ACK_MARK,
            OWNER_IDENTITY,
            OWNER_SNAPSHOT_INDEX,
            OWNER_SNAPSHOT_STORE,
            OWNER_SNAPSHOT_WRITER,
            OWNER_READER_FIRST,
            OWNER_SNAPSHOT_READER_FIRST,
        ];
        assert!(owners.is_sorted_by(|before, after| before < after));
    }
}
