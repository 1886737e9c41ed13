//! What a scenario expects at this moment; whoever expects in vain is told what there is.

use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::ids::RequestNumber;
use lockstep_transport::position::Position;

use super::{Members, SimCluster};
use crate::module::membership::Standing;
use crate::node::fault::NodeFault;
use crate::notice::NodeNotice;

impl<S: ClusteredService> SimCluster<S> {
    /// This member leads.
    #[track_caller]
    pub fn expect_leader(&self, id: usize) {
        let found = self.leader();
        if found != Some(id) {
            self.fail(&format!("member {id} should lead, found {found:?}"));
        }
    }

    /// Somebody leads: who.
    #[track_caller]
    pub fn expect_some_leader(&self) -> usize {
        self.leader()
            .unwrap_or_else(|| self.fail("somebody should lead"))
    }

    /// Nobody leads.
    #[track_caller]
    pub fn expect_no_leader(&self) {
        if let Some(id) = self.leader() {
            self.fail(&format!("nobody should lead, found member {id}"));
        }
    }

    /// A client was answered this, and nothing else, in this order: to which of its requests, and
    /// what.
    #[track_caller]
    pub fn expect_answers(&self, client: usize, answers: &[(i64, &[u8])]) {
        let numbers = self.clients[client].answered_numbers(0);
        let numbers = numbers.into_iter().map(RequestNumber::get);
        let found: Vec<(i64, &[u8])> = numbers.zip(self.answers(client)).collect();
        if found != answers {
            let words = |answers: &[(i64, &[u8])]| {
                let words = answers.iter();
                let words =
                    words.map(|(number, bytes)| (*number, bytes.escape_ascii().to_string()));
                words.collect::<Vec<_>>()
            };
            let (answers, found) = (words(answers), words(&found));
            self.fail(&format!(
                "client {client} should have {answers:?}, found {found:?}"
            ));
        }
    }

    /// All running members, of which there are two at least, have logs that are durable equally far
    /// and equal, byte for byte.
    #[track_caller]
    pub fn expect_equal_logs(&self) {
        let running = (0..self.hosts.len()).filter(|id| self.hosts[*id].node.is_some());
        let running: Vec<usize> = running.collect();
        if running.len() < 2 {
            self.fail(&format!(
                "logs are compared of two members at least, found {running:?} up"
            ));
        }
        let ends: Vec<Position> = running.iter().map(|id| self.durable(*id)).collect();
        if ends.iter().any(|end| *end != ends[0]) {
            self.fail(&format!(
                "logs should be equal, found {ends:?} of {running:?}"
            ));
        }
        for id in &running {
            if self.log(*id, ends[0]) != self.log(running[0], ends[0]) {
                self.fail(&format!(
                    "the logs of members {} and {id} differ",
                    running[0]
                ));
            }
        }
    }
}

