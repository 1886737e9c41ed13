//! The handle of one or several members: their processes, hosts and clocks.

use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::time::{MILLISECOND, Nanos, SECOND};

use super::SimCluster;
use super::watch::{Life, stored};
use crate::module::consensus_module::HandOverRefusal;
use crate::node::closing::Closing;
use crate::node::start_error::StartError;
use crate::sim::wall_clock::TRUE_WALL_OFFSET;

/// A member that is told to stop has so long.
const STOP_NS: Nanos = 50 * MILLISECOND;

/// See [`SimCluster::member`]. Each verb is done to all members that it stands for.
#[derive(Debug)]
pub struct Members<'a, S> {
    pub(super) cluster: &'a mut SimCluster<S>,
    pub(super) ids: Vec<usize>,
}

impl<S: ClusteredService> SimCluster<S> {
    /// One member, to do something to or to look at.
    pub fn member(&mut self, id: usize) -> Members<'_, S> {
        self.members(&[id])
    }

    /// Several members: each verb is done to all of them, in this order.
    ///
    /// # Panics
    /// Where there is no such member.
    pub fn members(&mut self, ids: &[usize]) -> Members<'_, S> {
        let count = self.hosts.len();
        assert!(ids.iter().all(|id| *id < count), "{ids:?} of {count}");
        Members::new(self, ids)
    }

    /// All members.
    pub fn everybody(&mut self) -> Members<'_, S> {
        let ids: Vec<usize> = (0..self.hosts.len()).collect();
        self.members(&ids)
    }

    /// Starts all members so that `first` leads: it starts sooner, and whoever leads in its stead
    /// hears nobody for a while.
    ///
    /// # Panics
    /// Where it is never elected.
    #[track_caller]
    pub fn start_led_by(&mut self, first: usize) {
        self.member(first).start();
        let others: Vec<usize> = (0..self.hosts.len()).filter(|id| *id != first).collect();
        self.members(&others).start();
        for _ in 0..40 {
            self.run(100 * MILLISECOND);
            match self.leader() {
                Some(leader) if leader == first => return,
                Some(leader) => {
                    self.member(leader).isolate();
                    self.run(2 * SECOND);
                    self.heal();
                    self.run(SECOND);
                }
                None => {}
            }
        }
        self.fail(&format!("member {first} should be elected"))
    }
}

impl<'a, S: ClusteredService> Members<'a, S> {
    pub(super) fn new(cluster: &'a mut SimCluster<S>, ids: &[usize]) -> Self {
        let ids = ids.to_vec();
        Self { cluster, ids }
    }

    /// Does `verb` to each of them, which the history calls `name`.
    #[track_caller]
    pub(super) fn each(
        &mut self,
        name: &str,
        verb: impl Fn(&mut SimCluster<S>, usize),
    ) -> &mut Self {
        for id in self.ids.clone() {
            self.cluster.note(format!("member {id} {name}"));
            verb(self.cluster, id);
        }
        self
    }

    /// The same with what is done to members that are down only: of one that is up a process
    /// would go on that nobody sees any more, or on files that it has not written.
    #[track_caller]
    pub(super) fn each_down(
        &mut self,
        name: &str,
        verb: impl Fn(&mut SimCluster<S>, usize),
    ) -> &mut Self {
        self.each(name, |cluster, id| {
            cluster.demand_down(id, name);
            verb(cluster, id);
        })
    }

    /// Its process starts on what the disk holds. A disk that was made to fail is sound again.
    ///
    /// # Panics
    /// Where it is up, or does not start.
    #[track_caller]
    pub fn start(&mut self) -> &mut Self {
        self.each_down("starts", |cluster, id| {
            cluster.hosts[id].disk.restart();
            if let Err(error) = cluster.boot(id) {
                cluster.fail(&format!("member {id} should start: {error}"));
            }
        })
    }

    /// It starts, unless it refuses.
    ///
    /// # Errors
    /// Why it does not start: the first of them that does not.
    ///
    /// # Panics
    /// Where it is up.
    #[track_caller]
    pub fn try_start(&mut self) -> Result<(), StartError> {
        self.ids.clone().into_iter().try_for_each(|id| {
            self.cluster.note(format!("member {id} is to start"));
            self.cluster.demand_down(id, "is to start");
            self.cluster.hosts[id].disk.restart();
            self.cluster.boot(id)
        })
    }

    /// Its process dies.
    #[track_caller]
    pub fn kill(&mut self) -> &mut Self {
        self.each("is killed", SimCluster::end_process)
    }

    /// Its process dies and starts again.
    ///
    /// # Panics
    /// Where it does not start.
    #[track_caller]
    pub fn restart(&mut self) -> &mut Self {
        self.kill().start()
    }

    /// Its host loses power, and what was not synced with it.
    #[track_caller]
    pub fn lose_power(&mut self) -> &mut Self {
        self.each("loses power", |cluster, id| {
            cluster.end_process(id);
            cluster.hosts[id].disk.crash(cluster.now as u64 + id as u64);
            cluster.hosts[id].lose_memory();
            if cluster.hosts[id].is_unsynced {
                cluster.watch.forget(id);
            }
        })
    }

