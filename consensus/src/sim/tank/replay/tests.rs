//! A replay accepts what a cluster may do, and names what it may not.

use super::entries::Kind;
use super::*;

/// A log that is written entry by entry.
#[derive(Default)]
struct Log {
    bytes: Vec<u8>,
}

impl Log {
    fn add(&mut self, kind: Kind, fields: [i64; 4], body: &[u8]) -> i64 {
        let [ordinal, log_time, session, number] = fields;
        let mut payload = vec![kind as u8, 0, 0, 0];
        payload.extend((ordinal as u32).to_le_bytes());
        for field in [log_time, session, number, 0, 0] {
            payload.extend(field.to_le_bytes());
        }
        payload.extend(body);
        let (position, length) = (self.bytes.len(), 32 + payload.len());
        let mut header = [0; 32];
        header[..4].copy_from_slice(&(length as i32).to_le_bytes());
        header[5] = 0xC0;
        header[6] = 1;
        self.bytes.extend(header);
        self.bytes.extend(payload);
        self.bytes.resize(self.bytes.len().next_multiple_of(32), 0);
        position as i64
    }

    fn open(&mut self, nonce: i64) {
        self.take_over(nonce, 1);
    }

    fn take_over(&mut self, nonce: i64, epoch: i64) {
        let fields = [nonce, 0, 0, 0, 0, 0, epoch, 7, -1, 0];
        let body: Vec<u8> = fields.iter().flat_map(|f: &i64| f.to_le_bytes()).collect();
        self.add(Kind::Open, [0; 4], &body);
    }

    fn request(&mut self, session: i64, number: i64) -> i64 {
        let body = [session.to_le_bytes(), number.to_le_bytes()].concat();
        self.add(Kind::Request, [0, 0, session, number], &body)
    }
}

/// What the service says first to request `number` of client `client`.
fn said(client: i64, number: i64, count: i64, before: i64) -> Vec<u8> {
    let fields = [client, number, count, before, 0];
    fields.iter().flat_map(|f| f.to_le_bytes()).collect()
}

fn made(client: i64, number: i64) -> ClientNews {
    ClientNews::Made {
        name: client as u64,
        number,
    }
}

fn oracle() -> ReplayOracle {
    ReplayOracle::new(3, 8, true)
}

/// The session of client 1 asks once and is answered once.
fn answered() -> (Log, ReplayOracle, Answer) {
    let mut log = Log::default();
    log.open(70);
    let cause = log.request(1, 1);
    let bytes = said(1, 1, 1, 0);
    let position = log.add(Kind::Response, [0, 0, 1, cause], &bytes);
    let mut replay = oracle();
    replay.advance(&log.bytes).unwrap();
    let answer = Answer {
        position,
        cause,
        number: 1,
        bytes,
    };
    (log, replay, answer)
}

fn rule_of(outcome: Result<(), Broken>) -> Rule {
    outcome.unwrap_err().rule
}

#[test]
fn a_client_is_handed_what_the_log_says_once_and_nothing_else() {
    let (_, mut replay, answer) = answered();
    let news = |nth, answer: &Answer| ClientNews::Answered {
        nth,
        answer: answer.clone(),
    };
    assert_eq!(replay.hear(1, &news(0, &answer)), Ok(()));
    assert_eq!(rule_of(replay.hear(1, &news(1, &answer))), Rule::Replay);
    let other = Answer {
        bytes: said(1, 1, 2, 0),
        ..answer
    };
    assert_eq!(rule_of(replay.hear(1, &news(0, &other))), Rule::Replay);
}

#[test]
fn a_response_that_the_service_did_not_say_is_named_where_it_stands() {
    for (ordinal, session, bytes) in [(1, 1, said(1, 1, 1, 0)), (0, 1, said(1, 1, 1, 5))] {
        let mut log = Log::default();
        log.open(70);
        let cause = log.request(1, 1);
        log.add(Kind::Response, [ordinal, 0, session, cause], &bytes);
        assert_eq!(rule_of(oracle().advance(&log.bytes)), Rule::Replay);
    }
}

#[test]
fn a_response_that_is_in_the_log_twice_is_named() {
    let (mut log, mut replay, answer) = answered();
    log.add(Kind::Response, [0, 0, 1, answer.cause], &answer.bytes);
    assert_eq!(rule_of(replay.advance(&log.bytes)), Rule::Replay);
}

#[test]
fn a_request_that_is_in_the_log_twice_is_executed_once_and_a_gap_closes_its_session() {
    let (mut log, mut replay, _) = answered();
    let before = replay.model.state_hash();
    log.request(1, 1);
    replay.advance(&log.bytes).unwrap();
    assert_eq!(replay.model.state_hash(), before);
    log.request(1, 3);
    replay.advance(&log.bytes).unwrap();
    assert!(replay.model.sessions().is_empty());
}

#[test]
fn a_process_that_was_replaced_has_nothing_executed_any_more() {
    let (mut log, mut replay, _) = answered();
    log.take_over(70, 2);
    replay.advance(&log.bytes).unwrap();
    log.request(1, 2);
    assert_eq!(rule_of(replay.advance(&log.bytes)), Rule::Fencing);
}

#[test]
fn registers_remember_who_wrote_them_last() {
    let (mut log, mut replay, _) = answered();
    for number in 2..=9 {
        log.request(1, number);
    }
    // Request 9 writes the register of request 1; what 2 to 8 were answered comes first.
    replay.advance(&log.bytes).unwrap();
    let bytes = said(1, 9, 9, 1 << 32 ^ 1);
    log.add(Kind::Response, [0, 0, 1, 0], &bytes);
    let broken = replay.advance(&log.bytes).unwrap_err();
    assert!(broken.what.contains("number: 2"), "{broken}");
}

#[test]
fn what_began_after_an_answer_may_not_stand_before_what_was_answered() {
    let mut log = Log::default();
    log.open(70);
    log.open(71);
    let early = log.request(2, 1);
    let cause = log.request(1, 1);
    let bytes = said(1, 1, 2, 2 << 32 ^ 1);
    log.add(Kind::Response, [0, 0, 2, early], &said(2, 1, 1, 0));
    let position = log.add(Kind::Response, [0, 0, 1, cause], &bytes);
    let news = ClientNews::Answered {
        nth: 0,
        answer: Answer {
            position,
            cause,
            number: 1,
            bytes,
        },
    };
    // Client 2 makes its request once client 1 has its answer: and yet it is before it.
    let mut replay = oracle();
    replay.returned = cause;
    replay.hear(2, &made(2, 1)).unwrap();
    assert_eq!(rule_of(replay.advance(&log.bytes)), Rule::RealTime);
    // Made before, it may stand anywhere.
    let mut replay = oracle();
    replay.hear(2, &made(2, 1)).unwrap();
    replay.advance(&log.bytes).unwrap();
    replay.hear(1, &news).unwrap();
    assert_eq!(replay.returned, cause);
}
