//! The newest so many entries of a log, found from its end, without reading all of it and without
//! remembering any.

use core::ops::ControlFlow;

use lockstep_archive::disk::ColdFiles;
use lockstep_transport::position::Position;

use super::directory_look::OfflineError;
use super::listing::{Listing, Wanted};

/// Where the newest entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewestEntries {
    /// Where to begin to read.
    pub from: Position,
    /// Where the log ended when it was looked at.
    pub to: Position,
    /// How many of those that are wanted are passed over.
    pub skipped: u64,
}

impl NewestEntries {
    /// Finds the newest `count` of those that are `wanted`: reads the newest term, then twice as
    /// many from further below, until there are enough.
    ///
    /// # Errors
    /// See [`OfflineError`].
    pub fn find(
        listing: &mut Listing<'_, '_, impl ColdFiles>,
        wanted: &Wanted,
        count: u64,
    ) -> Result<Self, OfflineError> {
        let newest = listing.newest_term()?;
        let term_length = listing.directory().catalog.term_length as Position;
        let lowest = listing.directory().log_start.position;
        let mut back = 0;
        loop {
            let from = newest
                .saturating_sub(term_length.saturating_mul(back))
                .max(lowest);
            let mut found: u64 = 0;
            let to = listing.list(&Wanted { from, ..*wanted }, |listed| {
                found += u64::from(listed.is_counted());
                ControlFlow::Continue(())
            })?;
            if found >= count || from == lowest {
                let skipped = found.saturating_sub(count);
                return Ok(Self { from, to, skipped });
            }
            back = back * 2 + 1;
        }
    }
}
