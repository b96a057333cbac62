//! Going through a log frame by frame, over damage where there is some.

use chunkpoint_core::Result;

use crate::frame::{Frame, Kind, MAX_PREFIX, Prefix};
use crate::log::{Going, Reader};
use crate::payload::{
    Alter, Commit, Directory, Pack, Place, Reclaim, Writes, chunk_crc, read_directory,
};
use crate::state::Event;
use crate::table;

/// Bytes that a torn write leaves as zeros come in at least these units.
const SECTOR: u64 = 512;

/// No frame is shorter.
const LEAST_FRAME: u64 = 7;

/// Decodes a frame. `None` if its payload makes no sense.
pub(crate) fn decode(frame: &Frame, place: Place) -> Option<Event> {
    Some(match frame.kind {
        Kind::Commit => Event::Commit(Commit::decode(&frame.payload, place)?),
        Kind::Writes => Event::Writes(Writes::decode(&frame.payload, place)?),
        Kind::Alter => Event::Alter(Alter::decode(&frame.payload, place)?),
        Kind::Reclaim => Event::Reclaim(Reclaim::decode(&frame.payload, place)?),
        Kind::Pack => Event::Pack(Pack::decode(&frame.payload, place)?),
        Kind::State => Event::State,
        Kind::Table => Event::Table,
        // No log has any.
        Kind::Item | Kind::Node => return None,
    })
}

/// Where a frame ends, its tail included.
pub(crate) fn end_of(frame: &Frame) -> Option<u64> {
    let tail = match frame.kind {
        Kind::Commit | Kind::Pack => read_directory(&frame.payload)?.1.tail_len(),
        Kind::Table => table::tail_len(&frame.payload)?,
        _ => 0,
    };
    frame.tail.checked_add(tail)
}

/// What a scan meets.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made, and taken apart at once")]
pub(crate) enum Met {
    /// A whole frame and where it ends. Its tail was not looked at.
    Frame(Frame, Event, u64),
    /// From here to there nothing can be read; then come whole frames again, or
    /// the end of the log, if what is before that was whole once.
    Hole(u64, u64),
    /// Up to here a write lay that failed and was cut off; the state of before it
    /// follows.
    Void(u64),
    /// From here on nothing can be read: a write that was cut short.
    Torn(u64),
}

/// Goes through a log.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    reader: &'a mut Reader,
    at: u64,
    to: u64,
}

impl<'a> Scan<'a> {
    /// A scan of the frames that start in `from..to`.
    pub(crate) fn new(reader: &'a mut Reader, from: u64, to: u64) -> Self {
        Self {
            reader,
            at: from,
            to,
        }
    }

    /// The reader, between two steps.
    pub(crate) fn reader(&mut self) -> &mut Reader {
        self.reader
    }

    /// What comes next; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Met>> {
        if self.at >= self.to {
            return Ok(None);
        }
        let at = self.at;
        if let Some(frame) = self.reader.frame(at, Going::Forward)?
            && let Some(end) = end_of(&frame)
            && let Some(event) = decode(&frame, self.reader.log().header.place(at))
        {
            if end > self.reader.end() {
                // Its checksum holds, so its length does: the file is too short.
                self.at = self.to;
                return Ok(Some(Met::Torn(at)));
            }
            self.at = end;
            return Ok(Some(Met::Frame(frame, event, end)));
        }
        let next = find_frame(self.reader, at + 1, self.to)?;
        self.at = next.unwrap_or(self.to);
        Ok(Some(match next {
            Some(next) if is_void(self.reader, at, next)? => Met::Void(next),
            Some(next) => Met::Hole(at, next),
            None if self.to < self.reader.end() || is_cut_short(self.reader, at)? => Met::Torn(at),
            None => Met::Hole(at, self.to),
        }))
    }
}

/// Whether `from..to` is zeros and a state frame follows: whoever cuts off a
/// write that failed leaves that.
fn is_void(reader: &mut Reader, from: u64, to: u64) -> Result<bool> {
    let is_state = |frame: Frame| frame.kind == Kind::State && frame.first;
    if !reader.frame(to, Going::Forward)?.is_some_and(is_state) {
        return Ok(false);
    }
    let mut at = from;
    while at < to {
        let len = (to - at).min(SECTOR);
        let bytes = reader.bytes(at, len, Going::Forward)?;
        let Some(bytes) = bytes.get(..len as usize) else {
            return Ok(false);
        };
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += len;
    }
    Ok(true)
}

