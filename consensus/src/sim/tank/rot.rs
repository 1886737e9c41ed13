//! Rots and loses parts of a member's directory.

use lockstep_archive::disk::BLOCK_LENGTH;
use lockstep_archive::files::ack_mark::ACK_MARK_FILE;
use lockstep_archive::files::catalog::CATALOG_FILE;
use lockstep_archive::files::identity_file::IDENTITY_FILE;
use lockstep_archive::sim::SECTOR_LENGTH;
use lockstep_transport::position::Position;
use lockstep_transport::prng::Prng;

use crate::directory::node_state::NODE_STATE_FILE;
use crate::sim::log_range::LogRange;
use crate::sim::tank::crash::Crash;
use crate::sim::tank::member::TankMember;

/// In one of so many cases both places of a file rot.
const BOTH_SLOTS: u64 = 8;

/// Damage is as likely in so much of the log below the ack mark as in all the rest.
const RECENT_LENGTH: Position = 24 * 1024;

/// How part of a log comes to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotKind {
    /// A bit, a sector or a block.
    Any,
    /// A block is as it was before its last write.
    LostWrite,
    /// A block was written over another one, and is itself as it was before.
    Misdirected,
}

/// Rots the log of `member` somewhere below the ack mark that its stable storage holds, and below
/// `limit`. Returns where.
pub fn rot_log(
    member: &TankMember,
    kind: RotKind,
    limit: Position,
    random: &mut Prng,
) -> Vec<LogRange> {
    let Some(mark) = member.disk().durable_mark() else {
        return Vec::new();
    };
    let mark = mark.position.min(limit);
    match kind {
        RotKind::Any => rot_anything(member, mark, random),
        RotKind::LostWrite => lose_write(member, mark, random),
        RotKind::Misdirected => misdirect(member, mark, random),
    }
    .unwrap_or_default()
}

fn rot_anything(member: &TankMember, mark: Position, random: &mut Prng) -> Option<Vec<LogRange>> {
    if mark == 0 {
        return None;
    }
    let lowest = if random.chance(0.5) {
        (mark - RECENT_LENGTH).max(0)
    } else {
        0
    };
    let at = random.range(lowest as u64..mark as u64) as Position;
    let unit = [1, SECTOR_LENGTH, BLOCK_LENGTH][random.range(0..3) as usize] as Position;
    let start = at / unit * unit;
    let (start, length) = if start + unit <= mark {
        (start, unit)
    } else {
        (at, 1)
    };
    let bytes = spoil(member, start, length as usize, random)?;
    replace(member, start, &bytes).map(|range| vec![range])
}

fn replace(member: &TankMember, start: Position, bytes: &[u8]) -> Option<LogRange> {
    let (name, offset, _) = member.place_of(start);
    let is_done = member.disk().overwrite(&name, offset, bytes);
    is_done.then_some((start, start + bytes.len() as Position))
}

/// A block below `mark`, drawn from those that were written last or from all.
fn block_below(mark: Position, random: &mut Prng) -> Option<Position> {
    let blocks = mark as u64 / BLOCK_LENGTH as u64;
    let lowest = if random.chance(0.5) {
        blocks.saturating_sub(4)
    } else {
        0
    };
    (blocks > 0).then(|| random.range(lowest..blocks) as Position * BLOCK_LENGTH as Position)
}

/// A block is zeros from somewhere on, as before the write that filled it.
fn lose_write(member: &TankMember, mark: Position, random: &mut Prng) -> Option<Vec<LogRange>> {
    let block = block_below(mark, random)?;
    let kept = random.range(0..BLOCK_LENGTH as u64 / 32) as usize * 32;
    let zeros = vec![0; BLOCK_LENGTH - kept];
    replace(member, block + kept as Position, &zeros).map(|range| vec![range])
}

/// The write of one block hit another one.
fn misdirect(member: &TankMember, mark: Position, random: &mut Prng) -> Option<Vec<LogRange>> {
    let (meant, hit) = (block_below(mark, random)?, block_below(mark, random)?);
    let bytes = member.stored_log(meant, BLOCK_LENGTH)?;
    let mut ranges = Vec::new();
    if hit != meant {
        ranges.extend(replace(member, hit, &bytes));
    }
    ranges.extend(replace(member, meant, &[0; BLOCK_LENGTH]));
    Some(ranges)
}

