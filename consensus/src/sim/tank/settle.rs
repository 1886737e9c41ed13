//! The end of a run: what must become true once all faults are over.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use crate::module::membership::Standing;
use crate::node::counters::Counter;
use crate::notice::NodeNotice;
use crate::sim::tank::Tank;
use crate::sim::tank::client::TankClient;
use crate::sim::tank::member::{ELECTION_TIMEOUT_NS, TankMember};
use crate::sim::tank::tank_node::TankNode;
use crate::sim::{Broken, Rule};

/// Virtual time from the end of the faults until every request is answered.
const LIVENESS_BOUND_NS: Nanos = 30 * SECOND;

/// Virtual time from then on until all members have the same log and state.
const SETTLE_BOUND_NS: Nanos = 10 * SECOND;

/// What happened before the faults ended may still cost a leader its office: one that has not
/// heard of a majority for an election timeout gives it up.
const AFTERMATH_NS: Nanos = 2 * ELECTION_TIMEOUT_NS;

/// So long nothing changes any more: several times what an election takes to begin.
const QUIET_NS: Nanos = 1_100 * MILLISECOND;

/// So long in runs that are watched for long: 750 election timeouts.
const LONG_QUIET_NS: Nanos = 60 * SECOND;

/// Virtual time after which a cluster that has lost its quorum must have said so.
const LOST_NS: Nanos = 4 * SECOND;

/// Sessions with a timeout of at most this are waited for to end.
const SHORT_TIMEOUT_NS: Nanos = SECOND;

/// A client that lives was heard at most so long ago.
const KEEPALIVE_NS: Nanos = 250 * MILLISECOND;

/// A session that is found silent is closed within this: the interval at which leaders look, and
/// a way through the log.
const CLOSING_NS: Nanos = 250 * MILLISECOND;

impl Tank {
    /// All faults are over: every request is answered, all members have one log and one state, one
    /// of them leads and goes on to lead. Or a majority of the directories is lost: then nobody
    /// leads, and the members say why.
    pub(super) fn settle(&mut self) -> Result<(), Broken> {
        if self.damage_map.is_quorum_lost() {
            return self.stand_still();
        }
        let aftermath = self.now + AFTERMATH_NS;
        while self.now < aftermath {
            self.moment(false)?;
        }
        let bound = self.now + LIVENESS_BOUND_NS;
        while !self.clients.iter().all(TankClient::is_done) {
            self.moment(false)?;
            if self.now > bound {
                let clients: Vec<String> = self.clients.iter().map(TankClient::describe).collect();
                let members = self.describe_members();
                let what = format!("no answer in time: {clients:?} {members:?}");
                return Err(Rule::LV1.broken(what));
            }
        }
        let bound = self.now + SETTLE_BOUND_NS;
        while !self.is_settled() {
            if self.now > bound {
                // What is wrong now is wrong for good: the audit names it.
                return self.audit(&self.leaders());
            }
            self.moment(false)?;
        }
        self.stay_quiet()?;
        self.desert()
    }

    /// The leader goes on to lead, and nobody so much as stands.
    fn stay_quiet(&mut self) -> Result<(), Broken> {
        let (leaders, elections) = (self.leaders(), self.elections());
        let length = if self.is_watched_long {
            LONG_QUIET_NS
        } else {
            QUIET_NS
        };
        let end = self.now + length;
        self.traffic.expect(true, self.now, &self.network);
        while self.now < end {
            self.moment(false)?;
        }
        self.traffic.expect(false, self.now, &self.network);
        self.audit(&leaders)?;
        if self.elections() != elections {
            let what = format!(
                "after all faults members have stood {elections:?} times in their lives, and then \
                 {:?}: {:?}",
                self.elections(),
                self.describe_members()
            );
            return Err(Rule::LV1.broken(what));
        }
        Ok(())
    }

    /// How often each member has stood in its present life.
    fn elections(&self) -> Vec<Option<i64>> {
        let counters = |member: &TankMember| {
            let node = member.node()?;
            Some(node.counter(Counter::Elections))
        };
        self.members.iter().map(counters).collect()
    }

