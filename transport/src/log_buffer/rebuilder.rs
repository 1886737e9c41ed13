//! Places received frames at their positions, so that a length word appears last.

use super::buffer::LogBuffer;
use super::frame::frames;
use crate::position::Position;

/// Copies the frames of one validated datagram (`protocol::parse`) to `position` on. Returns
/// `false`, and places nothing, when the first frame's slot is already filled: peers look at
/// the first frame only, which is why retransmissions start exactly at the gap.
///
/// The caller has checked that the whole range lies in one term and below
/// [`LogBuffer::clean_position`].
pub fn insert(log: &mut LogBuffer, position: Position, datagram: &[u8]) -> bool {
    if log.frame_length(position) != 0 {
        return false;
    }
    let mut at = position;
    for frame in frames(datagram) {
        // Frames behind the first may have arrived before: what is there stays untouched.
        if log.frame_length(at) == 0 {
            log.write(at + 4, &frame.bytes()[4..]);
            log.publish(at, frame.header().frame_length.get());
        }
        at += frame.aligned_length() as Position;
    }
    true
}
