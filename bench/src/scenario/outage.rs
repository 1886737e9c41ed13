//! The outage of one member of a cluster of processes: it is killed under load, the cluster
//! answers without it, it is started again.
#![allow(clippy::disallowed_methods, reason = "shell: reads the clock")]

use lockstep_transport::media::monotonic_now;
use lockstep_transport::time::Nanos;

use super::bench_client::BenchClient;
use super::bench_error::BenchError;
use super::process_cluster::ProcessCluster;

/// See the module.
#[must_use = "the member is down until the outage is ended"]
pub(super) struct Outage {
    member: usize,
    began_at: Nanos,
    is_watching: bool,
}

impl Outage {
    /// Kills `member`.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn begin(members: &mut ProcessCluster, member: usize) -> Result<Self, BenchError> {
        let began_at = monotonic_now();
        members.kill(member)?;
        Ok(Self {
            member,
            began_at,
            is_watching: false,
        })
    }

    /// When the member was killed.
    pub(super) const fn began_at(&self) -> Nanos {
        self.began_at
    }

    /// Time from the kill to the first response of the cluster without the member, once
    /// `client` has it. To be asked after each of the client's duty cycles.
    pub(super) fn recovery(&mut self, client: &mut BenchClient) -> Option<Nanos> {
        // What a leader that was killed still had on the wire does not count.
        let member = self.member;
        if !self.is_watching && client.client().leader().is_some_and(|now| now != member) {
            self.is_watching = true;
            client.watch_for_response();
        }
        let first = client.first_response_since().filter(|_| self.is_watching)?;
        Some(first - self.began_at)
    }

    /// Starts the member again.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn end(self, members: &mut ProcessCluster) -> Result<(), BenchError> {
        members.restart(self.member)
    }
}