    /// All clients fall silent: their sessions live as long as was promised, and no longer.
    fn desert(&mut self) -> Result<(), Broken> {
        let timeout = self.members[0].cluster().session_timeout_ns;
        if timeout > SHORT_TIMEOUT_NS {
            return Ok(());
        }
        let open = self.sessions()?;
        let start = self.now;
        for client in &mut self.clients {
            client.pause(Nanos::MAX);
        }
        while self.now < start + timeout - KEEPALIVE_NS {
            self.moment(false)?;
            let left = self.sessions()?;
            if left < open {
                let what = format!(
                    "of {open} sessions with a timeout of {} ms {left} are open {} ms after the \
                     clients fell silent",
                    timeout / MILLISECOND,
                    (self.now - start) / MILLISECOND
                );
                return Err(Rule::Timeouts.broken(what));
            }
        }
        while self.now < start + timeout + CLOSING_NS {
            self.moment(false)?;
        }
        match self.sessions()? {
            0 => Ok(()),
            left => {
                let silent = (self.now - start) / MILLISECOND;
                let what = format!("{left} sessions are open after {silent} ms of silence");
                Err(Rule::Timeouts.broken(what))
            }
        }
    }

    /// Sessions open according to the leader: without one nobody closes any.
    fn sessions(&self) -> Result<usize, Broken> {
        let leaders = self.leaders();
        let leader = leaders.first().ok_or_else(|| {
            let members = self.describe_members();
            Rule::LV1.broken(format!("nobody leads after all faults: {members:?}"))
        })?;
        Ok(self.members[leader.0].sessions())
    }

    fn describe_members(&self) -> Vec<String> {
        self.members.iter().map(TankMember::describe).collect()
    }

    /// Who leads which term.
    fn leaders(&self) -> Vec<(usize, LeadershipTermId)> {
        let members = self.members.iter().enumerate();
        let leaders = members.filter(|(_, member)| member.leads());
        leaders.map(|(id, member)| (id, member.term())).collect()
    }

    fn is_settled(&mut self) -> bool {
        self.note_repairs();
        let sound = || self.members.iter().filter(|member| !member.has_diverged());
        let is_sound = |member: &TankMember| {
            let node = member.node();
            node.is_some_and(|node| {
                let standing = node.agents().consensus.membership.standing();
                let is_final = matches!(standing, Standing::Voter | Standing::Learner);
                is_final && !node.agents().consensus.module.is_damaged()
            })
        };
        let state = sound().next().and_then(TankMember::applied_state);
        let is_one = state.is_some() && sound().all(|member| member.applied_state() == state);
        let is_whole = (0..self.members.len()).all(|id| !self.damage_map.is_rotten(id));
        is_one && is_whole && sound().all(is_sound) && self.leaders().len() == 1
    }

    /// Everybody has applied the same log to the same effect, and the leader of a while ago leads.
    fn audit(&mut self, leaders: &[(usize, LeadershipTermId)]) -> Result<(), Broken> {
        let now_lead = self.leaders();
        if leaders.len() != 1 || now_lead != leaders {
            let what = format!(
                "after all faults {leaders:?} led, and then {now_lead:?}: {:?}",
                self.describe_members()
            );
            return Err(Rule::LV1.broken(what));
        }
        let sound = || self.members.iter().filter(|member| !member.has_diverged());
        let states: Vec<_> = sound().map(TankMember::applied_state).collect();
        let is_odd = |state: &Option<_>| state.is_none() || *state != states[0];
        if let Some(id) = states.iter().position(is_odd) {
            let what = format!(
                "of the sound members number {id} has {:?}, the first {:?}: {:?}",
                states[id],
                states[0],
                self.describe_members()
            );
            return Err(Rule::EqualStates.broken(what));
        }
        self.audit_disks()?;
        if !self.is_settled() {
            let what = format!("not all is repaired: {:?}", self.describe_members());
            return Err(Rule::LV5.broken(what));
        }
        Ok(())
    }

    fn audit_disks(&self) -> Result<(), Broken> {
        for member in &self.members {
            self.oracle
                .audit_disk(member, !self.damage_map.is_quorum_lost())?;
        }
        Ok(())
    }

