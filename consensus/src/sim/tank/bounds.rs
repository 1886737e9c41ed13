//! What a run may use: every table and queue of a node and of a client stays within its bound
//! (oracle 10), and nobody floods the network.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use lockstep_transport::fill::Fill;
use lockstep_transport::protocol::{Nak, Packet, parse};
use lockstep_transport::sim::SimNetwork;
use lockstep_transport::time::{MICROSECOND, Nanos, SECOND};

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

/// Datagrams that a member may send in a second to one destination, whatever is wrong, but for
/// NAKs: heartbeats, reports, hellos and their answers, 100 of each, one in a heartbeat interval. A
/// hello that answers a hello makes 20,000 and more.
const OWN_MAX: u64 = 400;

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

/// The pauses between NAKs for one hole: so long at least and at most, and such a share of the time
/// since its first in between (`wire.md` A.15).
const NAK_PAUSES: (Nanos, Nanos) = (100 * MICROSECOND, 25_600 * MICROSECOND);
const NAK_PAUSE_SHARE: Nanos = 16;

/// Streams that somebody may have a hole in and that come from one address: its newest, and those
/// of its processes before. Seen is one.
const STREAMS_MAX: u64 = 4;

/// A second, by a clock that runs five percent too fast, and what a look may come late.
const LONG_SECOND_NS: Nanos = SECOND + SECOND / 10;

/// The stream, and where in it the hole begins that a NAK asks for. All the rest of it may change
/// while it stays the same hole.
fn hole_of(datagram: &[u8]) -> Option<&[u8]> {
    let is_nak = datagram.len() == Nak::LENGTH && matches!(parse(datagram), Ok(Packet::Nak(_)));
    is_nak.then(|| &datagram[..Nak::LENGTH - 4])
}

/// NAKs that may ask for one hole in a second in which the pauses began afresh so many times. The
/// longer one waits the fewer come, so most come where the parts between are as long as each other.
fn naks_max(beginnings: u64) -> u64 {
    let parts = beginnings + 1;
    let part = LONG_SECOND_NS / parts as Nanos;
    let (mut at, mut count) = (0, 0);
    while at <= part {
        count += 1;
        at += (at / NAK_PAUSE_SHARE).clamp(NAK_PAUSES.0, NAK_PAUSES.1);
    }
    parts * count
}

/// How many datagrams everybody sends everybody else in a second.
#[derive(Debug, Default)]
pub struct Traffic {
    since: Nanos,
    is_quiet: bool,
    /// Sent before that second.
    sent: BTreeMap<Path, u64>,
    /// Sent in the second before that one.
    sent_before: BTreeMap<Path, u64>,
}

impl Traffic {
    /// Of this network, on which nobody has sent anything.
    #[must_use]
    pub fn on(network: &SimNetwork) -> Self {
        network.count_words(hole_of);
        Self::default()
    }

    /// From `now` on nobody wants anything, or somebody may again.
    pub fn expect(&mut self, is_quiet: bool, now: Nanos, network: &SimNetwork) {
        self.is_quiet = is_quiet;
        let (_sent, _said) = (self.count(now, network), network.take_said());
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
        let (counts, holes) = (self.count(now, network), network.take_said());
        self.look_at_holes(&counts, &holes)?;
        let naks = |path: &Path| -> u64 {
            let holes = holes.iter().filter(|(of, _)| of == path);
            holes.map(|(_, count)| count).sum()
        };
        let asked = counts.iter().filter(|((from, _), _)| !is_member(*from));
        let asked: u64 = asked.map(|(_, count)| count).sum();
        let most = |from| match (is_member(from), self.is_quiet) {
            (false, _) => CLIENT_MAX,
            (true, true) => QUIET_MAX,
            (true, false) => OWN_MAX + COPIES * (asked + log_datagrams),
        };
        let counts = counts.into_iter();
        let mut others = counts.map(|(path, count)| (path, count - naks(&path)));
        let storm = others.find(|((from, _), count)| *count > most(*from));
        storm.map_or(Ok(()), |((from, to), count)| {
            Err(Rule::NoStorm.broken(format!(
                "{from} sent {to} {count} datagrams in a second in which clients sent {asked}, \
                 and the log fills {log_datagrams}: more than {}",
                most(from)
            )))
        })
    }

