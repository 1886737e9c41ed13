//! What an applier says of Responses that it compared, and what becomes of one that differs.

use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::position::Geometry;

use super::*;
use crate::apply::answers::HeldResponse;
use crate::node::fault::NodeFault;

/// An applier that has applied everything below `position`.
fn at(position: Position) -> Applier {
    let reader = LogReader::new(Geometry::new(0, 1 << 16).unwrap(), 0).unwrap();
    let mut applier = Applier::new(SessionTable::new(4), reader, 512);
    applier.cursor.move_to(position);
    applier.answers.term = LeadershipTermId::new(3);
    applier
}

#[test]
fn a_response_has_matched_once_applied_unless_it_is_held_or_passed_over() {
    let mut applier = at(640);
    let expect = |applier: &Applier, expected| {
        let answers = [0, 576, 640, 704].map(|position| applier.has_matched(position));
        assert_eq!(answers, expected);
    };
    expect(&applier, [Some(true), Some(true), None, None]);
    applier.answers.hold(HeldResponse::at(640));
    expect(&applier, [Some(true), Some(true), Some(false), None]);
    assert!(applier.answers.pass_held(9).is_ok() && applier.answers.held().is_none());
    // It is void, but whether others were what this service said is not known before.
    expect(&applier, [Some(true), Some(true), None, None]);
    applier.cursor.move_to(704);
    expect(&applier, [Some(true), Some(true), Some(false), None]);
    assert_eq!(applier.answers.void().hash_at(608), Some(9));
    assert!(applier.answers.void().is_open(LeadershipTermId::new(3)));
}

#[test]
fn what_nobody_holds_cannot_be_passed_over() {
    let mut applier = at(640);
    assert!(applier.answers.pass_held(9).is_ok());
    assert_eq!(applier.answers.void().count(), 0);
}

#[test]
fn a_node_stops_where_there_is_no_room_to_remember_another_response_that_is_void() {
    let mut applier = at(640);
    let mut passed = 0;
    let fault = loop {
        applier.answers.hold(HeldResponse::at(640 + passed * 64));
        match applier.answers.pass_held(9) {
            Ok(()) => passed += 1,
            Err(fault) => break fault,
        }
    };
    let NodeFault::TooManyVoidResponses { position } = fault else {
        panic!("{fault}");
    };
    assert_eq!(
        (position, applier.answers.void().count() as i64),
        (640 + passed * 64, passed)
    );
}
