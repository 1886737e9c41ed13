//! What a member writes down of its membership, and the hellos it says.

use lockstep_transport::time::Nanos;

use super::notes::LIVES_MAX;
use super::{Hello, KnownLife, Membership, MembershipNotes, Standing};
use crate::module::formation::DirectoryId;
use crate::module::member::MemberId;

impl Membership {
    /// What should be durable and is not, as (directory id, notes), unless it is on its way.
    pub fn wanted(&mut self, now: Nanos) -> Option<(DirectoryId, MembershipNotes)> {
        let is_due = now >= self.promises_due;
        if !(self.is_unsettled || is_due) || self.writing.is_some() {
            return None;
        }
        let formation = self.formation.wanted();
        let notes = MembershipNotes {
            formation: formation.unwrap_or(self.formation.hello().durable),
            forfeit: self.durable.forfeit,
            known: self.known,
            settled_lives: self.settled_lives,
            promised: self.promised,
        };
        // Promises alone wait until they are due, and come along with anything else.
        let rest = MembershipNotes {
            promised: self.durable.promised,
            ..notes
        };
        let directory = self.formation.directory();
        self.is_unsettled = rest != self.durable || directory != self.durable_directory;
        (self.is_unsettled || is_due).then_some((directory, notes))
    }

    /// What was wanted is on its way to the disk.
    pub fn begin_write(&mut self, directory: DirectoryId, notes: &MembershipNotes) {
        self.writing = Some((directory, *notes));
        self.promises_due = Nanos::MAX;
    }

    /// What was on its way is durable.
    pub fn on_written(&mut self) {
        let Some((directory, notes)) = self.writing.take() else {
            return;
        };
        for (index, peer) in self.peers.iter_mut().enumerate() {
            let before = (
                &self.durable.known[index],
                &self.durable.settled_lives[index],
            );
            let after = (&notes.known[index], &notes.settled_lives[index]);
            // Whoever has begun a new life waits to hear that it is known, and that it is settled.
            if before != after
                && let Some(present) = peer.present
            {
                peer.asked = notes.known[index][present].directory;
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

    /// A learner asks until it has heard everybody: where too many are learners, each must know.
    fn is_asking_all(&self) -> bool {
        match self.standing() {
            Standing::Forming | Standing::Returning => true,
            Standing::Learner => self.others().any(|(_, peer)| peer.present.is_none()),
            Standing::Voter => false,
        }
    }

    /// Whether `member` is there and this life is not settled with it: it is asked until it is, or
    /// until it is silent.
    fn is_asking(&self, member: MemberId) -> bool {
        let peer = &self.peers[usize::from(member)];
        let present = peer.present.map_or(0, |present| {
            self.known[usize::from(member)][present].directory
        });
        self.standing() == Standing::Voter
            && self.record().names(member, present)
            && !self.has_confirmed(member)
    }

    /// Until when `member` is asked although this member counts without it.
    fn asks_until(&self, member: MemberId) -> Nanos {
        if self.is_asking(member) {
            self.peers[usize::from(member)].heard + self.config.silence_ns
        } else {
            Nanos::MIN
        }
    }

    /// Its standing is what it knows. Judged anew before every hello: often enough to find a change
    /// that was not noted, and not in every cycle.
    fn assert_noted(&self) {
        let (noted, judged) = (self.standing, self.judge_standing());
        assert_eq!(noted, judged, "a change was not noted");
    }

    /// Members, one bit each, to which a hello is due now; each must be sent.
    pub fn take_due(&mut self, now: Nanos) -> u8 {
        if !self.may_speak() || self.config.members == 1 {
            return 0;
        }
        let members = self.config.members as MemberId;
        let mut due = 0;
        if now >= self.next_hello || self.is_announcing {
            self.assert_noted();
            let is_to_all = self.is_announcing || self.is_asking_all();
            due = (0..members)
                .filter(|member| is_to_all || now < self.asks_until(*member))
                .fold(0, |bits, member| bits | 1 << member);
            self.is_announcing = false;
            self.next_hello = now + self.config.heartbeat_interval_ns;
            for member in (0..members).filter(|member| due >> member & 1 == 1) {
                if self.is_asking_all() || self.is_asking(member) {
                    self.peers[usize::from(member)].must_ask = true;
                }
            }
        }
        for (member, peer) in self.peers.iter().enumerate() {
            due |= u8::from(peer.asked != 0) << member;
        }
        due & !(1 << self.config.member)
    }

    /// The hello for `member`. An answer does not ask: were each a question too, two members that
    /// wait for a third one would talk without end.
    pub fn hello_for(&mut self, member: MemberId) -> Hello {
        let index = usize::from(member);
        let peer = &mut self.peers[index];
        let is_asking = std::mem::take(&mut peer.must_ask);
        let asked = std::mem::take(&mut peer.asked);
        let outlived = peer.outlived.take();
        let named = self.formation.record().directories[index];
        let present = peer
            .present
            .map_or(named, |present| self.known[index][present].directory);
        let directory = if asked == 0 { present } else { asked };
        let known = match outlived {
            Some(incarnation) => KnownLife {
                directory,
                incarnation,
            },
            None => self.known_life(member, directory),
        };
        let (is_named, settled_lives) = (directory == named, &self.durable.settled_lives[index]);
        let own = if is_named {
            settled_lives.own
        } else {
            <_>::default()
        };
        let formation = self.formation.hello();
        Hello {
            formation: formation.durable,
            is_ready: formation.is_ready,
            is_asking,
            known,
            is_settled: is_named
                && known.directory != 0
                && settled_lives.settled == known.incarnation,
            is_outlived: outlived.is_some(),
            named: KnownLife {
                directory,
                incarnation: own,
            },
            found: self.config.found,
        }
    }

    /// The newest start of `member` on `directory` that this one durably knows, 0 for none: the
    /// simulator's question.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) fn known_start(&self, member: MemberId, directory: DirectoryId) -> u64 {
        self.known_life(member, directory).incarnation.counter
    }

    /// The newest life that is durably known of `directory` of `member`.
    fn known_life(&self, member: MemberId, directory: DirectoryId) -> KnownLife {
        let lives: &[KnownLife; LIVES_MAX] = &self.durable.known[usize::from(member)];
        let known = lives
            .iter()
            .find(|life| directory != 0 && life.directory == directory);
        known.copied().unwrap_or_default()
    }

    /// When a hello, or a write, is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Nanos {
        let write = if self.writing.is_none() {
            self.promises_due
        } else {
            Nanos::MAX
        };
        write.min(self.next_hello_due())
    }

    fn next_hello_due(&self) -> Nanos {
        let members = 0..self.config.members as MemberId;
        if !self.may_speak() || self.config.members == 1 {
            Nanos::MAX
        } else if self.is_announcing || self.peers.iter().any(|peer| peer.asked != 0) {
            Nanos::MIN
        } else if self.is_asking_all()
            || members
                .map(|member| self.asks_until(member))
                .any(|until| self.next_hello < until)
        {
            self.next_hello
        } else {
            Nanos::MAX
        }
    }
}

#[cfg(test)]
mod tests;
