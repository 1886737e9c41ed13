//! What the log's Responses are to this node: which of them its own service did not say, and what
//! a majority's services make of these (`log.md` 5.8).

use lockstep_service::outbox::Divergence;
use lockstep_service::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Position;

use crate::apply::verdict::ServiceOrder;
use crate::apply::void_responses::VoidResponses;
use crate::module::output_agreement::{HISTORY_MAX, OutputAt};
use crate::node::fault::NodeFault;

/// What they are called in a snapshot.
const SECTION: &str = "answers";

/// A Response in the log that is not what this node's service said: nothing from it on is applied
/// until the members have agreed on whose answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldResponse {
    /// Its position.
    pub position: Position,
    /// The entry that it answers.
    pub cause: Position,
    /// In what it differs.
    pub divergence: Divergence,
}

#[cfg(test)]
impl HeldResponse {
    /// The one at `position`, which answers the entry before it and which this node's service did
    /// not say.
    pub(super) fn at(position: Position) -> Self {
        use lockstep_service::outbox::{Difference, EffectName};

        let logged = EffectName {
            cause: position - 32,
            service: 0,
            ordinal: 0,
        };
        Self {
            position,
            cause: logged.cause,
            divergence: Divergence {
                logged,
                own: None,
                difference: Difference::Name,
            },
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Leadership term of the entries being applied.
    pub(super) term: LeadershipTermId,
    void: VoidResponses,
    held: Option<HeldResponse>,
}

impl Answers {
    /// Before the first entry.
    pub fn new() -> Self {
        Self {
            term: LeadershipTermId::NONE,
            void: VoidResponses::default(),
            held: None,
        }
    }

    /// Breaks `log.md` 5.8 on purpose: a planted fault that the simulator must find.
    #[cfg(feature = "sim")]
    pub(crate) const fn compare_nothing(&mut self) {
        self.void.take_all();
    }

    /// Whether a Response is delivered although this node's service did not say it, as only a
    /// planted fault does.
    #[cfg(feature = "sim")]
    pub(crate) const fn takes_all(&self) -> bool {
        self.void.takes_all()
    }

    /// The Response at which nothing goes on until the members have agreed.
    #[must_use]
    pub(crate) const fn held(&self) -> Option<&HeldResponse> {
        self.held.as_ref()
    }

    /// Responses that are passed over.
    #[must_use]
    pub(crate) const fn void(&self) -> &VoidResponses {
        &self.void
    }

    /// What the service is to do with a Response that is applied next.
    #[must_use]
    pub(crate) fn order(&self) -> ServiceOrder {
        if self.void.is_open(self.term) {
            ServiceOrder::PassOver
        } else {
            ServiceOrder::Compare
        }
    }

    /// `term` begins with the entry at `position`.
    pub(crate) fn begin_term(&mut self, term: LeadershipTermId, position: Position) {
        self.term = term;
        self.void.on_new_term(position);
    }

    /// The Response at `position`, which answers `cause`, is not what this node's service said.
    pub(crate) const fn hold(&mut self, held: HeldResponse) {
        self.held = Some(held);
    }

    /// The held Response is void: a majority's output at its cause has this hash. It and what
    /// follows of its leadership term are passed over.
    ///
    /// # Errors
    /// When there were too many of them.
    pub(crate) fn pass_held(&mut self, hash: u64) -> Result<(), NodeFault> {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        if self.void.begin(held.position, self.term, held.cause, hash) {
            Ok(())
        } else {
            Err(NodeFault::TooManyVoidResponses {
                position: held.position,
            })
        }
    }

    /// Writes the section `answers`, where `newest` is the entry executed last, and the output
    /// there:
    ///
    /// | offset | size | field of the section answers |
    /// |---|---|---|
    /// | 0 | 8 | leadership term of the last entry |
    /// | 8 | 8 | outputs at the last entries that may have had one, which follow, oldest first |
    ///
    /// | offset | size | field of an output |
    /// |---|---|---|
    /// | 0 | 8 | position of the entry |
    /// | 8 | 8 | hash of everything emitted up to there |
    ///
    /// and the regions of void Responses.
    ///
    /// # Errors
    /// When `writer` cannot begin this section.
    ///
    /// # Panics
    /// When a Response is held: nothing behind it is applied, an order for a snapshot neither.
    pub(crate) fn save(
        &self,
        outputs: impl ExactSizeIterator<Item = OutputAt>,
        writer: &mut SnapshotWriter,
    ) -> Result<(), SnapshotError> {
        assert!(self.held.is_none(), "a snapshot at a Response that is held");
        writer.begin_section(SECTION)?;
        writer.i64(self.term.get())?;
        writer.u64(outputs.len() as u64)?;
        for output in outputs {
            writer.i64(output.position)?;
            writer.u64(output.hash)?;
        }
        self.void.save(writer)?;
        writer.end_section()
    }

    /// Takes over what [`save`](Self::save) wrote where the log was applied up to `applied`, and
    /// returns the outputs.
    ///
    /// # Errors
    /// When no log can have come to this.
    pub(crate) fn load(
        &mut self,
        applied: Position,
        reader: &mut SnapshotReader<'_>,
    ) -> Result<Vec<OutputAt>, SnapshotError> {
        reader.expect_section(SECTION)?;
        self.term = LeadershipTermId::new(reader.i64()?);
        if !(LeadershipTermId::NONE..=LeadershipTermId::MAX).contains(&self.term) {
            return Err(reader.refuse("a leadership term that is none"));
        }
        let outputs = load_outputs(applied, reader)?;
        self.void.load(applied, self.term, reader)?;
        reader.end_section()?;
        self.held = None;
        Ok(outputs)
    }
}

fn load_outputs(
    applied: Position,
    reader: &mut SnapshotReader<'_>,
) -> Result<Vec<OutputAt>, SnapshotError> {
    let count = reader.u64()?;
    if count > HISTORY_MAX as u64 {
        return Err(reader.refuse("more outputs than are remembered"));
    }
    let mut outputs = Vec::new();
    let mut before = 0;
    for _ in 0..count {
        let output = OutputAt {
            position: reader.i64()?,
            hash: reader.u64()?,
        };
        if !(before + 1..applied).contains(&output.position) {
            return Err(reader.refuse("an output that was not applied"));
        }
        before = output.position;
        outputs.push(output);
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_snapshot::{forged, loaded, saved, words};

    const OUTPUTS: [OutputAt; 2] = [
        OutputAt {
            position: 64,
            hash: 9,
        },
        OutputAt {
            position: 96,
            hash: 11,
        },
    ];

    fn saved_answers(answers: &Answers) -> Vec<u8> {
        saved(|_, writer| answers.save(OUTPUTS.into_iter(), writer).map(|()| None))
    }

    fn restored(applied: Position, stream: &[u8]) -> Result<Answers, SnapshotError> {
        let mut answers = Answers::new();
        let outputs = loaded(stream, |reader| answers.load(applied, reader))?;
        assert_eq!(outputs, OUTPUTS);
        Ok(answers)
    }

    fn hold_and_pass(answers: &mut Answers, position: Position) {
        answers.hold(HeldResponse::at(position));
        answers.pass_held(position as u64).unwrap();
    }

    #[test]
    fn what_was_passed_over_is_restored_as_it_was_and_goes_on_until_its_term_ends() {
        let mut applied = Answers::new();
        applied.begin_term(LeadershipTermId::new(2), 32);
        for term in 3..9 {
            let base = term * 640;
            hold_and_pass(&mut applied, base);
            let mut restored = restored(base + 320, &saved_answers(&applied)).unwrap();
            assert_eq!(restored.order(), ServiceOrder::PassOver);
            assert_eq!(restored.void().hash_at(base - 32), Some(base as u64));
            for answers in [&mut applied, &mut restored] {
                answers.begin_term(LeadershipTermId::new(term), base + 352);
                assert_eq!(answers.order(), ServiceOrder::Compare);
                assert!(answers.void().contains(base) && !answers.void().contains(base + 352));
            }
            assert_eq!(saved_answers(&restored), saved_answers(&applied));
        }
        assert!(
            restored(8 * 640, &saved_answers(&applied)).is_err(),
            "not applied"
        );
    }

    #[test]
    fn answers_that_no_log_leads_to_are_refused() {
        let load = |content: &[i64]| {
            let stream = forged(SECTION, &words(content));
            loaded(&stream, |reader| Answers::new().load(960, reader)).is_ok()
        };
        assert!(load(&[0, 0, 0]) && load(&[5, 1, 928, 1, 0]));
        assert!(load(&[
            5, 1, 96, 1, 2, 320, 640, 2, 288, 7, 672, -1, 5, 640, 7
        ]));
        for (content, what) in [
            (&[-1, 0, 0][..], "a term below the first"),
            (&[1 << 31, 0, 0], "a term beyond the last"),
            (&[5, 1, -32, 1, 0], "an output before the log"),
            (&[5, 1, 0, 1, 0], "an output of no entry"),
            (&[5, 2, 96, 1, 96, 1, 0], "outputs that do not rise"),
            (&[5, 8_193], "more outputs than are remembered"),
            (&[5, 1, 960, 1, 0], "an output that is not applied"),
            (&[5, 1, 96, 1, 257], "too many"),
            (&[5, 1, 96, 1, 1, 320, 640, 2, 288], "cut short"),
            (
                &[5, 1, 96, 1, 1, 320, 640, 2, 320, 7],
                "not behind what it answers",
            ),
            (
                &[5, 1, 96, 1, 1, 320, 640, 2, -32, 7],
                "answers what is no entry",
            ),
            (&[5, 1, 96, 1, 1, 320, 320, 2, 288, 7], "nothing in it"),
            (
                &[5, 1, 96, 1, 1, 320, 992, 2, 288, 7],
                "ends beyond the log",
            ),
            (
                &[5, 1, 96, 1, 1, 320, -1, 2, 288, 7],
                "an earlier term that goes on",
            ),
            (
                &[5, 1, 96, 1, 1, 320, 640, 5, 288, 7],
                "this term, and it is over",
            ),
            (&[5, 1, 96, 1, 1, 320, 640, 6, 288, 7], "a later term"),
            (&[5, 1, 96, 1, 1, 320, 640, 0, 288, 7], "no term"),
            (&[5, 1, 96, 1, 1, 960, -1, 5, 288, 7], "beyond the log"),
            (
                &[5, 1, 96, 1, 2, 320, 640, 2, 288, 7, 608, 672, 3, 288, 7],
                "one in the other",
            ),
            (
                &[5, 1, 96, 1, 2, 320, 640, 3, 288, 7, 672, 704, 2, 288, 7],
                "terms that fall",
            ),
        ] {
            assert!(!load(content), "{what}");
        }
    }

    #[test]
    #[should_panic(expected = "a snapshot at a Response that is held")]
    fn no_snapshot_is_taken_where_nothing_is_applied() {
        let mut answers = Answers::new();
        answers.begin_term(LeadershipTermId::new(2), 32);
        answers.hold(HeldResponse::at(640));
        saved_answers(&answers);
    }
}
