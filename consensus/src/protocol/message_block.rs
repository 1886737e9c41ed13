//! The fields of each member message, in the order they are written.
//!
//! | template | message | fields (i64 unless said otherwise) |
//! |---|---|---|
//! | 1 | PreVoteRequest | term, log term, position |
//! | 2 | PreVote | term, granted (u64, 0 or 1) |
//! | 3 | VoteRequest | term, log term, position, term handed over or 0 |
//! | 4 | Vote | term, granted (u64, 0 or 1) |
//! | 5 | CommitPosition | term, position, durable |
//! | 6 | JoinRequest | term, log term, end, page (u32), zero (u32) |
//! | 7 | JoinReply | term, commit, end, page, pages, count, zero (u32 each); count × (term, base) |
//! | 8 | JoinStart | term, position, join (u32), zero (u32) |
//! | 9 | AppendPosition | term, durable, checkpoint, its hash (u64), output, its hash (u64) |
//! | 10 | StandNow | term, position |
//! | 16 | Hello | see `hello_block` |
//! | 20 | JoinCheck | term, position, whether there is a hash (u64, 0 or 1), hash (u64) |
//! | 21 | JoinVerdict | term, position, whether there is a hash (u64, 0 or 1), hash (u64) |
//! | 41, 42 | Output | see `output_block` |
//! | 50 to 53 | Snapshot | see `snapshot_block` |

use lockstep_transport::codec::{FieldReader, FieldWriter};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::{FRAME_ALIGNMENT, Position};

use super::message_error::MemberMessageError;
use super::{hello_block, output_block, snapshot_block};
use crate::module::member::TermBase;
use crate::protocol::message::{JOIN_PAGE_TERMS, MemberMessage, TermPage};

/// Longest block that a list follows, in bytes: JoinReply's.
pub(super) const BLOCK_LENGTH_MAX: usize = 40;

const PRE_VOTE_REQUEST: u16 = 1;
const PRE_VOTE: u16 = 2;
const VOTE_REQUEST: u16 = 3;
const VOTE: u16 = 4;
const COMMIT_POSITION: u16 = 5;
const JOIN_REQUEST: u16 = 6;
const JOIN_REPLY: u16 = 7;
const JOIN_START: u16 = 8;
const APPEND_POSITION: u16 = 9;
const STAND_NOW: u16 = 10;
const HELLO: u16 = 16;
const JOIN_CHECK: u16 = 20;
const JOIN_VERDICT: u16 = 21;

/// Bytes of the block of `template` in this version, `None` if it is not known.
pub(super) const fn block_length(template: u16) -> Option<usize> {
    Some(match template {
        PRE_VOTE | VOTE | STAND_NOW => 16,
        PRE_VOTE_REQUEST | COMMIT_POSITION | JOIN_START => 24,
        VOTE_REQUEST | JOIN_REQUEST | JOIN_CHECK | JOIN_VERDICT => 32,
        APPEND_POSITION => 48,
        JOIN_REPLY => BLOCK_LENGTH_MAX,
        HELLO => hello_block::LENGTH,
        _ => {
            return match output_block::block_length(template) {
                None => snapshot_block::block_length(template),
                known => known,
            };
        }
    })
}

/// Template and block length of a message.
pub(super) const fn template_of(message: &MemberMessage) -> (u16, u16) {
    match message {
        MemberMessage::PreVoteRequest { .. } => (PRE_VOTE_REQUEST, 24),
        MemberMessage::PreVote { .. } => (PRE_VOTE, 16),
        MemberMessage::VoteRequest { .. } => (VOTE_REQUEST, 32),
        MemberMessage::StandNow { .. } => (STAND_NOW, 16),
        MemberMessage::Vote { .. } => (VOTE, 16),
        MemberMessage::CommitPosition { .. } => (COMMIT_POSITION, 24),
        MemberMessage::JoinRequest { .. } => (JOIN_REQUEST, 32),
        MemberMessage::JoinReply { .. } => (JOIN_REPLY, BLOCK_LENGTH_MAX as u16),
        MemberMessage::JoinStart { .. } => (JOIN_START, 24),
        MemberMessage::AppendPosition { .. } => (APPEND_POSITION, 48),
        MemberMessage::JoinCheck { .. } => (JOIN_CHECK, 32),
        MemberMessage::JoinVerdict { .. } => (JOIN_VERDICT, 32),
        MemberMessage::Output(message) => output_block::template_of(message),
        MemberMessage::Hello(_) => (HELLO, hello_block::LENGTH as u16),
        MemberMessage::Snapshot(message) => snapshot_block::template_of(message),
    }
}

