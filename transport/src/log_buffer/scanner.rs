//! Cuts runs of whole frames out of a term, to be sent or recorded (`wire.md` A.10).

use super::frame::Frame;

/// A run of complete, contiguous frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Bytes to send: whole frames, and 32 bytes of a PAD that ends the run.
    pub length: usize,
    /// Bytes of the term covered: `length`, or more when a PAD ends the run.
    pub advance: usize,
}

/// The longest run of whole frames at the start of `bytes` that sends at most `length_max`
/// bytes. `bytes` begin at a frame and end within its term; they may be memory or disk.
///
/// Empty when no frame is there yet, or when the first is longer than `length_max`.
#[must_use]
pub fn scan(bytes: &[u8], length_max: usize) -> Block {
    let mut block = Block::default();
    while let Some(frame) = bytes.get(block.length..).and_then(Frame::first) {
        let length = frame.bytes().len();
        if block.length + length > length_max {
            break;
        }
        block.length += length;
        block.advance += frame.aligned_length();
        if frame.is_padding() {
            break;
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A term of frames with these lengths; negative means padding.
    fn term(lengths: &[i32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for length in lengths {
            let start = bytes.len();
            bytes.extend(length.abs().to_le_bytes());
            bytes.extend([0, 0xC0, u8::from(*length > 0), 0]);
            bytes.resize(
                start + crate::position::align_frame(length.unsigned_abs() as usize),
                0,
            );
        }
        bytes
    }

    fn block(length: usize, advance: usize) -> Block {
        Block { length, advance }
    }

    #[test]
    fn frames_are_packed_up_to_the_limit_and_never_cut() {
        let mut bytes = term(&[33, 64, 100]);
        bytes.resize(4096, 0);
        assert_eq!(scan(&bytes, 4096), block(256, 256));
        assert_eq!(scan(&bytes, 255), block(128, 128));
        assert_eq!(scan(&bytes, 64), block(64, 64));
        assert_eq!(scan(&bytes, 63), block(0, 0));
    }

    #[test]
    fn a_pad_ends_the_run_and_counts_its_header_only() {
        let bytes = term(&[64, -4096, 64]);
        assert_eq!(scan(&bytes, 1408), block(96, 64 + 4096));
        assert_eq!(scan(&bytes, 64), block(64, 64));
    }

    #[test]
    fn nothing_yet_and_garbage_both_end_the_run() {
        assert_eq!(scan(&[0; 128], 128), block(0, 0));
        assert_eq!(scan(&[0xFF; 128], 128), block(0, 0));
        assert_eq!(scan(&term(&[64])[..63], 128), block(0, 0));
        assert_eq!(scan(&[], 128), block(0, 0));
    }
}
