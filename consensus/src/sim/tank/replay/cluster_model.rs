//! What a cluster is, as a function of its log: sessions, the tank's service and the answers that
//! are owed. Written once more from the rules (`log.md` 5 and 6), not with production's parts.

use std::collections::{BTreeMap, VecDeque};

use super::entries::{Kind, LoggedEntry, i64_at};
use super::service_model::ServiceModel;
use crate::sim::{Broken, Rule};

/// Why a session is closed whose answers cannot be kept any longer (`wire.md` E.5).
const RETENTION: u8 = 4;

/// A session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelSession {
    /// The client's secret, and a hash of who opened it.
    pub whose: (i64, i64),
    /// The connect epoch granted last, and to which process.
    pub granted: (i64, i64),
    /// The last request applied.
    pub applied: i64,
    /// The greatest position that the client acknowledged.
    pub acknowledged: i64,
    /// The greatest that any of its processes acknowledged.
    pub acknowledged_once: i64,
    /// The newest of the client's processes that a request was executed for.
    newest_process: i64,
    /// Processes up to this one were replaced.
    fenced_process: i64,
}

impl ModelSession {
    fn acknowledge(&mut self, position: i64) {
        self.acknowledged = self.acknowledged.max(position);
        self.acknowledged_once = self.acknowledged_once.max(position);
    }
}

/// What the service said to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Position of the entry that it is.
    pub position: i64,
    /// Position of the request.
    pub cause: i64,
    /// The request's number.
    pub number: i64,
    /// The service's bytes.
    pub bytes: Vec<u8>,
}

/// What the service said and no entry has said yet.
#[derive(Debug)]
struct Effect {
    ordinal: u32,
    session: i64,
    answer: Answer,
}

/// See the module.
#[derive(Debug)]
pub struct ClusterModel {
    sessions: BTreeMap<i64, ModelSession>,
    sessions_max: usize,
    next_id: i64,
    service: ServiceModel,
    outbox: VecDeque<Effect>,
    /// By session, also of those that are closed.
    answers: BTreeMap<i64, Vec<Answer>>,
    /// Responses are entries.
    is_logged: bool,
}

impl ClusterModel {
    /// Of an empty log.
    #[must_use]
    pub fn new(sessions_max: usize, is_logged: bool) -> Self {
        Self {
            sessions: BTreeMap::new(),
            sessions_max,
            next_id: 1,
            service: ServiceModel::default(),
            outbox: VecDeque::new(),
            answers: BTreeMap::new(),
            is_logged,
        }
    }

    /// The open sessions, by id.
    #[must_use]
    pub const fn sessions(&self) -> &BTreeMap<i64, ModelSession> {
        &self.sessions
    }

    /// Hash of the service's state.
    #[must_use]
    pub const fn state_hash(&self) -> u64 {
        self.service.state_hash()
    }

    /// All that a session was ever answered, in order.
    #[must_use]
    pub fn answers(&self, session: i64) -> &[Answer] {
        self.answers.get(&session).map_or(&[], Vec::as_slice)
    }

    /// Whether answers are entries of the log.
    pub const fn has_responses(&self) -> bool {
        self.is_logged
    }

    /// Applies an entry. Returns whether it is a request that was executed.
    ///
    /// # Errors
    /// The log says what the service did not.
    pub fn apply(&mut self, entry: &LoggedEntry) -> Result<bool, Broken> {
        match entry.kind {
            Kind::Term => {
                let term = i64_at(&entry.body, 8).unwrap_or(0);
                self.service.new_term(term, entry.log_time);
            }
            Kind::Open => self.open(entry),
            Kind::Close => {
                self.check_close(entry)?;
                self.close(entry.session);
            }
            Kind::Ack => {
                for ack in entry.body.chunks_exact(16) {
                    let session = i64_at(ack, 0).and_then(|id| self.sessions.get_mut(&id));
                    if let Some((session, position)) = session.zip(i64_at(ack, 8)) {
                        session.acknowledge(position);
                    }
                }
            }
            Kind::Action => {}
            Kind::Request => return self.request(entry),
            Kind::Response => self.response(entry)?,
        }
        Ok(false)
    }

