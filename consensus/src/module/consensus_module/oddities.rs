//! What other members say that cannot be while all keep the rules: dropped, counted, and told by
//! the agent.

use crate::module::member::MemberId;

/// A message that no member may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// It says that it leads a term that another member leads (E1).
    SecondLeader,
    /// It acknowledges what its leader has not got (W1).
    AckBeyondLog,
    /// It says that this leader told it to stand (E4).
    UntoldStanding,
}

/// The newest of each, and how many there were since they were last taken.
#[derive(Debug, Default)]
pub(super) struct Oddities {
    second_leader: (u64, MemberId),
    ack_beyond_log: (u64, MemberId),
    untold_standing: (u64, MemberId),
}

impl Oddities {
    pub(super) fn note(&mut self, oddity: Oddity, member: MemberId) {
        let (count, newest) = match oddity {
            Oddity::SecondLeader => &mut self.second_leader,
            Oddity::AckBeyondLog => &mut self.ack_beyond_log,
            Oddity::UntoldStanding => &mut self.untold_standing,
        };
        *count += 1;
        *newest = member;
    }

    /// One kind of what members said that cannot be, who said it last, and how often any did since
    /// it was last taken.
    pub(super) fn take(&mut self) -> Option<(Oddity, MemberId, u64)> {
        let Oddities {
            second_leader,
            ack_beyond_log,
            untold_standing,
        } = self;
        let kinds = [
            (Oddity::SecondLeader, second_leader),
            (Oddity::AckBeyondLog, ack_beyond_log),
            (Oddity::UntoldStanding, untold_standing),
        ];
        let (oddity, (count, member)) = kinds.into_iter().find(|(_, noted)| noted.0 > 0)?;
        Some((oddity, *member, std::mem::take(count)))
    }
}
