//! How directories become a cluster: once, by unanimity (`log.md` 9.2).
//!
//! When all members are heard and none of them belongs to a formed cluster, the lowest one draws
//! a uuid over their present directories; everybody makes the greatest draw that names it
//! durable; who hears that all have, makes durable that the cluster is *formed*: its record is
//! final. Nobody stands or votes before all are known to have done that, so that whatever is lost
//! later, what is left of the first election knows that there was one. A directory that the
//! record in force does not name is a learner.
//!
//! Pure. The owner makes `wanted` durable, repeats `hello`s, and keeps a member out of elections
//! while [`Formation::stage`] is `Waiting`. `consensus/tests/formation_model.rs` drives this very
//! struct through every schedule of crashes, lost messages and wiped directories.

mod record;

use lockstep_transport::marks::{Mark, sometimes};

pub use record::{DirectoryId, FormationRecord, Incarnation};

use crate::module::member::{MEMBERS_MAX, MemberId};

/// What a member holds durably of its cluster. All zeros: it is blank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DurableFormation {
    /// The record.
    pub record: FormationRecord,
    /// Whether the record is final.
    pub is_formed: bool,
}

/// What a member says of its part in the forming of the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FormationHello {
    /// Its directory.
    pub directory: DirectoryId,
    /// What it holds durably.
    pub durable: DurableFormation,
    /// Whether it knows that all members hold this record as final.
    pub is_ready: bool,
}

/// How far forming has come, as one member sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FormationStage {
    /// No record is known to be in force: this member neither stands nor votes nor counts.
    Waiting,
    /// The record in force names this member's directory.
    Voter,
    /// The record in force names another directory for this member: it follows and never counts.
    Learner,
}

/// The forming of a cluster as one member lives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Formation {
    member: MemberId,
    members: u8,
    directory: DirectoryId,
    durable: DurableFormation,
    /// Being made durable; nothing is said of it yet.
    wanted: Option<DurableFormation>,
    is_ready: bool,
    /// What others said last, until this member is ready.
    heard: [Option<FormationHello>; MEMBERS_MAX],
}

impl Formation {
    /// Of a member that has just started on `directory` with what it holds durably. `has_term`:
    /// it has taken part in a term, hence all were ready once.
    ///
    /// # Panics
    /// If it has taken part in a term of a cluster that never formed.
    #[must_use]
    pub fn new(
        member: MemberId,
        members: usize,
        directory: DirectoryId,
        durable: DurableFormation,
        has_term: bool,
    ) -> Self {
        assert!(
            (1..=MEMBERS_MAX).contains(&members) && usize::from(member) < members,
            "member {member} of {members}"
        );
        assert!(
            durable.is_formed || !has_term,
            "a member takes part in a term before its cluster has formed"
        );
        let mut formation = Self {
            member,
            members: members as u8,
            directory,
            durable,
            wanted: None,
            is_ready: has_term,
            heard: [None; MEMBERS_MAX],
        };
        formation.look_around();
        formation
    }

    /// What this member is in the cluster.
    #[must_use]
    pub fn stage(&self) -> FormationStage {
        let is_named = self.record().names(self.member, self.directory);
        if self.durable.is_formed && !is_named {
            FormationStage::Learner
        } else if self.durable.is_formed && self.is_ready {
            FormationStage::Voter
        } else {
            FormationStage::Waiting
        }
    }

    /// The durable record; in force once this member is no longer waiting.
    #[must_use]
    pub const fn record(&self) -> &FormationRecord {
        &self.durable.record
    }

    /// Whether the durable record is final.
    #[must_use]
    pub const fn is_formed(&self) -> bool {
        self.durable.is_formed
    }

    /// The directory this member runs on.
    #[must_use]
    pub const fn directory(&self) -> DirectoryId {
        self.directory
    }

    /// To be made durable; [`on_persisted`](Self::on_persisted) tells that it is.
    #[must_use]
    pub const fn wanted(&self) -> Option<DurableFormation> {
        self.wanted
    }

    /// What this member says to every other one.
    #[must_use]
    pub const fn hello(&self) -> FormationHello {
        FormationHello {
            directory: self.directory,
            durable: self.durable,
            is_ready: self.is_ready,
        }
    }

    /// Whether `member` has said what this member waits for: first that it is there, then that
    /// it holds the same record, then that the record is final.
    #[must_use]
    pub(crate) fn is_awaiting(&self, member: MemberId) -> bool {
        if member == self.member || self.is_ready {
            return false;
        }
        let heard = self.heard[usize::from(member)];
        let same = heard.filter(|heard| heard.durable.record == *self.record());
        if self.durable.is_formed {
            !same.is_some_and(|heard| heard.durable.is_formed)
        } else if self.record().is_drawn() {
            same.is_none()
        } else {
            heard.is_none()
        }
    }

