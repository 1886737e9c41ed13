//! What the table of sessions makes of a committed entry: what the service is to do with it, and
//! what it means for a client. Both are functions of the log.

use lockstep_transport::ids::{LeadershipTermId, SessionId};
use lockstep_transport::marks::{Mark, sometimes};
use lockstep_transport::position::Position;

use crate::log::entry_body::{CloseReason, SessionOpen};
use crate::log::log_entry::{LogEntry, Request};
use crate::session::session_table::{OpenVerdict, RequestVerdict, Session, SessionTable};

/// What the service is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceOrder {
    /// Execute the request.
    Execute,
    /// A session of this id opened.
    Open(SessionId),
    /// The session that the entry names closed.
    Close,
    /// A leadership term begins.
    Term(LeadershipTermId),
    /// Hold the Response against what it said itself.
    Compare,
    /// Pass over the Response: a majority's services did not say it.
    PassOver,
    /// Nothing.
    Pass,
}

impl ServiceOrder {
    /// Whether the service may emit something when it does this.
    pub const fn may_emit(self) -> bool {
        matches!(self, Self::Execute | Self::Open(_) | Self::Close)
    }
}

/// What became of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionNews {
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
pub(crate) struct EntryVerdict {
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

/// Whether a session begins or ends with this entry, which clients are told.
pub(crate) fn is_of_session(sessions: &SessionTable, entry: &LogEntry<'_>) -> bool {
    match entry {
        LogEntry::SessionOpen(_) | LogEntry::SessionClose { .. } => true,
        LogEntry::Request(request) => sessions
            .get(request.session)
            .is_some_and(|session| session.misses_before(request.number)),
        _ => false,
    }
}

/// Applies the `entry` at `position` to the sessions.
pub(crate) fn judge(
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
        LogEntry::Action(_) => EntryVerdict::of(ServiceOrder::Pass),
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

fn close(sessions: &mut SessionTable, session: SessionId, reason: CloseReason) -> EntryVerdict {
    match sessions.apply_close(session) {
        Some(session) => {
            EntryVerdict::with_news(ServiceOrder::Close, SessionNews::Closed(session, reason))
        }
        None => EntryVerdict::of(ServiceOrder::Pass),
    }
}

#[cfg(test)]
mod tests {
    use lockstep_transport::ids::RequestNumber;

    use super::*;
    use crate::log::entry_body::{NewLeadershipTerm, SessionAcknowledgement, SessionAcks};
    use crate::log::log_entry::Response;
    use crate::module::formation::FormationRecord;
    use crate::settings::cluster_limits::ClusterLimits;
    use crate::settings::config::ClusterConfig;

    /// A table for two sessions, in which the first has opened.
    fn opened() -> (SessionTable, Session) {
        let mut sessions = SessionTable::new(2);
        let open = SessionOpen::of_client(1);
        let verdict = judge(&mut sessions, &LogEntry::SessionOpen(open), 32);
        let session = *sessions.find((1, 0)).unwrap();
        let news = Some(SessionNews::Opened(session, open));
        let order = ServiceOrder::Open(session.id);
        assert_eq!(verdict, EntryVerdict { order, news });
        assert_eq!(session.open_position, 32);
        (sessions, session)
    }

    fn request(session: &Session, number: i64) -> LogEntry<'static> {
        LogEntry::Request(Request {
            session: session.id,
            number: RequestNumber::new(number),
            acknowledged: 0,
            message: b"x",
        })
    }

    const NOTHING: EntryVerdict = EntryVerdict::of(ServiceOrder::Pass);

    #[test]
    fn a_session_is_continued_without_the_services_hearing_of_it() {
        let (mut sessions, _) = opened();
        let mut moved = SessionOpen::of_client(1);
        moved.response_address.set_port(2);
        let next = SessionOpen {
            connect_epoch: 2,
            incarnation: 9,
            ..moved
        };
        for (open, is_takeover) in [(moved, false), (next, true), (next, false)] {
            let verdict = judge(&mut sessions, &LogEntry::SessionOpen(open), 64);
            let session = *sessions.find((1, 0)).unwrap();
            let news = SessionNews::Continued(session, open, is_takeover);
            let expected = EntryVerdict::with_news(ServiceOrder::Pass, news);
            assert_eq!(verdict, expected);
            assert_eq!(session.response_address.port(), 2);
        }
    }

    #[test]
    fn an_open_without_effect_is_news_for_whoever_asked_for_it_and_changes_nothing() {
        let (mut sessions, session) = opened();
        let next = SessionOpen {
            connect_epoch: 2,
            ..SessionOpen::of_client(1)
        };
        judge(&mut sessions, &LogEntry::SessionOpen(next), 64);
        let gone = SessionOpen {
            resume_session: session.id,
            ..SessionOpen::of_client(2)
        };
        let ignored = |sessions: &mut SessionTable, open| {
            let before = sessions.state_hash();
            let verdict = judge(sessions, &LogEntry::SessionOpen(open), 128);
            let news = SessionNews::Ignored(open);
            let expected = EntryVerdict::with_news(ServiceOrder::Pass, news);
            assert_eq!((verdict, sessions.state_hash()), (expected, before));
        };
        ignored(&mut sessions, SessionOpen::of_client(1));
        ignored(&mut sessions, gone);
        judge(
            &mut sessions,
            &LogEntry::SessionOpen(SessionOpen::of_client(2)),
            96,
        );
        ignored(&mut sessions, SessionOpen::of_client(3));
    }

    #[test]
    fn s1_a_request_is_executed_once_and_in_order_and_a_gap_closes_the_session() {
        let (mut sessions, session) = opened();
        let execute = EntryVerdict::of(ServiceOrder::Execute);
        for (number, expected) in [(1, execute), (1, NOTHING), (2, execute), (1, NOTHING)] {
            let verdict = judge(&mut sessions, &request(&session, number), 64);
            assert_eq!(verdict, expected, "{number}");
        }
        let known = *sessions.get(session.id).unwrap();
        let news = SessionNews::Closed(known, CloseReason::SequenceGap);
        let gap = EntryVerdict::with_news(ServiceOrder::Close, news);
        let is_of_session = |number| is_of_session(&sessions, &request(&session, number));
        assert_eq!([2, 3, 4].map(is_of_session), [false, false, true]);
        assert_eq!(judge(&mut sessions, &request(&session, 4), 64), gap);
        assert_eq!(judge(&mut sessions, &request(&session, 3), 64), NOTHING);
    }

    #[test]
    fn a_session_closes_once_and_everybody_hears_why() {
        let (mut sessions, session) = opened();
        let close = LogEntry::SessionClose {
            session: session.id,
            reason: CloseReason::Timeout,
        };
        let news = SessionNews::Closed(session, CloseReason::Timeout);
        let closed = EntryVerdict::with_news(ServiceOrder::Close, news);
        assert_eq!(judge(&mut sessions, &close, 64), closed);
        assert_eq!(judge(&mut sessions, &close, 96), NOTHING);
        assert!(sessions.sessions().is_empty());
    }

    #[test]
    fn what_clients_have_received_is_known_to_the_table_alone() {
        let (mut sessions, session) = opened();
        let ack = |position| SessionAcknowledgement {
            session: session.id,
            position,
        };
        let acks = [ack(64).encode(), ack(32).encode()];
        let entry = LogEntry::SessionAck(SessionAcks::new(&acks));
        assert_eq!(judge(&mut sessions, &entry, 96), NOTHING);
        assert_eq!(sessions.get(session.id).unwrap().acknowledged, 64);
    }

    #[test]
    fn a_term_and_a_response_are_the_services_affair_and_change_no_session() {
        let (mut sessions, session) = opened();
        let before = sessions.state_hash();
        let term = LeadershipTermId::new(3);
        let first = LogEntry::NewLeadershipTerm(NewLeadershipTerm {
            term,
            leader: 1,
            id: 9,
            formation: FormationRecord::default(),
            limits: ClusterLimits::of(&ClusterConfig::default()),
        });
        let response = LogEntry::Response(Response {
            service: 0,
            session: session.id,
            cause: 32,
            ordinal: 0,
            request_number: RequestNumber::FIRST,
            is_failure: false,
            message: b"x",
        });
        for (entry, order) in [
            (first, ServiceOrder::Term(term)),
            (response, ServiceOrder::Compare),
        ] {
            let verdict = judge(&mut sessions, &entry, 64);
            assert_eq!(verdict, EntryVerdict::of(order));
        }
        assert_eq!(sessions.state_hash(), before);
    }
}
