//! Who this member is, whom it hears, and who counts (`log.md` 9.1, 9.2).
//!
//! Every message carries the sender's directory and incarnation. A directory that the record in
//! force names is a voter's; any other one is a learner's. Each member keeps durably the greatest
//! incarnation it heard of a directory, and tells who asks: a member that has just started acts
//! only when a majority of the record's directories, itself included, knew of none as great; one
//! of which a greater one is known runs on an old copy of its directory, takes a new directory id
//! and is a learner.
//!
//! Pure. The owner sends the hellos that are due, writes `wanted` down and says when that is
//! durable, and keeps the consensus module in step with `standing`.

mod counting;
mod notes;

use lockstep_transport::time::Nanos;

pub use self::notes::{Forfeit, MembershipNotes};
use self::notes::{KnownLives, LIVES_MAX};
use crate::formation::{
    DirectoryId, DurableFormation, Formation, FormationHello, FormationRecord, FormationStage,
    Incarnation,
};
use crate::member::{MEMBERS_MAX, MemberId};

/// The greatest incarnation known of a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownLife {
    /// The directory, 0 for none.
    pub directory: DirectoryId,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

/// Who sends a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// Uuid of its cluster, 0 while it belongs to none.
    pub cluster: u128,
    /// Its directory.
    pub directory: DirectoryId,
    /// Its present life.
    pub incarnation: Incarnation,
}

/// What members say to each other about themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// What the sender durably holds of its cluster.
    pub formation: DurableFormation,
    /// Whether it knows that all members hold its record as final.
    pub is_ready: bool,
    /// Whether it wants an answer.
    pub is_asking: bool,
    /// The greatest life that the sender durably knows of the receiver's directory, as far as it
    /// knows which one that is.
    pub known: KnownLife,
}

/// What this member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its cluster has not formed, as far as it knows: it does nothing.
    Forming,
    /// It follows, but neither votes nor stands nor acknowledges until a majority knows its
    /// incarnation.
    Returning,
    /// It counts.
    Voter,
    /// It follows and never counts.
    Learner,
}

/// A message that may be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Counts the lives heard of the sender: grows with each new one.
    pub life: u64,
    /// Whether the sender's directory counts.
    pub is_voter: bool,
    /// Whether this is the first message of that life.
    pub is_new: bool,
}

/// Why a message is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The sender belongs to another cluster of the same name.
    OtherUuid,
    /// The sender's directory is known to have lived on since: late, or an old copy.
    Outlived,
    /// The sender's directory lives twice.
    Twin,
    /// Nothing but hellos is heard before the cluster has formed.
    NotFormed,
}

/// What changed with a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloOutcome {
    /// Nothing to be told.
    Heard(Admitted),
    /// The sender knows a life of this directory that this one is not: it has taken a new id.
    Renamed,
}

/// A member's fixed facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MembershipConfig {
    /// This member.
    pub member: MemberId,
    /// How many there are.
    pub members: usize,
    /// Interval of hellos while something is waited for.
    pub heartbeat_interval_ns: Nanos,
    /// A directory silent for so long may have been replaced by one that was known before.
    pub silence_ns: Nanos,
    /// Random: the uuid of a cluster drawn here.
    pub uuid: u128,
    /// Random: what this directory is called if it turns out to be an old copy.
    pub next_directory: DirectoryId,
}

/// What is remembered of another member, besides its lives.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    /// Which of its known lives was heard last, and when.
    present: Option<usize>,
    heard: Nanos,
    /// Counts the lives heard.
    life: u64,
    /// Its directory that has confirmed this member's incarnation.
    confirmed_by: DirectoryId,
    /// The directory that waits for an answer, 0 for none.
    asked: DirectoryId,
}

/// See the module.
#[derive(Debug)]
pub struct Membership {
    config: MembershipConfig,
    incarnation: Incarnation,
    formation: Formation,
    known: KnownLives,
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

    /// The newest start of `member` on `directory` that this one durably knows, 0 for none.
    #[must_use]
    pub fn known_start(&self, member: MemberId, directory: DirectoryId) -> u64 {
        let lives = self.durable.known[usize::from(member)].iter();
        let known = lives.filter(|life| life.directory == directory);
        known
            .map(|life| life.incarnation.counter)
            .max()
            .unwrap_or(0)
    }

