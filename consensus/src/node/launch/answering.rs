//! What a node makes of whoever asks it for something, and of being told to stop.

use lockstep_transport::time::Nanos;

use super::{Node, Transfer};
use crate::module::consensus_module::Role;
use crate::node::control::words::{NodeAnswer, TransferRefusal};
use crate::node::control::{Asked, ControlRequest, ControlSocket};

impl Node {
    /// It is about to end: drive it on until it
    /// [`has_ended`](lockstep_transport::agent::Agent), then [`close`](Node::close) it. If it leads
    /// it hands over first, which takes an election timeout at most.
    pub fn leave(&mut self, now: Nanos) {
        self.agent.leave(now);
    }

    pub(super) fn answer_control(&mut self, now: Nanos) {
        self.answer_transfer(now);
        while let Some(asked) = self.control.as_ref().and_then(ControlSocket::take) {
            match asked.request {
                ControlRequest::Snapshot => {
                    let answer = self.agent.ask_for_snapshot(now);
                    asked.answer(NodeAnswer::Snapshot(answer));
                }
                ControlRequest::Transfer { to } => match self.agent.hand_over(now, to) {
                    Ok(()) => self.await_transfer(now, asked),
                    Err(refusal) => asked.answer(NodeAnswer::Transfer(Err(refusal.into()))),
                },
            }
        }
    }

    fn await_transfer(&mut self, now: Nanos, asked: Asked) {
        let module = &self.agent.agents().consensus.module;
        self.transfer = Some(Transfer {
            asked,
            term: module.term(),
            // It gives up after one, and follows whoever was elected in the other.
            until: now + 2 * module.election_timeout_ns(),
        });
    }

    /// Answers who waits for a hand-over, once it is known what has come of it.
    fn answer_transfer(&mut self, now: Nanos) {
        let Some(transfer) = &self.transfer else {
            return;
        };
        let module = &self.agent.agents().consensus.module;
        let answer = match module.leader() {
            _ if module.is_handing_over() => return,
            Some(leader) if module.term() > transfer.term => Ok((leader, module.term())),
            _ if module.role() == Role::Leader => Err(TransferRefusal::Failed),
            _ if now >= transfer.until => Err(TransferRefusal::Unheard),
            _ => return,
        };
        if let Some(transfer) = self.transfer.take() {
            transfer.asked.answer(NodeAnswer::Transfer(answer));
        }
    }
}
