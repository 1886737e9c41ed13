//! Takes the chain hash forward over the log on disk, after it went back for a truncation.
//!
//! Rare and cold, like the truncation it belongs to; a bounded step per call, for the nearest
//! checkpoint may be the beginning of the log. The disk may have rotted since the log was
//! written: each frame is checked, and one that is not as it was ends the node, by name.

use lockstep_archive::disk::{ColdFiles, DiskError, SegmentName};
use lockstep_archive::log::chain::Chain;
use lockstep_archive::log::log_reader::READ_AHEAD_LENGTH;
use lockstep_archive::log::segment::{
    LOG_RECORDING_ID, SegmentTable, base_position, length_in_segment,
};
use lockstep_transport::position::Position;

use crate::node::fault::StoreFailure;

/// One step towards `target`, a frame boundary of a log without damage. Returns whether `chain`
/// is there.
///
/// # Errors
/// The disk's, and damage of the log below `target`.
pub(super) fn step(
    chain: &mut Chain,
    target: Position,
    segments: &SegmentTable,
    disk: &mut impl ColdFiles,
) -> Result<bool, StoreFailure> {
    let from = chain.position();
    if from == target {
        return Ok(true);
    }
    let name = |position| SegmentName {
        recording_id: LOG_RECORDING_ID,
        position: base_position(position, segments.segment_length()),
    };
    let rotten = |position| StoreFailure::Rotten {
        file: name(position).file_name(),
        position,
    };
    if from > target {
        // The frame before claims to be longer than it was.
        return Err(rotten(target));
    }
    let Some((file, offset)) = segments.locate(from) else {
        let name = name(from).file_name();
        return Err(DiskError::Missing { name }.into());
    };
    let wanted = READ_AHEAD_LENGTH.min((target - from) as usize);
    let length = length_in_segment(from, wanted, segments.segment_length());
    let mut bytes = vec![0; length];
    disk.read(file, offset, &mut bytes)?;
    let folded = chain.fold_frames(&bytes);
    folded.map_err(|damaged| rotten(damaged.position))?;
    // The longest frame is shorter than what is read at once.
    if chain.position() == from {
        return Err(rotten(from));
    }
    Ok(chain.position() == target)
}

#[cfg(test)]
mod tests {
    use lockstep_archive::sim::{SimDisk, SimDiskConfig};
    use lockstep_transport::log_buffer::frame_seal::FrameSeal;
    use lockstep_transport::log_buffer::{ExclusiveAppender, LogBuffer, Offer};
    use lockstep_transport::position::Geometry;

    use super::*;

    const TERM_LENGTH: usize = 64 * 1024;
    const FRAMES: usize = 100;

    /// A log of a few frames on disk, and where they begin.
    fn log() -> (SimDisk, SegmentTable, Vec<Position>) {
        let geometry = Geometry::new(0, TERM_LENGTH).unwrap();
        let mut log = LogBuffer::allocate(geometry, 1408).unwrap();
        let mut appender = ExclusiveAppender::new(geometry, 7, 100, 1408, 0);
        let mut boundaries = vec![0];
        for number in 0..FRAMES {
            let body = [number as u8 + 1; 200];
            let seal = &mut FrameSeal::new(1);
            let offer = appender.offer(&mut log, TERM_LENGTH as Position, &[&body], seal);
            let Offer::Accepted(end) = offer else {
                panic!("{offer:?}");
            };
            boundaries.push(end);
        }
        let mut disk = SimDisk::new(SimDiskConfig::default());
        let file = disk.create("0-0.rec", TERM_LENGTH as u64).unwrap();
        let end = boundaries[FRAMES] as usize;
        disk.write(file, 0, log.bytes(0, end)).unwrap();
        let mut segments = SegmentTable::new(TERM_LENGTH);
        segments.insert(0, file);
        (disk, segments, boundaries)
    }

    fn rewound(
        disk: &mut SimDisk,
        segments: &SegmentTable,
        target: Position,
    ) -> Result<u64, StoreFailure> {
        let mut chain = Chain::new();
        while !step(&mut chain, target, segments, disk)? {}
        Ok(chain.hash())
    }

    #[test]
    fn rot_anywhere_below_a_truncation_point_is_named_and_never_a_panic() {
        let (mut disk, segments, boundaries) = log();
        let target = boundaries[FRAMES / 2];
        let whole = rewound(&mut disk, &segments, target).unwrap();
        for byte in 0..target as usize {
            let mut rotten = disk.fork();
            assert!(rotten.flip_bit("0-0.rec", byte, byte as u32));
            let frame = boundaries.iter().rfind(|start| **start <= byte as Position);
            let failure = rewound(&mut rotten, &segments, target).unwrap_err();
            let StoreFailure::Rotten { file, position } = &failure else {
                panic!("byte {byte}: {failure}");
            };
            assert_eq!(file, "0-0.rec");
            assert_eq!(Some(position), frame, "byte {byte}");
        }
        assert_eq!(rewound(&mut disk, &segments, target), Ok(whole));
    }

    #[test]
    fn a_truncation_point_that_is_no_frame_boundary_and_a_lost_segment_are_named() {
        let (mut disk, segments, boundaries) = log();
        let inside = boundaries[FRAMES / 2] + 32;
        let failure = rewound(&mut disk, &segments, inside).unwrap_err();
        let start = boundaries[FRAMES / 2];
        assert!(
            matches!(&failure, StoreFailure::Rotten { position, .. } if *position == start),
            "{failure}"
        );
        let beyond = TERM_LENGTH as Position + 32;
        let nothing = SegmentTable::new(TERM_LENGTH);
        let failure = rewound(&mut disk, &nothing, beyond).unwrap_err();
        let name = "0-0.rec".to_owned();
        assert_eq!(failure, DiskError::Missing { name }.into());
    }
}
