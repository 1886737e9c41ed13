//! What the table of sessions makes of a committed entry: what the service is to do with it, and
//! what it means for a client. Both are functions of the log.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;

use crate::log::entry_body::{CloseReason, SessionOpen};
use crate::log::log_entry::{LogEntry, Request};
use crate::session::session_table::{OpenVerdict, RequestVerdict, Session, SessionTable};

/// What the service is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceOrder {
    /// Execute the request.
    Execute,
    /// A session of this id opened.
    Open(i64),
    /// The session that the entry names closed.
    Close,
    /// A leadership term begins.
    Term(LeadershipTermId),
    /// Hold the Response against what it said itself.
    Compare,
    /// Nothing.
    Pass,
}

/// What became of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionNews {
    /// It opened.
    Opened(Session, SessionOpen),
    /// It is continued from where the entry says; by another process if the last is set.
    Continued(Session, SessionOpen, bool),
    /// The entry had no effect: its epoch is fenced, its session gone or the table full.
    Ignored(SessionOpen),
    /// It closed.
    Closed(Session, CloseReason),
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryVerdict {
    /// For the service.
    pub order: ServiceOrder,
    /// For whoever serves clients.
    pub news: Option<SessionNews>,
}

impl EntryVerdict {
    const fn of(order: ServiceOrder) -> Self {
        Self { order, news: None }
    }

    const fn with_news(order: ServiceOrder, news: SessionNews) -> Self {
        Self {
            order,
            news: Some(news),
        }
    }
}

/// Applies the `entry` at `position` to the sessions.
pub fn judge(
    sessions: &mut SessionTable,
    entry: &LogEntry<'_>,
    position: Position,
) -> EntryVerdict {
    match entry {
        LogEntry::Request(request) => apply_request(sessions, request),
        LogEntry::NewLeadershipTerm(term) => EntryVerdict::of(ServiceOrder::Term(term.term)),
        LogEntry::SessionOpen(open) => apply_open(sessions, open, position),
        LogEntry::SessionClose { session, reason } => close(sessions, *session, *reason),
        LogEntry::SessionAck(acks) => {
            for ack in acks.iter() {
                sessions.apply_acknowledgement(ack.session, ack.position);
            }
            EntryVerdict::of(ServiceOrder::Pass)
        }
        // What was answered is the service's to compare and changes no session.
        LogEntry::Response(_) => EntryVerdict::of(ServiceOrder::Compare),
    }
}

fn apply_request(sessions: &mut SessionTable, request: &Request<'_>) -> EntryVerdict {
    let Request {
        session,
        number,
        acknowledged,
        ..
    } = *request;
    match sessions.apply_request(session, number, acknowledged) {
        RequestVerdict::Ignore => EntryVerdict::of(ServiceOrder::Pass),
        RequestVerdict::Gap => close(sessions, session, CloseReason::SequenceGap),
        RequestVerdict::Apply => EntryVerdict::of(ServiceOrder::Execute),
    }
}

fn apply_open(sessions: &mut SessionTable, open: &SessionOpen, position: Position) -> EntryVerdict {
    match sessions.apply_open(open, position) {
        OpenVerdict::Opened(session) => {
            let order = ServiceOrder::Open(session.id);
            EntryVerdict::with_news(order, SessionNews::Opened(session, *open))
        }
        OpenVerdict::Continued {
            session,
            is_takeover,
        } => {
            if is_takeover {
                sometimes(Mark::SessionTakenOver);
            }
            let news = SessionNews::Continued(session, *open, is_takeover);
            EntryVerdict::with_news(ServiceOrder::Pass, news)
        }
        OpenVerdict::Fenced | OpenVerdict::Gone | OpenVerdict::Full => {
            EntryVerdict::with_news(ServiceOrder::Pass, SessionNews::Ignored(*open))
        }
    }
}

fn close(sessions: &mut SessionTable, session: i64, reason: CloseReason) -> EntryVerdict {
    match sessions.apply_close(session) {
        Some(session) => {
            EntryVerdict::with_news(ServiceOrder::Close, SessionNews::Closed(session, reason))
        }
        None => EntryVerdict::of(ServiceOrder::Pass),
    }
}
