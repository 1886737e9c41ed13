//! Who is asked for a snapshot follows from what members said lately.

use lockstep_consensus::protocol::snapshot_message::{
    SNAPSHOT_OFFERS_MAX, SnapshotId, SnapshotOffer, SnapshotStatus,
};
use lockstep_consensus::snapshot::transfer::offers::{SnapshotOffers, TOLD_NS};
use lockstep_transport::ids::LeadershipTermId;

fn id(position: i64, hash: u128) -> SnapshotId {
    SnapshotId {
        position,
        length: 100,
        hash,
    }
}

fn status(ids: &[SnapshotId]) -> SnapshotStatus {
    let mut offers = [None; SNAPSHOT_OFFERS_MAX];
    for (offer, id) in offers.iter_mut().zip(ids) {
        *offer = Some(SnapshotOffer {
            id: *id,
            term: LeadershipTermId::new(1),
        });
    }
    SnapshotStatus {
        log_start: 320,
        offers,
    }
}

#[test]
fn the_newest_that_may_be_asked_for_is_chosen_and_of_two_at_one_position_what_most_have() {
    let mut offers = SnapshotOffers::default();
    let newest = |offers: &SnapshotOffers, floor, not: u8| {
        let found = offers.newest(0, floor, |member| member != not);
        found.map(|(member, offer)| (member, offer.id))
    };
    assert_eq!(newest(&offers, 0, 9), None);
    offers.hear(0, 1, status(&[id(640, 1), id(320, 1)]));
    offers.hear(0, 2, status(&[id(960, 7), id(640, 1)]));
    assert_eq!(newest(&offers, 0, 9), Some((2, id(960, 7))));
    assert_eq!(newest(&offers, 0, 2), Some((1, id(640, 1))));
    assert_eq!(newest(&offers, 640, 2), None);
    assert_eq!(newest(&offers, 960, 9), None);
    offers.hear(0, 3, status(&[id(960, 5)]));
    offers.hear(0, 4, status(&[id(960, 5)]));
    assert_eq!(newest(&offers, 0, 9), Some((3, id(960, 5))));
    assert_eq!(newest(&offers, 0, 3), Some((4, id(960, 5))));
    // Of nobody that there can be.
    offers.hear(0, 200, status(&[id(1280, 5)]));
    assert_eq!(newest(&offers, 960, 9), None);
}

#[test]
fn what_was_not_told_again_is_forgotten() {
    let mut offers = SnapshotOffers::default();
    offers.hear(0, 1, status(&[id(640, 1)]));
    let last = TOLD_NS - 1;
    assert_eq!(offers.holder(last, id(640, 1), |_| true), Some(1));
    assert_eq!(offers.log_start(last, 1), Some(320));
    assert_eq!(offers.holder(TOLD_NS, id(640, 1), |_| true), None);
    assert_eq!(offers.log_start(TOLD_NS, 1), None);
    assert!(offers.newest(TOLD_NS, 0, |_| true).is_none());
    offers.hear(TOLD_NS, 1, status(&[]));
    assert_eq!(offers.holder(TOLD_NS, id(640, 1), |_| true), None);
    assert_eq!(offers.log_start(TOLD_NS, 1), Some(320));
}

#[test]
fn another_holder_has_the_very_same_and_whose_differs_is_named() {
    let mut offers = SnapshotOffers::default();
    offers.hear(0, 1, status(&[id(640, 1)]));
    offers.hear(0, 2, status(&[id(960, 1), id(640, 1)]));
    offers.hear(0, 3, status(&[id(960, 2), id(640, 1)]));
    assert_eq!(offers.holder(0, id(640, 1), |member| member != 1), Some(2));
    assert_eq!(offers.holder(0, id(960, 2), |_| true), Some(3));
    assert_eq!(offers.holder(0, id(960, 3), |_| true), None);
    assert_eq!(offers.differing(0, id(640, 1)), None);
    assert_eq!(offers.differing(0, id(960, 1)), Some((3, id(960, 2))));
    assert_eq!(offers.differing(0, id(1280, 1)), None);
    assert_eq!(offers.differing(TOLD_NS, id(960, 1)), None);
}
