//! Exactly once at the client and the session: who may speak for a session, to whom the
//! cluster speaks, and what a client that starts again is told. Whole nodes and clients in
//! virtual time.
#![cfg(feature = "sim")]

mod stage;

use lockstep_client::config::ClientConfig;
use lockstep_client::identity::ClientIdentity;
use lockstep_transport::media::randomness;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, SECOND};

use stage::{Stage, client_address};

#[test]
fn a_delayed_request_of_the_old_process_takes_no_number_of_the_new_one() {
    let mut stage = Stage::new();
    let here = client_address(0);
    let old = stage.connect(here, None);
    stage.ask(old, "one");
    let leader = stage.leader_address();
    let late = stage.now + 2 * SECOND;
    stage.network.clog(here, leader, late);
    stage.offer(old, "of the old process");
    stage.network.heal_link(here, leader);
    let point = stage.kill_client(old);
    let new = stage.connect(here, point);
    // The old one's request arrives 10 us before the new one's.
    let on_its_way = late + 10 * MICROSECOND - stage.now;
    stage.run(on_its_way);
    stage.offer(new, "of the new process");
    stage.run(SECOND);
    stage.ask(new, "last");
    let answers: Vec<_> = stage.processes[new]
        .answers
        .iter()
        .map(|a| a.1.as_str())
        .collect();
    assert_eq!(answers, ["of the new process", "last"]);
}

#[test]
fn an_old_process_is_fenced_and_told_so_when_a_new_one_takes_over_its_session() {
    let mut stage = Stage::new();
    let old = stage.connect(client_address(0), None);
    stage.ask(old, "one");
    let point = stage.processes[old].client.resume_point();
    let new = stage.connect(client_address(1), point);
    stage.run_until(SECOND, |stage| stage.processes[old].has_ended("Fenced"));
    stage.ask(new, "two");
    stage.run(5 * SECOND);
    stage.ask(new, "three");
    assert!(stage.processes[new].client.is_connected());
}

#[test]
fn an_old_process_is_fenced_after_a_failover_too() {
    let mut stage = Stage::new();
    let old = stage.connect(client_address(0), None);
    stage.ask(old, "one");
    let point = stage.processes[old].client.resume_point();
    // It sleeps while another process takes its session over and the leader dies.
    stage.processes[old].is_stopped = true;
    let new = stage.connect(client_address(1), point);
    stage.ask(new, "two");
    stage.kill_leader();
    stage.run_until(5 * SECOND, |stage| stage.leader().is_some());
    stage.processes[old].is_stopped = false;
    stage.run_until(10 * SECOND, |stage| {
        stage.processes[old].has_ended("Fenced")
    });
    stage.ask(new, "three");
    stage.run(5 * SECOND);
    stage.ask(new, "four");
    let news = &stage.processes[new].news;
    assert!(
        !news.iter().any(|news| news.starts_with("closed")),
        "{news:?}"
    );
}

#[test]
fn after_a_resume_and_a_failover_the_new_leader_speaks_to_the_last_address() {
    let mut stage = Stage::new();
    let first = stage.connect(client_address(0), None);
    stage.ask(first, "one");
    let point = stage.kill_client(first);
    let resumed = stage.connect(client_address(1), point);
    stage.ask(resumed, "two");
    stage.kill_leader();
    stage.run_until(5 * SECOND, |stage| stage.leader().is_some());
    stage.run_until(100 * MILLISECOND, |stage| {
        let news = &stage.processes[resumed].news;
        news.last()
            .is_some_and(|news| news.starts_with("NewLeader"))
    });
    assert_eq!(stage.processes[resumed].client.counters().leader_losses, 0);
    stage.ask(resumed, "three");
}

#[test]
fn a_failover_costs_a_resumed_client_no_more_than_another() {
    let mut stage = Stage::new();
    let plain = stage.connect(client_address(0), None);
    let first = stage.connect(client_address(1), None);
    stage.ask(first, "one");
    stage.ask(plain, "one");
    let point = stage.kill_client(first);
    let resumed = stage.connect(client_address(2), point);
    stage.ask(resumed, "two");
    stage.kill_leader();
    let changes =
        |stage: &Stage, index: usize| stage.processes[index].client.counters().leader_changes;
    let of_plain = stage.run_until(5 * SECOND, |stage| changes(stage, plain) == 1);
    let more = stage.run_until(5 * SECOND, |stage| changes(stage, resumed) == 1);
    assert!(
        more < 5 * MILLISECOND,
        "{} ms where another client takes {}",
        (of_plain + more) / MILLISECOND,
        of_plain / MILLISECOND
    );
}

#[test]
fn an_idle_default_client_outlives_a_session_timeout_below_its_keepalive_interval() {
    let mut stage = Stage::with(|config| config.session_timeout_ns = 400 * MILLISECOND);
    let idle = stage.connect(client_address(0), None);
    stage.run(5 * SECOND);
    assert_eq!(
        stage.processes[idle].news.len(),
        1,
        "{:?}",
        stage.processes[idle].news
    );
    stage.ask(idle, "still here");
}

