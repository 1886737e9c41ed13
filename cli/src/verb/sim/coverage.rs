//! Which marks the seeds of the node tank reached: one that none reaches is a hole in the net.

use core::fmt;

use lockstep_consensus::sim::tank::TankReport;
use lockstep_consensus::sim::tank::coverage::{Coverage, CoverageItem};

/// From so many seeds on every mark must be reached, asked for or not.
pub const SEEDS_FOR_ALL: u64 = 3_000;

/// How many of the marks that few seeds reach are named where not all are.
const RAREST: usize = 12;

/// How many seeds reached each mark.
#[derive(Debug)]
pub struct CoverageReport {
    rows: Vec<(CoverageItem, u64)>,
    /// Whether all marks are printed.
    is_whole: bool,
}

impl CoverageReport {
    /// Of no seeds yet; `is_whole` prints all marks.
    #[must_use]
    pub fn new(is_whole: bool) -> Self {
        let rows = Coverage::items().into_iter().map(|item| (item, 0));
        Self {
            rows: rows.collect(),
            is_whole,
        }
    }

    /// Adds the report of a seed.
    pub fn add(&mut self, report: &TankReport) {
        for (item, seeds) in &mut self.rows {
            *seeds += u64::from(report.coverage.has(item));
        }
    }

    /// Marks that no seed reached and some must.
    fn blanks(&self) -> impl Iterator<Item = &CoverageItem> {
        self.unreached().filter(|item| item.rare.is_none())
    }

    /// What could happen and did not.
    fn unreached(&self) -> impl Iterator<Item = &CoverageItem> {
        let rows = self.rows.iter();
        let blank = rows.filter(|(item, seeds)| item.impossible.is_none() && *seeds == 0);
        blank.map(|(item, _)| item)
    }

    /// What cannot happen and did.
    fn surprises(&self) -> impl Iterator<Item = &CoverageItem> {
        let rows = self.rows.iter();
        let reached = rows.filter(|(item, seeds)| item.impossible.is_some() && *seeds > 0);
        reached.map(|(item, _)| item)
    }

    /// Why this is not good enough; `is_full` where every mark must be reached.
    #[must_use]
    pub fn shortfall(&self, is_full: bool) -> Option<String> {
        let surprises = names(self.surprises());
        if !surprises.is_empty() {
            return Some(format!(
                "reached although said to be impossible: {surprises}"
            ));
        }
        let blanks = names(self.blanks());
        (is_full && !blanks.is_empty()).then(|| format!("never reached: {blanks}"))
    }
}

fn names<'a>(items: impl Iterator<Item = &'a CoverageItem>) -> String {
    let names: Vec<&str> = items.map(|item| item.name.as_str()).collect();
    names.join(", ")
}

impl fmt::Display for CoverageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.retain(|(item, _)| item.impossible.is_none());
        let reached = rows.iter().filter(|(_, seeds)| *seeds > 0).count();
        write!(f, "  marks reached: {reached} of {}", rows.len())?;
        if !self.is_whole {
            rows.retain(|(_, seeds)| *seeds > 0);
            rows.sort_by_key(|(_, seeds)| *seeds);
            rows.truncate(RAREST);
            write!(f, "; the rarest, in seeds:")?;
        }
        for (item, seeds) in rows {
            write!(f, "\n    {:44} {seeds:6}", item.name)?;
        }
        let rare = names(self.unreached().filter(|item| item.rare.is_some()));
        if !rare.is_empty() {
            write!(f, "\n  rare and not reached: {rare}")?;
        }
        let blanks = names(self.blanks());
        if !blanks.is_empty() {
            write!(f, "\n  never reached: {blanks}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_without_a_seed_is_named_and_falls_short_where_all_must_be_reached() {
        let mut coverage = CoverageReport::new(false);
        coverage.add(&TankReport::default());
        let text = coverage.to_string();
        assert!(text.contains("  marks reached: 0 of "), "{text}");
        assert!(
            text.contains("never reached: PreVoteGrantedByFollower, "),
            "{text}"
        );
        let shortfall = coverage.shortfall(true).unwrap();
        assert!(shortfall.starts_with("never reached: "), "{shortfall}");
        assert_eq!(coverage.shortfall(false), None);
        for (_, seeds) in coverage
            .rows
            .iter_mut()
            .filter(|row| row.0.impossible.is_none())
        {
            *seeds = 1;
        }
        assert_eq!(coverage.shortfall(true), None);
    }
}