    /// Nobody asks for one hole more often than pauses that grow allow. They begin afresh with each
    /// piece that comes from where it was asked for, so not more often than whoever was asked has
    /// sent anything, in this second or late in the one before. Nor does anybody ask for more holes
    /// than that, and the one of each stream that there was before: only what comes ends one, or
    /// begins one.
    fn look_at_holes(
        &mut self,
        counts: &[(Path, u64)],
        holes: &[(Path, u64)],
    ) -> Result<(), Broken> {
        let counts: BTreeMap<Path, u64> = counts.iter().copied().collect();
        let before = core::mem::replace(&mut self.sent_before, counts);
        let sent = |path: Path| {
            let of = |counts: &BTreeMap<Path, u64>| counts.get(&path).copied().unwrap_or_default();
            of(&before) + of(&self.sent_before)
        };
        let most = |(from, to): Path| naks_max(sent((to, from)));
        let over = holes.iter().find(|(path, count)| *count > most(*path));
        if let Some(((from, to), count)) = over {
            return Err(Rule::NoStorm.broken(format!(
                "{from} asked {to} {count} times in a second for the same hole, and had {} \
                 datagrams from there: more than {}",
                sent((*to, *from)),
                most((*from, *to))
            )));
        }
        let mut by_path = BTreeMap::<Path, u64>::new();
        for (path, _) in holes {
            *by_path.entry(*path).or_default() += 1;
        }
        let sent_back = |(from, to): Path| sent((to, from));
        let mut many = by_path.into_iter();
        let many = many.find(|(path, count)| *count > STREAMS_MAX + sent_back(*path));
        many.map_or(Ok(()), |(path, count)| {
            Err(Rule::NoStorm.broken(format!(
                "{} asked {} for {count} holes in a second, and had {} datagrams from there",
                path.0,
                path.1,
                sent_back(path)
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
    use lockstep_transport::position::{Geometry, Position};
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
        let mut traffic = Traffic::on(&network);
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

    /// A member asks another one so often in a second for each of so many holes, and hears so much
    /// from it.
    fn ask(holes: u64, naks: u64, heard: u64) -> Result<(), Broken> {
        let network = SimNetwork::new(1, LinkProfile::default());
        let [mut from, mut to] = MEMBERS.map(|address| network.port(address));
        let mut traffic = Traffic::on(&network);
        let geometry = Geometry::new(0, 64 * 1024).unwrap();
        for number in 0..holes * naks {
            let hole = 640 + 32 * (number / naks) as Position;
            let nak = Nak::new(7, 8, geometry, hole, 32 * (number % 2 + 1) as usize);
            let sent = from.send(0, MEMBERS[1], &nak.encode());
            assert_eq!(sent, SendOutcome::Sent);
        }
        for _ in 0..heard {
            assert_eq!(to.send(0, MEMBERS[0], &[0]), SendOutcome::Sent);
        }
        traffic.look(SECOND, &network, LOG, |address| MEMBERS.contains(&address))
    }

    #[test]
    fn a_hole_is_asked_for_no_more_often_than_pauses_that_grow_allow() {
        assert_eq!(ask(1, naks_max(0), 0), Ok(()));
        let broken = ask(1, naks_max(0) + 1, 0).unwrap_err();
        assert!(broken.what.contains("the same hole"), "{broken}");
        // What comes may let pauses begin afresh.
        assert_eq!(ask(1, naks_max(3), 3), Ok(()));
        assert!(ask(1, naks_max(3) + 1, 3).is_err());
        assert!((naks_max(0) + 1..4 * naks_max(0)).contains(&naks_max(3)));
        // Pauses that do not grow are found, whatever comes.
        assert!(naks_max(0) < 150 && naks_max(100) < 5_500);
    }

    #[test]
    fn no_more_holes_are_asked_for_than_come_to_be_by_what_is_heard() {
        for heard in [0, 10] {
            assert_eq!(ask(STREAMS_MAX + heard, 1, heard), Ok(()));
            let broken = ask(STREAMS_MAX + heard + 1, 1, heard).unwrap_err();
            assert!(broken.what.contains("holes in a second"), "{broken}");
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