/// Where only the process died, flips a bit above the ack mark, and below `committed`: what lies
/// above it shows that it was written whole. Not always. Returns where.
pub fn rot_above_mark(
    member: &mut TankMember,
    committed: Position,
    random: &mut Prng,
) -> Option<LogRange> {
    let is_whole = member.last_crash() == Some(Crash::Kill) && random.chance(0.8);
    let mark = member.disk().durable_mark().filter(|_| is_whole)?.position;
    let frames = member.frames(mark, committed.min(member.held()));
    let damaged = frames.len().checked_sub(1).filter(|count| *count > 0)?;
    let (start, end) = frames[random.range(0..damaged as u64) as usize];
    let at = random.range(start as u64..end as u64) as Position;
    let (name, offset, _) = member.place_of(at);
    let is_done = member
        .disk()
        .flip_bit(&name, offset, random.range(0..8) as u32);
    // Another start must still be able to tell that the host lives.
    member.start_through_power();
    is_done.then_some((at, at + 1))
}

/// What is found instead of `length` bytes at `start`: one bit flipped, nothing, anything, or what
/// was written for another place.
fn spoil(
    member: &TankMember,
    start: Position,
    length: usize,
    random: &mut Prng,
) -> Option<Vec<u8>> {
    let mut bytes = member.stored_log(start, length)?;
    let is_byte = length == 1;
    match random.range(0..4) {
        0 if !is_byte => bytes.fill(0),
        1 if !is_byte => bytes
            .iter_mut()
            .for_each(|byte| *byte = random.next_u64() as u8),
        2 if !is_byte => {
            let units = (start / length as Position).max(1) as u64;
            let other = random.range(0..units) as Position * length as Position;
            bytes = member.stored_log(other, length)?;
        }
        _ => {
            let at = random.range(0..length as u64) as usize;
            bytes[at] ^= 1 << random.range(0..8);
        }
    }
    Some(bytes)
}

/// Removes a segment of the log that lies wholly below the ack mark. Returns which.
pub fn lose_segment(member: &TankMember, random: &mut Prng) -> Option<LogRange> {
    let mark = member.disk().durable_mark()?.position;
    let length = member.cluster().segment_length as Position;
    let whole = mark / length;
    if whole == 0 {
        return None;
    }
    let start = random.range(0..whole as u64) as Position * length;
    let (name, ..) = member.place_of(start);
    member.disk().lose(&name);
    Some((start, start + length))
}

/// Flips a bit in one of the two places of one of the small files, rarely in both: what it held is
/// lost then, and the directory with it. Not where the mark that is left does not cover what of the
/// log is `rotten`. Returns which file it was.
pub fn rot_slot(
    member: &TankMember,
    rotten: &[LogRange],
    random: &mut Prng,
) -> Option<&'static str> {
    let files = [
        NODE_STATE_FILE.name,
        ACK_MARK_FILE.name,
        CATALOG_FILE,
        IDENTITY_FILE,
    ];
    let name = files[random.range(0..files.len() as u64) as usize];
    if random.range(0..BOTH_SLOTS) == 0 {
        let flip = |slot: usize| member.disk().flip_bit(name, slot * BLOCK_LENGTH + 20, 1);
        return (flip(0) & flip(1)).then_some(name);
    }
    let slot = random.range(0..2) as usize;
    // Half of the time where the record lies.
    let reach = if random.chance(0.5) {
        128
    } else {
        BLOCK_LENGTH as u64
    };
    let offset = slot * BLOCK_LENGTH + random.range(0..reach) as usize;
    let bit = random.range(0..8) as u32;
    if !member.disk().flip_bit(name, offset, bit) {
        return None;
    }
    let is_kept_out = name == ACK_MARK_FILE.name && is_above_mark(member, rotten);
    if is_kept_out {
        let _ = member.disk().flip_bit(name, offset, bit);
    }
    (!is_kept_out).then_some(name)
}

/// Whether something of the log is `rotten` that its mark, which is still there, does not cover.
fn is_above_mark(member: &TankMember, rotten: &[LogRange]) -> bool {
    let Some(mark) = member.disk().durable_mark() else {
        return false;
    };
    let lost = mark.lost.map_or(0, |lost| lost.position);
    let covered = mark.position.max(lost);
    rotten.iter().any(|(_, end)| *end > covered)
}