    /// Whether anything may be sent: not before the directory's id is durable.
    #[must_use]
    pub fn may_speak(&self) -> bool {
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

    /// A majority of the record's directories, this one included, knows this incarnation.
    fn is_confirmed(&self) -> bool {
        let members = 0..self.config.members as MemberId;
        let confirmed = members.filter(|member| self.has_confirmed(*member)).count();
        1 + confirmed > self.config.members / 2
    }

    /// A learner asks until it has heard everybody: where too many are learners, each must know.
    fn is_asking(&self) -> bool {
        match self.standing() {
            Standing::Forming | Standing::Returning => true,
            Standing::Learner => self.others().any(|(_, peer)| peer.present.is_none()),
            Standing::Voter => false,
        }
    }

    fn others(&self) -> impl Iterator<Item = (usize, &Peer)> {
        let peers = self.peers[..self.config.members].iter().enumerate();
        peers.filter(|(index, _)| *index != usize::from(self.config.member))
    }

    /// Why this directory speaks for nobody, where it gave up its voice itself.
    #[must_use]
    pub const fn forfeit(&self) -> Option<Forfeit> {
        self.durable.forfeit
    }

    /// Members, one bit each, this one included, that are known to run on another directory than
    /// the one that counts.
    #[must_use]
    pub fn voiceless(&self) -> u8 {
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
    pub fn is_majority_gone(&self) -> bool {
        let members = self.config.members;
        members - self.voiceless().count_ones() as usize <= members / 2
    }

    /// A message other than a hello has come.
    ///
    /// # Errors
    /// Why it must not be heard.
    pub fn admit(
        &mut self,
        now: Nanos,
        from: MemberId,
        sender: &Sender,
    ) -> Result<Admitted, Refusal> {
        let own = self.sender().cluster;
        if own == 0 || sender.cluster == 0 {
            return Err(Refusal::NotFormed);
        }
        if sender.cluster != own {
            return Err(Refusal::OtherUuid);
        }
        let admitted = self.observe(now, from, sender)?;
        if admitted.is_new {
            self.note_change();
        }
        Ok(admitted)
    }

    /// A hello has come.
    ///
    /// # Errors
    /// Why it must not be heard.
    pub fn on_hello(
        &mut self,
        now: Nanos,
        from: MemberId,
        sender: &Sender,
        hello: &Hello,
    ) -> Result<HelloOutcome, Refusal> {
        let outcome = self.hear_hello(now, from, sender, hello);
        self.note_change();
        outcome
    }

    fn hear_hello(
        &mut self,
        now: Nanos,
        from: MemberId,
        sender: &Sender,
        hello: &Hello,
    ) -> Result<HelloOutcome, Refusal> {
        let (own, other) = (self.durable.formation, hello.formation);
        let is_foreign = own.is_formed && other.is_formed && own.record != other.record;
        let is_signed_otherwise = sender.cluster != 0 && sender.cluster != other.record.cluster;
        if is_foreign || is_signed_otherwise {
            if hello.is_asking {
                self.peers[usize::from(from)].asked = sender.directory;
            }
            return Err(Refusal::OtherUuid);
        }
        if hello.known.directory == self.formation.directory() {
            let known = hello.known.incarnation;
            if known == self.incarnation {
                self.peers[usize::from(from)].confirmed_by = sender.directory;
            } else if known.counter >= self.incarnation.counter {
                self.rename();
                return Ok(HelloOutcome::Renamed);
            }
        }
        let is_asking = hello.is_asking;
        let observed = self.observe(now, from, sender);
        if is_asking || observed.is_err() {
            // An outlived sender is told by whom.
            self.peers[usize::from(from)].asked = sender.directory;
        }
        let admitted = observed?;
        let uuid = self.config.uuid.wrapping_add(self.draws);
        let hello = FormationHello {
            directory: sender.directory,
            durable: other,
            is_ready: hello.is_ready,
        };
        let was_ready = self.formation.hello().is_ready;
        self.formation.on_hello(from, &hello, uuid);
        if self
            .formation
            .wanted()
            .is_some_and(|w| w.record.cluster == uuid)
        {
            self.draws += 1;
        }
        self.is_announcing |= self.formation.hello().is_ready != was_ready;
        Ok(HelloOutcome::Heard(admitted))
    }

    /// The directory is an old copy: it is another one from now on.
    fn rename(&mut self) {
        self.formation.rename(self.config.next_directory);
        self.config.next_directory = self.config.next_directory.wrapping_add(1);
        for peer in &mut self.peers {
            peer.confirmed_by = 0;
        }
        self.is_announcing = true;
    }

    /// Which life of `from` this is, and whether it is over.
    fn observe(
        &mut self,
        now: Nanos,
        from: MemberId,
        sender: &Sender,
    ) -> Result<Admitted, Refusal> {
        let index = usize::from(from);
        let lives = &mut self.known[index];
        let peer = &mut self.peers[index];
        let place = lives.iter().position(|l| l.directory == sender.directory);
        let mut is_new = false;
        let place = match place {
            Some(place) => {
                let known = &mut lives[place].incarnation;
                if sender.incarnation.counter < known.counter {
                    return Err(Refusal::Outlived);
                }
                if sender.incarnation.counter > known.counter {
                    *known = sender.incarnation;
                    is_new = true;
                } else if sender.incarnation.nonce != known.nonce {
                    return Err(Refusal::Twin);
                } else if peer.present.is_some_and(|present| present != place) {
                    // Known, and another directory was heard since: late, unless that is silent.
                    if now - peer.heard < self.config.silence_ns {
                        return Err(Refusal::Outlived);
                    }
                    is_new = true;
                }
                place
            }
            None => {
                let record = self.formation.record();
                let place = place_for(lives, peer.present, |directory| {
                    record.names(from, directory)
                });
                lives[place] = KnownLife {
                    directory: sender.directory,
                    incarnation: sender.incarnation,
                };
                is_new = true;
                place
            }
        };
        is_new |= peer.present.is_none();
        peer.present = Some(place);
        peer.heard = now;
        peer.life += u64::from(is_new);
        let life = peer.life;
        Ok(Admitted {
            life,
            is_voter: self.counts(from, sender.directory),
            is_new,
        })
    }

    /// What should be durable and is not, as (directory id, notes), unless it is on its way.
    pub fn wanted(&mut self) -> Option<(DirectoryId, MembershipNotes)> {
        if !self.is_unsettled || self.writing.is_some() {
            return None;
        }
        let formation = self.formation.wanted();
        let notes = MembershipNotes {
            formation: formation.unwrap_or(self.formation.hello().durable),
            forfeit: self.durable.forfeit,
            known: self.known,
        };
        let directory = self.formation.directory();
        self.is_unsettled = notes != self.durable || directory != self.durable_directory;
        self.is_unsettled.then_some((directory, notes))
    }

    /// What was wanted is on its way to the disk.
    pub fn begin_write(&mut self, directory: DirectoryId, notes: &MembershipNotes) {
        self.writing = Some((directory, *notes));
    }

    /// What was on its way is durable.
    pub fn on_written(&mut self) {
        let Some((directory, notes)) = self.writing.take() else {
            return;
        };
        let news = self.durable.known.iter().zip(&notes.known);
        for (peer, (before, after)) in self.peers.iter_mut().zip(news) {
            // Whoever has begun a new life waits to hear that it is known.
            if before != after
                && let Some(present) = peer.present
            {
                peer.asked = after[present].directory;
            }
        }
        self.is_announcing |= notes.formation != self.durable.formation;
        self.durable = notes;
        self.durable_directory = directory;
        let was_ready = self.formation.hello().is_ready;
        self.formation.on_persisted(&notes.formation);
        self.is_announcing |= self.formation.hello().is_ready != was_ready;
        self.note_change();
    }

    /// Members, one bit each, to which a hello is due now; each must be sent.
    pub fn take_due(&mut self, now: Nanos) -> u8 {
        debug_assert_eq!(
            self.standing,
            self.judge_standing(),
            "a change was not noted"
        );
        if !self.may_speak() || self.config.members == 1 {
            return 0;
        }
        let mut due = 0;
        if self.is_announcing || (self.is_asking() && now >= self.next_hello) {
            self.is_announcing = false;
            self.next_hello = now + self.config.heartbeat_interval_ns;
            due = (1 << self.config.members) - 1;
        }
        for (member, peer) in self.peers.iter().enumerate() {
            due |= u8::from(peer.asked != 0) << member;
        }
        due & !(1 << self.config.member)
    }

    /// The hello for `member`.
    pub fn hello_for(&mut self, member: MemberId) -> Hello {
        let index = usize::from(member);
        let peer = &mut self.peers[index];
        let asked = std::mem::take(&mut peer.asked);
        let lives = &self.durable.known[index];
        let present = peer
            .present
            .map_or(0, |present| self.known[index][present].directory);
        let directory = if asked == 0 { present } else { asked };
        let known = lives
            .iter()
            .find(|l| directory != 0 && l.directory == directory);
        let formation = self.formation.hello();
        Hello {
            formation: formation.durable,
            is_ready: formation.is_ready,
            is_asking: self.is_asking(),
            known: known.copied().unwrap_or_default(),
        }
    }

    /// When a hello is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Nanos {
        if !self.may_speak() || self.config.members == 1 {
            Nanos::MAX
        } else if self.is_announcing || self.peers.iter().any(|peer| peer.asked != 0) {
            Nanos::MIN
        } else if self.is_asking() {
            self.next_hello
        } else {
            Nanos::MAX
        }
    }
}

/// Where a directory that was not known yet is remembered: never instead of the one that counts.
fn place_for(
    lives: &[KnownLife; LIVES_MAX],
    present: Option<usize>,
    counts: impl Fn(DirectoryId) -> bool,
) -> usize {
    let free = lives.iter().position(|life| life.directory == 0);
    let other = lives.iter().position(|life| !counts(life.directory));
    let is_other = |place: &usize| present != Some(*place) && !counts(lives[*place].directory);
    free.or((0..LIVES_MAX).find(is_other))
        .or(other)
        .unwrap_or(0)
}
