//! From the bytes of a log to the state of its thread.

use bytes::Bytes;
use chunkpoint_core::Result;

use crate::frame::{Frame, Kind};
use crate::log::{Going, Reader};
use crate::scan::{Met, Scan, is_torn_write, tail_holds};
use crate::snapshot;
use crate::state::{Header, State};

/// Read from the end of a log at first: the distance at which state frames are
/// written, and room for one of them.
const TAIL: u64 = 32 * 1024;

/// How far back a state frame is looked for before the log is scanned from its
/// start. Only a write that was cut short can be longer.
const MOST_TAIL: u64 = 4 * 1024 * 1024;

/// Damaged parts that are told apart.
const MOST_HOLES: usize = 64;

/// The state of a log, up to the reader's end.
pub(crate) fn load(reader: &mut Reader) -> Result<State> {
    let header = reader.log().header.clone();
    let (start, len) = (header.start, reader.end());
    let mut window = TAIL;
    loop {
        let from = len.saturating_sub(window).max(start);
        let block = reader.bytes(from, len - from, Going::Only)?;
        if let Some(state) = last_state(reader, from, &block)? {
            return replay(state, reader);
        }
        if from == start || window >= MOST_TAIL {
            return replay(State::new(Header::clone(&header)), reader);
        }
        window *= 4;
    }
}

/// The last state frame in `block`, which lies at `from`.
fn last_state(reader: &mut Reader, from: u64, block: &Bytes) -> Result<Option<State>> {
    let salt = reader.log().header.salt();
    for at in memchr::memrchr2_iter(b'S', b'S' | 0x80, block) {
        if let Some(frame) = Frame::parse(salt, from + at as u64, &block.slice(at..))
            && frame.kind == Kind::State
            && let Some(state) = snapshot::decode(&reader.log().header, &frame)
        {
            return Ok(Some(state));
        }
    }
    Ok(None)
}

/// Applies what follows `state` in the log, up to the reader's end.
///
/// What is whole behind damage counts, and so does the damage, be it at the end:
/// bytes that were acknowledged are never given up because they or others
/// before them changed. Only what a torn write left at the end is, and stays
/// where it is until a writer cuts it.
pub(crate) fn replay(mut state: State, reader: &mut Reader) -> Result<State> {
    let end = reader.end();
    let mut scan = Scan::new(reader, state.end, end);
    while let Some(met) = scan.next()? {
        match met {
            Met::Frame(frame, event, frame_end) => {
                if !tail_holds(scan.reader(), &frame)?
                    && is_torn_write(scan.reader(), frame.offset, frame_end)?
                {
                    break;
                }
                if frame.kind == Kind::State {
                    // It knows more than what was read of a log with damage.
                    match snapshot::decode(&state.header, &frame) {
                        Some(newer) => state = newer,
                        None => state.end = frame_end,
                    }
                } else if !state.apply(frame.offset, frame_end, &event) {
                    // Damage took the frame that names its namespace.
                    note_hole(&mut state, scan.reader(), frame.offset, frame_end);
                }
            }
            Met::Hole(from, to) => {
                if is_torn_write(scan.reader(), from, to)? {
                    break;
                }
                note_hole(&mut state, scan.reader(), from, to);
                state.end = to;
            }
            // A state that has seen the write is replaced by the next frame.
            Met::Void(to) => state.end = to,
            Met::Torn(_) => break,
        }
    }
    Ok(state)
}

/// Remembers damage, so that nothing that may have been there is said not to
/// be.
fn note_hole(state: &mut State, reader: &Reader, from: u64, to: u64) {
    let error = reader.log().damaged("a frame", from);
    tracing::error!(%error, until = to, "log is damaged");
    let is_full = state.holes.len() == MOST_HOLES;
    match state.holes.last_mut() {
        // However much is damaged, the list stays short.
        Some(last) if is_full => last.1 = to,
        _ => state.holes.push((from, to)),
    }
}
