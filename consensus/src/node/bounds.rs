//! What the tables and queues of a node hold, against what they may (`docs/simulator.md`).
//! Compiled with the feature `sim` only: the simulator's oracles ask, no node does.

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_service::outbox::EFFECT_CHARGE_MIN;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::fill::Fill;

use crate::apply::service_queue::ORDERS_MAX;
use crate::apply::void_responses::REGIONS_MAX;
use crate::module::leadership_term::LEADERSHIP_TERMS_MAX;
use crate::node::cluster_node::ClusterNode;
use crate::session::client_news::NEWS_MAX;
use crate::session::pending_connect::CONNECTS_MAX;

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// Everything in this node that has a bound and is not a piece of memory of fixed length.
    #[must_use]
    pub fn fills(&self) -> [Fill; 21] {
        let agents = &self.agents;
        let (sessions, sessions_max) = agents.consensus.applier.sessions().fill();
        let leading = &agents.consensus.leadership;
        let (images, strangers, awaited) = agents.clients.images.fills();
        let (channels, answers, events) = agents.clients.egress.channels.fills();
        let (rows, closed) = agents.clients.egress.responses.fills();
        let outbox = agents.service.outputs().outbox();
        let effects_max = outbox.limits().held_max() / EFFECT_CHARGE_MIN;
        let beyond = |limit: i64, end: i64| (end - limit).max(0) as usize;
        [
            Fill::of("sessions", sessions, sessions_max),
            Fill::of(
                "sessions of the leader",
                leading.sessions.count(),
                sessions_max,
            ),
            Fill::of(
                "connects under way",
                leading.connects_waiting(),
                CONNECTS_MAX,
            ),
            images,
            strangers,
            awaited,
            channels,
            answers,
            events,
            rows,
            closed,
            Fill::of(
                "bytes of the outbox",
                outbox.bytes(),
                outbox.limits().held_max(),
            ),
            Fill::of("effects in the outbox", outbox.len(), effects_max),
            Fill::of("causes of effects", agents.service.causes(), effects_max),
            Fill::of(
                "void regions",
                agents.consensus.applier.answers.void().count(),
                REGIONS_MAX,
            ),
            Fill::of(
                "leadership terms",
                agents.consensus.module.terms().len(),
                LEADERSHIP_TERMS_MAX,
            ),
            agents.consensus.notices.fill(),
            agents.clients.notices.fill(),
            Fill::of("news of sessions", agents.clients.news_waiting(), NEWS_MAX),
            Fill::of(
                "entries at the service",
                agents.service.handed(),
                ORDERS_MAX,
            ),
            Fill::of(
                "log above its limit",
                beyond(
                    agents.archive.append_limit(&agents.consensus.log),
                    agents.consensus.log.append(),
                ),
                0,
            ),
        ]
    }
}
