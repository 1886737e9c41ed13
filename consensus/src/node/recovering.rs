//! Cold start of a node's side of the disk: opens its directory, recovers its log, counts the
//! incarnation, and tells the consensus module and the membership what was found.

use std::cell::Cell;

use lockstep_archive::disk::{ColdFiles, Disk, DiskError};
use lockstep_archive::files::catalog::{Catalog, LOG_STREAM_ID};
use lockstep_archive::files::identity_file::IdentityFile;
use lockstep_archive::log::budget::DiskBudget;
use lockstep_archive::log::log_memory::{LeftLog, LogMemory};
use lockstep_archive::log::recorder::{Recorder, RecorderConfig};
use lockstep_archive::log::recovery::{
    Acknowledged, LogOrigin, RecoveredLog, RecoveryError, recover,
};
use lockstep_archive::log::segment::{SEGMENTS_MIN, SegmentTable};
use lockstep_client::cluster_id::cluster_id;
use lockstep_service::log_entry::EntryHeader;
use lockstep_transport::codec::encoded;
use lockstep_transport::log_buffer::frames;
use lockstep_transport::position::{Geometry, Position};
use lockstep_transport::prng::Prng;
use lockstep_transport::stable_hash::stable_hash;

use crate::directory::member_directory::Directory;
use crate::directory::spoiled_slots::{self, SpoiledSlots};
use crate::log::archive_agent::{ArchiveAgent, RecoveredArchive};
use crate::log::frame_meaning::meaning_within;
use crate::log::log_session_id::log_session_id;
use crate::log::logged_limits;
use crate::log::member_log::{FoundLog, MemberLog};
use crate::log::snapshot_store::SnapshotStore;
use crate::module::consensus_module::{ConsensusConfig, ConsensusModule, Recovered};
use crate::module::formation::FormationRecord;
use crate::module::member::TermBase;
use crate::module::membership::{Found, Membership};
use crate::node::birth::{self, Birth};
use crate::node::counters::CounterBlock;
use crate::node::forfeiture::{FoundBeside, forfeit};
use crate::node::log_memory;
use crate::node::snapshot_start::{Begun, FoundSnapshots};
use crate::node::start_error::StartError;
use crate::settings::cluster_limits::ClusterLimits;
use crate::settings::config::{ClusterConfig, NodeConfig, SyncMode};

/// A node's log and what consensus makes of it, recovered.
pub(super) struct OpenedStore<D> {
    pub(super) log: MemberLog,
    pub(super) archive: ArchiveAgent<D>,
    pub(super) module: ConsensusModule,
    pub(super) membership: Membership,
    pub(super) is_copy: bool,
    pub(super) spoiled: SpoiledSlots,
    /// From what it begins.
    pub(super) begun: Begun,
}

/// Whether the directory behind `disk` may become or is this cluster's, before anything is
/// written: its catalog is the one expected, or there is none and room for the first segments.
///
/// # Errors
/// See [`StartError`].
pub(crate) fn check_directory(
    cluster: &ClusterConfig,
    node: &NodeConfig,
    disk: &mut impl ColdFiles,
) -> Result<(), StartError> {
    let geometry = Geometry::new(0, cluster.term_length).ok_or(RecoveryError::Geometry)?;
    let catalog = expected_catalog(cluster, geometry);
    let found = Directory::inspect(disk, &catalog);
    // Whose directory it is comes first: a foreign one differs in the rest as a matter of course.
    let has_catalog = !matches!(found, Ok(None));
    birth::inspect(disk, cluster, node, has_catalog)?;
    if found?.is_none() {
        let needed = SEGMENTS_MIN * cluster.segment_length as u64;
        DiskBudget::check(needed, disk.free_bytes()?, node.disk_budget_bytes)?;
    }
    Ok(())
}

