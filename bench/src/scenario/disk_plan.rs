//! How many bytes a run without snapshots will record, before it starts: refused when it cannot
//! fit. With snapshots the log below them goes, and no run is too long.

use lockstep_archive::log::segment::SEGMENTS_MIN;
use lockstep_consensus::settings::config::{ClusterConfig, ResponsesMode};
use lockstep_service::log_entry::ENTRY_HEADER_LENGTH;
use lockstep_transport::log_buffer::aligned_length;

use crate::load::{LoadConfig, LoadLimit};

/// A run that would record more than its nodes may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{messages} messages x {per_message} bytes of log each = {needed} bytes per node, plus \
     {spare} bytes of segments that are never full, exceed the disk budget of {budget} bytes per \
     node: send at most {messages_max} messages, use shorter ones, raise --disk-budget, or take \
     snapshots"
)]
pub struct DiskPlanError {
    /// Messages asked for.
    pub messages: u64,
    /// Bytes of log per message.
    pub per_message: u64,
    /// Bytes of log in all.
    pub needed: u64,
    /// Bytes of the segments that are never full: the one being written and the next.
    pub spare: u64,
    /// What a node may write.
    pub budget: u64,
    /// Messages that would fit.
    pub messages_max: u64,
}

/// The arithmetic of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskPlan {
    per_message: u64,
    spare: u64,
    budget: u64,
}

impl DiskPlan {
    /// The plan for messages of `message_length` bytes, each with at most `answers` answers no
    /// longer than itself, with `budget` bytes of segment files per node.
    #[must_use]
    pub fn new(cluster: &ClusterConfig, message_length: usize, answers: u64, budget: u64) -> Self {
        let entry = aligned_length(ENTRY_HEADER_LENGTH + message_length, cluster.log_mtu) as u64;
        let entries = match cluster.responses {
            ResponsesMode::Replicated => 1 + answers,
            ResponsesMode::Direct => 1,
        };
        Self {
            per_message: entry * entries,
            spare: SEGMENTS_MIN * cluster.segment_length as u64,
            budget,
        }
    }

    /// Messages that fit into the budget.
    #[must_use]
    pub const fn messages_max(&self) -> u64 {
        self.budget.saturating_sub(self.spare) / self.per_message
    }

    /// Checks that what `load` is known to send fits.
    ///
    /// # Errors
    /// The arithmetic, when it does not.
    pub fn check_load(&self, load: &LoadConfig) -> Result<(), DiskPlanError> {
        if let LoadLimit::Messages(messages) = load.limit {
            self.check(messages)?;
        }
        load.scheduled()
            .map_or(Ok(()), |messages| self.check(messages))
    }

    /// Checks that `messages` fit.
    ///
    /// # Errors
    /// The arithmetic, when they do not.
    fn check(&self, messages: u64) -> Result<(), DiskPlanError> {
        if messages <= self.messages_max() {
            return Ok(());
        }
        Err(DiskPlanError {
            messages,
            per_message: self.per_message,
            needed: messages.saturating_mul(self.per_message),
            spare: self.spare,
            budget: self.budget,
            messages_max: self.messages_max(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_cannot_fit_is_refused_with_the_arithmetic() {
        let cluster = ClusterConfig::default();
        let plan = DiskPlan::new(&cluster, 288, 1, 2 << 30);
        let most = plan.messages_max();
        assert!(plan.check(most).is_ok());
        let error = plan.check(most + 1).unwrap_err();
        // 32 bytes of frame header, 48 of entry header, 288 of payload, aligned; twice.
        assert_eq!(error.per_message, 768);
        assert_eq!(error.needed, (most + 1) * 768);
        assert!(error.to_string().contains(&most.to_string()));
    }

    #[test]
    fn direct_responses_are_not_recorded() {
        let cluster = ClusterConfig {
            responses: ResponsesMode::Direct,
            ..ClusterConfig::default()
        };
        let plan = DiskPlan::new(&cluster, 288, 1, 2 << 30);
        assert_eq!(plan.per_message, 384);
    }
}
