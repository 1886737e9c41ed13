//! Exhaustive model of changes of the member set (`log.md` 9.4): every schedule of two to five
//! directories, up to four terms, whose logs hold first entries of terms and Membership entries,
//! with leaders that lose what they have not synced, messages that are lost or late, and
//! directories that are lost for good.
//!
//! The rules hold in every state; each one left out breaks a promise in a known smallest number of
//! steps. One number is the first state in which a promise about what could happen next is broken,
//! the other one the first in which it has: two leaders of one term, or a committed entry lost.
//! Abstract: an election is one step; a follower syncs what it takes at once, for only leaders act
//! on what they have not synced (`commit_rule_model.rs` has the others); no snapshots; nobody's
//! clock. An emptied directory is another one: the model has the lost one, and the one after it
//! as one that was empty from the start.

mod rules;
mod search;
mod state;
#[path = "../state_key/mod.rs"]
mod state_key;
mod steps;
#[path = "../visited/mod.rs"]
mod visited;

use self::rules::{
    Begins, Bounds, EITHER_REPLACED, GROWN, Gives, Joint, LAW, LEAVES_AND_RETURNS, MOVED, REPLACED,
    REPLACED_FOR_LOSS, Rules, SHRUNK, Stands, THREE_TO_FIVE, TakesBack, WITH_ALL_ALLOWED,
};
use self::search::{Outcome, Watched, search};
use self::steps::Broken;

/// Every promise holds in all states. How many those are is printed.
fn expect_safe(name: &str, watched: Watched, rules: Rules, bounds: Bounds) {
    match search(watched, rules, bounds) {
        Outcome::Safe(states) => println!("{name}: {states} states"),
        broken @ Outcome::Broken(..) => panic!("{name}: {broken:?}"),
    }
}

/// The first promise to be broken, and the first deed that breaks one, with the steps it takes.
fn expect_broken(rules: Rules, bounds: Bounds, promise: (Broken, usize), deed: (Broken, usize)) {
    let all = search(Watched::All, rules, bounds);
    assert_eq!(all, Outcome::Broken(promise.0, promise.1));
    let deeds = search(Watched::Deeds, rules, bounds);
    assert_eq!(deeds, Outcome::Broken(deed.0, deed.1));
}

/// Nobody can be elected any more, though a majority of every set is there.
fn expect_stuck(rules: Rules, bounds: Bounds, steps: usize) {
    let found = search(Watched::All, rules, bounds);
    assert_eq!(found, Outcome::Broken(Broken::Stuck, steps));
}

/// Whether there is time for the larger searches (`.ci/soak`).
fn has_time() -> bool {
    std::env::var_os("LOCKSTEP_DEEP_MODELS").is_some()
}

#[test]
fn a_directory_is_replaced_in_any_schedule_and_any_one_may_be_lost_for_good() {
    let bounds = Bounds {
        terms: if has_time() { 4 } else { 3 },
        entries: if has_time() { 6 } else { 5 },
        ..REPLACED_FOR_LOSS
    };
    expect_safe("replaced", Watched::All, LAW, bounds);
}

#[test]
fn a_cluster_grows_shrinks_and_moves_in_any_schedule() {
    let longer = |bounds| Bounds {
        terms: 4,
        entries: 7,
        ..bounds
    };
    expect_safe("one to three", Watched::All, LAW, longer(GROWN));
    expect_safe("one moves", Watched::All, LAW, longer(MOVED));
    let shrunk = if has_time() { longer(SHRUNK) } else { SHRUNK };
    expect_safe("three to one", Watched::All, LAW, shrunk);
    let to_five = Bounds {
        terms: if has_time() { 3 } else { 2 },
        ..THREE_TO_FIVE
    };
    expect_safe("three to five", Watched::All, LAW, to_five);
}

#[test]
fn changes_follow_on_each_other_in_any_schedule() {
    for (name, bounds) in [
        ("leaves and returns", LEAVES_AND_RETURNS),
        ("either replaced", EITHER_REPLACED),
    ] {
        let terms = if has_time() { 3 } else { 2 };
        expect_safe(name, Watched::All, LAW, Bounds { terms, ..bounds });
    }
}

#[test]
fn a_majority_of_one_set_alone_is_not_enough_while_a_change_is_under_way() {
    let new_alone = Rules {
        joint: Joint::NewAlone,
        ..LAW
    };
    let promise = (Broken::TwoMajorities, 4);
    expect_broken(new_alone, REPLACED, promise, (Broken::TwoLeaders, 8));
    let old_alone = Rules {
        joint: Joint::OldAlone,
        ..LAW
    };
    let promise = (Broken::CountedFromOutside, 6);
    expect_broken(old_alone, REPLACED, promise, (Broken::TwoLeaders, 11));
    let together = Rules {
        joint: Joint::Together,
        ..LAW
    };
    let promise = (Broken::TwoMajorities, 7);
    expect_broken(together, GROWN, promise, (Broken::TwoLeaders, 9));
}

