//! The FIFO's rules, one by one; the random model of them is `tests/outbox_model.rs`.

use lockstep_transport::ids::SessionId;
use lockstep_transport::log_buffer::HEADER_LENGTH;
use lockstep_transport::position::align_frame;

use super::*;
use crate::log_entry::ENTRY_HEADER_LENGTH;

const SESSION: SessionId = SessionId::new(7);

fn limits() -> OutboxLimits {
    OutboxLimits {
        effects_per_cause: 4,
        effect_bytes_per_cause: 512,
        capacity_bytes: 2048,
        enabled: true,
        service: 1,
    }
}

fn name(cause: Position, ordinal: u32) -> EffectName {
    EffectName {
        cause,
        service: 1,
        ordinal,
    }
}

fn emit_one(outbox: &mut Outbox, cause: Position, message: &[u8]) {
    outbox.begin(cause);
    outbox.emit(cause, SESSION, message).unwrap();
}

#[test]
fn effects_are_named_by_cause_and_ordinal_and_popped_in_order() {
    let mut outbox = Outbox::new(limits());
    outbox.begin(64);
    outbox.emit(64, SESSION, b"a").unwrap();
    outbox.emit(64, SESSION, b"b").unwrap();
    emit_one(&mut outbox, 96, b"c");
    let names: Vec<_> = (0..3).map(|i| outbox.get(i).unwrap().name).collect();
    assert_eq!(names, [name(64, 0), name(64, 1), name(96, 0)]);
    assert_eq!(outbox.bytes(), 3 * EFFECT_CHARGE_MIN);
    let verdict = outbox.apply_response(name(64, 0), SESSION, b"a");
    assert_eq!(verdict, ResponseVerdict::Matched);
    assert_eq!(outbox.front().unwrap().name, name(64, 1));
    assert_eq!(outbox.last_popped(), Some(name(64, 0)));
}

#[test]
fn exceeding_a_limit_of_the_cause_is_refused_and_adds_nothing() {
    let mut outbox = Outbox::new(limits()).with_message_max(300);
    outbox.begin(0);
    let long = EmitError::MessageTooLong {
        length: 301,
        limit: 300,
    };
    assert_eq!(outbox.emit(0, SESSION, &[0; 301]), Err(long));
    outbox.emit(0, SESSION, &[0; 300]).unwrap();
    let bytes = Err(EmitError::TooManyBytes { limit: 512 });
    assert_eq!(outbox.emit(0, SESSION, &[0; 213]), bytes);
    for _ in 0..3 {
        outbox.emit(0, SESSION, b"").unwrap();
    }
    let effects = Err(EmitError::TooManyEffects { limit: 4 });
    assert_eq!(outbox.emit(0, SESSION, b""), effects);
    assert_eq!((outbox.len(), outbox.bytes()), (4, 300 + 3 * 64));
    emit_one(&mut outbox, 32, b"a new cause starts at zero");
    assert_eq!(outbox.get(4).unwrap().name, name(32, 0));
}

#[test]
fn a_popped_name_is_ignored_and_anything_else_diverges() {
    let mut outbox = Outbox::new(limits());
    let never = outbox.apply_response(name(0, 0), SESSION, b"");
    assert!(matches!(never, ResponseVerdict::Diverged(_)));
    emit_one(&mut outbox, 64, b"one");
    assert_eq!(
        outbox.apply_response(name(64, 0), SESSION, b"one"),
        ResponseVerdict::Matched
    );
    assert_eq!(
        outbox.apply_response(name(64, 0), SESSION, b"one"),
        ResponseVerdict::Ignored
    );
    emit_one(&mut outbox, 96, b"two");
    assert_eq!(
        outbox.apply_response(name(64, 0), SESSION, b"one"),
        ResponseVerdict::Ignored
    );
    assert_eq!(outbox.ignored_responses(), 2);
    let cases = [
        (name(96, 1), SESSION, &b"two"[..], Difference::Name),
        (
            name(96, 0),
            SessionId::new(8),
            b"two",
            Difference::Session { own: 7, logged: 8 },
        ),
        (
            name(96, 0),
            SESSION,
            b"tw",
            Difference::Length { own: 3, logged: 2 },
        ),
        (
            name(96, 0),
            SESSION,
            b"twO",
            Difference::Byte {
                offset: 2,
                own: b'o',
                logged: b'O',
            },
        ),
    ];
    for (logged, session, payload, difference) in cases {
        let expected = Divergence {
            logged,
            own: Some(name(96, 0)),
            difference,
        };
        assert_eq!(
            outbox.apply_response(logged, session, payload),
            ResponseVerdict::Diverged(expected)
        );
        assert_eq!(outbox.len(), 1, "a divergence changes nothing");
    }
    let other = EffectName {
        service: 0,
        ..name(64, 0)
    };
    assert!(matches!(
        outbox.apply_response(other, SESSION, b"one"),
        ResponseVerdict::Diverged(_)
    ));
}

