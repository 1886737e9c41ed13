//! What a run with killed members has shown.

use std::fmt::{self, Display, Formatter};

use lockstep_consensus::settings::config::SyncMode;
use lockstep_transport::position::Position;
use lockstep_transport::time::MILLISECOND;

use super::victims::Victims;
use crate::histogram::LatencyHistogram;
use crate::report_words::write_end;

/// What came out.
#[derive(Clone, Debug)]
pub struct FailoverReport {
    pub(super) kills: u32,
    pub(super) victims: Victims,
    pub(super) sync: SyncMode,
    pub(super) leader_kills: LatencyHistogram,
    pub(super) members: usize,
    /// That were asked for and stored, one before each kill.
    pub(super) snapshots: u32,
    /// Starts of members that went on from one.
    pub(super) starts_from_snapshots: usize,
    pub(super) client_restarts: u32,
    pub(super) sent: u64,
    pub(super) answered: u64,
    /// From where to where the logs were compared.
    pub(super) compared: (Position, Position),
    pub(super) faults: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl FailoverReport {
    /// Whether nothing was lost, repeated or reordered.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.faults.is_empty() && self.sent == self.answered && self.sent > 0
    }

    /// Said where it is not the default.
    const fn sync_words(&self) -> &'static str {
        match (self.victims, self.sync) {
            (Victims::All, SyncMode::Data) => " at once under load",
            (Victims::All, SyncMode::None) => " at once under load, sync none",
            (_, SyncMode::Data) => "",
            (_, SyncMode::None) => ", sync none",
        }
    }
}

impl Display for FailoverReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let leaders = self.leader_kills.summary();
        let ms = |ns: u64| ns as f64 / MILLISECOND as f64;
        let kills = u64::from(self.kills);
        match self.victims {
            Victims::All => write!(f, "{kills} kills of all {} members", self.members)?,
            Victims::ByTurns | Victims::Leader => write!(
                f,
                "{kills} kills under load: {} of leaders, {} of followers",
                leaders.count,
                kills - leaders.count
            )?,
        }
        writeln!(f, "{}", self.sync_words())?;
        if leaders.count > 0 {
            let whom = match self.victims {
                Victims::All => "all killed and started again",
                Victims::ByTurns | Victims::Leader => "leader killed",
            };
            writeln!(
                f,
                "{whom} -> first new response, ms: min {:.1}  p50 {:.1}  p99 {:.1}  max {:.1}",
                ms(leaders.min),
                ms(leaders.p50),
                ms(leaders.p99),
                ms(leaders.max)
            )?;
        }
        if self.snapshots > 0 {
            writeln!(
                f,
                "{} snapshots taken on the way, {} starts of members went on from one",
                self.snapshots, self.starts_from_snapshots
            )?;
        }
        if self.client_restarts > 0 {
            writeln!(
                f,
                "{} times the client was killed, and another process went on with its session",
                self.client_restarts
            )?;
        }
        let once = if self.is_good() {
            "exactly once"
        } else {
            "NOT exactly once"
        };
        writeln!(
            f,
            "{} requests sent, {} answered, {once} and in order",
            self.sent, self.answered
        )?;
        let (from, commit) = self.compared;
        write!(
            f,
            "logs of all {} members equal byte for byte ",
            self.members
        )?;
        if from > 0 {
            write!(f, "from {from}, below which not all keep theirs, ")?;
        }
        writeln!(f, "up to commit position {commit}")?;
        write_end(f, &self.notes, &self.faults)
    }
}