    /// A majority of the directories is lost: nobody leads, nothing is committed, and each member
    /// says what it is or whom it misses.
    fn stand_still(&mut self) -> Result<(), Broken> {
        self.report.is_lost = true;
        let committed = self.oracle.committed();
        let before: Vec<(u64, [u64; 2])> = self.members.iter().map(waiting_words).collect();
        let end = self.now + LOST_NS;
        while self.now < end {
            self.moment(false)?;
        }
        let leaders = self.leaders();
        if !leaders.is_empty() || self.oracle.committed() != committed {
            let what = format!(
                "{} of the directories are lost, and {leaders:?} lead: {:?}",
                self.damage_map.demoted(),
                self.describe_members()
            );
            return Err(Rule::Learners.broken(what));
        }
        for (id, before) in before.into_iter().enumerate() {
            let has_said = if self.damage_map.is_demoted(id) {
                says_what_it_is(&self.members[id])
            } else {
                says_again(&self.members[id], before)
            };
            if !has_said {
                let what = format!(
                    "a majority of the directories is lost, and member {id} does not say \
                     what it waits for: {}",
                    self.members[id].describe()
                );
                return Err(Rule::NoSilence.broken(what));
            }
        }
        self.audit_disks()
    }
}

/// What a member that cannot stand without others says while it waits for them.
const WAITING: [NodeNotice; 2] = [NodeNotice::NoLeader, NodeNotice::ReturnWaits];

/// What a member whose directory never counts again says about itself: once, or again and again.
const DEMOTED: [NodeNotice; 5] = [
    NodeNotice::IsLearner,
    NodeNotice::UnsyncedLogLost,
    NodeNotice::LogMemoryLost,
    NodeNotice::PromisesLost,
    NodeNotice::FormationWaits,
];

/// The process, by its number, and how often it has said each of what one says that waits.
fn waiting_words(member: &TankMember) -> (u64, [u64; 2]) {
    let said = WAITING.map(|kind| member.node().map_or(0, |node| node.notice_count(kind)));
    (member.starts(), said)
}

/// Whether a member has said whom it waits for since it had said so much.
fn says_again(member: &TankMember, (process, before): (u64, [u64; 2])) -> bool {
    let (now, said) = waiting_words(member);
    let before = if now == process { before } else { [0; 2] };
    said.iter().zip(before).any(|(said, before)| *said > before)
}

/// Whether a member has said why it counts no more.
fn says_what_it_is(member: &TankMember) -> bool {
    let has_said = |node: &TankNode| DEMOTED.iter().any(|kind| node.notice_count(*kind) > 0);
    member.node().is_some_and(has_said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::held::Held;
    use crate::sim::tank::crash::Crash;

    #[test]
    fn a_leader_that_did_not_lead_before_is_found() {
        let mut tank = Tank::settled(1);
        let leaders = tank.leaders();
        assert_eq!(tank.audit(&leaders), Ok(()));
        for before in [Vec::new(), vec![(leaders[0].0, leaders[0].1.previous())]] {
            assert_eq!(tank.audit(&before).unwrap_err().rule, Rule::LV1);
        }
    }

    #[test]
    fn sessions_of_silent_clients_are_asked_of_a_leader_and_must_end() {
        let mut tank = Tank::settled(1);
        assert!(tank.sessions().is_ok_and(|open| open > 0));
        for member in &mut tank.members {
            member.crash(&tank.network, Crash::Kill, 1, Nanos::MAX);
        }
        assert_eq!(tank.sessions().unwrap_err().rule, Rule::LV1);
    }

    #[test]
    fn damage_that_is_not_repaired_is_found() {
        let mut tank = Tank::settled(1);
        let (leaders, end) = (tank.leaders(), tank.oracle.committed() as i64);
        let held = |rotten: &[_]| Held::new(Vec::new(), rotten);
        tank.damage_map.rot_log(0, &[(end, end + 32)], held);
        assert_eq!(tank.audit(&leaders).unwrap_err().rule, Rule::LV5);
    }

    #[test]
    fn who_leads_without_a_majority_is_found() {
        let mut tank = Tank::settled(1);
        assert_eq!(tank.stand_still().unwrap_err().rule, Rule::Learners);
    }

    #[test]
    fn who_waits_and_says_nothing_is_found() {
        let mut tank = Tank::settled(1);
        for member in &mut tank.members {
            member.pause(Nanos::MAX);
            member.crash(&tank.network, Crash::Kill, 1, Nanos::MAX);
        }
        assert_eq!(tank.stand_still().unwrap_err().rule, Rule::NoSilence);
    }
}
