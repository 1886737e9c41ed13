//! A leader hands its leadership over (`log.md` 9.6): what it was asked, and what it keeps from
//! doing meanwhile. Who is told to stand, and when, is the consensus module's.

use lockstep_archive::disk::Disk;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::notices::Detail;
use lockstep_transport::position::Position;
use lockstep_transport::time::Nanos;

use crate::log::archive_agent::ArchiveAgent;
use crate::module::consensus_module::HandOverRefusal;
use crate::module::member::MemberId;
use crate::node::consensus_agent::ConsensusAgent;
use crate::notice::NodeNotice;

/// Subject of a hand-over to whoever is fit.
const ANYBODY: MemberId = 7;

impl<P: DatagramPort> ConsensusAgent<P> {
    /// Hands the leadership over, to `to` if somebody is named.
    ///
    /// # Errors
    /// Why it does not.
    pub(in crate::node) fn hand_over(
        &mut self,
        now: Nanos,
        to: Option<MemberId>,
    ) -> Result<(), HandOverRefusal> {
        if self.fault.is_some() {
            return Err(HandOverRefusal::Stopped);
        }
        self.module.begin_hand_over(now, to)?;
        self.note_hand_over(now, NodeNotice::HandingOver, to);
        Ok(())
    }

    /// Nobody has taken it: this member leads on.
    pub(in crate::node) fn note_hand_over_failed(&mut self, now: Nanos, to: Option<MemberId>) {
        self.note_hand_over(now, NodeNotice::HandOverFailed, to);
        // What clients said meanwhile has waited: nobody was silent.
        self.leadership.sessions.listen_again(now);
    }

    fn note_hand_over(&mut self, now: Nanos, kind: NodeNotice, to: Option<MemberId>) {
        let detail = Detail {
            subject: to.unwrap_or(ANYBODY),
            values: [self.module.term().get(), 0, 0, 0],
            ..Detail::default()
        };
        self.notices.note(now, kind, detail);
    }

    /// No entry may end above this position: a leader that hands over appends nothing, so that a
    /// follower comes to have all of its log.
    pub(super) fn append_limit<D: Disk>(&self, archive: &ArchiveAgent<D>) -> Position {
        let limit = archive.append_limit(&self.log);
        match self.leadership.append_position() {
            Some(end) if self.module.is_handing_over() => limit.min(end),
            _ => limit,
        }
    }
}
