//! What a run may use: every table and queue of a node and of a client stays within its bound
//! (oracle 10), and nobody floods the network.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use lockstep_transport::fill::Fill;
use lockstep_transport::sim::SimNetwork;
use lockstep_transport::time::{Nanos, SECOND};

use crate::sim::tank::client::TankClient;
use crate::sim::tank::member::TankMember;
use crate::sim::{Broken, Rule};

/// The tables and queues of a member; `node::bounds` lists them.
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

/// Datagrams that a member may send in a second to one destination, whatever is wrong: heartbeats,
/// reports, hellos and their answers (100 of each, one in a heartbeat interval), 130 NAKs for a
/// hole that nobody fills. Seen are 163; a hello that answers a hello makes 20,000 and more, and
/// NAKs whose pauses do not grow 10,000.
const OWN_MAX: u64 = 500;

/// What a member may send one destination while nobody wants anything: heartbeats and reports, and
/// what lets streams live. Seen are 154.
const QUIET_MAX: u64 = 250;

/// What a client may send one member in a second: all its requests, some twice. Seen are 898.
const CLIENT_MAX: u64 = 2_000;

/// A datagram of a client costs so many on the way from a member to one destination: a piece of the
/// log or an answer, and the same again where it was lost. So does a datagram full of the log, for
/// one who has nothing of it yet.
const COPIES: u64 = 2;

type Path = (SocketAddr, SocketAddr);

/// How many datagrams everybody sends everybody else in a second.
#[derive(Debug, Default)]
pub struct Traffic {
    since: Nanos,
    is_quiet: bool,
    /// Sent before that second.
    sent: BTreeMap<Path, u64>,
}

impl Traffic {
    /// From `now` on nobody wants anything, or somebody may again.
    pub fn expect(&mut self, is_quiet: bool, now: Nanos, network: &SimNetwork) {
        self.is_quiet = is_quiet;
        let _until_now = self.count(now, network);
    }

    /// At the end of each second of virtual time: nobody has sent anybody more in it than there is
    /// a reason for. `is_member`: whether an address is one of a member; all others ask for
    /// something. `log_datagrams`: so many the whole log fills.
    ///
    /// # Errors
    /// Who has.
    pub fn look(
        &mut self,
        now: Nanos,
        network: &SimNetwork,
        log_datagrams: u64,
        is_member: impl Fn(SocketAddr) -> bool,
    ) -> Result<(), Broken> {
        if now - self.since < SECOND {
            return Ok(());
        }
        let counts = self.count(now, network);
        let asked = counts.iter().filter(|((from, _), _)| !is_member(*from));
        let asked: u64 = asked.map(|(_, count)| count).sum();
        let most = |from| match (is_member(from), self.is_quiet) {
            (false, _) => CLIENT_MAX,
            (true, true) => QUIET_MAX,
            (true, false) => OWN_MAX + COPIES * (asked + log_datagrams),
        };
        let mut storms = counts.iter().filter(|((from, _), n)| *n > most(*from));
        storms.next().map_or(Ok(()), |((from, to), count)| {
            Err(Rule::NoStorm.broken(format!(
                "{from} sent {to} {count} datagrams in a second in which clients sent {asked}, \
                 and the log fills {log_datagrams}: more than {}",
                most(*from)
            )))
        })
    }

    /// What was sent on each path since the last count.
    fn count(&mut self, now: Nanos, network: &SimNetwork) -> Vec<(Path, u64)> {
        self.since = now;
        let mut counts = network.sent_by_path();
        for (path, count) in &mut counts {
            let before = self.sent.insert(*path, *count);
            *count -= before.unwrap_or_default();
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr};

    use lockstep_transport::datagram_port::{DatagramPort, SendOutcome};
    use lockstep_transport::sim::LinkProfile;

    use super::*;

    #[test]
    fn a_queue_that_holds_too_much_is_named() {
        let fills = [Fill::of("rows", 4, 4), Fill::of("closed", 65, 64)];
        let broken = check_fills(&"member 0", &fills).unwrap_err();
        assert_eq!(broken.rule, Rule::Bounds);
        assert_eq!(broken.what, "member 0: closed: 65 of at most 64");
        assert_eq!(check_fills(&"member 0", &fills[..1]), Ok(()));
    }

    const LOG: u64 = 50;

    const MEMBERS: [SocketAddr; 2] = [address(1), address(2)];

    const fn address(host: u8) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)), 1)
    }

    /// Looks once a second at members and a client, each of which sends the first member so many
    /// datagrams in it.
    fn look(seconds: &[(u64, u64)], is_quiet: bool) -> Result<(), Broken> {
        let network = SimNetwork::new(1, LinkProfile::default());
        let (mut member, mut client) = (network.port(MEMBERS[1]), network.port(address(100)));
        let mut traffic = Traffic::default();
        traffic.expect(is_quiet, 0, &network);
        for (second, (of_member, of_client)) in seconds.iter().enumerate() {
            let now = (second + 1) as Nanos * SECOND;
            for (port, count) in [(&mut member, of_member), (&mut client, of_client)] {
                for _ in 0..*count {
                    let sent = port.send(now, MEMBERS[0], &[0]);
                    assert_eq!(sent, SendOutcome::Sent);
                }
            }
            traffic.look(now, &network, LOG, |address| MEMBERS.contains(&address))?;
        }
        Ok(())
    }

    #[test]
    fn a_member_may_send_as_much_as_clients_and_the_log_are_a_reason_for_and_no_more() {
        let (most, asked) = (OWN_MAX + COPIES * LOG, 100);
        let more = most + COPIES * asked;
        assert_eq!(look(&[(most, 0), (most, 0), (more, asked)], false), Ok(()));
        for storm in [(most + 1, 0), (more + 1, asked)] {
            let broken = look(&[(most, 0), storm], false).unwrap_err();
            assert_eq!(broken.rule, Rule::NoStorm);
            let words = broken.what;
            assert!(words.starts_with("10.0.0.2:1 sent 10.0.0.1:1"), "{words}");
        }
    }

    #[test]
    fn a_member_is_quiet_when_nobody_wants_anything_whatever_clients_send() {
        assert_eq!(look(&[(QUIET_MAX, 0), (QUIET_MAX, 0)], true), Ok(()));
        assert!(look(&[(QUIET_MAX + 1, 100)], true).is_err());
    }

    #[test]
    fn a_client_that_floods_a_member_is_named() {
        assert_eq!(look(&[(0, CLIENT_MAX)], false), Ok(()));
        let broken = look(&[(0, CLIENT_MAX + 1)], true).unwrap_err();
        assert!(broken.what.starts_with("10.0.0.100:1 sent"), "{broken}");
    }
}
