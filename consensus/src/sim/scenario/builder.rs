//! What a scenario's cluster is made of, and how it begins.

use lockstep_client::config::ClientConfig;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::samples::echo::Echo;

use super::SimCluster;
use super::boot::endpoints;
use super::setup::{Pace, Setup};
use crate::settings::config::{ClusterConfig, NodeConfig, ResponsesMode, SyncMode};

/// A cluster that has not begun.
pub struct Scenario<S> {
    setup: Setup,
    service: Box<dyn Fn(usize) -> S>,
    clients: usize,
    change_client: Box<dyn Fn(&mut ClientConfig)>,
}

impl<S> core::fmt::Debug for Scenario<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut shown = f.debug_struct("Scenario");
        shown.field("setup", &self.setup);
        shown.field("clients", &self.clients);
        shown.finish_non_exhaustive()
    }
}

impl Scenario<Echo> {
    /// Of a service that answers each request with itself.
    #[must_use]
    pub fn echo() -> Self {
        Self::of(|_| Echo::new())
    }
}

impl<S: ClusteredService> Scenario<S> {
    /// Three members and one client; `service` makes the service of a member, each time that it
    /// starts.
    #[must_use]
    pub fn of(service: impl Fn(usize) -> S + 'static) -> Self {
        Self {
            setup: Setup::small(),
            service: Box::new(service),
            clients: 1,
            change_client: Box::new(|_| {}),
        }
    }

    /// So many members.
    #[must_use]
    pub fn members(mut self, count: u8) -> Self {
        self.setup.cluster.members = (0..count).map(endpoints).collect();
        self
    }

    /// So many clients are connected when it begins.
    #[must_use]
    pub const fn clients(mut self, count: usize) -> Self {
        self.clients = count;
        self
    }

    /// Changes the configuration of those clients.
    #[must_use]
    pub fn client(mut self, change: impl Fn(&mut ClientConfig) + 'static) -> Self {
        self.change_client = Box::new(change);
        self
    }

    /// How responses leave.
    #[must_use]
    pub const fn responses(mut self, mode: ResponsesMode) -> Self {
        self.setup.cluster.responses = mode;
        self
    }

    /// Which syncs members wait for.
    #[must_use]
    pub const fn sync(mut self, mode: SyncMode) -> Self {
        self.setup.node.sync = mode;
        self
    }

    /// Changes what all members have alike.
    #[must_use]
    pub fn cluster(mut self, change: impl FnOnce(&mut ClusterConfig)) -> Self {
        change(&mut self.setup.cluster);
        self
    }

    /// Changes what each member is configured with.
    #[must_use]
    pub fn node(mut self, change: impl FnOnce(&mut NodeConfig)) -> Self {
        change(&mut self.setup.node);
        self
    }

    /// How fast hosts are.
    #[must_use]
    pub const fn pace(mut self, pace: Pace) -> Self {
        self.setup.pace = pace;
        self
    }

    /// Its service panics, or answers otherwise on some members than on others: those may stop for
    /// that.
    #[must_use]
    pub const fn faulty_service(mut self) -> Self {
        self.setup.is_service_faulty = true;
        self
    }

    /// So many bytes of log a member lets its leader be ahead.
    #[must_use]
    pub const fn receive_window(mut self, bytes: usize) -> Self {
        self.setup.receive_window = bytes;
        self
    }

    /// Begins with hosts on which nobody has been started, and without a client.
    #[must_use]
    pub fn all_down(self) -> SimCluster<S> {
        SimCluster::new(self.setup, self.service)
    }

    /// Begins with everybody up, `leader` leading, and the clients connected.
    #[must_use]
    pub fn led_by(self, leader: usize) -> SimCluster<S> {
        let mut cluster = SimCluster::new(self.setup, self.service);
        cluster.start_led_by(leader);
        for _ in 0..self.clients {
            cluster.connect(&self.change_client);
        }
        cluster
    }
}
