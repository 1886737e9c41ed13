//! What the operating system refuses a node at one of its ports is counted and told by its cause.
#![cfg(feature = "sim")]

use std::cell::RefCell;
use std::rc::Rc;

use lockstep_archive::sim::SimDisk;
use lockstep_consensus::node::cluster_node::ClusterNode;
use lockstep_consensus::node::counters::CounterBlocks;
use lockstep_consensus::node::start::{StartParts, start};
use lockstep_consensus::node::tracers::Tracers;
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::settings::config::NodeConfig;
use lockstep_consensus::sim::scenario::boot::{address, disk, three_members};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::port_trouble::{PortTroubles, TroubleKind};
use lockstep_transport::prng::Prng;
use lockstep_transport::sim::{LinkProfile, SimNetwork, SimPort, TroubledPort};
use lockstep_transport::time::{MICROSECOND, MILLISECOND};

/// What a port's operating system says, told by the test.
type Troubles = Rc<RefCell<PortTroubles>>;

/// A port of the simulated network with troubles.
type Port = TroubledPort<SimPort>;

/// One of three members, with the troubles of its member port and of its ingress port.
fn node() -> (ClusterNode<SimDisk, Port, Echo>, [Troubles; 2]) {
    let cluster = three_members();
    let config = NodeConfig {
        insecure: true,
        disk_budget_bytes: 32 << 20,
        ..NodeConfig::default()
    };
    let network = SimNetwork::new(1, LinkProfile::default());
    let troubles = [Troubles::default(), Troubles::default()];
    let port = |address, troubles: &Troubles| {
        TroubledPort::new(network.port(address), Rc::clone(troubles))
    };
    let parts = StartParts {
        disk: disk(1, 60 * MICROSECOND, config.disk_budget_bytes),
        log_memory: None,
        member_port: port(cluster.members[0].member, &troubles[0]),
        ingress_port: port(cluster.members[0].ingress, &troubles[1]),
        service: Echo::default(),
        tracers: Tracers::disabled(),
        counters: CounterBlocks::in_memory().expect("some pages of memory"),
        wall_offset: 0,
        receive_window: 32 * 1024,
        randomness: Prng::new(1),
    };
    let node = start(&cluster, &config, parts).expect("the node starts");
    (node, troubles)
}

#[test]
fn each_trouble_of_either_port_is_counted_and_told_once_with_its_number() {
    let (mut node, ports) = node();
    let refused = [
        NodeNotice::SendToMemberRefused,
        NodeNotice::SendToClientRefused,
    ];
    let cases = [
        (TroubleKind::ReceiveFailed, NodeNotice::PortReceiveFailed),
        (TroubleKind::TooLong, NodeNotice::PortDatagramTooLong),
        (TroubleKind::UnknownSource, NodeNotice::PortUnknownSource),
        (TroubleKind::RingFailed, NodeNotice::PortRingFailed),
        (TroubleKind::NotTaken, NodeNotice::PortNotTaken),
    ];
    let mut now = 0;
    for (troubles, refused) in ports.iter().zip(refused) {
        let sending = (TroubleKind::SendRefused, refused);
        for (errno, (trouble, expected)) in (101..).zip(core::iter::once(sending).chain(cases)) {
            let peer = Some(address(2, 2)).filter(|_| trouble == TroubleKind::SendRefused);
            for expected_told in [Some((peer, i64::from(errno), 2)), None] {
                for _ in 0..3 {
                    troubles.borrow_mut().note(trouble, errno, peer);
                }
                let before = node.notice_count(expected);
                // Longer than the node looks around by itself.
                now += 100 * MILLISECOND;
                node.do_work(now);
                let after = node.notice_count(expected);
                assert_eq!(after, before + 3, "{trouble:?}");
                let told = core::iter::from_fn(|| node.take_notice())
                    .filter(|notice| notice.kind == expected)
                    .map(|told| (told.detail.source, told.detail.values[0], told.suppressed));
                let told: Vec<_> = told.collect();
                assert_eq!(told, Vec::from_iter(expected_told), "{expected:?}");
            }
        }
    }
}

#[test]
fn what_either_side_of_a_node_notices_is_told_in_the_order_in_which_it_happened() {
    let (mut node, [of_members, of_clients]) = node();
    let refused = TroubleKind::SendRefused;
    let peer = Some(address(2, 2));
    let mut now = 0;
    for troubles in [&of_clients, &of_members] {
        now += 100 * MILLISECOND;
        troubles.borrow_mut().note(refused, 101, peer);
        node.do_work(now);
    }
    let waiting = node.fills();
    let waiting = waiting
        .iter()
        .filter(|fill| fill.name == "notices to be told");
    assert!(waiting.clone().count() == 2 && waiting.clone().all(|fill| fill.used > 0));
    let said = [
        NodeNotice::SendToClientRefused,
        NodeNotice::SendToMemberRefused,
    ];
    let told = core::iter::from_fn(|| node.take_notice()).map(|notice| notice.kind);
    let told: Vec<_> = told.filter(|kind| said.contains(kind)).collect();
    assert_eq!(told, said);
}