/// Opens the directory, recovers the log and counts the incarnation. The archive counts for tools
/// in `counters`.
pub(super) fn open_store<D: Disk>(
    cluster: &ClusterConfig,
    node: &NodeConfig,
    geometry: Geometry,
    (mut disk, memory, counters): (D, Option<LogMemory>, CounterBlock),
    randomness: &mut Prng,
) -> Result<OpenedStore<D>, StartError> {
    let catalog = expected_catalog(cluster, geometry);
    let files = disk.files();
    check_directory(cluster, node, files)?;
    // Before they are written again.
    let spoiled = spoiled_slots::find(files)?;
    let mut directory = Directory::open_or_create(files, &catalog)?;
    let before = log_memory::owner_before(files, &directory, geometry)?;
    let left = before.and_then(|owner| memory.as_ref()?.left(&owner));
    let mut beside = found_beside(&directory, files.boot_id(), left.is_some());
    let index = directory.snapshot_index.durable();
    let snapshots = FoundSnapshots::check(files, cluster, index)?;
    beside.mark = beside.mark_with(snapshots.evidence());
    let known = (&beside, &snapshots, node.start_scan_bytes);
    let (recovered, begun, origin) = recover_from(files, left.as_ref(), known, &catalog)?;
    let logged = logged_limits::read(files, &recovered)?;
    logged_limits::check(logged, &ClusterLimits::of(cluster))?;
    // A directory that cannot answer for its promises is another one before any of the files
    // that held them is written again.
    let forfeit = forfeit(&beside);
    let birth = Birth::open(files, cluster, node, forfeit, randomness)?;
    let memory = log_memory::for_this_life(files, memory, node.sync);
    // What may have been acknowledged is known for good before anything is said.
    let is_unsynced = node.sync == SyncMode::None && memory.is_none();
    let floor = commit_floor(recovered.commit.max(begun.position()), &beside);
    recovered.raise_mark(files, &mut directory.ack_mark, (floor, is_unsynced))?;
    begun.keep(files, &mut directory.snapshot_index, recovered.start)?;
    let incarnation = directory.node_state.begin_incarnation(files)?;
    let life = (birth.file.identity().directory, incarnation);
    let shape = (geometry, cluster.log_mtu);
    let mark = &mut directory.ack_mark;
    let (log, cursors) = log_memory::begin(files, (memory, life), shape, &recovered, mark)?;
    let log_time = last_log_time(files, &recovered, &origin)?.max(begun.log_time());
    let found = found(&directory, &recovered, incarnation);
    let life = (incarnation, found_in(&found, cluster.log_mtu));
    let membership = birth.membership(cluster, node, life, randomness)?;
    let tail_term = found.terms.last().copied();
    let mut module = consensus_module(cluster, node, (found, begun.position()));
    // Until it is known what clients are owed. Where nobody else has it, nobody waits for that.
    let lacking_below = directory.snapshot_index.durable().lacking_below();
    module.set_lacks_answers(lacking_below > 0 && cluster.members.len() > 1);
    let ends = (recovered.end, recovered.stale_end);
    let recorder = open_recorder(files, (node, geometry), recovered.segments, ends)?;
    let log = MemberLog::new(FoundLog {
        buffer: log,
        chain: recovered.chain,
        log_time,
        tail_term,
        cursors,
    });
    let recovered = recovered_archive(files, recorder, recovered.taken, (directory, birth.file))?;
    Ok(OpenedStore {
        archive: ArchiveAgent::new(disk, recovered, &log, counters),
        log,
        module,
        membership,
        is_copy: birth.is_copy,
        spoiled,
        begun,
    })
}

/// What the agent of the archive owns from now on, of the directory's small files too.
fn recovered_archive(
    files: &mut impl ColdFiles,
    recorder: Recorder,
    taken: u64,
    (directory, identity_file): (Directory, IdentityFile),
) -> Result<RecoveredArchive, StartError> {
    Ok(RecoveredArchive {
        recorder,
        taken,
        snapshots: SnapshotStore::open(files, directory.snapshot_index.durable())?,
        node_state: directory.node_state,
        identity_file,
        ack_mark: directory.ack_mark,
        snapshot_index: directory.snapshot_index,
    })
}

/// What a start has found, for the consensus module.
fn found(directory: &Directory, recovered: &RecoveredLog, incarnation: u64) -> Recovered {
    let state = directory.node_state.state();
    Recovered {
        term: state.leadership_term,
        vote: state.vote,
        incarnation,
        terms: term_bases(recovered),
        durable: recovered.end,
        lost: recovered.lost,
        commit_floor: directory.ack_mark.record().commit,
    }
}

/// Recovers the log, and says from which snapshot a start goes on: one that the log bears out where
/// all of the log is looked at, else the newest.
fn recover_from(
    disk: &mut impl ColdFiles,
    left: Option<&LeftLog<'_>>,
    (beside, snapshots, scan_max): (&FoundBeside, &FoundSnapshots, u64),
    catalog: &Catalog,
) -> Result<(RecoveredLog, Begun, LogOrigin), StartError> {
    let mut broken_at = None;
    if let Some(origin) = snapshots.whole_origin(scan_max) {
        let recovered = recover_log(disk, left, beside, (catalog, &origin))?;
        if let Some(begun) = snapshots.borne_out(recovered.end, &recovered.terms) {
            return Ok((recovered, begun, origin));
        }
        broken_at = Some(recovered.end);
    }
    let (mut begun, mut origin) = snapshots.newest().ok_or_else(|| snapshots.none_usable())?;
    // What is rotten below it is none of the log: nobody is to be given it, and others have it.
    origin.lacks_below |= broken_at.is_some();
    let recovered = recover_log(disk, left, beside, (catalog, &origin))?;
    let to = recovered.start.position;
    let broken_at = broken_at.filter(|at| *at < to);
    begun.missing = recovered
        .missing_from
        .map(|from| (broken_at.unwrap_or(from), to));
    Ok((recovered, begun, origin))
}