#[test]
fn one_entry_that_swaps_a_directory_makes_two_majorities_even_if_the_old_one_is_lost_for_good() {
    let swapped = Rules {
        joint: Joint::Skipped,
        ..LAW
    };
    let promise = (Broken::TwoMajorities, 4);
    expect_broken(swapped, REPLACED, promise, (Broken::TwoLeaders, 8));
    let swapped_once_gone = Rules {
        begins: Begins::OthersGone,
        ..swapped
    };
    let promise = (Broken::CountedFromOutside, 7);
    let deed = (Broken::TwoLeaders, 9);
    expect_broken(swapped_once_gone, REPLACED_FOR_LOSS, promise, deed);
}

#[test]
fn without_a_joint_set_one_directory_may_change_once_the_term_has_committed_and_not_before() {
    let added_or_removed = Rules {
        joint: Joint::Skipped,
        ..LAW
    };
    expect_safe(
        "one at a time, not joint",
        Watched::Deeds,
        added_or_removed,
        LEAVES_AND_RETURNS,
    );
    let too_early = Rules {
        begins: Begins::Alone,
        ..added_or_removed
    };
    let promise = (Broken::CountedFromOutside, 4);
    let deed = (Broken::LeaderLacksCommitted, 9);
    expect_broken(too_early, LEAVES_AND_RETURNS, promise, deed);
}

#[test]
fn with_a_joint_set_a_change_could_begin_before_the_term_has_committed() {
    let early = Rules {
        begins: Begins::Alone,
        ..LAW
    };
    expect_safe("begun early", Watched::All, early, REPLACED);
}

#[test]
fn a_change_that_begins_while_another_one_is_under_way_makes_two_majorities() {
    let two_at_once = Rules {
        begins: Begins::InJoint,
        ..LAW
    };
    let promise = (Broken::TwoMajorities, 5);
    let deed = (Broken::TwoLeaders, 9);
    expect_broken(two_at_once, EITHER_REPLACED, promise, deed);
}

#[test]
fn a_new_set_that_does_not_wait_for_the_joint_one_makes_two_majorities() {
    let at_once = Rules {
        ends_at_once: true,
        ..LAW
    };
    let promise = (Broken::TwoMajorities, 5);
    expect_broken(at_once, REPLACED, promise, (Broken::TwoLeaders, 9));
}

#[test]
fn a_set_in_force_only_once_it_is_committed_elects_two_leaders() {
    let waits = Rules {
        waits_for_commit: true,
        ..LAW
    };
    let promise = (Broken::CountedFromOutside, 6);
    expect_broken(waits, REPLACED, promise, (Broken::TwoLeaders, 12));
}

#[test]
fn a_set_that_does_not_go_back_with_the_log_elects_two_leaders() {
    let kept = Rules {
        keeps_cut_sets: true,
        ..LAW
    };
    let promise = (Broken::TwoMajorities, 9);
    expect_broken(kept, REPLACED, promise, (Broken::TwoLeaders, 12));
}

#[test]
fn counting_members_instead_of_directories_elects_two_leaders() {
    let by_member = Rules {
        counts_members: true,
        ..LAW
    };
    let promise = (Broken::TwoMajorities, 0);
    expect_broken(by_member, REPLACED, promise, (Broken::TwoLeaders, 2));
}

#[test]
fn a_vote_remembered_with_the_member_it_was_given_to_elects_two_leaders() {
    let for_members = Rules {
        votes_for_members: true,
        ..LAW
    };
    let found = search(Watched::All, for_members, REPLACED);
    assert_eq!(found, Outcome::Broken(Broken::TwoLeaders, 9));
}

#[test]
fn counting_a_learner_elects_two_leaders() {
    let all = Rules {
        counts_learners: true,
        ..LAW
    };
    let promise = (Broken::TwoMajorities, 0);
    expect_broken(all, REPLACED, promise, (Broken::TwoLeaders, 2));
}

#[test]
fn a_leader_that_counts_itself_outside_of_its_set_elects_two() {
    let itself = Rules {
        counts_itself: true,
        ..LAW
    };
    let promise = (Broken::CountedFromOutside, 6);
    expect_broken(itself, REPLACED, promise, (Broken::TwoLeaders, 9));
}

