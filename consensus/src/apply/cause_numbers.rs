//! The requests whose effects wait in the outbox, so that an answer can name the one it answers.

use std::collections::VecDeque;

use lockstep_service::outbox::{EFFECT_CHARGE_MIN, OutboxLimits};
use lockstep_service::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use lockstep_transport::codec::encoded;
use lockstep_transport::ids::{RequestNumber, SessionId};
use lockstep_transport::position::Position;

/// What they are called in a snapshot.
const SECTION: &str = "causes";

/// Bytes of a cause.
const CAUSE_LENGTH: usize = 24;

/// Causes that one step writes: 48 KiB.
const CAUSES_PER_STEP: usize = 2_048;

/// Which request each waiting effect answers: (position, session, number) of the requests
/// whose effects are in the outbox, oldest first.
#[derive(Debug)]
pub(crate) struct CauseNumbers {
    causes: VecDeque<(Position, SessionId, RequestNumber)>,
    causes_max: usize,
}

impl CauseNumbers {
    /// Room for as many causes as an outbox within `limits` can hold effects of; none in
    /// direct mode, where effects do not wait.
    pub fn new(limits: &OutboxLimits) -> Self {
        let effects = limits.capacity_bytes / EFFECT_CHARGE_MIN;
        let causes_max = if limits.enabled { effects } else { 0 };
        Self {
            causes: VecDeque::with_capacity(causes_max),
            causes_max,
        }
    }

    /// Causes known.
    #[cfg(feature = "sim")]
    pub fn count(&self) -> usize {
        self.causes.len()
    }

    /// The request at `position` was applied and has effects in the outbox.
    pub fn note(&mut self, position: Position, session: SessionId, number: RequestNumber) {
        self.causes.push_back((position, session, number));
    }

    /// The oldest effect that waits is one of the entry at `front`.
    pub fn forget_before(&mut self, front: Option<Position>) {
        let is_over = |cause: &(Position, SessionId, RequestNumber)| {
            front.is_none_or(|front| cause.0 < front)
        };
        while self.causes.front().is_some_and(is_over) {
            self.causes.pop_front();
        }
    }

    /// The number of the request of `session` at `cause`, or of none.
    pub fn number(&self, cause: Position, session: SessionId) -> RequestNumber {
        let found = self.causes.binary_search_by_key(&cause, |c| c.0).ok();
        let request = found.map(|index| self.causes[index]);
        let own = request.filter(|c| c.1 == session);
        own.map_or(RequestNumber::NONE, |c| c.2)
    }

    /// Writes the next part of the section `causes`: `from` is 0, then what the call before
    /// returned, until there is nothing left. Nothing may be applied in between. First comes how
    /// many there are, as 8 bytes, then each of them:
    ///
    /// | offset | size | field of a cause |
    /// |---|---|---|
    /// | 0 | 8 | position of the request |
    /// | 8 | 8 | its session |
    /// | 16 | 8 | its number |
    ///
    /// # Errors
    /// When `writer` cannot begin this section.
    pub fn save(
        &self,
        from: usize,
        writer: &mut SnapshotWriter,
    ) -> Result<Option<usize>, SnapshotError> {
        if from == 0 {
            writer.begin_section(SECTION)?;
            writer.u64(self.causes.len() as u64)?;
        }
        let until = self.causes.len().min(from + CAUSES_PER_STEP);
        for (position, session, number) in self.causes.range(from..until) {
            let cause: [u8; CAUSE_LENGTH] = encoded(|fields| {
                fields.i64(*position);
                fields.i64(session.get()).i64(number.get());
            });
            writer.write(&cause)?;
        }
        if until < self.causes.len() {
            return Ok(Some(until));
        }
        writer.end_section()?;
        Ok(None)
    }

    /// Takes over what [`save`](Self::save) wrote where the log was applied up to `applied`.
    ///
    /// # Errors
    /// When no log can have come to this.
    pub fn load(
        &mut self,
        applied: Position,
        reader: &mut SnapshotReader<'_>,
    ) -> Result<(), SnapshotError> {
        reader.expect_section(SECTION)?;
        self.causes.clear();
        let count = reader.u64()?;
        let limit = self.causes_max;
        if count > limit as u64 {
            return Err(reader.refuse(format!("{count} requests await answers of {limit}")));
        }
        let mut before = -1;
        for _ in 0..count {
            let position = reader.i64()?;
            let session = SessionId::new(reader.i64()?);
            let number = RequestNumber::new(reader.i64()?);
            let is_request = session >= SessionId::FIRST && number >= RequestNumber::FIRST;
            if !is_request || position <= before || position >= applied {
                return Err(reader.refuse(format!("no request at {position} awaits its answer")));
            }
            before = position;
            self.note(position, session, number);
        }
        reader.end_section()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_snapshot::{forged, loaded, saved, words};

    fn causes(capacity_bytes: usize, enabled: bool) -> CauseNumbers {
        CauseNumbers::new(&OutboxLimits {
            effects_per_cause: 1,
            effect_bytes_per_cause: 64,
            capacity_bytes,
            enabled,
            service: 0,
        })
    }

    #[test]
    fn requests_that_await_answers_are_restored_as_they_were() {
        let mut applied = causes(64 * 5_000, true);
        for position in 1..=4_500 {
            let session = SessionId::new(position % 7 + 1);
            applied.note(position * 32, session, RequestNumber::new(position));
            applied.forget_before(Some((position - 4_200) * 32));
        }
        let stream = saved(|from, writer| applied.save(from, writer));
        let mut restored = causes(64 * 5_000, true);
        let end = 4_501 * 32;
        loaded(&stream, |reader| restored.load(end, reader)).unwrap();
        assert_eq!(restored.causes, applied.causes);
        assert_eq!(saved(|from, writer| restored.save(from, writer)), stream);
        restored.forget_before(None);
        let none = saved(|from, writer| restored.save(from, writer));
        let mut direct = causes(0, false);
        loaded(&none, |reader| direct.load(end, reader)).unwrap();
        assert!(loaded(&stream, |reader| direct.load(end, reader)).is_err());
    }

    #[test]
    fn requests_that_cannot_await_answers_are_refused() {
        let load = |content: &[i64]| {
            let stream = forged(SECTION, &words(content));
            loaded(&stream, |reader| causes(128, true).load(640, reader))
        };
        assert_eq!(load(&[2, 32, 1, 1, 64, 1, 2]), Ok(()));
        for content in [
            &[3, 32, 1, 1, 64, 1, 2, 96, 1, 3][..],
            &[-1],
            &[2, 64, 1, 1, 32, 1, 2],
            &[2, 64, 1, 1, 64, 1, 2],
            &[1, -32, 1, 1],
            &[1, 640, 1, 1],
            &[1, 32, 0, 1],
            &[1, 32, 1, 0],
            &[1, 32, 1],
            &[0, 32],
        ] {
            assert!(load(content).is_err(), "{content:?}");
        }
    }
}
