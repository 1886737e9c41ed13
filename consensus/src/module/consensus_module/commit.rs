//! The commit rule as arithmetic (`log.md` 4.1, invariant C1).

use lockstep_transport::position::Position;

use crate::module::member::MEMBERS_MAX;

/// The greatest position that a majority of `durable` has reached: the q-th largest of them,
/// where the leader's own position is one of many. O(members²) on at most seven, no allocation.
pub(super) fn quorum_position(durable: &[Position]) -> Position {
    let count = durable.len();
    assert!(
        (1..=MEMBERS_MAX).contains(&count),
        "{count} members are no cluster"
    );
    let mut sorted = [0; MEMBERS_MAX];
    let sorted = &mut sorted[..count];
    sorted.copy_from_slice(durable);
    sorted.sort_unstable();
    sorted[count - quorum(count)]
}

/// Members that decide: a majority.
pub(super) const fn quorum(members: usize) -> usize {
    members / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quorum_position_is_what_a_majority_has_reached() {
        let cases: [(&[Position], Position); 7] = [
            (&[32], 32),
            (&[64, 32], 32),
            (&[96, 32, 64], 64),
            (&[0, 96, 96], 96),
            (&[96, 0, 0], 0),
            (&[1, 2, 3, 4], 2),
            (&[5, 1, 4, 2, 3], 3),
        ];
        for (durable, expected) in cases {
            assert_eq!(quorum_position(durable), expected, "{durable:?}");
        }
    }
}