    /// What was wanted is durable.
    pub fn on_persisted(&mut self, durable: &DurableFormation) {
        if self.wanted == Some(*durable) {
            self.wanted = None;
            self.durable = *durable;
            self.look_around();
        }
    }

    /// The directory has taken a new id: nothing that was promised under the old one binds it,
    /// and it counts no more. What was not final is forgotten.
    pub fn rename(&mut self, directory: DirectoryId) {
        self.directory = directory;
        self.wanted = None;
        if !self.durable.is_formed {
            self.durable = DurableFormation::default();
        }
    }

    /// A cluster of one needs nobody to agree with. Its uuid is `uuid`.
    pub(crate) fn form_alone(&mut self, uuid: u128) {
        if self.members == 1 && !self.durable.is_formed && self.wanted.is_none() {
            self.draw(uuid);
        }
    }

    /// `from` has said `hello` in a life that is not known to be over. A uuid drawn now, if one
    /// must be, is `uuid`.
    pub fn on_hello(&mut self, from: MemberId, hello: &FormationHello, uuid: u128) {
        if from == self.member || from >= self.members || self.is_ready {
            return;
        }
        let other = hello.durable;
        // A later draw has left that directory out: the hello was long on its way.
        let is_left_out =
            self.record().draw > other.record.draw && !self.record().names(from, hello.directory);
        if is_left_out && other.is_formed {
            return;
        }
        self.heard[usize::from(from)] = Some(*hello);
        if self.wanted.is_some() {
            return;
        }
        if self.durable.is_formed {
            if hello.is_ready && other == self.durable {
                self.become_ready();
            }
        } else if other.is_formed || self.is_better(&other.record) {
            if other.is_formed && !self.record().is_drawn() {
                sometimes(Mark::FormationTakesFinal);
            } else if self.record().is_drawn() && other.record != *self.record() {
                sometimes(Mark::FormationTakesLaterDraw);
            }
            self.wanted = Some(other);
        } else {
            self.try_draw(uuid);
        }
        self.look_around();
    }

    /// A later draw that names this directory too.
    fn is_better(&self, other: &FormationRecord) -> bool {
        other.draw > self.record().draw && other.names(self.member, self.directory)
    }

    fn become_ready(&mut self) {
        self.is_ready = true;
        self.heard = [None; MEMBERS_MAX];
    }

    /// All members hold one record that names their present directories: it becomes final. All
    /// hold it as final: elections may begin.
    fn look_around(&mut self) {
        if self.is_ready || self.wanted.is_some() || !self.record().is_drawn() {
            return;
        }
        let (durable, own) = (self.durable, usize::from(self.member));
        let agrees = |(member, heard): (usize, &Option<FormationHello>)| {
            member == own
                || heard.is_some_and(|heard| {
                    let is_named = durable.record.names(member as MemberId, heard.directory);
                    let is_as_far = heard.durable.is_formed || !durable.is_formed;
                    heard.durable.record == durable.record
                        && is_as_far
                        && (is_named || durable.is_formed)
                })
        };
        let members = self.heard[..usize::from(self.members)].iter();
        if !members.enumerate().all(agrees) {
            return;
        }
        if durable.is_formed {
            self.become_ready();
        } else if durable.record.names(self.member, self.directory) {
            self.wanted = Some(DurableFormation {
                is_formed: true,
                ..durable
            });
        }
    }

    /// The lowest member draws when all are heard, no cluster has formed, and its own record
    /// cannot become everybody's: it leaves out a present directory, or another one is as young.
    fn try_draw(&mut self, uuid: u128) {
        let others = &self.heard[1..usize::from(self.members)];
        let is_open = |heard: &Option<FormationHello>| heard.is_some_and(|h| !h.durable.is_formed);
        if self.member != 0 || !others.iter().all(is_open) {
            return;
        }
        let record = self.record();
        let is_rival = |heard: &FormationHello| {
            heard.durable.record != *record && heard.durable.record.draw >= record.draw
        };
        let is_present = record.directories == self.present_directories();
        if !is_present || others.iter().flatten().any(is_rival) {
            self.draw(uuid);
        }
    }

    fn present_directories(&self) -> [DirectoryId; MEMBERS_MAX] {
        let mut directories = [0; MEMBERS_MAX];
        for (slot, heard) in directories.iter_mut().zip(&self.heard) {
            *slot = heard.map_or(0, |heard| heard.directory);
        }
        directories[usize::from(self.member)] = self.directory;
        directories
    }

    fn draw(&mut self, uuid: u128) {
        if self.record().is_drawn() {
            sometimes(Mark::FormationRedraws);
        }
        let heard = self.heard.iter().flatten();
        let draws = heard.map(|heard| heard.durable.record.draw);
        let greatest = draws.max().unwrap_or(0).max(self.record().draw);
        self.wanted = Some(DurableFormation {
            record: FormationRecord {
                cluster: uuid,
                draw: greatest + 1,
                members: self.members,
                directories: self.present_directories(),
            },
            is_formed: false,
        });
    }
}
