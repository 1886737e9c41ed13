//! The wall clocks of simulated hosts.

use lockstep_transport::time::SECOND;

/// What a right wall clock adds to virtual time.
pub const TRUE_WALL_OFFSET: i64 = 1_700_000_000 * SECOND;
