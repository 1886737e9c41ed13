//! Who this member is, whom it hears, and who counts (`log.md` 9.1, 9.2).
//!
//! Every message carries the sender's directory and incarnation. A directory that the record in
//! force names is a voter's; any other one is a learner's. Each member keeps durably the lives it
//! heard of a directory ([`Lineage`]) and what was promised in its name (`Promises`), and tells
//! who asks: a member that has just started acts only when its life is settled with a majority of
//! the record's directories, itself included. One whose directory is known to have lived on, for
//! it continues an older life or lacks what was promised, runs on an old state of it: it takes a
//! new directory id and is a learner.
//!
//! Pure. The owner sends the hellos that are due, writes `wanted` down and says when that is
//! durable, and keeps the consensus module in step with `standing`.

mod counting;
mod found;
mod hello;
mod inbound;
mod lineage;
mod notes;
mod outbound;
mod promises;

use lockstep_transport::time::Nanos;

pub use self::found::Found;
pub use self::hello::{
    Admitted, Hello, HelloOutcome, KnownLife, MembershipConfig, Refusal, Sender, Standing,
};
pub use self::lineage::{Lineage, LineageVerdict};
pub use self::notes::{Forfeit, MembershipNotes};
use self::notes::{KnownLives, SettledLives};
pub(crate) use self::promises::Promises;
use crate::module::formation::{
    DirectoryId, Formation, FormationRecord, FormationStage, Incarnation,
};
use crate::module::member::{MEMBERS_MAX, MemberId};

/// What is remembered of another member, besides its lives.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    /// Which of its known lives was heard last, and when.
    present: Option<usize>,
    heard: Nanos,
    /// Counts the lives heard.
    life: u64,
    /// Its directory that durably knows this member's life.
    known_by: DirectoryId,
    /// Its directory with which that is settled.
    confirmed_by: DirectoryId,
    /// The life of its own directory that it has named, with that directory.
    named: KnownLife,
    /// The directory that waits for an answer, 0 for none.
    asked: DirectoryId,
    /// Its life that was found to be an old state's, to be told so.
    outlived: Option<Incarnation>,
    /// The next hello to it asks: it is its turn, or it must announce its life before it is heard.
    must_ask: bool,
    /// When it may be asked again to announce it.
    announce_due: Nanos,
    /// When it may be told again that its hello was refused, unless it asks.
    refusal_due: Nanos,
}

/// See the module.
#[derive(Debug)]
pub struct Membership {
    config: MembershipConfig,
    incarnation: Incarnation,
    formation: Formation,
    known: KnownLives,
    settled_lives: [SettledLives; MEMBERS_MAX],
    promised: [Promises; MEMBERS_MAX],
    /// When promises that are not written down yet must be.
    promises_due: Nanos,
    durable: MembershipNotes,
    durable_directory: DirectoryId,
    writing: Option<(DirectoryId, MembershipNotes)>,
    peers: [Peer; MEMBERS_MAX],
    next_hello: Nanos,
    is_announcing: bool,
    draws: u128,
    /// What this member may do, as of the last change: asked several times in each cycle.
    standing: Standing,
    /// Whether something may have to be written down that is not.
    is_unsettled: bool,
    #[cfg(feature = "sim")]
    counts_all: bool,
}

impl Membership {
    /// Of a member that has just started as `incarnation` of `directory`, which holds `notes`.
    /// `has_term`: it has taken part in a term.
    #[must_use]
    pub fn new(
        config: MembershipConfig,
        directory: DirectoryId,
        notes: MembershipNotes,
        incarnation: Incarnation,
        has_term: bool,
    ) -> Self {
        let MembershipConfig {
            member, members, ..
        } = config;
        let mut formation = Formation::new(member, members, directory, notes.formation, has_term);
        formation.form_alone(config.uuid);
        let mut membership = Self {
            config,
            incarnation,
            formation,
            known: notes.known,
            settled_lives: notes.settled_lives,
            promised: notes.promised,
            promises_due: Nanos::MAX,
            durable: notes,
            durable_directory: directory,
            writing: None,
            peers: [Peer::default(); MEMBERS_MAX],
            next_hello: Nanos::MIN,
            is_announcing: true,
            draws: 0,
            standing: Standing::Forming,
            is_unsettled: true,
            #[cfg(feature = "sim")]
            counts_all: false,
        };
        membership.note_change();
        membership
    }

