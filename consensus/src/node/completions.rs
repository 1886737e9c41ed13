//! What the archive has done reaches whoever waits for it, and what is due goes to the disk.

use lockstep_archive::disk::{Completion, Disk};
use lockstep_archive::log::token::owner;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::time::Nanos;

use crate::log::archive_agent::ArchiveEvent;
use crate::module::event::Event;
use crate::node::cluster_node::ClusterNode;

/// Disk completions taken per cycle.
const COMPLETIONS_PER_CYCLE: usize = 32;

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// Takes finished disk operations to whom they concern.
    pub(super) fn take_completions(&mut self, now: Nanos) -> usize {
        let mut work = 0;
        while work < COMPLETIONS_PER_CYCLE && self.take_completion(now) {
            work += 1;
        }
        let (consensus, archive) = (&mut self.agents.consensus, &mut self.agents.archive);
        if let Some(position) = archive.poll_truncated(now, &mut consensus.log) {
            consensus.on_truncated(now, position);
            self.agents.clients.egress.responses.reader_mut().reset();
            work += 1;
        }
        let (consensus, archive) = (&mut self.agents.consensus, &mut self.agents.archive);
        work += usize::from(archive.poll_trimmed(&mut consensus.log).is_some());
        work += consensus.hash_log(now, archive);
        work + self.carry_out(now)
    }

    fn take_completion(&mut self, now: Nanos) -> bool {
        let (consensus, clients) = (&mut self.agents.consensus, &mut self.agents.clients);
        let readers = |completion: &Completion| {
            let reader = consensus.replication.reader_mut(owner(completion.token));
            if let Some(reader) = reader {
                reader.on_completion(completion);
            } else if !consensus.applier.reader_mut().on_completion(completion)
                && !clients
                    .egress
                    .responses
                    .reader_mut()
                    .on_completion(completion)
                && !consensus.chain_query.on_completion(completion)
            {
                consensus.exchange.on_completion(completion);
            }
        };
        match self.agents.archive.poll_completion(now, readers) {
            None => return false,
            Some(ArchiveEvent::Done) => {}
            Some(ArchiveEvent::IdentityPersisted) => consensus.membership.on_written(),
            Some(ArchiveEvent::StatePersisted { term, vote }) => {
                consensus.on_event(now, Event::StatePersisted { term, vote });
            }
        }
        true
    }

    /// Hands what is due to the disk.
    pub(super) fn persist(&mut self, now: Nanos) -> usize {
        let (consensus, archive) = (&mut self.agents.consensus, &mut self.agents.archive);
        if !consensus.module.is_damaged() {
            archive.forget_loss(now, &consensus.log);
        }
        let commit = consensus.module.commit();
        let work = archive.persist(now, &consensus.log, commit);
        if archive.failed() && consensus.fault.is_none() {
            sometimes(if consensus.leadership.is_leading() {
                Mark::LeaderStorageFailed
            } else {
                Mark::FollowerStorageFailed
            });
            consensus.on_event(now, Event::StorageFailed);
            self.carry_out(now);
        }
        work
    }
}