#[test]
fn the_append_cursor_follows_pops_and_ends_with_the_term() {
    let mut outbox = Outbox::new(limits());
    emit_one(&mut outbox, 32, b"x");
    emit_one(&mut outbox, 64, b"y");
    assert!(outbox.next_to_append().is_none(), "not appending yet");
    outbox.start_append_cursor();
    assert_eq!(outbox.next_to_append().unwrap().name, name(32, 0));
    outbox.mark_appended();
    outbox.mark_appended();
    assert!(outbox.next_to_append().is_none());
    let _ = outbox.apply_response(name(32, 0), SESSION, b"x");
    assert_eq!(outbox.appended(), Some(1));
    emit_one(&mut outbox, 96, b"z");
    assert_eq!(outbox.next_to_append().unwrap().name, name(96, 0));
    outbox.clear_append_cursor();
    outbox.start_append_cursor();
    assert_eq!(outbox.next_to_append().unwrap().name, name(64, 0));
}

#[test]
#[should_panic(expected = "before this leader appended it")]
fn an_effect_that_leaves_unappended_stops_the_leader() {
    let mut outbox = Outbox::new(limits());
    emit_one(&mut outbox, 32, b"x");
    outbox.start_append_cursor();
    let _ = outbox.apply_response(name(32, 0), SESSION, b"x");
}

#[test]
fn admission_reserves_the_worst_case_of_every_unapplied_cause() {
    let limits = OutboxLimits {
        capacity_bytes: 4 * (512 + FAILURE_CHARGE),
        ..limits()
    };
    let mut outbox = Outbox::new(limits);
    assert!(outbox.admits(3));
    assert!(!outbox.admits(4));
    emit_one(&mut outbox, 32, b"x");
    assert!(outbox.admits(2));
    assert!(!outbox.admits(3));
    // The word that one failed is reserved too.
    let outbox_of = |capacity_bytes| {
        Outbox::new(OutboxLimits {
            capacity_bytes,
            ..limits
        })
    };
    assert!(outbox_of(2 * (512 + FAILURE_CHARGE)).admits(1));
    assert!(!outbox_of(2 * (512 + FAILURE_CHARGE) - 1).admits(1));
    // Exactly full, and one byte more.
    let mut outbox = Outbox::new(limits);
    emit_one(&mut outbox, 32, &[0; 512]);
    assert!(outbox.admits(2));
    assert!(!outbox.admits(3));
}

/// Bytes of log that an entry with so long a message takes, in the smallest frames of all.
fn log_bytes(length: usize) -> u64 {
    const FRAME_PAYLOAD: usize = 512 - HEADER_LENGTH;
    let (mut rest, mut taken) = (ENTRY_HEADER_LENGTH + length, 0);
    while rest > 0 {
        let payload = rest.min(FRAME_PAYLOAD);
        taken += align_frame(HEADER_LENGTH + payload);
        rest -= payload;
    }
    taken as u64
}