    fn open(&mut self, entry: &LoggedEntry) {
        let field = |offset| i64_at(&entry.body, offset).unwrap_or(0);
        let whose = (field(0), field(40));
        let (asked, resumed, received) = ((field(48), field(56)), field(64), field(72));
        let known = self.sessions.values_mut().find(|s| s.whose == whose);
        if let Some(session) = known {
            if asked.0 > session.granted.0 {
                session.granted = asked;
                session.fenced_process = session.newest_process;
                session.acknowledged = received;
                session.acknowledged_once = session.acknowledged_once.max(received);
            }
        } else if resumed < 0 && self.sessions.len() < self.sessions_max {
            let session = ModelSession {
                whose,
                granted: asked,
                applied: 0,
                acknowledged: 0,
                acknowledged_once: 0,
                newest_process: -1,
                fenced_process: -1,
            };
            let id = self.next_id;
            self.next_id += 1;
            self.sessions.insert(id, session);
            self.service.open(id, entry.log_time);
        }
    }

    /// No log of a run is so long that a session holds it for too long: what is kept no longer,
    /// only a process lacks that has less than one before it had acknowledged.
    fn check_close(&self, entry: &LoggedEntry) -> Result<(), Broken> {
        let open = self.sessions.get(&entry.session);
        let is_retention = entry.body.first() == Some(&RETENTION);
        let lacks_nothing = open.is_some_and(|open| open.acknowledged >= open.acknowledged_once);
        if !is_retention || !lacks_nothing {
            return Ok(());
        }
        Err(Rule::Sessions.broken(format!(
            "session {} is closed at {} because of answers that are kept no longer, and its \
             client had not forgotten any",
            entry.session, entry.position
        )))
    }

    fn close(&mut self, id: i64) {
        if self.sessions.remove(&id).is_some() {
            self.service.close(id);
        }
    }

    fn request(&mut self, entry: &LoggedEntry) -> Result<bool, Broken> {
        let Some(session) = self.sessions.get_mut(&entry.session) else {
            return Ok(false);
        };
        if entry.number <= session.applied {
            return Ok(false);
        }
        if entry.number > session.applied + 1 {
            self.close(entry.session);
            return Ok(false);
        }
        let process = i64_at(&entry.body, 0).unwrap_or(0) >> 32;
        if process <= session.fenced_process {
            return Err(Rule::Fencing.broken(format!(
                "request {} at {} is of process {process} of its client, and another one had \
                 taken the session over before",
                entry.number, entry.position
            )));
        }
        session.newest_process = session.newest_process.max(process);
        session.applied = entry.number;
        session.acknowledge(entry.acknowledged);
        let answers = self.service.execute(entry);
        for (ordinal, bytes) in (0..).zip(answers) {
            let answer = Answer {
                position: entry.position,
                cause: entry.position,
                number: entry.number,
                bytes,
            };
            if self.is_logged {
                self.outbox.push_back(Effect {
                    ordinal,
                    session: entry.session,
                    answer,
                });
            } else {
                self.answers.entry(entry.session).or_default().push(answer);
            }
        }
        Ok(true)
    }

    /// A response in the log is the next that the service said, and nothing else.
    fn response(&mut self, entry: &LoggedEntry) -> Result<(), Broken> {
        let is_next = |effect: &Effect| {
            let named = (effect.answer.cause, effect.ordinal, effect.session);
            named == (entry.number, entry.ordinal, entry.session)
                && effect.answer.bytes == entry.body
        };
        let next = self.outbox.pop_front();
        let Some(effect) = next.as_ref().filter(|effect| is_next(effect)) else {
            return Err(Rule::Replay.broken(format!(
                "the log has an answer to {} at {} and a replay says {:?}",
                entry.number,
                entry.position,
                next.map(|effect| effect.answer)
            )));
        };
        let answer = Answer {
            position: entry.position,
            ..effect.answer.clone()
        };
        self.answers.entry(entry.session).or_default().push(answer);
        Ok(())
    }
}
