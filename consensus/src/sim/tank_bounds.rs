//! What a run may use: every table and queue of a node and of a client stays within its bound
//! (oracle 10), and nobody floods the network.

use lockstep_transport::fill::Fill;
use lockstep_transport::time::{Nanos, SECOND};

use super::tank_client::TankClient;
use super::tank_member::TankMember;
use super::{Broken, Rule};

/// The tables and queues of a member; `agent::bounds` lists them.
///
/// # Errors
/// Which of them holds too much.
pub fn check_member(id: usize, member: &TankMember) -> Result<(), Broken> {
    member.node().map_or(Ok(()), |node| {
        check_fills(&format_args!("member {id}"), &node.fills())
    })
}

/// The tables and queues of a client.
///
/// # Errors
/// Which of them holds too much.
pub fn check_client(client: &TankClient) -> Result<(), Broken> {
    let fills = client.process().fills();
    check_fills(&format_args!("client {}", client.index()), &fills)
}

fn check_fills(whose: &dyn core::fmt::Display, fills: &[Fill]) -> Result<(), Broken> {
    fills
        .iter()
        .find(|fill| fill.is_over())
        .map_or(Ok(()), |fill| {
            let Fill { name, used, most } = fill;
            let what = format!("{whose}: {name}: {used} of at most {most}");
            Err(Rule::Bounds.broken(what))
        })
}

/// Datagrams that a member may send in a second to each other member and to each client, while
/// there are requests and faults. To a member go heartbeats, reports, hellos and their answers (100
/// of each, one in a heartbeat interval, and as many again where the network doubles what is
/// answered), NAKs (625 for a hole that nobody fills), and the log: what clients ask for within
/// their windows, some of it twice. Seen are less than 500; an answer to an answer makes 10,000.
const BUSY_MAX: u64 = 2_000;

/// The same while nobody wants anything: heartbeats and reports, and what lets streams live.
const QUIET_MAX: u64 = 250;

/// How many datagrams each member sends in a second.
#[derive(Debug)]
pub struct Traffic {
    since: Nanos,
    sent: Vec<u64>,
    per_peer: u64,
}

impl Traffic {
    /// Of members that have sent nothing.
    #[must_use]
    pub fn new(members: usize) -> Self {
        Self {
            since: 0,
            sent: vec![0; members],
            per_peer: BUSY_MAX,
        }
    }

    /// From `now` on nobody wants anything, or somebody may again.
    pub fn expect(&mut self, is_quiet: bool, now: Nanos, members: &[TankMember]) {
        self.per_peer = if is_quiet { QUIET_MAX } else { BUSY_MAX };
        self.since = now;
        for (sent, member) in self.sent.iter_mut().zip(members) {
            *sent = member.sent();
        }
    }

    /// At the end of each second of virtual time: nobody has sent more in it than so many peers,
    /// members and clients, are a reason for.
    ///
    /// # Errors
    /// Who has.
    pub fn look(&mut self, now: Nanos, members: &[TankMember], peers: usize) -> Result<(), Broken> {
        if now - self.since < SECOND {
            return Ok(());
        }
        self.since = now;
        let most = self.per_peer * peers as u64;
        for (id, (before, member)) in self.sent.iter_mut().zip(members).enumerate() {
            let count = member.sent() - *before;
            *before = member.sent();
            if count > most {
                let what = format!(
                    "member {id} sent {count} datagrams in a second, more than {most}: {}",
                    member.describe()
                );
                return Err(Rule::NoStorm.broken(what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_holds_too_much_is_named() {
        let fills = [Fill::of("rows", 4, 4), Fill::of("closed", 65, 64)];
        let broken = check_fills(&"member 0", &fills).unwrap_err();
        assert_eq!(broken.rule, Rule::Bounds);
        assert_eq!(broken.what, "member 0: closed: 65 of at most 64");
        assert_eq!(check_fills(&"member 0", &fills[..1]), Ok(()));
    }
}