/// Writes the block of a message and what follows it.
pub(super) fn write(message: &MemberMessage, writer: &mut FieldWriter<'_>) {
    match *message {
        MemberMessage::PreVoteRequest {
            term,
            log_term,
            position,
        } => put_all(writer, &[term.get(), log_term.get(), position]),
        MemberMessage::VoteRequest {
            term,
            log_term,
            position,
            handed_over,
        } => write_vote_request((term, log_term, position), handed_over, writer),
        MemberMessage::StandNow { term, position } => put_all(writer, &[term.get(), position]),
        MemberMessage::CommitPosition {
            term,
            position,
            durable,
        } => put_all(writer, &[term.get(), position, durable]),
        MemberMessage::PreVote { term, granted } | MemberMessage::Vote { term, granted } => {
            put_all(writer, &[term.get(), i64::from(granted)]);
        }
        MemberMessage::JoinRequest {
            term,
            log_term,
            end,
            page,
        } => put_all(writer, &[term.get(), log_term.get(), end, i64::from(page)]),
        MemberMessage::JoinReply {
            term,
            commit,
            end,
            page,
        } => {
            put_all(writer, &[term.get(), commit, end]);
            write_page(&page, writer);
        }
        MemberMessage::JoinStart {
            term,
            position,
            join,
        } => put_all(writer, &[term.get(), position, i64::from(join)]),
        MemberMessage::JoinCheck {
            term,
            position,
            hash,
        }
        | MemberMessage::JoinVerdict {
            term,
            position,
            hash,
        } => write_check(term, position, hash, writer),
        MemberMessage::AppendPosition {
            term,
            durable,
            checkpoint,
            checkpoint_hash,
            output,
        } => {
            put_all(writer, &[term.get(), durable, checkpoint]);
            writer.u64(checkpoint_hash);
            output_block::write_output(output, writer);
        }
        MemberMessage::Output(message) => output_block::write(&message, writer),
        MemberMessage::Hello(hello) => hello_block::write(&hello, writer),
        MemberMessage::Snapshot(message) => snapshot_block::write(&message, writer),
    }
}

fn put_all(writer: &mut FieldWriter<'_>, fields: &[i64]) {
    for field in fields {
        writer.i64(*field);
    }
}

fn write_vote_request(
    (term, log_term, position): (LeadershipTermId, LeadershipTermId, Position),
    handed_over: LeadershipTermId,
    writer: &mut FieldWriter<'_>,
) {
    put_all(writer, &[term.get(), log_term.get(), position]);
    writer.i64(handed_over.get());
}

fn write_check(
    term: LeadershipTermId,
    position: Position,
    hash: Option<u64>,
    writer: &mut FieldWriter<'_>,
) {
    put_all(writer, &[term.get(), position, i64::from(hash.is_some())]);
    writer.u64(hash.unwrap_or(0));
}

fn write_page(page: &TermPage, writer: &mut FieldWriter<'_>) {
    for field in [page.page, page.pages, page.count, 0] {
        writer.u32(field);
    }
    for entry in &page.terms[..page.count as usize] {
        put_all(writer, &[entry.term.get(), entry.base]);
    }
}

/// Reads a message of `template`. A longer block is a newer peer's: its tail is skipped.
pub(super) fn read(
    template: u16,
    block_length: usize,
    reader: &mut FieldReader<'_>,
) -> Result<MemberMessage, MemberMessageError> {
    let block = reader.block(block_length);
    let mut block = block.ok_or(MemberMessageError::Malformed)?;
    let fields = Fields { block: &mut block };
    fields
        .message(template, reader)
        .ok_or(MemberMessageError::Field)
}

/// Reads checked fields; `None` for a value out of range.
struct Fields<'a, 'b> {
    block: &'a mut FieldReader<'b>,
}

