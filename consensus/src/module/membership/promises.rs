//! What a member remembers of what another one has promised in its name, to compare it with what
//! that one finds on its disk when it starts.
//!
//! A member tells its term and vote only when they are durable, and acknowledges only what is; a
//! term never falls, a vote is never taken back within its term, and a log is cut only on entering
//! a later term. Hence whoever finds less than it once told runs on an old state of its directory,
//! be it only minutes old and never started since.
//!
//! Pure.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use super::found::Found;
use crate::module::member::MemberId;
use crate::protocol::message::MemberMessage;

/// What a member is known to have promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Promises {
    /// The greatest term it told.
    pub term: LeadershipTermId,
    /// Whom it said it voted for in that term.
    pub vote: Option<MemberId>,
    /// The greatest term in which it told how far its log was durable, 0 for none.
    pub ack_term: LeadershipTermId,
    /// How far it was, in that term.
    pub acked: Position,
}

impl Promises {
    /// Whether a directory in which `found` was found may be the one that promised this.
    #[must_use]
    pub fn are_kept_by(&self, found: &Found) -> bool {
        let has_term = found.term >= self.term;
        let has_vote = self.vote.is_none() || found.term > self.term || found.vote == self.vote;
        let has_log = found.term > self.ack_term
            || (found.log_term, found.end) >= (self.ack_term, self.acked);
        has_term && has_vote && has_log
    }

    /// Notes what `from` tells `to` by this message. Whether that is news.
    pub fn hear(&mut self, from: MemberId, to: MemberId, message: &MemberMessage) -> bool {
        let before = *self;
        match *message {
            MemberMessage::VoteRequest { term, .. }
            | MemberMessage::StandNow { term, .. }
            | MemberMessage::JoinReply { term, .. }
            | MemberMessage::JoinVerdict { term, .. } => self.note_vote(term, from),
            MemberMessage::CommitPosition { term, durable, .. } => {
                self.note_vote(term, from);
                self.note_durable(term, durable);
            }
            MemberMessage::Vote {
                term,
                granted: true,
            } => self.note_vote(term, to),
            MemberMessage::Vote { term, .. }
            | MemberMessage::JoinRequest { term, .. }
            | MemberMessage::JoinCheck { term, .. }
            | MemberMessage::JoinStart { term, .. } => self.note_term(term),
            MemberMessage::AppendPosition { term, durable, .. } => {
                self.note_term(term);
                self.note_durable(term, durable);
            }
            // Nothing durable comes of these.
            MemberMessage::PreVoteRequest { .. }
            | MemberMessage::PreVote { .. }
            | MemberMessage::Output(_)
            | MemberMessage::Hello(_)
            | MemberMessage::Snapshot(_) => {}
        }
        *self != before
    }

    fn note_term(&mut self, term: LeadershipTermId) {
        if term > self.term {
            self.term = term;
            self.vote = None;
        }
    }

    fn note_vote(&mut self, term: LeadershipTermId, vote: MemberId) {
        self.note_term(term);
        if term == self.term {
            self.vote = Some(vote);
        }
    }

    fn note_durable(&mut self, term: LeadershipTermId, durable: Position) {
        if durable > 0 {
            (self.ack_term, self.acked) = (self.ack_term, self.acked).max((term, durable));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::output_agreement::OutputAt;

    const FOUND: Found = Found {
        term: LeadershipTermId::new(4),
        vote: Some(1),
        log_term: LeadershipTermId::new(3),
        end: 640,
    };

    fn acknowledgement(term: i64, durable: Position) -> MemberMessage {
        MemberMessage::AppendPosition {
            term: LeadershipTermId::new(term),
            durable,
            checkpoint: 0,
            checkpoint_hash: 0,
            output: OutputAt::default(),
        }
    }

    fn promised(messages: &[MemberMessage]) -> Promises {
        let mut promises = Promises::default();
        for message in messages {
            promises.hear(2, 1, message);
        }
        promises
    }

    #[test]
    fn a_term_a_vote_or_an_acknowledgement_that_is_not_there_was_given_later() {
        let vote = |term, granted| MemberMessage::Vote {
            term: LeadershipTermId::new(term),
            granted,
        };
        let stood = |term| MemberMessage::VoteRequest {
            term: LeadershipTermId::new(term),
            log_term: LeadershipTermId::NONE,
            position: 0,
            handed_over: LeadershipTermId::NONE,
        };
        for (message, is_kept) in [
            (vote(4, true), true),
            (vote(5, false), false),
            (stood(3), true),
            (stood(4), false),
            (acknowledgement(3, 1 << 20), true),
            (acknowledgement(4, 672), false),
        ] {
            let promises = promised(&[message]);
            assert_eq!(promises.are_kept_by(&FOUND), is_kept, "{message:?}");
        }
        let in_term = Found {
            log_term: LeadershipTermId::new(4),
            ..FOUND
        };
        assert!(promised(&[acknowledgement(4, 640)]).are_kept_by(&in_term));
        assert!(!promised(&[acknowledgement(4, 672)]).are_kept_by(&in_term));
    }

    #[test]
    fn the_newest_term_counts_and_in_it_the_vote_and_the_longest_log() {
        let led = MemberMessage::CommitPosition {
            term: LeadershipTermId::new(2),
            position: 0,
            durable: 96,
        };
        let promises = promised(&[acknowledgement(1, 320), led, acknowledgement(1, 640)]);
        let expected = Promises {
            term: LeadershipTermId::new(2),
            vote: Some(2),
            ack_term: LeadershipTermId::new(2),
            acked: 96,
        };
        assert_eq!(promises, expected);
    }
}
