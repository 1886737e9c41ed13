//! Whom the kills of a run hit.

use lockstep_transport::named_setting;

/// Whom a kill hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Victims {
    /// The leader and any follower by turns.
    #[default]
    ByTurns,
    /// The leader.
    Leader,
    /// All members at once.
    All,
}

named_setting!(Victims {
    ByTurns => "by-turns",
    Leader => "leader",
    All => "all",
});