    /// It is told to stop, and ends cleanly; the others go on meanwhile.
    ///
    /// # Panics
    /// Where it does not within fifty milliseconds, or is down.
    #[track_caller]
    pub fn stop(&mut self) -> &mut Self {
        self.each("is stopped", |cluster, id| {
            cluster.demand_up(id, "is stopped");
            let latest = cluster.now + STOP_NS;
            loop {
                let found = cluster.hosts[id].close(cluster.now);
                if matches!(found, Ok(Closing::Closed)) {
                    break;
                }
                if found.is_err() || cluster.now >= latest {
                    cluster.fail(&format!("member {id} should have stopped, found {found:?}"));
                }
                cluster.step();
            }
            cluster.end_process(id);
            cluster.hosts[id].lose_memory();
        })
    }

    /// It is told to stop as by SIGTERM: if it leads it hands over first, then it ends cleanly; the
    /// others go on meanwhile.
    ///
    /// # Panics
    /// Where that takes much longer than a snapshot is waited for and an election timeout, or it is
    /// down.
    #[track_caller]
    pub fn leave(&mut self) -> &mut Self {
        self.each("is told to leave", |cluster, id| {
            cluster.demand_up(id, "is told to leave");
            let now = cluster.now;
            cluster.node_mut(id).leave(now);
            let limit = cluster
                .node(id)
                .agents()
                .consensus
                .module
                .election_timeout_ns();
            let limit = limit + cluster.setup.node.snapshot_on_stop_ns;
            cluster.run_until(limit + STOP_NS, |cluster| cluster.node(id).has_left());
        })
        .stop()
    }

    /// It is asked to hand its leadership over, to `to` if somebody is named, and begins to.
    ///
    /// # Errors
    /// Why it does not.
    ///
    /// # Panics
    /// Where it is down.
    #[track_caller]
    pub fn hand_over(&mut self, to: Option<u8>) -> Result<(), HandOverRefusal> {
        self.ids.clone().into_iter().try_for_each(|id| {
            let cluster = &mut *self.cluster;
            cluster.note(format!("member {id} is asked to hand over to {to:?}"));
            cluster.demand_up(id, "is asked to hand over");
            let now = cluster.now;
            cluster.node_mut(id).hand_over(now, to)
        })
    }

    /// Its process does nothing for so long, as under SIGSTOP.
    ///
    /// # Panics
    /// Where it is down.
    #[track_caller]
    pub fn pause(&mut self, duration: Nanos) -> &mut Self {
        self.each("is paused", |cluster, id| {
            cluster.demand_up(id, "is paused");
            let host = &mut cluster.hosts[id];
            host.busy_until = host.busy_until.max(cluster.now + duration);
        })
    }

    /// Its service, which has a thread of its own, does nothing for so long.
    ///
    /// # Panics
    /// Where it is down, or its service has none.
    #[track_caller]
    pub fn stall_service(&mut self, duration: Nanos) -> &mut Self {
        self.each("has its service stalled", |cluster, id| {
            cluster.demand_up(id, "has its service stalled");
            if cluster.node(id).agents().service.container().is_some() {
                cluster.fail(&format!(
                    "the service of member {id} has no thread to be stalled"
                ));
            }
            let host = &mut cluster.hosts[id];
            host.service_busy_until = host.service_busy_until.max(cluster.now + duration);
        })
    }

    /// Nothing passes between it and any other member.
    #[track_caller]
    pub fn isolate(&mut self) -> &mut Self {
        self.each("is isolated", |cluster, id| {
            for other in (0..cluster.hosts.len()).filter(|other| *other != id) {
                cluster.cut(id, other);
            }
        })
    }

    /// Its wall clock is `ahead` of the true time from now on, ns.
    #[track_caller]
    pub fn set_clock(&mut self, ahead: i64) -> &mut Self {
        self.each("has its clock set", |cluster, id| {
            let host = &mut cluster.hosts[id];
            host.wall_offset = TRUE_WALL_OFFSET + ahead;
            if let Some(node) = host.node.as_mut() {
                node.set_wall_offset(host.wall_offset);
            }
        })
    }

    /// The watch looks away from it from now on: the scenario does something to it that no rule
    /// covers.
    #[track_caller]
    pub fn overlook(&mut self) -> &mut Self {
        self.each("is overlooked", |cluster, id| cluster.watch.overlook(id))
    }
}

impl<S: ClusteredService> SimCluster<S> {
    /// What is called `name` is done to a member that is down.
    #[track_caller]
    pub(super) fn demand_down(&self, id: usize, name: &str) {
        if self.hosts[id].node.is_some() {
            self.fail(&format!("member {id} {name}, and has to be down for that"));
        }
    }

    /// What is called `name` is done to a member that is up.
    #[track_caller]
    fn demand_up(&self, id: usize, name: &str) {
        if self.hosts[id].node.is_none() {
            self.fail(&format!("member {id} {name}, and has to be up for that"));
        }
    }

    pub(super) fn end_process(&mut self, id: usize) {
        let host = &mut self.hosts[id];
        if let Some(node) = host.end_process() {
            self.watch
                .end(id, &Life::of(&node), stored(host, &self.setup));
        }
        host.disk.kill(self.now as u64 + id as u64);
        self.unplug(id);
    }
}
