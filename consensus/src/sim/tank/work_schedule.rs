//! Who works at a moment, and when each is to work next by itself.

use lockstep_transport::time::Nanos;

/// Who works at a moment, and when each is to work next by itself.
#[derive(Debug)]
pub struct WorkSchedule {
    /// Of each member.
    pub members: Vec<Turn>,
    /// Of each client.
    pub clients: Vec<Turn>,
    /// Something was done to somebody: all look around at the next moment.
    pub is_everybody_due: bool,
}

/// When one of them works.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    /// When it has something to do by itself.
    pub next: Option<Nanos>,
    /// It works in this moment's cycles, until it finds nothing to do.
    pub is_awake: bool,
    /// It has worked in this moment.
    pub has_worked: bool,
}

impl Turn {
    /// A moment begins at `now`; whether somebody has called it.
    pub fn begin(&mut self, now: Nanos, is_called: bool) {
        self.is_awake = is_called || self.next.is_some_and(|next| next <= now);
        self.has_worked = self.is_awake;
    }
}

impl WorkSchedule {
    /// For so many, all of whom are to work at once.
    pub fn new(members: usize, clients: usize) -> Self {
        Self {
            members: vec![Turn::default(); members],
            clients: vec![Turn::default(); clients],
            is_everybody_due: true,
        }
    }

    /// Something was done to somebody: all look around at the next moment.
    pub fn call_everybody(&mut self) {
        self.is_everybody_due = true;
    }
}
