//! What a node notices about its own condition, rather than about a datagram: called from time
//! to time, it says what goes on being amiss.

use lockstep_archive::disk::Disk;
use lockstep_service::clustered_service::ClusteredService;
use lockstep_transport::datagram_port::DatagramPort;
use lockstep_transport::notices::Detail;
use lockstep_transport::time::{Nanos, SECOND};

use super::cluster_node::ClusterNode;
use crate::notice::NodeNotice;

/// Interval at which what lasts is noted again, so that it is told every minute that it lasts.
const REMINDER_NS: Nanos = SECOND;

/// What was noted of lasting conditions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    is_full: bool,
    next_reminder: Nanos,
}

impl<D: Disk, P: DatagramPort, S: ClusteredService> ClusterNode<D, P, S> {
    /// Notes what has changed, and what lasts.
    pub(super) fn watch(&mut self, now: Nanos) {
        let is_due = now >= self.watch.next_reminder;
        if is_due {
            self.watch.next_reminder = now + REMINDER_NS;
        }
        self.watch_room(now, is_due);
    }

    fn watch_room(&mut self, now: Nanos, is_due: bool) {
        let is_full = self.parts.store.is_full();
        let was_full = std::mem::replace(&mut self.watch.is_full, is_full);
        let kind = if is_full {
            NodeNotice::LogFull
        } else {
            NodeNotice::LogHasRoom
        };
        if is_full != was_full || (is_full && is_due) {
            self.parts.notices.note(now, kind, Detail::default());
        }
    }
}
