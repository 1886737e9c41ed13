//! Slow-service injection: a service that takes longer for each message than it does.
//!
//! Shell: computing reads the clock until the time is over, a pause sleeps. Only wrapped around
//! a service whose node was told so: what it costs others is nothing.
#![allow(clippy::disallowed_methods, reason = "shell: sleeps")]

use std::hint::spin_loop;
use std::time::Duration;

use lockstep_service::cluster::{ClientSession, Cluster};
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::snapshot::{
    ServiceSnapshot, ServiceSnapshotReader, SnapshotError, SnapshotProgress,
};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::media::monotonic_now;
use lockstep_transport::time::Nanos;

use crate::settings::config::NodeConfig;

/// A service that may move to the node's thread.
type BoxedService = Box<dyn ClusteredService + Send>;

/// See the module.
struct SlowService {
    service: BoxedService,
    time_ns: Nanos,
    pause: Duration,
}

/// `service`, as slow as `node` is told to be.
pub(crate) fn slowed(service: BoxedService, node: &NodeConfig) -> BoxedService {
    let (time_ns, pause_ns) = (node.service_time_ns, node.service_pause_ns);
    if time_ns == 0 && pause_ns == 0 {
        return service;
    }
    Box::new(SlowService {
        service,
        time_ns,
        pause: Duration::from_nanos(pause_ns as u64),
    })
}

impl SlowService {
    fn spend(&self) {
        if self.time_ns > 0 {
            let until = monotonic_now() + self.time_ns;
            while monotonic_now() < until {
                spin_loop();
            }
        }
        if !self.pause.is_zero() {
            std::thread::sleep(self.pause);
        }
    }
}

impl ClusteredService for SlowService {
    fn on_session_open(&mut self, cluster: &mut Cluster<'_>, session: ClientSession) {
        self.service.on_session_open(cluster, session);
    }

    fn on_session_close(&mut self, cluster: &mut Cluster<'_>, session: ClientSession) {
        self.service.on_session_close(cluster, session);
    }

    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClientSession,
        message: &[u8],
    ) {
        self.spend();
        self.service.on_session_message(cluster, session, message);
    }

    fn on_new_leadership_term(&mut self, leadership_term_id: LeadershipTermId, log_time: i64) {
        let service = &mut self.service;
        service.on_new_leadership_term(leadership_term_id, log_time);
    }

    fn state_hash(&self) -> u64 {
        self.service.state_hash()
    }

    fn describe(&self) -> String {
        self.service.describe()
    }

    fn takes_snapshots(&self) -> bool {
        self.service.takes_snapshots()
    }

    fn snapshot_step(
        &mut self,
        step: u64,
        snapshot: &mut ServiceSnapshot<'_>,
    ) -> Result<SnapshotProgress, SnapshotError> {
        self.service.snapshot_step(step, snapshot)
    }

    fn load_snapshot(
        &mut self,
        snapshot: &mut ServiceSnapshotReader<'_, '_>,
    ) -> Result<(), SnapshotError> {
        self.service.load_snapshot(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use lockstep_service::samples::echo::Echo;
    use lockstep_service::snapshot::{SnapshotReader, SnapshotWriter};

    use super::*;

    fn slow(service_time_ns: Nanos, service_pause_ns: Nanos) -> SlowService {
        SlowService {
            service: Box::new(Echo::new()),
            time_ns: service_time_ns,
            pause: Duration::from_nanos(service_pause_ns as u64),
        }
    }

    #[test]
    fn a_message_takes_as_long_as_it_is_told_and_what_the_service_says_stays() {
        for service in [slow(1_000_000, 0), slow(0, 1_000_000)] {
            let began = monotonic_now();
            service.spend();
            assert!(monotonic_now() - began >= 1_000_000);
            assert_eq!(service.state_hash(), Echo::new().state_hash());
        }
    }

    #[test]
    fn a_slow_service_gives_its_state_away_and_takes_it_back() {
        let mut service = slow(0, 0);
        assert!(service.takes_snapshots());
        let mut writer = SnapshotWriter::new();
        let written = service.snapshot_step(0, &mut ServiceSnapshot::new(&mut writer));
        assert_eq!(written, Ok(SnapshotProgress::Done));
        writer.finish().unwrap();
        let mut source = writer.pending();
        let mut reader = SnapshotReader::open(&mut source).unwrap();
        let loaded = service.load_snapshot(&mut ServiceSnapshotReader::new(&mut reader));
        assert_eq!(loaded, Ok(()));
        assert!(reader.finish().is_ok());
    }
}