#[test]
fn who_began_a_change_may_take_it_back_until_it_is_committed_and_nobody_else_may() {
    let who_began = Rules {
        takes_back: TakesBack::WhoBegan,
        ..LAW
    };
    let replaced = Bounds {
        terms: if has_time() { 3 } else { 2 },
        ..REPLACED_FOR_LOSS
    };
    for (name, bounds) in [("taken back", replaced), ("growth taken back", GROWN)] {
        expect_safe(name, Watched::AllButOutside, who_began, bounds);
    }
    let anybody = Rules {
        takes_back: TakesBack::Anybody,
        ..LAW
    };
    let promise = (Broken::CountedFromOutside, 7);
    expect_broken(anybody, REPLACED, promise, (Broken::TwoLeaders, 15));
}

#[test]
fn a_directory_that_its_own_log_leaves_out_has_to_stand_or_a_cluster_is_stuck() {
    let named_only = Rules {
        stands: Stands::Named,
        ..LAW
    };
    expect_stuck(named_only, MOVED, 8);
}

#[test]
fn a_directory_that_knows_that_it_was_taken_out_need_not_stand() {
    let until_out = Rules {
        stands: Stands::UntilOut,
        ..LAW
    };
    for (name, bounds) in out_and_elsewhere() {
        expect_safe(name, Watched::All, until_out, bounds);
    }
}

#[test]
fn a_directory_that_was_taken_out_may_be_refused_unless_it_comes_back_as_the_same() {
    let refused = Rules {
        stands: Stands::UntilOut,
        gives: Gives::UnlessOut,
        ..LAW
    };
    for (name, bounds) in out_and_elsewhere() {
        expect_safe(name, Watched::All, refused, bounds);
    }
    let comes_back = Bounds {
        targets: &[0b01011, 0b00111],
        terms: 2,
        entries: 7,
        ..REPLACED_FOR_LOSS
    };
    expect_stuck(refused, comes_back, 17);
}

#[test]
fn all_that_the_rules_allow_is_safe_together_unless_one_taken_back_is_added_again_as_the_same() {
    let replaced = Bounds {
        terms: if has_time() { 3 } else { 2 },
        ..REPLACED_FOR_LOSS
    };
    for (name, bounds) in [
        ("all allowed, one moves", MOVED),
        ("all allowed, one to three", GROWN),
        ("all allowed, three to one", SHRUNK),
        ("all allowed, replaced", replaced),
    ] {
        expect_safe(name, Watched::AllButOutside, WITH_ALL_ALLOWED, bounds);
    }
    let added_again = Rules {
        adds_again: true,
        ..WITH_ALL_ALLOWED
    };
    let found = search(Watched::AllButOutside, added_again, replaced);
    assert_eq!(found, Outcome::Broken(Broken::Stuck, 16));
}

/// Changes that take directories out; with the last one, any directory may be lost for good.
fn out_and_elsewhere() -> [(&'static str, Bounds); 3] {
    let replaced = Bounds {
        terms: if has_time() { 3 } else { 2 },
        ..REPLACED_FOR_LOSS
    };
    [
        ("out by move", MOVED),
        ("out by shrinking", SHRUNK),
        ("out by replacement", replaced),
    ]
}

#[test]
fn a_directory_that_its_own_log_does_not_name_has_to_vote_or_a_cluster_is_stuck() {
    let if_named = Rules {
        gives: Gives::IfNamed,
        ..LAW
    };
    expect_stuck(if_named, GROWN, 3);
}

#[test]
fn a_candidate_that_the_voter_does_not_know_of_gets_its_vote_or_a_cluster_is_stuck() {
    let to_named = Rules {
        gives: Gives::ToNamed,
        ..LAW
    };
    expect_stuck(to_named, REPLACED_FOR_LOSS, 10);
}

#[test]
fn a_learner_that_has_more_than_is_committed_leaves_a_cluster_stuck_unless_it_votes_or_stands() {
    let sent_all = Rules {
        sends_learners_all: true,
        ..LAW
    };
    let bounds = Bounds {
        terms: if has_time() { 3 } else { 2 },
        ..REPLACED_FOR_LOSS
    };
    expect_stuck(sent_all, bounds, 9);
    let votes = Rules {
        gives: Gives::FreelyUnlessNamed,
        ..sent_all
    };
    expect_safe("learners vote", Watched::All, votes, bounds);
    let stands = Rules {
        stands: Stands::All,
        ..sent_all
    };
    expect_safe("learners stand", Watched::All, stands, bounds);
}
