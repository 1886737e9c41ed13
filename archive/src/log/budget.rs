//! How much disk the archive may use: the arithmetic, with its numbers in the message.

/// Bytes the archive may take, and what is left of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskBudget {
    /// Most bytes of segment files, and of what lies beside them.
    pub bytes: u64,
    /// Bytes that other files take or are to find room for: no segment takes those.
    pub beside: u64,
}

/// What does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// More than the configuration allows.
    #[error(
        "{needed} bytes are needed and the disk budget is {budget} bytes, {} short: raise \
         disk_budget, or write fewer or smaller messages",
        needed - budget
    )]
    OverBudget {
        /// Bytes needed.
        needed: u64,
        /// Bytes allowed.
        budget: u64,
    },
    /// More than the device has left.
    #[error(
        "{needed} bytes are needed and the device has {free} bytes free, {} short: free some, \
         or choose a directory on another device",
        needed - free
    )]
    OverFree {
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
}

impl DiskBudget {
    /// Whether `needed_bytes` fit a budget of `budget` bytes and `free_bytes` of the device.
    ///
    /// # Errors
    /// The first limit that is exceeded, with its numbers.
    pub const fn check(needed_bytes: u64, free_bytes: u64, budget: u64) -> Result<(), BudgetError> {
        if needed_bytes > budget {
            return Err(BudgetError::OverBudget {
                needed: needed_bytes,
                budget,
            });
        }
        if needed_bytes > free_bytes {
            return Err(BudgetError::OverFree {
                needed: needed_bytes,
                free: free_bytes,
            });
        }
        Ok(())
    }

    /// A budget of which nothing is taken.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self { bytes, beside: 0 }
    }

    /// Whether one more segment may be made beside `segments` existing ones.
    #[must_use]
    pub(crate) const fn allows_segment(&self, segments: usize, segment_length: usize) -> bool {
        self.left_by(segments + 1, segment_length).is_some()
    }

    /// What `segments` segments leave, if they fit.
    pub(crate) const fn left_by(&self, segments: usize, segment_length: usize) -> Option<u64> {
        let taken = (segments as u64 * segment_length as u64).saturating_add(self.beside);
        self.bytes.checked_sub(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_shows_its_arithmetic() {
        let message = DiskBudget::check(300, 1000, 200).unwrap_err().to_string();
        assert!(
            message.contains("300") && message.contains("200"),
            "{message}"
        );
        assert!(message.contains("100 short"), "{message}");
        let message = DiskBudget::check(300, 250, 400).unwrap_err().to_string();
        assert!(message.contains("50 short"), "{message}");
        assert_eq!(DiskBudget::check(300, 300, 300), Ok(()));
    }

    #[test]
    fn segments_are_counted_against_the_budget() {
        let mut budget = DiskBudget::new(200);
        assert!(budget.allows_segment(1, 100));
        assert!(!budget.allows_segment(2, 100));
        budget.beside = 1;
        assert!(!budget.allows_segment(1, 100));
        assert_eq!(budget.left_by(1, 100), Some(99));
        assert_eq!(budget.left_by(2, 100), None);
    }
}
