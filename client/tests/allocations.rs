//! While a leader serves the session, neither `offer` nor `do_work` nor `poll_egress`
//! allocates. A test of its own process, because it counts in the global allocator.

mod support;

use lockstep_client::cluster_client::ClusterClient;
use lockstep_client::config::ClientConfig;
use lockstep_client::event::{EgressEvent, OfferResult};
use lockstep_client::identity::ClientIdentity;
use lockstep_transport::allocations::{CountingAllocator, count_of_thread};
use lockstep_transport::time::{MICROSECOND, Nanos};

use support::fake_cluster::{FakeCluster, member_address};
use support::network::Network;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn count(work: impl FnOnce()) -> u64 {
    let before = count_of_thread();
    work();
    count_of_thread() - before
}

#[test]
fn a_connected_client_does_not_allocate() {
    let network = Network::new(1);
    let mut cluster = FakeCluster::new(&network, 3, 1);
    let config = ClientConfig {
        members: (0..3).map(member_address).collect(),
        ..ClientConfig::default()
    };
    let port = network.port("127.0.0.1:100".parse().unwrap());
    let mut client = ClusterClient::new(config, port, ClientIdentity::of_seed(1)).unwrap();
    let mut now: Nanos = 0;
    let payload = [7; 288];
    let (mut allocations, mut accepted, mut responses) = (0, 0, 0);
    // Several terms of either stream, so that rotation and cleaning are within.
    while responses < 12_000 {
        now += 20 * MICROSECOND;
        assert!(now < 60_000_000_000, "{responses} responses");
        cluster.do_work(now);
        let is_steady = client.is_connected();
        let counted = count(|| {
            client.do_work(now);
            if is_steady && matches!(client.offer(now, &payload), OfferResult::Accepted(_)) {
                accepted += 1;
            }
            client.poll_egress(now, 16, &mut |event| {
                if let EgressEvent::Response { payload, .. } = event {
                    assert_eq!(payload.len(), 288);
                    responses += 1;
                }
            });
        });
        if is_steady {
            allocations += counted;
        }
    }
    assert!(accepted >= responses);
    assert_eq!(allocations, 0);
}