#[test]
fn no_effect_takes_more_of_the_log_than_it_is_charged_for() {
    const EFFECTS: u32 = 16;
    for length in 0..3_000 {
        let mut outbox = Outbox::new(OutboxLimits {
            effects_per_cause: EFFECTS,
            effect_bytes_per_cause: EFFECTS as usize * charge(length),
            capacity_bytes: 1 << 20,
            ..limits()
        });
        let owed = outbox.log_bytes_owed(0);
        let message = vec![0; length];
        outbox.begin(32);
        while outbox.emit(32, SESSION, &message).is_ok() {}
        outbox.finish();
        assert_eq!(outbox.len(), EFFECTS as usize + 1);
        let taken = u64::from(EFFECTS) * log_bytes(length) + log_bytes(1);
        assert!(taken <= owed, "{length} bytes: {taken} taken of {owed}");
        // What was said is owed as what may be.
        assert_eq!(outbox.log_bytes_owed(0), 2 * owed, "{length}");
    }
}

#[test]
fn an_emission_that_fails_is_told_unless_another_follows_to_the_same_session() {
    let mut outbox = Outbox::new(limits());
    outbox.begin(32);
    let long = [0; 513];
    assert!(outbox.emit(32, SESSION, &long).is_err());
    outbox.finish();
    let told = outbox.front().expect("a failure");
    assert!(told.is_failure && told.session == SESSION && told.message == [3]);
    let name = told.name;
    assert_eq!(outbox.check_response(name, SESSION, &[3], true), Ok(()));
    let effect = outbox.check_response(name, SESSION, &[3], false);
    assert_eq!(effect.unwrap_err().difference, Difference::Failure);
    outbox.begin(64);
    assert!(outbox.emit(64, SESSION, &long).is_err());
    assert!(outbox.emit(64, SESSION, b"sorry").is_ok());
    outbox.finish();
    assert_eq!(outbox.len(), 2);
}

#[test]
fn every_message_survives_the_ring_at_any_fill_and_size() {
    let mut outbox = Outbox::new(limits());
    let (mut emitted, mut popped, mut random) = (0_i64, 0_i64, 12345_u64);
    let length_of = |cause: i64| (cause as u64).wrapping_mul(0x9E37_79B9) as usize % 513;
    for _ in 0..20_000 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        if random >> 63 == 0 && outbox.admits(0) {
            emit_one(
                &mut outbox,
                emitted,
                &vec![emitted as u8; length_of(emitted)],
            );
            emitted += 1;
        } else if popped < emitted {
            let expected = vec![popped as u8; length_of(popped)];
            let verdict = outbox.apply_response(name(popped, 0), SESSION, &expected);
            assert_eq!(verdict, ResponseVerdict::Matched);
            popped += 1;
        }
    }
    assert!(popped > 5_000);
}

#[test]
fn a_ring_filled_to_its_capacity_after_a_gap_keeps_every_byte() {
    let mut outbox = Outbox::new(limits());
    for cause in 0..4 {
        emit_one(&mut outbox, cause, &[cause as u8; 400]);
    }
    for cause in 4..200 {
        let popped = cause - 4;
        let verdict = outbox.apply_response(name(popped, 0), SESSION, &[popped as u8; 400]);
        assert_eq!(verdict, ResponseVerdict::Matched);
        emit_one(&mut outbox, cause, &[cause as u8; 400]);
    }
}

#[test]
fn direct_mode_keeps_one_entry_and_admits_everything() {
    let mut outbox = Outbox::new(OutboxLimits {
        enabled: false,
        ..limits()
    });
    emit_one(&mut outbox, 32, b"first");
    outbox.begin(64);
    outbox.emit(64, SESSION, b"second").unwrap();
    outbox.emit(64, SESSION, b"third").unwrap();
    let messages: Vec<_> = outbox.direct().map(|effect| effect.message).collect();
    assert_eq!(messages, [&b"second"[..], b"third"]);
    outbox.clear_direct();
    assert_eq!((outbox.direct().count(), outbox.bytes()), (0, 0));
    assert!(outbox.admits(u64::MAX));
    let logged = outbox.apply_response(name(64, 0), SESSION, b"second");
    assert!(matches!(logged, ResponseVerdict::Diverged(_)));
}
