//! What the seeds of the node tank saw: a simulator whose runs have few faults finds little.

use core::fmt;

use lockstep_consensus::sim::tank::{FAULT_CLASS_COUNT, FaultClass, TankReport};

/// Reports of many seeds, put together.
#[derive(Debug, Default)]
pub struct Distribution {
    terms: Vec<u64>,
    log_terms: Vec<u64>,
    log_bytes: Vec<u64>,
    faults: Vec<u64>,
    starts: Vec<u64>,
    responses: u64,
    client_restarts: u64,
    expired: u64,
    with_expiries: u64,
    with_learners: u64,
    lost: u64,
    by_class: Vec<(u64, u64)>,
}

impl Distribution {
    /// Adds the report of a seed.
    pub fn add(&mut self, report: &TankReport) {
        self.terms.push(report.terms.max(0).cast_unsigned());
        self.log_terms.push(report.log_terms);
        self.log_bytes.push(report.committed);
        self.starts.push(report.starts);
        self.faults
            .push(report.faults.iter().map(|count| u64::from(*count)).sum());
        self.responses += report.responses;
        self.client_restarts += report.client_restarts;
        self.expired += report.expired;
        self.with_expiries += u64::from(report.expired > 0);
        self.with_learners += u64::from(report.demoted > 0);
        self.lost += u64::from(report.is_lost);
        self.by_class.resize(FAULT_CLASS_COUNT, (0, 0));
        for (sum, count) in self.by_class.iter_mut().zip(report.faults.iter().copied()) {
            sum.0 += u64::from(count > 0);
            sum.1 += u64::from(count);
        }
    }

    fn share(&self, values: &[u64], most: u64) -> f64 {
        let few = values.iter().filter(|value| **value <= most).count();
        100.0 * few as f64 / values.len().max(1) as f64
    }
}

/// Mean and percentiles of numbers.
struct Spread<'a>(&'a [u64]);

impl fmt::Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.to_vec();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get(sorted.len().saturating_sub(1) * percent / 100);
        let sum: u64 = sorted.iter().sum();
        let mean = sum as f64 / sorted.len().max(1) as f64;
        write!(f, "mean {mean:.1}")?;
        for percent in [0, 10, 50, 90, 100] {
            write!(f, ", p{percent} {}", at(percent).copied().unwrap_or(0))?;
        }
        Ok(())
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one_term = self.share(&self.terms, 1);
        writeln!(
            f,
            "  leadership terms reached: {}; {one_term:.1} % of the seeds end in term 1",
            Spread(&self.terms)
        )?;
        writeln!(
            f,
            "  leadership terms in the log: {}",
            Spread(&self.log_terms)
        )?;
        writeln!(f, "  bytes of log: {}", Spread(&self.log_bytes))?;
        let few = self.share(&self.faults, 2);
        writeln!(
            f,
            "  faults: {}; {few:.1} % of the seeds have two or less",
            Spread(&self.faults)
        )?;
        writeln!(f, "  starts of members: {}", Spread(&self.starts))?;
        writeln!(
            f,
            "  responses {}, clients continued {}, sessions expired {} in {} seeds, seeds with \
             learners {}, seeds that lost their quorum for good {}",
            self.responses,
            self.client_restarts,
            self.expired,
            self.with_expiries,
            self.with_learners,
            self.lost
        )?;
        write!(f, "  faults by class, seeds and times:")?;
        for (class, (seeds, times)) in FaultClass::ALL.iter().zip(&self.by_class) {
            write!(f, "\n    {:20} {seeds:6} {times:7}", class.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_spreads_are_of_all_seeds() {
        let mut distribution = Distribution::default();
        for terms in [1, 1, 4, 10] {
            let mut report = TankReport {
                terms,
                ..TankReport::default()
            };
            report.faults[FaultClass::Wipe as usize] = (terms > 1).into();
            distribution.add(&report);
        }
        let text = distribution.to_string();
        assert!(text.contains("reached: mean 4.0, p0 1, p10 1, p50 1, p90 4, p100 10; 50.0 %"));
        assert!(
            text.contains("wiped directory           2       2"),
            "{text}"
        );
    }
}
