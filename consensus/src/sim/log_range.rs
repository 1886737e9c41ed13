//! Ranges of the log, and what is left of one.

use lockstep_transport::position::Position;

/// A range of the log, from and to.
pub type LogRange = (Position, Position);

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