impl Fields<'_, '_> {
    fn message(mut self, template: u16, rest: &mut FieldReader<'_>) -> Option<MemberMessage> {
        Some(match template {
            PRE_VOTE_REQUEST..=VOTE | STAND_NOW => self.message_of_election(template)?,
            COMMIT_POSITION => MemberMessage::CommitPosition {
                term: self.term()?,
                position: self.position()?,
                durable: self.position()?,
            },
            JOIN_REQUEST => MemberMessage::JoinRequest {
                term: self.term()?,
                log_term: self.log_term()?,
                end: self.position()?,
                page: self.count()?,
            },
            JOIN_REPLY => MemberMessage::JoinReply {
                term: self.term()?,
                commit: self.position()?,
                end: self.position()?,
                page: self.page(rest)?,
            },
            JOIN_START => MemberMessage::JoinStart {
                term: self.term()?,
                position: self.position()?,
                join: self.count()?,
            },
            JOIN_CHECK => MemberMessage::JoinCheck {
                term: self.term()?,
                position: self.position()?,
                hash: self.hash()?,
            },
            JOIN_VERDICT => MemberMessage::JoinVerdict {
                term: self.term()?,
                position: self.position()?,
                hash: self.hash()?,
            },
            APPEND_POSITION => MemberMessage::AppendPosition {
                term: self.term()?,
                durable: self.position()?,
                checkpoint: self.position()?,
                checkpoint_hash: self.block.u64()?,
                output: output_block::read_output(self.block)?,
            },
            HELLO => MemberMessage::Hello(hello_block::read(self.block)?),
            _ if snapshot_block::block_length(template).is_some() => {
                MemberMessage::Snapshot(snapshot_block::read(template, self.block, rest)?)
            }
            _ => MemberMessage::Output(output_block::read(template, self.block)?),
        })
    }

    fn message_of_election(&mut self, template: u16) -> Option<MemberMessage> {
        Some(match template {
            PRE_VOTE_REQUEST => MemberMessage::PreVoteRequest {
                term: self.term()?,
                log_term: self.log_term()?,
                position: self.position()?,
            },
            PRE_VOTE => MemberMessage::PreVote {
                term: self.term()?,
                granted: self.flag()?,
            },
            VOTE_REQUEST => MemberMessage::VoteRequest {
                term: self.term()?,
                log_term: self.log_term()?,
                position: self.position()?,
                handed_over: self.log_term()?,
            },
            STAND_NOW => MemberMessage::StandNow {
                term: self.term()?,
                position: self.position()?,
            },
            _ => MemberMessage::Vote {
                term: self.term()?,
                granted: self.flag()?,
            },
        })
    }

    /// A term that somebody stood for.
    fn term(&mut self) -> Option<LeadershipTermId> {
        self.log_term()
            .filter(|term| *term > LeadershipTermId::NONE)
    }

    /// A term, 0 for that of an empty log.
    fn log_term(&mut self) -> Option<LeadershipTermId> {
        let term = LeadershipTermId::new(self.block.i64()?);
        (LeadershipTermId::NONE..=LeadershipTermId::MAX)
            .contains(&term)
            .then_some(term)
    }

    fn position(&mut self) -> Option<Position> {
        let position = self.block.i64()?;
        (position >= 0 && position % FRAME_ALIGNMENT as Position == 0).then_some(position)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.block.u64()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// A hash that may be missing.
    fn hash(&mut self) -> Option<Option<u64>> {
        let is_known = self.flag()?;
        let hash = self.block.u64()?;
        (is_known || hash == 0).then_some(is_known.then_some(hash))
    }

    fn count(&mut self) -> Option<u32> {
        u32::try_from(self.block.u64()?).ok()
    }

    fn page(&mut self, rest: &mut FieldReader<'_>) -> Option<TermPage> {
        let page = self.block.u32()?;
        let pages = self.block.u32()?;
        let count = self.block.u32()?;
        let is_plain = self.block.u32()? == 0;
        if page >= pages || count as usize > JOIN_PAGE_TERMS || !is_plain {
            return None;
        }
        let nothing = TermBase {
            term: LeadershipTermId::NONE,
            base: 0,
        };
        let mut terms = [nothing; JOIN_PAGE_TERMS];
        for entry in &mut terms[..count as usize] {
            let mut fields = Fields { block: rest };
            *entry = TermBase {
                term: fields.term()?,
                base: fields.position()?,
            };
        }
        Some(TermPage {
            page,
            pages,
            count,
            terms,
        })
    }
}