#[test]
fn a_delayed_request_of_the_old_process_takes_no_number_after_a_failover() {
    let mut stage = Stage::new();
    let (here, there) = (client_address(0), client_address(1));
    let old = stage.connect(here, None);
    stage.ask(old, "one");
    let point = stage.processes[old].client.resume_point();
    stage.kill_leader();
    stage.run_until(5 * SECOND, |stage| stage.leader().is_some());
    stage.run_until(5 * SECOND, |stage| {
        stage.processes[old].client.is_connected()
    });
    // A request to the new leader, on a stream that stands.
    let leader = stage.leader_address();
    let late = stage.now + 2 * SECOND;
    stage.network.clog(here, leader, late);
    stage.offer(old, "of the old process");
    stage.network.heal_link(here, leader);
    // What it wrote down is older than the failover.
    stage.kill_client(old);
    let new = stage.connect(there, point);
    let on_its_way = late + 10 * MICROSECOND - stage.now;
    stage.run(on_its_way);
    stage.offer(new, "of the new process");
    stage.run(SECOND);
    let answers: Vec<_> = stage.processes[new].answers.iter().collect();
    assert_eq!(answers, [&(2, "of the new process".to_owned())]);
}

#[test]
fn a_delayed_farewell_of_the_old_process_does_not_close_the_session_of_the_new_one() {
    let mut stage = Stage::new();
    let here = client_address(0);
    let old = stage.connect(here, None);
    stage.ask(old, "one");
    let point = stage.processes[old].client.resume_point();
    let leader = stage.leader_address();
    stage.network.clog(here, leader, stage.now + SECOND);
    let now = stage.now;
    stage.processes[old].client.close(now);
    stage.network.heal_link(here, leader);
    stage.kill_client(old);
    let new = stage.connect(here, point);
    stage.run(3 * SECOND);
    assert_eq!(
        stage.processes[new].news.len(),
        1,
        "{:?}",
        stage.processes[new].news
    );
    stage.ask(new, "two");
}

#[test]
fn a_process_that_died_before_it_wrote_anything_down_does_not_keep_its_successor_out() {
    let mut stage = Stage::new();
    let first = stage.connect(client_address(0), None);
    stage.ask(first, "one");
    let point = stage.kill_client(first);
    for successor in 1..4 {
        let index = stage.connect(client_address(successor), point);
        stage.ask(index, "another");
        stage.kill_client(index);
    }
}

#[test]
fn two_clients_with_identities_of_the_operating_system_are_two_sessions() {
    let mut stage = Stage::new();
    let sessions: Vec<_> = [0, 1]
        .map(|index| {
            let identity = ClientIdentity::draw(&mut randomness().unwrap());
            let config = stage.client_config();
            let client = stage.start_client_as(client_address(index), config, identity);
            stage.run_until(5 * SECOND, |stage| {
                stage.processes[client].client.is_connected()
            });
            stage.ask(client, "one");
            stage.processes[client].client.session_id()
        })
        .to_vec();
    assert_eq!(sessions, [Some(1), Some(2)]);
}

#[test]
fn a_client_that_names_another_cluster_is_told_so() {
    let mut stage = Stage::new();
    stage.run_until(5 * SECOND, |stage| stage.leader().is_some());
    let config = ClientConfig {
        cluster_id: 1,
        ..stage.client_config()
    };
    let identity = ClientIdentity::of_seed(1);
    let client = stage.start_client_as(client_address(0), config, identity);
    stage.run_until(SECOND, |stage| {
        stage.processes[client].has_ended("Rejected")
    });
    let detail = stage.processes[client].client.close_detail();
    assert!(detail.starts_with(b"the client names another cluster"));
}

#[test]
fn a_new_process_gets_the_answers_that_the_old_one_took_after_its_resume_point() {
    let mut stage = Stage::new();
    let old = stage.connect(client_address(0), None);
    stage.ask(old, "one");
    let point = stage.processes[old].client.resume_point();
    // The old process acknowledges these, and the leader writes that into the log.
    stage.ask(old, "two");
    stage.ask(old, "three");
    stage.run(5 * SECOND);
    stage.kill_client(old);
    let new = stage.connect(client_address(1), point);
    stage.run_until(SECOND, |stage| stage.processes[new].answers.len() == 2);
    // The next leader starts from what the new process has, too.
    let another = stage.connect(client_address(2), point);
    stage.kill_leader();
    stage.run_until(10 * SECOND, |stage| {
        stage.processes[another].answers.len() == 2
    });
    let answers = [(2, "two".to_owned()), (3, "three".to_owned())];
    assert_eq!(stage.processes[new].answers, answers);
    assert_eq!(stage.processes[another].answers, answers);
    stage.ask(another, "four");
}