/// Recovers the log behind `disk` from its origin on, unless it is of another cluster than the
/// identity file says.
fn recover_log(
    disk: &mut impl ColdFiles,
    left: Option<&LeftLog<'_>>,
    beside: &FoundBeside,
    shape: (&Catalog, &LogOrigin),
) -> Result<RecoveredLog, StartError> {
    let expected = birth::formed_record(disk)?;
    let other = Cell::new(FormationRecord::default());
    let meaning_of = |frame: &[u8]| {
        let (meaning, foreign) = meaning_within(expected, frame);
        if let Some(record) = foreign {
            other.set(record);
        }
        meaning
    };
    let known = Acknowledged {
        mark: beside.mark,
        is_mark_lost: beside.lost.ack_mark,
        term_max: beside.leadership_term,
    };
    recover(disk, &known, left, shape, meaning_of).map_err(|error| match error {
        RecoveryError::Foreign { position } => {
            birth::other_log(position, &other.get(), expected.as_ref()).into()
        }
        error => error.into(),
    })
}

/// What the start found, for those who remember what was promised in the directory's name: what
/// it acknowledged and has gone it answers for all the same, with all that zeros at the end of a
/// last frame, of at most `mtu` bytes, may hide.
fn found_in(recovered: &Recovered, mtu: usize) -> Found {
    let log_term = TermBase::term_of(recovered.terms.last().copied());
    let lost = recovered.lost.map(|lost| {
        let hidden = if lost.is_open { mtu } else { 0 };
        (lost.term, lost.position + hidden as Position)
    });
    let (log_term, end) = lost
        .max(Some((log_term, recovered.durable)))
        .unwrap_or_default();
    // A term of which only the log tells was voted in by others, see `ConsensusModule::new`.
    let is_of_log = log_term > recovered.term;
    Found {
        term: recovered.term.max(log_term),
        vote: recovered.vote.filter(|_| !is_of_log),
        log_term,
        end,
    }
}

/// What was found beside the log; `is_left`: its newest part in memory, too.
fn found_beside(directory: &Directory, boot_id: Option<u128>, is_left: bool) -> FoundBeside {
    FoundBeside {
        lost: directory.lost,
        leadership_term: directory.node_state.state().leadership_term,
        mark: directory.ack_mark.record(),
        boot_id,
        is_left,
    }
}

/// How far the log that was found is known to be committed. Where some of it may have gone without
/// a trace, what the mark says is true of another log: only what was `shown` counts, by the log's
/// own words and by the snapshot that it is gone on from. That holds for good, so the mark is to
/// say no more from now on.
fn commit_floor(shown: Position, found: &FoundBeside) -> Position {
    match found.gone_without_trace() {
        Some(_) => shown,
        None => shown.max(found.mark.commit),
    }
}

/// What the catalog of a member of `cluster` says.
fn expected_catalog(cluster: &ClusterConfig, geometry: Geometry) -> Catalog {
    Catalog {
        cluster: u128::from(cluster_id(&cluster.name)),
        session_id: log_session_id(&cluster.name),
        stream_id: LOG_STREAM_ID,
        initial_term_id: geometry.initial_term_id(),
        term_length: cluster.term_length,
        segment_length: cluster.segment_length,
        mtu: cluster.log_mtu,
    }
}

fn consensus_module(
    cluster: &ClusterConfig,
    node: &NodeConfig,
    (recovered, begun): (Recovered, Position),
) -> ConsensusModule {
    let config = ConsensusConfig {
        member: node.member,
        members: cluster.members.len(),
        heartbeat_interval_ns: node.heartbeat_interval_ns,
        election_timeout_ns: node.election_timeout_ns,
    };
    let seed = election_seed(node, recovered.incarnation);
    let mut module = ConsensusModule::new(config, recovered, seed);
    module.begin_at(begun);
    module
}

