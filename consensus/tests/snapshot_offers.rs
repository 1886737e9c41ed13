//! Which snapshot is fetched, and of whom: what members told lately, and nothing else.

use lockstep_consensus::protocol::snapshot_message::{
    SNAPSHOT_OFFERS_MAX, SnapshotId, SnapshotOffer, SnapshotStatus,
};
use lockstep_consensus::snapshot::transfer::offers::{Comparison, SnapshotOffers, TOLD_NS, Wanted};
use lockstep_transport::ids::LeadershipTermId;
use lockstep_transport::time::SECOND;

fn id(position: i64, hash: u128) -> SnapshotId {
    SnapshotId {
        position,
        length: 10,
        hash,
    }
}

fn offer(id: SnapshotId) -> SnapshotOffer {
    SnapshotOffer {
        id,
        term: LeadershipTermId::new(1),
        is_copy: false,
    }
}

fn copy(id: SnapshotId) -> SnapshotOffer {
    SnapshotOffer {
        is_copy: true,
        ..offer(id)
    }
}

fn status(told: &[SnapshotOffer]) -> SnapshotStatus {
    let mut offers = [None; SNAPSHOT_OFFERS_MAX];
    for (offer, told) in offers.iter_mut().zip(told) {
        *offer = Some(*told);
    }
    SnapshotStatus {
        log_start: 320,
        offers,
    }
}

/// Member 1 has told of the first of these, and so on.
fn told(by: &[&[SnapshotOffer]]) -> SnapshotOffers {
    let mut offers = SnapshotOffers::default();
    for (index, told) in by.iter().enumerate() {
        offers.hear(0, 1 + index as u8, status(told));
    }
    offers
}

fn newest(offers: &SnapshotOffers, wanted: &Wanted, not: u8) -> Option<(u8, SnapshotId)> {
    let found = offers.newest(0, wanted, |member, _| member != not);
    found.map(|(member, offer)| (member, offer.id))
}

#[test]
fn the_newest_that_may_be_asked_for_is_chosen() {
    let (old, new) = (id(640, 1), id(960, 7));
    let mut offers = told(&[&[offer(old), offer(id(320, 1))], &[offer(new), offer(old)]]);
    let above = Wanted::above;
    assert_eq!(newest(&SnapshotOffers::default(), &above(0), 9), None);
    assert_eq!(newest(&offers, &above(0), 9), Some((2, new)));
    assert_eq!(newest(&offers, &above(0), 2), Some((1, old)));
    assert_eq!(newest(&offers, &above(640), 2), None);
    assert_eq!(newest(&offers, &above(960), 9), None);
    let up_to = Wanted {
        up_to: 959,
        ..above(0)
    };
    assert_eq!(newest(&offers, &up_to, 9), Some((1, old)));
    let not_new = offers.newest(0, &above(0), |_, id| id != new);
    assert_eq!(not_new.map(|(_, offer)| offer.id), Some(old));
    // Of nobody that there can be.
    offers.hear(0, 200, status(&[offer(id(1280, 5))]));
    assert_eq!(newest(&offers, &above(960), 9), None);
}

#[test]
fn of_two_at_one_position_the_one_that_most_took_is_chosen_and_none_where_nobody_knows() {
    let (one, two, older) = (id(960, 7), id(960, 5), id(640, 1));
    let all = Wanted::above(0);
    let contested = told(&[&[offer(one), offer(older)], &[offer(two)]]);
    assert_eq!(newest(&contested, &all, 9), Some((1, older)));
    let most = told(&[&[offer(one)], &[offer(two)], &[offer(two)]]);
    assert_eq!(newest(&most, &all, 9), Some((2, two)));
    assert_eq!(newest(&most, &all, 2), Some((3, two)));
    // Who fetched one says nothing about which is right.
    let copied = told(&[&[offer(one)], &[offer(two)], &[copy(two)], &[copy(two)]]);
    assert_eq!(newest(&copied, &all, 9), None);
    let alone = told(&[&[copy(one)], &[copy(one)]]);
    assert_eq!(newest(&alone, &all, 9), Some((1, one)));
}

#[test]
fn one_is_wanted_once_it_was_told_of_for_long_enough() {
    let mut offers = told(&[&[offer(id(640, 1))]]);
    let wanted = Wanted {
        told_for: 2 * SECOND,
        ..Wanted::above(0)
    };
    let found = |offers: &SnapshotOffers, now| {
        let found = offers.newest(now, &wanted, |_, _| true);
        found.map(|(_, offer)| offer.id.position)
    };
    offers.hear(SECOND, 1, status(&[offer(id(960, 1)), offer(id(640, 1))]));
    assert_eq!(found(&offers, 2 * SECOND - 1), None);
    assert_eq!(found(&offers, 2 * SECOND), Some(640));
    assert_eq!(found(&offers, 3 * SECOND), Some(960));
    // What was forgotten is told of anew.
    let later = SECOND + TOLD_NS;
    offers.hear(later, 1, status(&[offer(id(960, 1))]));
    assert_eq!(found(&offers, later + SECOND), None);
    assert_eq!(found(&offers, later + 2 * SECOND), Some(960));
}

