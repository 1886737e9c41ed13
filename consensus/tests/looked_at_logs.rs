//! What a look at a member's directory says, beside what the member's next start finds: whole,
//! torn, rotten, forgetful, in memory, and while the member runs. Nothing is changed by it.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io;
use std::ops::ControlFlow;

use lockstep_archive::files::ack_mark::ACK_MARK_FILE;
use lockstep_archive::files::catalog::CATALOG_FILE;
use lockstep_archive::files::identity_file::IDENTITY_FILE;
use lockstep_archive::files::slot_file::{RECORD_LENGTH, SlotFile};
use lockstep_archive::log::log_memory::LogMemoryOwner;
use lockstep_archive::sim::SimDisk;
use lockstep_consensus::directory::node_state::NODE_STATE_FILE;
use lockstep_consensus::module::membership::{Forfeit, Standing as Counted};
use lockstep_consensus::node::offline::directory_look::{OfflineError, Standing};
use lockstep_consensus::node::offline::listing::{Listed, Listing, Wanted};
use lockstep_consensus::node::offline::log_source::{FoundMemory, LogSource};
use lockstep_consensus::node::offline::newest_entries::NewestEntries;
use lockstep_consensus::node::offline::verification::{LogVerdict, Verification};
use lockstep_consensus::notice::NodeNotice;
use lockstep_consensus::settings::config::SyncMode;
use lockstep_consensus::sim::scenario::{Scenario, SimCluster};
use lockstep_service::log_entry::EntryKind;
use lockstep_service::samples::echo::Echo;
use lockstep_transport::ids::SessionId;
use lockstep_transport::position::Position;
use lockstep_transport::time::{MICROSECOND, MILLISECOND, SECOND};

type Cluster = SimCluster<Echo>;