/// Seed of a member's election timeouts. Hashed: were the parts only combined by xor, seeds that
/// count up with the members could make all timeouts equal, and every vote a split one.
fn election_seed(node: &NodeConfig, incarnation: u64) -> u64 {
    let bytes: [u8; 24] = encoded(|fields| {
        fields.u64(node.seed).u64(incarnation);
        fields.u64(node.member.into());
    });
    stable_hash(&bytes)
}

fn open_recorder(
    disk: &mut impl ColdFiles,
    (node, geometry): (&NodeConfig, Geometry),
    segments: SegmentTable,
    (end, stale_end): (Position, Position),
) -> Result<Recorder, DiskError> {
    let config = RecorderConfig {
        geometry,
        sync: node.sync,
        budget: DiskBudget::new(node.disk_budget_bytes),
    };
    Recorder::open(disk, config, segments, end, stale_end)
}

fn term_bases(recovered: &RecoveredLog) -> Vec<TermBase> {
    recovered
        .terms
        .iter()
        .map(|found| TermBase {
            term: found.term,
            base: found.base,
        })
        .collect()
}

/// Log time of the last entry that begins in the log: read back from the newest checkpoint of
/// the chain that has an entry after it, or as the `origin` says where there is none above that.
fn last_log_time(
    disk: &mut impl ColdFiles,
    recovered: &RecoveredLog,
    origin: &LogOrigin,
) -> Result<i64, DiskError> {
    let mut upper = recovered.end;
    while upper > origin.position() {
        let lower = recovered
            .chain
            .checkpoint_at_or_below(upper - 1)
            .map_or(0, |checkpoint| checkpoint.position);
        if let Some(log_time) = log_time_between(disk, recovered, lower, upper)? {
            return Ok(log_time);
        }
        upper = lower;
    }
    Ok(origin.log_time)
}

fn log_time_between(
    disk: &mut impl ColdFiles,
    recovered: &RecoveredLog,
    lower: Position,
    upper: Position,
) -> Result<Option<i64>, DiskError> {
    let mut log_time = None;
    let mut position = lower;
    while position < upper {
        let segments = &recovered.segments;
        let Some((file, offset)) = segments.locate(position) else {
            break;
        };
        let wanted = (upper - position) as usize;
        let length = lockstep_archive::log::segment::length_in_segment(
            position,
            wanted,
            segments.segment_length(),
        );
        let mut bytes = vec![0; length];
        disk.read(file, offset, &mut bytes)?;
        for frame in frames(&bytes) {
            if frame.is_begin()
                && !frame.is_padding()
                && let Some(header) = EntryHeader::decode(frame.payload())
            {
                log_time = Some(header.log_time);
            }
        }
        position += length as Position;
    }
    Ok(log_time)
}

#[cfg(test)]
mod tests {
    use lockstep_archive::files::ack_record::AckRecord;
    use lockstep_transport::ids::LeadershipTermId;

    use super::*;
    use crate::directory::member_directory::Lost;

    #[test]
    fn members_whose_seeds_count_up_do_not_share_their_timeouts() {
        for first in 0..64 {
            let seed = |member: u8| {
                let node = NodeConfig {
                    member,
                    seed: first + u64::from(member),
                    ..NodeConfig::default()
                };
                election_seed(&node, 1)
            };
            assert!(seed(0) != seed(1) && seed(1) != seed(2) && seed(0) != seed(2));
        }
    }

    #[test]
    fn where_log_has_gone_without_a_trace_only_the_log_says_what_was_committed() {
        let mark = AckRecord {
            commit: 640,
            boot_id: Some(1),
            ..AckRecord::default()
        };
        let floor = |mark, boot_id, is_left, lost| {
            let beside = FoundBeside {
                lost,
                leadership_term: LeadershipTermId::NONE,
                mark,
                boot_id,
                is_left,
            };
            commit_floor(96, &beside)
        };
        let unsynced = AckRecord {
            is_unsynced: true,
            ..mark
        };
        let in_memory = AckRecord {
            is_in_memory: true,
            ..unsynced
        };
        // What else is lost, and with it the voice, changes nothing of that.
        for node_state in [false, true] {
            let lost = Lost {
                node_state,
                ..Lost::default()
            };
            assert_eq!(floor(mark, Some(2), false, lost), 640);
            assert_eq!(floor(unsynced, Some(1), false, lost), 640);
            assert_eq!(floor(unsynced, Some(2), false, lost), 96);
            assert_eq!(floor(in_memory, Some(1), true, lost), 640);
            assert_eq!(floor(in_memory, Some(1), false, lost), 96);
        }
        assert_eq!(
            floor(AckRecord::default(), Some(1), false, Lost::default()),
            96
        );
    }
}
