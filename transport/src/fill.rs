//! What a table or a queue holds, against what it may: for oracles that look at bounds.

/// A table or a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// What it is of.
    pub name: &'static str,
    /// What it holds.
    pub used: usize,
    /// What it may hold.
    pub most: usize,
}

impl Fill {
    /// `used` of at most `most`.
    #[must_use]
    pub const fn of(name: &'static str, used: usize, most: usize) -> Self {
        Self { name, used, most }
    }

    /// Whether it holds more than it may.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.used > self.most
    }
}