impl<S: ClusteredService> Members<'_, S> {
    #[track_caller]
    fn expect(&mut self, look: impl Fn(&SimCluster<S>, usize) -> Result<(), String>) -> &mut Self {
        for id in &self.ids {
            if let Err(words) = look(self.cluster, *id) {
                self.cluster.fail(&format!("member {id} {words}"));
            }
        }
        self
    }

    /// This is what it is in its cluster.
    #[track_caller]
    pub fn expect_standing(&mut self, standing: Standing) -> &mut Self {
        self.expect(|cluster, id| {
            let found = cluster.standing(id);
            let words = || format!("should be {standing:?}, found {found:?}");
            (found == standing).then_some(()).ok_or_else(words)
        })
    }

    /// It had something to say of this kind in its present life.
    #[track_caller]
    pub fn expect_told(&mut self, kind: NodeNotice) -> &mut Self {
        self.expect(|cluster, id| {
            let words = || format!("should have told {kind:?}");
            (cluster.noted(id, kind) > 0)
                .then_some(())
                .ok_or_else(words)
        })
    }

    /// It had nothing to say of this kind in its present life.
    #[track_caller]
    pub fn expect_not_told(&mut self, kind: NodeNotice) -> &mut Self {
        self.expect(|cluster, id| {
            let found = cluster.noted(id, kind);
            let words = || format!("should not have told {kind:?}, found {found} times");
            (found == 0).then_some(()).ok_or_else(words)
        })
    }

    /// It would say one line of this kind, of those that wait, and it begins with this.
    #[track_caller]
    pub fn expect_line(&mut self, kind: NodeNotice, words: &str) -> &mut Self {
        for id in self.ids.clone() {
            let lines = self.cluster.take_lines(id, kind);
            if lines.len() != 1 || !lines[0].starts_with(words) {
                self.cluster.fail(&format!(
                    "member {id} should say {words:?} once, found {lines:?}"
                ));
            }
        }
        self
    }

    /// It takes the log for committed up to `position` at least.
    #[track_caller]
    pub fn expect_commit(&mut self, position: Position) -> &mut Self {
        self.expect(|cluster, id| {
            let found = cluster.commit(id);
            let words = || format!("should have committed {position}, found {found}");
            (found >= position).then_some(()).ok_or_else(words)
        })
    }

    /// Its disk has the log up to `position` as it was committed, byte for byte, and durably.
    #[track_caller]
    pub fn expect_kept(&mut self, position: Position) -> &mut Self {
        self.expect(|cluster, id| {
            let (found, good) = (cluster.durable(id), cluster.watch.log(position));
            if found < position {
                return Err(format!("should have kept {position}, found {found}"));
            }
            let own = cluster.stored(id).range(0, position).unwrap_or_default();
            let differs = own.iter().zip(good).position(|(own, good)| own != good);
            match differs {
                Some(at) => Err(format!("should have kept the log, differs at {at}")),
                None if own.len() < good.len() => Err("lacks a segment".to_owned()),
                None => Ok(()),
            }
        })
    }

    /// The ack mark that its disk holds durably covers its log up to `position`.
    #[track_caller]
    pub fn expect_marked(&mut self, position: Position) -> &mut Self {
        self.expect(|cluster, id| {
            let mark = cluster.disk(id).durable_mark();
            let found = mark.map_or(0, |mark| mark.position);
            let words = || format!("should have marked {position}, found {found}");
            (found >= position).then_some(()).ok_or_else(words)
        })
    }

    /// It is up and has not stopped.
    #[track_caller]
    pub fn expect_up(&mut self) -> &mut Self {
        self.expect(
            |cluster, id| match (&cluster.hosts[id].node, cluster.fault(id)) {
                (None, _) => Err("should be up, found it down".to_owned()),
                (_, Some(fault)) => Err(format!("should be up, has stopped: {fault}")),
                _ => Ok(()),
            },
        )
    }

    /// Its log is damaged, as far as it knows, or not.
    #[track_caller]
    pub fn expect_damaged(&mut self, is_damaged: bool) -> &mut Self {
        self.expect(|cluster, id| {
            let found = cluster.node(id).agents().consensus.module.is_damaged();
            let words = || format!("should know of damage: {is_damaged}, found {found}");
            (found == is_damaged).then_some(()).ok_or_else(words)
        })
    }

    /// It has stopped: why, in its words, which contain this.
    #[track_caller]
    pub fn expect_stopped(&mut self, part: &str) -> &mut Self {
        self.expect(|cluster, id| {
            let found = cluster.fault(id).map(NodeFault::to_string);
            let words = || format!("should have stopped with {part:?}, found {found:?}");
            let is_it = found.as_ref().is_some_and(|found| found.contains(part));
            is_it.then_some(()).ok_or_else(words)
        })
    }

    /// It refuses to start, and this is in its words.
    #[track_caller]
    pub fn expect_refused(&mut self, part: &str) -> &mut Self {
        for id in self.ids.clone() {
            let outcome = self.cluster.member(id).try_start();
            let found = outcome.err().map(|error| error.to_string());
            if !found.as_ref().is_some_and(|found| found.contains(part)) {
                let words = format!("member {id} should refuse with {part:?}, found {found:?}");
                self.cluster.fail(&words);
            }
        }
        self
    }
}
