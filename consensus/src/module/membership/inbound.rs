//! What a member makes of the messages of others: whose life that is, and what it binds.

use lockstep_transport::time::Nanos;

use super::notes::{LIVES_MAX, SettledLives};
use super::{
    Admitted, Found, Hello, HelloOutcome, KnownLife, Lineage, LineageVerdict, Membership, Refusal,
    Sender,
};
use crate::module::formation::{DirectoryId, FormationHello, Incarnation};
use crate::module::member::{MEMBERS_MAX, MemberId};
use crate::protocol::message::MemberMessage;

/// Promises that were heard are written down within so many times the silence after which a
/// member counts as gone: they cost a write in that time at most.
const PROMISES_STALE: Nanos = 2;

/// How a life announces itself.
#[derive(Clone, Copy)]
struct Announcement<'a> {
    /// The life of its own that it names, with the directory that knows it.
    named: KnownLife,
    found: &'a Found,
}

impl Membership {
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
        let admitted = self.observe(now, from, sender, None);
        if admitted == Err(Refusal::Unannounced) {
            let peer = &mut self.peers[usize::from(from)];
            if now >= peer.announce_due {
                // Its messages come as often as it likes: it is asked now and then. Apart from
                // refusals, so that hellos that are refused leave a turn for this.
                peer.asked = sender.directory;
                peer.must_ask = true;
                peer.announce_due = now + self.config.heartbeat_interval_ns;
            }
        }
        let admitted = admitted?;
        if admitted.is_new {
            self.note_change();
        }
        Ok(admitted)
    }

    /// A message of `from`, whose directory counts, was heard: what it promises is remembered.
    pub(crate) fn note_promise(&mut self, now: Nanos, from: MemberId, message: &MemberMessage) {
        let promised = &mut self.promised[usize::from(from)];
        let is_news = promised.hear(from, self.config.member, message);
        if is_news && self.promises_due == Nanos::MAX {
            self.promises_due = now + PROMISES_STALE * self.config.silence_ns;
        }
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
        if self.is_told_outlived(hello) || self.has_forgotten(from, sender, &hello.named) {
            self.rename();
            return Ok(HelloOutcome::Renamed);
        }
        self.note_answer(from, sender, hello);
        let announcement = Announcement {
            named: hello.named,
            found: &hello.found,
        };
        let observed = self.observe(now, from, sender, Some(&announcement));
        let peer = &mut self.peers[usize::from(from)];
        let is_refused = observed.is_err() && now >= peer.refusal_due;
        if hello.is_asking || is_refused {
            // An outlived sender is told by whom; two that refuse each other, now and then.
            peer.asked = sender.directory;
            peer.refusal_due = now + self.config.heartbeat_interval_ns;
        }
        let admitted = observed?;
        if hello.named.directory == self.formation.directory() {
            self.peers[usize::from(from)].named = KnownLife {
                directory: sender.directory,
                incarnation: hello.named.incarnation,
            };
        }
        self.hear_formation(from, sender, hello);
        Ok(HelloOutcome::Heard(admitted))
    }

    /// Whether the sender knows that this directory has lived on: of this very life, or of one
    /// that cannot have been before it.
    fn is_told_outlived(&self, hello: &Hello) -> bool {
        let (own, known) = (self.incarnation, hello.known.incarnation);
        let is_other = known.counter >= own.counter && known != own;
        let is_ours = hello.known.directory == self.formation.directory();
        is_ours
            && if hello.is_outlived {
                known == own
            } else {
                is_other
            }
    }

    /// Whether the sender durably knows that this directory knew a life of its own that it does
    /// not know.
    fn has_forgotten(&self, from: MemberId, sender: &Sender, named: &KnownLife) -> bool {
        let lineage = Lineage {
            settled: self.settled_lives[usize::from(from)].settled,
            newest: self.newest_of(from),
        };
        named.directory == self.formation.directory()
            && self.judges(from, sender.directory)
            && lineage.judge(sender.incarnation, named.incarnation) == LineageVerdict::Forgotten
    }

    /// What the sender knows of this life.
    fn note_answer(&mut self, from: MemberId, sender: &Sender, hello: &Hello) {
        let own = KnownLife {
            directory: self.formation.directory(),
            incarnation: self.incarnation,
        };
        if hello.known == own {
            let peer = &mut self.peers[usize::from(from)];
            peer.known_by = sender.directory;
            if hello.is_settled {
                peer.confirmed_by = sender.directory;
            }
        }
    }

    fn hear_formation(&mut self, from: MemberId, sender: &Sender, hello: &Hello) {
        let uuid = self.config.uuid.wrapping_add(self.draws);
        let hello = FormationHello {
            directory: sender.directory,
            durable: hello.formation,
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
    }

    /// The directory is an old state: it is another one from now on.
    fn rename(&mut self) {
        self.formation.rename(self.config.next_directory);
        self.config.next_directory = self.config.next_directory.wrapping_add(1);
        self.settled_lives = [SettledLives::default(); MEMBERS_MAX];
        for peer in &mut self.peers {
            peer.known_by = 0;
            peer.confirmed_by = 0;
        }
        self.is_announcing = true;
    }

    /// Whether this member may say what `directory` of `from` is: both count in a cluster that
    /// has formed. What it knows then is never displaced.
    pub(super) fn judges(&self, from: MemberId, directory: DirectoryId) -> bool {
        let record = self.formation.record();
        self.formation.is_formed()
            && record.names(self.config.member, self.formation.directory())
            && record.names(from, directory)
    }

    /// Which life of `from` this is, and whether it may be heard.
    fn observe(
        &mut self,
        now: Nanos,
        from: MemberId,
        sender: &Sender,
        announcement: Option<&Announcement<'_>>,
    ) -> Result<Admitted, Refusal> {
        let lives = &self.known[usize::from(from)];
        let place = lives.iter().position(|l| l.directory == sender.directory);
        let known = place.map(|place| lives[place].incarnation);
        let is_newest = known == Some(sender.incarnation);
        if !is_newest {
            self.meet(from, sender, known, announcement)?;
        }
        let place = place.unwrap_or_else(|| self.place_for(from));
        let peer = &mut self.peers[usize::from(from)];
        if is_newest
            && peer.present.is_some_and(|present| present != place)
            && now - peer.heard < self.config.silence_ns
        {
            // Known, and another directory was heard since: late, unless that is silent.
            return Err(Refusal::Outlived);
        }
        let is_new = !is_newest || peer.present != Some(place);
        if !is_newest {
            self.known[usize::from(from)][place] = KnownLife {
                directory: sender.directory,
                incarnation: sender.incarnation,
            };
        }
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

    /// A life of `from` that is not the newest known of its directory, which is `newest`: accepts
    /// it if it continues the directory.
    fn meet(
        &mut self,
        from: MemberId,
        sender: &Sender,
        newest: Option<Incarnation>,
        announcement: Option<&Announcement<'_>>,
    ) -> Result<(), Refusal> {
        let index = usize::from(from);
        let judges = self.judges(from, sender.directory);
        let mut lineage = Lineage {
            settled: self.settled_lives[index].settled,
            newest: newest.unwrap_or_default(),
        };
        if !judges {
            lineage.settled = Incarnation::default();
        }
        // What is named is what this directory knows, if it names this one.
        let named = announcement.map_or(KnownLife::default(), |announced| announced.named);
        let is_ours = named.directory == self.formation.directory();
        let verdict = lineage.judge(sender.incarnation, named.incarnation);
        let is_first = lineage.settled == Incarnation::default();
        match verdict {
            LineageVerdict::Newest => return Ok(()),
            LineageVerdict::Late => return Err(Refusal::Outlived),
            LineageVerdict::Twin => return Err(Refusal::Twin),
            LineageVerdict::New | LineageVerdict::Outlived | LineageVerdict::Forgotten => {}
        }
        let Some(announced) = announcement.filter(|_| is_ours || is_first) else {
            return Err(Refusal::Unannounced);
        };
        let keeps = !judges || self.promised[index].are_kept_by(announced.found);
        if verdict != LineageVerdict::New || !keeps {
            self.peers[index].outlived = Some(sender.incarnation);
            return Err(Refusal::Outlived);
        }
        if judges {
            lineage.accept(sender.incarnation, named.incarnation);
            self.settled_lives[index].settled = lineage.settled;
        }
        Ok(())
    }

    /// Where a directory of `from` that was not known yet is remembered: never instead of the one
    /// that counts.
    fn place_for(&self, from: MemberId) -> usize {
        let index = usize::from(from);
        let (lives, present) = (&self.known[index], self.peers[index].present);
        let counts = |directory| self.formation.record().names(from, directory);
        let free = lives.iter().position(|life| life.directory == 0);
        let other = lives.iter().position(|life| !counts(life.directory));
        let is_other = |place: &usize| present != Some(*place) && !counts(lives[*place].directory);
        free.or((0..LIVES_MAX).find(is_other))
            .or(other)
            .unwrap_or(0)
    }

    /// The newest life known of the directory of `member` that counts.
    fn newest_of(&self, member: MemberId) -> Incarnation {
        let record = self.formation.record();
        let lives = self.known[usize::from(member)].iter();
        let mut lives = lives.filter(|life| record.names(member, life.directory));
        lives
            .next()
            .map_or(Incarnation::default(), |l| l.incarnation)
    }

    /// Remembers which directories that count know this life, and settles the life of each that
    /// knows that it is known here.
    pub(super) fn settle_lives(&mut self) {
        for index in 0..self.config.members {
            let member = index as MemberId;
            let record = self.formation.record();
            let counted = record.directories[index];
            if !self.judges(member, counted) {
                continue;
            }
            let peer = &self.peers[index];
            if peer.known_by == counted {
                self.settled_lives[index].own = self.incarnation;
            }
            if peer.named.directory == counted {
                let mut lineage = Lineage {
                    settled: self.settled_lives[index].settled,
                    newest: self.newest_of(member),
                };
                lineage.settle(peer.named.incarnation);
                self.settled_lives[index].settled = lineage.settled;
            }
        }
    }
}