/// Lets `look` look at the directory of a member, which is not changed by it.
fn with_source<T>(
    cluster: &Cluster,
    id: usize,
    look: impl FnOnce(&mut LogSource<'_, SimDisk>) -> T,
) -> T {
    let mut disk = cluster.disk(id);
    let before = (disk.cold_operations(), disk.backup());
    let is_up = cluster.is_up(id);
    if !is_up {
        // Its host may have lost power, and is up again.
        disk.restart();
    }
    let term_length = cluster.setup.cluster.term_length;
    let mut read_memory = |_: &LogMemoryOwner| match is_up {
        true => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
        false => Ok(cluster.log_buffer(id).open(SyncMode::Data, term_length)),
    };
    let found = look(&mut LogSource {
        disk: &mut disk,
        is_in_use: &|| is_up,
        read_memory: &mut read_memory,
    });
    assert!(
        (disk.cold_operations(), disk.backup()) == before,
        "it was changed"
    );
    found
}

fn try_verify(cluster: &Cluster, id: usize) -> Result<Verification, OfflineError> {
    with_source(cluster, id, Verification::of)
}

fn verify(cluster: &Cluster, id: usize) -> Verification {
    try_verify(cluster, id).unwrap()
}

/// The positions of what is listed; of damage, where it ends.
fn list(
    cluster: &Cluster,
    id: usize,
    wanted: &Wanted,
) -> (Vec<Position>, Vec<(Position, Position)>) {
    let (mut entries, mut damaged) = (Vec::new(), Vec::new());
    with_source(cluster, id, |source| {
        let mut listing = Listing::open(source).unwrap();
        let listed = listing.list(wanted, |listed| {
            match listed {
                Listed::Entry(entry, _) => entries.push(entry.position),
                Listed::Damaged { position, end, .. } => damaged.push((*position, *end)),
                Listed::Unknown { position, .. } | Listed::Gone { position, .. } => {
                    panic!("neither entry nor damage at {position}")
                }
            }
            ControlFlow::Continue(())
        });
        listed.unwrap();
    });
    (entries, damaged)
}

/// Three members with some terms of log, of which the first leads; the disks have followed.
fn serving(sync: SyncMode) -> Cluster {
    let mut cluster = Scenario::echo().sync(sync).led_by(0);
    cluster.answer(50);
    cluster.run(SECOND);
    cluster
}

#[test]
fn a_whole_log_is_whole_while_its_node_runs_and_after_any_end_of_it() {
    let mut cluster = serving(SyncMode::Data);
    let found = verify(&cluster, 1);
    assert_eq!(found.verdict, LogVerdict::Whole);
    assert!(found.is_running && !found.is_bad());
    assert_eq!(found.directory.standing, Standing::Voter);
    assert_eq!(found.log.end, cluster.durable(1));
    let requests = found
        .entries
        .kinds()
        .find(|(kind, _)| *kind == EntryKind::Request);
    assert_eq!(requests, Some((EntryKind::Request, 50)));
    let (entries, damaged) = list(&cluster, 1, &Wanted::ALL);
    assert_eq!(entries.len() as u64, found.entries.total());
    assert!(damaged.is_empty());
    cluster.member(1).kill();
    let killed = verify(&cluster, 1);
    assert_eq!((killed.log, killed.verdict), (found.log, LogVerdict::Whole));
    assert!(!killed.is_running);
    cluster.member(2).lose_power();
    assert!(!verify(&cluster, 2).is_bad());
}

#[test]
fn a_node_under_load_is_found_whole_at_every_moment_though_its_tail_moves() {
    for sync in [SyncMode::Data, SyncMode::None] {
        let mut cluster = serving(sync);
        for round in 0..60 {
            for _ in 0..4 {
                cluster.offer(0, &[7; 900]);
            }
            cluster.run(70 * MICROSECOND + round);
            for id in 0..3 {
                let found = verify(&cluster, id);
                assert_eq!(
                    found.verdict,
                    LogVerdict::Whole,
                    "{sync} round {round} member {id}"
                );
                assert!(!found.is_bad());
                let (_, damaged) = list(&cluster, id, &Wanted::ALL);
                assert_eq!(damaged, []);
            }
        }
    }
}

#[test]
fn a_node_whose_lock_is_not_seen_from_here_is_known_by_its_mark() {
    let mut cluster = serving(SyncMode::None);
    let mut disk = cluster.disk(1);
    let mut looks = 0;
    let found = Verification::of(&mut LogSource {
        disk: &mut disk,
        is_in_use: &|| false,
        read_memory: &mut |_| {
            looks += 1;
            if looks == 1 {
                cluster.answer(20);
                cluster.run(2 * SECOND);
            }
            Err(io::Error::from(io::ErrorKind::PermissionDenied))
        },
    });
    let found = found.unwrap();
    assert_eq!((found.is_running, found.verdict), (true, LogVerdict::Whole));
    assert_eq!(looks, 2);
}

#[test]
fn rot_is_found_where_it_is_while_the_node_runs_and_the_next_start_says_the_same() {
    let mut cluster = serving(SyncMode::Data);
    let whole = list(&cluster, 1, &Wanted::ALL).0;
    cluster.member(1).rot(5_000);
    let running = verify(&cluster, 1);
    let LogVerdict::Damaged { place, end, lost } = &running.verdict else {
        panic!("{:?}", running.verdict);
    };
    let at = running.log.end;
    assert!(at <= 5_000 && *end > 5_000 && *end < 7_000);
    assert_eq!(*place, ("0-0.rec".to_owned(), at as u64));
    assert!(running.is_bad() && lost.position >= cluster.durable(1));
    let (entries, damaged) = list(&cluster, 1, &Wanted::ALL);
    assert_eq!(damaged, [(at, *end)]);
    let left: Vec<Position> = whole.into_iter().filter(|p| *p < at || p >= end).collect();
    assert_eq!(entries, left);
    cluster.member(1).kill();
    let killed = verify(&cluster, 1);
    assert_eq!(killed.log.end, at);
    // As long as nobody repairs it.
    cluster.members(&[0, 2]).kill();
    cluster.member(1).start().expect_damaged(true);
    assert_eq!(cluster.durable(1), killed.log.end);
    cluster.run(100 * MILLISECOND);
    let LogVerdict::Damaged { lost, .. } = killed.verdict else {
        panic!("{:?}", killed.verdict);
    };
    let words = format!(
        "the log in data ends at {at}, before what this member acknowledged ({})",
        lost.position
    );
    cluster
        .member(1)
        .expect_line(NodeNotice::LogDamaged, &words);
}

#[test]
fn a_torn_tail_is_harmless_and_an_end_that_has_gone_is_not() {
    let mut cluster = serving(SyncMode::Data);
    cluster.member(1).lose_power().tear_tail();
    let torn = verify(&cluster, 1);
    assert!(matches!(
        torn.verdict,
        LogVerdict::TornTail { length: 1..=4096 }
    ));
    assert!(!torn.is_bad());
    assert!(list(&cluster, 1, &Wanted::ALL).1.is_empty());
    cluster.member(1).start().expect_damaged(false);
    assert_eq!(cluster.durable(1), torn.log.end);
    cluster.member(2).kill();
    let segments = verify(&cluster, 2).segments;
    for segment in segments {
        cluster.member(2).lose_segment(segment.position);
    }
    let gone = verify(&cluster, 2);
    assert!(
        matches!(gone.verdict, LogVerdict::Lost(_)),
        "{:?}",
        gone.verdict
    );
    assert_eq!((gone.log.end, gone.is_bad()), (0, true));
}

#[test]
fn what_lies_only_in_the_log_buffer_is_said_and_shown_and_its_loss_is_foretold() {
    let mut cluster = serving(SyncMode::None);
    cluster.everybody().stall_disk(10 * SECOND);
    cluster.answer(30);
    cluster.everybody().kill();
    let found = verify(&cluster, 1);
    assert_eq!(found.verdict, LogVerdict::Whole);
    assert!(matches!(found.memory, FoundMemory::There(..)));
    assert!(found.log.taken > 0 && !found.is_bad());
    let (entries, _) = list(&cluster, 1, &Wanted::ALL);
    assert_eq!(entries.len() as u64, found.entries.total());
    cluster.member(1).start();
    assert_eq!(cluster.durable(1), found.log.end);
    cluster.member(2).lose_log_buffer();
    let lost = verify(&cluster, 2);
    assert!(matches!(lost.memory, FoundMemory::Gone));
    assert_eq!(lost.verdict, LogVerdict::NotKnown);
    assert_eq!(
        (lost.forfeit, lost.is_bad()),
        (Some(Forfeit::LogMemory), true)
    );
    cluster.member(2).start().expect_standing(Counted::Learner);
    cluster.member(2).kill();
    let standing = verify(&cluster, 2).directory.standing;
    assert_eq!(standing, Standing::Learner(Some(Forfeit::LogMemory)));
}

#[test]
fn what_is_wrong_with_the_small_files_is_named_and_what_cannot_be_read_refused() {
    let mut cluster = serving(SyncMode::Data);
    cluster.member(1).kill();
    for (file, slot) in [
        (ACK_MARK_FILE.name, 0),
        (IDENTITY_FILE, 1),
        (CATALOG_FILE, 0),
    ] {
        cluster.member(1).rot_slot(file, slot);
        let found = verify(&cluster, 1);
        assert_eq!(found.directory.spoiled(), [file]);
        assert!(!found.is_bad());
        cluster.member(1).start();
        cluster.run(SECOND);
        cluster.member(1).kill();
    }
    let old = cluster.old_state(1);
    for (file, forfeit) in [
        (ACK_MARK_FILE.name, Forfeit::AckMark),
        (NODE_STATE_FILE.name, Forfeit::NodeState),
    ] {
        cluster.member(1).put_back(&old).lose(file);
        let found = verify(&cluster, 1);
        assert_eq!(found.directory.lost(), [file]);
        assert_eq!((found.forfeit, found.is_bad()), (Some(forfeit), true));
    }
    cluster.member(1).put_back(&old).lose(IDENTITY_FILE);
    let found = verify(&cluster, 1);
    assert_eq!(
        (found.directory.standing, found.is_bad()),
        (Standing::Unknown, true)
    );
    cluster.member(1).put_back(&old).rot_file(CATALOG_FILE);
    let refused = try_verify(&cluster, 1).unwrap_err();
    assert_eq!(refused, OfflineError::Catalog);
    cluster.member(1).put_back(&old);
    let record = [9; RECORD_LENGTH];
    SlotFile::create(&mut cluster.disk(1), &NODE_STATE_FILE, &record).unwrap();
    let refused = try_verify(&cluster, 1).unwrap_err().to_string();
    assert!(
        refused.starts_with("node-state.dat was written by another version"),
        "{refused}"
    );
    cluster.member(1).wipe();
    assert_eq!(try_verify(&cluster, 1).unwrap_err(), OfflineError::NoNode);
    // A copy is whole, and no voter.
    cluster.member(2).kill().copy_onto_itself();
    let copy = verify(&cluster, 2);
    assert_eq!(
        (copy.directory.standing, copy.is_bad()),
        (Standing::Copy, false)
    );
}

#[test]
fn a_log_of_another_cluster_than_the_identity_file_is_named_with_its_entry() {
    let mut cluster = serving(SyncMode::Data);
    let mut others = Scenario::echo().members(5).led_by(0);
    others.answer(1);
    cluster.member(1).kill();
    let theirs = others.disk(1).contents(IDENTITY_FILE).unwrap();
    assert!(cluster.disk(1).overwrite(IDENTITY_FILE, 0, &theirs));
    let found = verify(&cluster, 1);
    assert_eq!(found.verdict, LogVerdict::Foreign { position: 0 });
    assert!(found.is_bad());
    let refused = cluster.member(1).try_start().unwrap_err().to_string();
    assert!(refused.contains("the log's entry at 0 says"), "{refused}");
}

/// Three members with a log of several terms.
fn of_small_terms() -> Cluster {
    let mut cluster = Scenario::echo()
        .cluster(|c| {
            c.term_length = 64 * 1024;
            c.segment_length = 64 * 1024;
            c.message_max = 4096;
        })
        .led_by(0);
    for _ in 0..200 {
        cluster.ask(0, &[5; 1_500]);
    }
    cluster.run(SECOND);
    cluster
}

#[test]
fn entries_are_found_from_any_position_on() {
    let cluster = of_small_terms();
    let all = list(&cluster, 0, &Wanted::ALL).0;
    let end = verify(&cluster, 0).log.end;
    assert!(end > 6 * 64 * 1024);
    for from in (0..end).step_by(7_777) {
        let to = from + 20_000;
        let some = list(
            &cluster,
            0,
            &Wanted {
                from,
                to,
                ..Wanted::ALL
            },
        )
        .0;
        let expected: Vec<Position> = all
            .iter()
            .copied()
            .filter(|at| (from..to).contains(at))
            .collect();
        assert_eq!(some, expected, "{from}");
    }
}

#[test]
fn entries_are_found_by_kind_by_session_and_from_the_end() {
    let cluster = of_small_terms();
    let end = verify(&cluster, 0).log.end;
    let kind = Some(EntryKind::Request);
    let requests = list(
        &cluster,
        0,
        &Wanted {
            kind,
            ..Wanted::ALL
        },
    )
    .0;
    assert_eq!(requests.len(), 200);
    let session = Some(SessionId::new(1));
    let of_session = list(
        &cluster,
        0,
        &Wanted {
            kind,
            session,
            ..Wanted::ALL
        },
    )
    .0;
    assert_eq!(of_session, requests);
    let session = Some(SessionId::new(2));
    assert!(
        list(
            &cluster,
            0,
            &Wanted {
                session,
                ..Wanted::ALL
            }
        )
        .0
        .is_empty()
    );
    for count in [0, 1, 10, 150, 200, 1000] {
        let wanted = Wanted {
            kind,
            ..Wanted::ALL
        };
        let newest = with_source(&cluster, 0, |source| {
            let mut listing = Listing::open(source).unwrap();
            assert_eq!(listing.end().unwrap(), end);
            NewestEntries::find(&mut listing, &wanted, count).unwrap()
        });
        let wanted = Wanted {
            from: newest.from,
            to: newest.to,
            ..wanted
        };
        let found = list(&cluster, 0, &wanted).0;
        let found = &found[newest.skipped as usize..];
        let first = requests.len() - requests.len().min(count as usize);
        assert_eq!(found, &requests[first..], "{count}");
    }
}