    /// What this member may do now.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// Something was heard or written that may change what this member may do or must remember.
    fn note_change(&mut self) {
        self.settle_lives();
        self.standing = self.judge_standing();
        self.is_unsettled = true;
    }

    fn judge_standing(&self) -> Standing {
        match self.formation.stage() {
            FormationStage::Waiting => Standing::Forming,
            #[cfg(feature = "sim")]
            FormationStage::Learner if self.counts_all => Standing::Voter,
            FormationStage::Learner => Standing::Learner,
            FormationStage::Voter if self.is_confirmed() => Standing::Voter,
            FormationStage::Voter => Standing::Returning,
        }
    }

    /// The record in force, or on its way to be.
    #[must_use]
    pub const fn record(&self) -> &FormationRecord {
        self.formation.record()
    }

    /// How this member signs its messages.
    #[must_use]
    pub fn sender(&self) -> Sender {
        let is_formed = self.standing() != Standing::Forming;
        Sender {
            cluster: if is_formed { self.record().cluster } else { 0 },
            directory: self.formation.directory(),
            incarnation: self.incarnation,
        }
    }

    /// Whether this member durably knows that `directory` of `member` has lived on since it was
    /// started `starts` times and held `found`: the simulator's question.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) fn knows_more_of(
        &self,
        member: MemberId,
        directory: DirectoryId,
        (starts, found): (u64, &Found),
    ) -> bool {
        let index = usize::from(member);
        let settled = self.durable.settled_lives[index].settled;
        let is_kept = self.durable.promised[index].are_kept_by(found);
        self.judges(member, directory) && (settled.counter > starts || !is_kept)
    }

    /// Whether anything may be sent: not before the directory's id is durable.
    #[must_use]
    pub(crate) fn may_speak(&self) -> bool {
        self.durable_directory == self.formation.directory()
    }

    /// Members, one bit each, of which this one still waits to hear something, be it for the
    /// cluster to form or for its own incarnation to be known.
    #[must_use]
    pub fn awaited(&self) -> u8 {
        let is_forming = self.standing() == Standing::Forming;
        (0..self.config.members as MemberId)
            .filter(|member| *member != self.config.member)
            .filter(|member| match is_forming {
                true => self.formation.is_awaiting(*member),
                false => !self.has_confirmed(*member),
            })
            .fold(0, |bits, member| bits | 1 << member)
    }

    fn has_confirmed(&self, member: MemberId) -> bool {
        let directory = self.peers[usize::from(member)].confirmed_by;
        self.record().names(member, directory)
    }

    /// This life is settled with a majority of the record's directories, this one included.
    fn is_confirmed(&self) -> bool {
        let members = 0..self.config.members as MemberId;
        let confirmed = members.filter(|member| self.has_confirmed(*member)).count();
        1 + confirmed > self.config.members / 2
    }

    fn others(&self) -> impl Iterator<Item = (usize, &Peer)> {
        let peers = self.peers[..self.config.members].iter().enumerate();
        peers.filter(|(index, _)| *index != usize::from(self.config.member))
    }

    /// Why this directory speaks for nobody, where it gave up its voice itself.
    #[must_use]
    pub(crate) const fn forfeit(&self) -> Option<Forfeit> {
        self.durable.forfeit
    }

    /// Members, one bit each, this one included, that are known to run on another directory than
    /// the one that counts.
    #[must_use]
    pub(crate) fn voiceless(&self) -> u8 {
        if self.standing() == Standing::Forming {
            return 0;
        }
        let own = u8::from(self.standing() == Standing::Learner) << self.config.member;
        let others = self.others().filter(|(index, peer)| {
            let present = peer
                .present
                .map(|place| self.known[*index][place].directory);
            present.is_some_and(|directory| !self.counts(*index as MemberId, directory))
        });
        others.fold(own, |bits, (index, _)| bits | 1 << index)
    }

    /// Whether so many members run on directories that do not count that no majority is left.
    #[must_use]
    pub(crate) fn is_majority_gone(&self) -> bool {
        let members = self.config.members;
        members - self.voiceless().count_ones() as usize <= members / 2
    }
}
