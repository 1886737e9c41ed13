//! What a node has told of its own standing, so that it repeats what lasts.

use lockstep_transport::time::Nanos;

use crate::module::membership::Standing;

/// What a node has told of its own standing.
#[derive(Clone, Copy, Debug)]
pub(super) struct StandingWatch {
    pub(super) standing: Option<Standing>,
    pub(super) since: Nanos,
    pub(super) next_reminder: Nanos,
}

impl Default for StandingWatch {
    fn default() -> Self {
        Self {
            standing: None,
            since: 0,
            next_reminder: Nanos::MIN,
        }
    }
}
