//! Cluster-wide limits over existing data: the log decides, and a start with others says which
//! differ and what to do.
#![cfg(feature = "sim")]

use lockstep_consensus::settings::config::{ClusterConfig, ResponsesMode};
use lockstep_consensus::settings::config_digest::config_digest;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::samples::echo::Echo;
use lockstep_transport::time::{MILLISECOND, SECOND};

/// A cluster that has answered, and of which nobody runs any more.
fn used() -> SimCluster<Echo> {
    let mut cluster = Scenario::echo().led_by(0);
    cluster.offer(0, b"hello");
    cluster.run(100 * MILLISECOND);
    cluster.expect_answers(0, &[(1, b"hello")]);
    cluster.everybody().kill();
    cluster
}

type Change = fn(&mut ClusterConfig);

#[test]
fn a_start_with_other_limits_is_refused_and_names_both_values_and_the_remedy() {
    let cases: [(Change, &str); 7] = [
        (
            |c| c.message_max = 2048,
            "message_max is 2048 in the configuration and 4096 in the log",
        ),
        (
            |c| c.responses = ResponsesMode::Direct,
            "responses is direct in the configuration and replicated in the log",
        ),
        (
            |c| c.sessions_max = 4,
            "sessions_max is 4 in the configuration and 8 in the log",
        ),
        (
            |c| c.outbox_bytes *= 2,
            "outbox_bytes is 524288 in the configuration and 262144",
        ),
        (
            |c| c.effects_per_cause = 9,
            "effects_per_cause is 9 in the configuration and 8",
        ),
        (
            |c| c.effect_bytes_per_cause = 8192,
            "effect_bytes_per_cause is 8192 in the",
        ),
        (
            |c| c.session_timeout_ns = SECOND,
            "session_timeout is 1000000000 ns in the",
        ),
    ];
    let mut cluster = used();
    let original = cluster.setup.cluster.clone();
    for (change, words) in cases {
        change(&mut cluster.setup.cluster);
        let mut member = cluster.member(1);
        member.expect_refused(words);
        member.expect_refused("start with the values of the log");
        cluster.setup.cluster = original.clone();
    }
    let two: Change = |c| {
        c.sessions_max = 4;
        c.message_max = 2048;
    };
    two(&mut cluster.setup.cluster);
    let mut member = cluster.member(1);
    member.expect_refused("message_max is 2048");
    member.expect_refused("sessions_max is 4");
    // Nothing was changed by any of it: with the log's values everything is there.
    cluster.setup.cluster = original;
    cluster.everybody().start();
    cluster.run(6 * SECOND);
    cluster.offer(0, b"again");
    cluster.run(SECOND);
    cluster.expect_answers(0, &[(1, b"hello"), (2, b"again")]);
}

#[test]
fn addresses_are_no_part_of_what_members_must_have_alike() {
    let cluster = Scenario::echo().all_down().setup.cluster;
    let digest = config_digest(&cluster);
    let mut moved = cluster.clone();
    moved.members[1].member.set_port(77);
    assert_eq!(config_digest(&moved), digest);
    let mut fewer = cluster.clone();
    fewer.members.truncate(2);
    let mut other = cluster.clone();
    other.sessions_max = 9;
    let mut renamed = cluster;
    renamed.name = "other".to_owned();
    for changed in [fewer, other, renamed] {
        assert_ne!(config_digest(&changed), digest);
    }
}