#[test]
fn who_takes_none_itself_waits_for_no_more_than_two_that_took_the_same() {
    let mut offers = told(&[&[offer(id(960, 1))], &[copy(id(960, 1))]]);
    let wanted = Wanted {
        told_for: 2 * SECOND,
        or_witnessed: true,
        ..Wanted::above(0)
    };
    assert_eq!(newest(&offers, &wanted, 0), None);
    offers.hear(0, 3, status(&[offer(id(960, 7))]));
    assert_eq!(newest(&offers, &wanted, 0), None);
    offers.hear(0, 4, status(&[offer(id(960, 1))]));
    assert_eq!(newest(&offers, &wanted, 0), Some((1, id(960, 1))));
    let wanted = Wanted {
        or_witnessed: false,
        ..wanted
    };
    assert_eq!(newest(&offers, &wanted, 0), None);
}

#[test]
fn what_was_not_told_again_is_forgotten() {
    let mut offers = told(&[&[offer(id(640, 1))]]);
    let last = TOLD_NS - 1;
    assert_eq!(offers.holder(last, id(640, 1), |_| true), Some(1));
    assert_eq!(offers.log_start(last, 1), Some(320));
    assert_eq!(offers.holder(TOLD_NS, id(640, 1), |_| true), None);
    assert_eq!(offers.log_start(TOLD_NS, 1), None);
    let newest = offers.newest(TOLD_NS, &Wanted::above(0), |_, _| true);
    assert!(newest.is_none());
    offers.hear(TOLD_NS, 1, status(&[]));
    assert_eq!(offers.holder(TOLD_NS, id(640, 1), |_| true), None);
    assert_eq!(offers.log_start(TOLD_NS, 1), Some(320));
}

#[test]
fn another_holder_has_the_very_same() {
    let same = offer(id(640, 1));
    let (one, two) = (offer(id(960, 1)), offer(id(960, 2)));
    let offers = told(&[&[same], &[one, same], &[two, same]]);
    assert_eq!(offers.holder(0, same.id, |member| member != 1), Some(2));
    assert_eq!(offers.holder(0, two.id, |_| true), Some(3));
    assert_eq!(offers.holder(0, id(960, 3), |_| true), None);
    assert_eq!(offers.differing(0), Some((960, [2, 3])));
    assert_eq!(offers.differing(TOLD_NS), None);
}

#[test]
fn only_most_of_those_who_took_one_say_that_another_one_is_wrong() {
    let (own, other, third) = (offer(id(960, 1)), offer(id(960, 2)), offer(id(960, 3)));
    let alike = told(&[&[own], &[copy(own.id), offer(id(640, 9))]]);
    assert_eq!(alike.compare(0, &own), Comparison::Alike);
    assert_eq!(alike.differing(0), None);
    let one = told(&[&[other]]);
    assert_eq!(one.compare(0, &own), Comparison::Contested(1));
    // A copy is what it was copied from.
    let copied = told(&[&[other], &[copy(other.id)]]);
    assert_eq!(copied.compare(0, &own), Comparison::Contested(1));
    let two = told(&[&[other], &[other]]);
    assert_eq!(two.compare(0, &own), Comparison::Outvoted(1, other.id));
    assert_eq!(
        two.compare(0, &copy(own.id)),
        Comparison::Outvoted(1, other.id)
    );
    let tie = told(&[&[other], &[other], &[own]]);
    assert_eq!(tie.compare(0, &own), Comparison::Contested(1));
    let three_ways = told(&[&[other], &[third], &[other], &[third]]);
    assert_eq!(three_ways.compare(0, &own), Comparison::Contested(1));
    assert_eq!(two.compare(TOLD_NS, &own), Comparison::Alike);
    // At the same place of another log, that says nothing of the service.
    let elsewhere = SnapshotOffer {
        term: LeadershipTermId::new(2),
        ..other
    };
    let elsewhere = told(&[&[elsewhere], &[elsewhere]]);
    assert_eq!(elsewhere.compare(0, &own), Comparison::Alike);
}

#[test]
fn what_some_members_said_is_forgotten_until_they_say_it_again() {
    let (old, new) = (id(640, 1), id(960, 7));
    let mut offers = told(&[&[offer(old)], &[offer(new)], &[offer(new)]]);
    let all = Wanted::above(0);
    offers.forget(1 << 2);
    assert_eq!(newest(&offers, &all, 0), Some((3, new)));
    offers.forget(1 << 2 | 1 << 3);
    assert_eq!(newest(&offers, &all, 0), Some((1, old)));
    offers.hear(0, 2, status(&[offer(new)]));
    assert_eq!(newest(&offers, &all, 0), Some((2, new)));
}
