//! The rules of membership, each of which can be left out, and what may happen.

/// What decides while a change is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Joint {
    /// A majority of the old set and one of the new one.
    Both,
    NewAlone,
    OldAlone,
    /// A majority of all whom either set names.
    Together,
    /// There is no such time: one entry puts the new set in force.
    Skipped,
}

/// When a change may be begun.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// Once the first entry of the leader's term and the latest set are committed, and that is no
    /// joint one.
    Committed,
    /// Unless a joint set is in force: nothing has to be committed.
    Alone,
    /// As `Committed`, but also while a joint set is in force that is not.
    InJoint,
    /// As `Committed`, once the directories that the change takes out are lost for good.
    OthersGone,
}

/// Who may put the old set of a joint one in force again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TakesBack {
    Nobody,
    /// The leader that appended it, as long as it is not committed.
    WhoBegan,
    /// Any leader, as long as it is not committed in its term.
    Anybody,
}

/// To which candidates a vote is given that have all of the voter's log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// To all: who counts is up to the candidate's log.
    ToAll,
    /// To none as long as the voter's own log does not name the voter.
    IfNamed,
    /// To those that the voter's own log names.
    ToNamed,
    /// To all but those that a set took out which the voter may know to be committed.
    UnlessOut,
    /// To all, and whatever the logs are as long as no set of the voter's own log names the voter.
    FreelyUnlessNamed,
}

/// Which directories ask for votes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// Those that the latest set of their own log names.
    Named,
    /// Those too that no longer are in it, until they may know that it is committed.
    UntilOut,
    /// Those that any set of their own log names, or that formed the cluster.
    OnceNamed,
    /// Those too that have some of the log and no set in it that names them.
    All,
}

/// Which rules are in force.
#[derive(Clone, Copy)]
pub struct Rules {
    pub joint: Joint,
    pub begins: Begins,
    pub takes_back: TakesBack,
    pub gives: Gives,
    pub stands: Stands,
    /// A set is in force from when its entry is known to be committed.
    pub waits_for_commit: bool,
    /// The new set alone follows on the joint one at once.
    pub ends_at_once: bool,
    /// Directories 2 and 3, which are of one member, count as one.
    pub counts_members: bool,
    /// A vote is remembered with the member that it was given to, and not with its directory.
    pub votes_for_members: bool,
    /// Whoever follows counts.
    pub counts_learners: bool,
    /// A leader counts itself although the set in force does not name it.
    pub counts_itself: bool,
    /// Whom no set in the leader's log names is sent what is not committed, too.
    pub sends_learners_all: bool,
    /// What was in force stays so when the log is cut below its entry.
    pub keeps_cut_sets: bool,
    /// A change may add a directory again that an earlier set of the leader's log named.
    pub adds_again: bool,
}

/// The rules of `log.md` 9.4, without what these allow beside.
pub const LAW: Rules = Rules {
    joint: Joint::Both,
    begins: Begins::Committed,
    takes_back: TakesBack::Nobody,
    gives: Gives::ToAll,
    stands: Stands::OnceNamed,
    sends_learners_all: false,
    waits_for_commit: false,
    ends_at_once: false,
    counts_members: false,
    votes_for_members: false,
    counts_learners: false,
    counts_itself: false,
    keeps_cut_sets: false,
    adds_again: true,
};

/// The same with all that they allow: who began a change takes it back, who was taken out does not
/// stand and is refused votes, and comes back as another one.
pub const WITH_ALL_ALLOWED: Rules = Rules {
    takes_back: TakesBack::WhoBegan,
    gives: Gives::UnlessOut,
    stands: Stands::UntilOut,
    adds_again: false,
    ..LAW
};

/// What may happen. A set has a bit for each directory.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// The set that the cluster was formed of.
    pub formed: u8,
    /// The sets that may be changed to, from any other one.
    pub targets: &'static [u8],
    pub terms: u8,
    pub entries: u8,
    /// Directories that may be lost for good.
    pub wipes: u8,
    /// A change adds or removes one directory and no more.
    pub one_at_most: bool,
    /// So many changes follow on each other in some schedule.
    pub changes: usize,
}

impl Bounds {
    /// All directories that there are: those that some set names.
    pub fn directories(&self) -> u8 {
        self.targets.iter().fold(self.formed, |all, set| all | set)
    }
}

/// Three voters, one of which is replaced.
pub const REPLACED: Bounds = Bounds {
    formed: 0b00111,
    targets: &[0b01011],
    terms: 3,
    entries: 5,
    wipes: 0,
    one_at_most: false,
    changes: 1,
};

/// The same, and any one directory may be lost for good at any time.
pub const REPLACED_FOR_LOSS: Bounds = Bounds {
    wipes: 1,
    ..REPLACED
};

/// One voter becomes two or three, in one or two changes, and two or three again.
pub const GROWN: Bounds = Bounds {
    formed: 0b00001,
    targets: &[0b00011, 0b00111],
    changes: 2,
    ..REPLACED
};

/// Three voters become two or one of them.
pub const SHRUNK: Bounds = Bounds {
    formed: 0b00111,
    targets: &[0b00011, 0b00001],
    changes: 2,
    ..REPLACED
};

/// A cluster of one moves to another directory.
pub const MOVED: Bounds = Bounds {
    formed: 0b00001,
    targets: &[0b00010],
    ..REPLACED
};

/// Two changes to choose from, each of which takes another directory out.
pub const EITHER_REPLACED: Bounds = Bounds {
    targets: &[0b01011, 0b01101],
    changes: 2,
    ..REPLACED
};

/// Four voters, of which one or another leaves and comes back: changes of one directory each.
pub const LEAVES_AND_RETURNS: Bounds = Bounds {
    formed: 0b01111,
    targets: &[0b00111, 0b01110, 0b01111],
    one_at_most: true,
    changes: 2,
    ..REPLACED
};

/// Three voters become five.
pub const THREE_TO_FIVE: Bounds = Bounds {
    targets: &[0b11111],
    ..REPLACED
};
