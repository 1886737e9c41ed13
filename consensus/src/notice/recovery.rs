//! What a node says about the truth of its log: recovery, damage, joining.

use super::Row;

pub(super) const ROWS: &[Row] = &[];
