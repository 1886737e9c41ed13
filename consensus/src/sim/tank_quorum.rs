//! What a majority must hold when something is decided: the log at commit (C1), votes at an
//! election (E1). Looks at what stable storage holds, not at what members say.

use lockstep_archive::node_state::NodeState;

use super::tank_atlas::{Atlas, LogRange};
use super::tank_member::TankMember;
use super::{Broken, Rule};

/// Somebody has just taken the log up to `to` for committed, of which `bytes` begin at `from`:
/// stable storage of a majority of the directories that count holds them, or held them before it
/// was damaged.
///
/// # Errors
/// Who holds them, where they are too few.
pub fn check_commit(
    members: &[TankMember],
    atlas: &Atlas,
    from: i64,
    bytes: &[u8],
) -> Result<(), Broken> {
    let to = from + bytes.len() as i64;
    let holds = |id: &usize| {
        atlas.may_have_held(*id, to)
            || (!atlas.is_demoted(*id)
                && sound_parts((from, to), atlas.rotten_ranges(*id)).all(|(start, end)| {
                    let part = &bytes[(start - from) as usize..(end - from) as usize];
                    members[*id].holds_durably(start, part)
                }))
    };
    let holders: Vec<usize> = (0..members.len()).filter(holds).collect();
    if holders.len() < members[0].cluster().quorum() {
        return Err(Rule::C1.broken(format!(
            "{to} is committed, and of {} members only {holders:?} hold {from} to {to} durably",
            members.len()
        )));
    }
    Ok(())
}

/// What is left of a range of the log without what has rotted: it was held when it did.
pub fn sound_parts(whole: LogRange, rotten: &[LogRange]) -> impl Iterator<Item = LogRange> {
    let mut parts = vec![whole];
    for (rot_start, rot_end) in rotten {
        let cut = |(start, end): LogRange| {
            let below = (start, end.min(*rot_start));
            let above = (start.max(*rot_end), end);
            [below, above]
        };
        parts = parts.into_iter().flat_map(cut).collect();
        parts.retain(|(start, end)| start < end);
    }
    parts.into_iter()
}

/// `leader` has just been found to lead `term`: a majority of the directories that count has
/// durably voted for it, or has gone on to a later term since; or did so before it was damaged.
///
/// # Errors
/// Who has voted for it, where they are too few.
pub fn check_votes(
    members: &[TankMember],
    atlas: &Atlas,
    leader: usize,
    term: i64,
) -> Result<(), Broken> {
    let has_voted = |state: Option<NodeState>| {
        state.is_some_and(|state| {
            let is_vote = state.vote.map(usize::from) == Some(leader);
            state.leadership_term > term || (state.leadership_term == term && is_vote)
        })
    };
    let is_voter = |id: &usize| {
        let counts = !atlas.is_demoted(*id);
        has_voted(atlas.promised(*id)) || (counts && has_voted(members[*id].disk().durable_state()))
    };
    let voters: Vec<usize> = (0..members.len()).filter(is_voter).collect();
    if voters.len() < members[0].cluster().quorum() {
        return Err(Rule::E1.broken(format!(
            "member {leader} leads term {term} by the durable votes of {voters:?} only"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_rotted_is_left_out_and_all_else_is_not() {
        let parts = |rotten: &[LogRange]| sound_parts((10, 20), rotten).collect::<Vec<_>>();
        assert_eq!(parts(&[]), [(10, 20)]);
        assert_eq!(parts(&[(12, 14), (18, 30)]), [(10, 12), (14, 18)]);
        assert_eq!(parts(&[(0, 5), (40, 50)]), [(10, 20)]);
        assert_eq!(parts(&[(5, 40)]), []);
    }
}