/// The first whole frame that starts in `from..to`.
pub(crate) fn find_frame(reader: &mut Reader, from: u64, to: u64) -> Result<Option<u64>> {
    let salt = reader.log().header.salt();
    let mut at = from;
    while at < to {
        let block = reader.bytes(at, 16, Going::Forward)?;
        if block.is_empty() {
            break;
        }
        // The last few bytes of a block may be the start of a prefix: they are
        // looked at again with the next block.
        let sure = if at + block.len() as u64 >= reader.end() {
            block.len()
        } else {
            block.len().saturating_sub(15).max(1)
        };
        for i in 0..sure {
            let offset = at + i as u64;
            if offset >= to {
                return Ok(None);
            }
            if Prefix::parse(salt, offset, &block[i..]).is_some()
                && let Some(frame) = reader.frame(offset, Going::Forward)?
                && decode(&frame, reader.log().header.place(offset)).is_some()
            {
                return Ok(Some(offset));
            }
        }
        at += sure as u64;
    }
    Ok(None)
}

/// Whether all chunks of a commit or pack are as they were written.
pub(crate) fn tail_holds(reader: &mut Reader, frame: &Frame) -> Result<bool> {
    if !matches!(frame.kind, Kind::Commit | Kind::Pack) {
        return Ok(true);
    }
    let Some((pack, directory)) = read_directory(&frame.payload) else {
        return Ok(false);
    };
    chunks_hold(reader, frame.tail, pack, &directory)
}

fn chunks_hold(
    reader: &mut Reader,
    tail: u64,
    pack: chunkpoint_core::backend::PackId,
    directory: &Directory,
) -> Result<bool> {
    for (ordinal, at, len, crc) in directory.present() {
        let bytes = reader.bytes(tail + at, u64::from(len), Going::Forward)?;
        match bytes.get(..len as usize) {
            Some(chunk) if chunk_crc(pack, ordinal, chunk) == crc => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Whether the damage in `from..to` comes from one write that the power cut
/// short, not from bytes that changed later: the file grew, some of it never
/// reached the disk and reads as zeros, and whatever is whole behind it belongs
/// to the same write, which therefore was never acknowledged.
pub(crate) fn is_torn_write(reader: &mut Reader, from: u64, to: u64) -> Result<bool> {
    let end = reader.end();
    let mut scan = Scan::new(reader, to, end);
    while let Some(met) = scan.next()? {
        if matches!(met, Met::Frame(ref frame, ..) if frame.first) {
            return Ok(false);
        }
    }
    has_lost_sector(reader, from, to)
}

/// Whether what lies at `at`, to the end of the log, is the beginning of a write
/// that was cut short. No whole frame is there.
///
/// A process that is killed leaves a short file, and the loss of power a short
/// file or zeros. All else was whole once, may have been acknowledged, and is
/// damage.
fn is_cut_short(reader: &mut Reader, at: u64) -> Result<bool> {
    let left = reader.end() - at;
    if left < LEAST_FRAME || has_lost_sector(reader, at, reader.end())? {
        return Ok(true);
    }
    let salt = reader.log().header.salt();
    let bytes = reader.bytes(at, MAX_PREFIX as u64, Going::Forward)?;
    let start = &bytes[..bytes.len().min(MAX_PREFIX)];
    if (start.len() as u64) < left.min(MAX_PREFIX as u64) {
        // Somebody else cut it meanwhile.
        return Ok(true);
    }
    let ends_inside = match Prefix::parse(salt, at, start) {
        Some(prefix) => prefix.envelope_len().is_none_or(|len| len > left),
        None => Prefix::is_begun(start),
    };
    if !ends_inside {
        return Ok(false);
    }
    // So it is, unless the length is what changed.
    let mut mended = start.to_vec();
    for bit in 0..mended.len() * 8 {
        mended[bit / 8] ^= 1 << (bit % 8);
        if let Some(prefix) = Prefix::parse(salt, at, &mended)
            && let Some(len) = prefix.envelope_len().filter(|len| *len <= left)
        {
            let mut envelope = reader.bytes(at, len, Going::Forward)?.to_vec();
            let changed = mended.len().min(envelope.len());
            envelope[..changed].copy_from_slice(&mended[..changed]);
            if Frame::parse(salt, at, &envelope.into()).is_some() {
                return Ok(false);
            }
        }
        mended[bit / 8] ^= 1 << (bit % 8);
    }
    Ok(true)
}

/// Whether a sector of `from..to`, where a frame begins or should, reads as
/// zeros. Of the first and the last, only what is within counts.
fn has_lost_sector(reader: &mut Reader, from: u64, to: u64) -> Result<bool> {
    let mut at = from;
    while at < to {
        let next = (at + 1).next_multiple_of(SECTOR).min(to);
        let bytes = reader.bytes(at, next - at, Going::Forward)?;
        let Some(sector) = bytes.get(..(next - at) as usize) else {
            break;
        };
        // No frame begins with a zero. What one ends with may be a few.
        let counts = at == from
            || sector.len() as u64 == SECTOR
            || (next == reader.end() && sector.len() >= 8);
        if counts && sector.iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        at = next;
    }
    Ok(false)
}
