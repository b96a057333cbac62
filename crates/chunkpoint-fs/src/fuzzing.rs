//! Entrances for the fuzzers in `fuzz/`: decoders that are private otherwise.
//! Not part of the API.

use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::backend::Incarnation;

use crate::frame::{Frame, Kind, Prefix, Salt, put_frame};
use crate::payload::Place;
use crate::state::{Event, Header};
use crate::{catalog, scan, snapshot};

const OFFSET: u64 = 1 << 20;

const KINDS: [Kind; 7] = [
    Kind::Commit,
    Kind::Writes,
    Kind::Alter,
    Kind::Reclaim,
    Kind::Pack,
    Kind::State,
    Kind::Table,
];

fn header() -> Arc<Header> {
    Arc::new(Header {
        generation: 1,
        incarnation: Incarnation([7; 8]),
        base_ms: 1_700_000_000_000,
        thread: "fuzz".into(),
        start: Header::len_for("fuzz"),
    })
}

/// A frame whose checksum is right.
fn frame_of(salt: Salt, kind: Kind, payload: &[u8]) -> Option<Frame> {
    let mut bytes = Vec::new();
    put_frame(&mut bytes, salt, OFFSET, kind, true, payload);
    Frame::parse(salt, OFFSET, &bytes.into())
}

/// Parses any bytes as a frame.
pub fn frame(bytes: &[u8]) {
    let salt = header().salt();
    let _ = Prefix::is_begun(bytes);
    let prefix = Prefix::parse(salt, OFFSET, bytes);
    let frame = Frame::parse(salt, OFFSET, &Bytes::copy_from_slice(bytes));
    assert!(
        prefix.is_some() || frame.is_none(),
        "a frame without a prefix"
    );
}

/// Decodes any bytes as the payload of a frame whose checksum is right; the
/// first says of which kind. What decodes must encode to something that
/// decodes to the same bytes.
pub fn payload(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first() else {
        return;
    };
    let (header, kind) = (header(), KINDS[usize::from(*kind) % KINDS.len()]);
    let Some(frame) = frame_of(header.salt(), kind, payload) else {
        panic!("a frame that was just made does not hold");
    };
    assert_eq!(frame.payload, payload);
    let place = header.place(OFFSET);
    let _ = scan::end_of(&frame);
    let again = scan::decode(&frame, place).and_then(|event| encode(&event, place));
    if let Some(first) = again {
        let frame = frame_of(header.salt(), kind, &first);
        let second = frame
            .and_then(|frame| scan::decode(&frame, place))
            .and_then(|event| encode(&event, place));
        assert!(second == Some(first), "a payload changed by being written");
    }
}

fn encode(event: &Event, place: Place) -> Option<Vec<u8>> {
    match event {
        Event::Commit(commit) => Some(commit.encode(place)),
        Event::Writes(writes) => Some(writes.encode(place)),
        Event::Alter(alter) => Some(alter.encode(place)),
        Event::Reclaim(reclaim) => Some(reclaim.encode(place)),
        Event::Pack(pack) => Some(pack.encode(place)),
        Event::State | Event::Table => None,
    }
}

/// Decodes any bytes as the state of a thread, and does to it what frames do
/// that decode. The first byte says how many; their payloads follow, each with
/// its kind and length.
pub fn state(bytes: &[u8]) {
    let header = header();
    let mut events = Vec::new();
    let Some((count, mut bytes)) = bytes.split_first() else {
        return;
    };
    for _ in 0..count % 4 {
        let Some(([kind, len], rest)) = bytes.split_first_chunk() else {
            return;
        };
        let Some((payload, rest)) = rest.split_at_checked(usize::from(*len)) else {
            return;
        };
        let kind = KINDS[usize::from(*kind) % KINDS.len()];
        let frame = frame_of(header.salt(), kind, payload);
        events.extend(frame.and_then(|frame| scan::decode(&frame, header.place(OFFSET))));
        bytes = rest;
    }
    let Some(frame) = frame_of(header.salt(), Kind::State, bytes) else {
        return;
    };
    let _ = snapshot::ladder(&frame);
    if let Some(mut state) = snapshot::decode(&header, &frame) {
        let _ = snapshot::encode(&state);
        for event in &events {
            let end = state.end;
            state.apply(end, end + 100, event);
        }
        let _ = (snapshot::encode(&state), state.weight());
    }
}

/// Reads any bytes as the catalog of threads.
pub fn catalog(bytes: &[u8]) {
    catalog::fuzz(bytes);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::log::{Going, LogFile, Reader};
    use crate::wait::Wait;

    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u8 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 24) as u8
        }
    }

    /// Not a fuzzer: enough to see that the entrances hold what they promise.
    #[test]
    fn random_bytes_are_survived() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for n in 0..30_000 {
            // Small values are counts and places that may hold.
            let bytes: Vec<u8> = (0..n % 97)
                .map(|_| match random.next() {
                    0..160 => random.next() % 6,
                    _ => random.next(),
                })
                .collect();
            for entrance in [frame, payload, state, catalog] {
                entrance(&bytes);
            }
        }
    }

    /// The same, beginning with what a log and a catalog hold.
    #[test]
    fn changed_bytes_are_survived() {
        let mut random = Random(0x0123_4567_89ab_cdef);
        let mut seeds = vec![];
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
        for file in std::fs::read_dir(golden).unwrap() {
            let path = file.unwrap().path();
            let opened = LogFile::open(&path, "golden", None, &Arc::default(), Wait::Yes);
            let Ok(Some(opened)) = opened else { continue };
            let mut reader = Reader::new(Arc::new(opened.log), opened.len);
            let mut at = reader.log().header.start;
            while let Some(frame) = reader.frame(at, Going::Forward).unwrap() {
                let kind = KINDS.iter().position(|kind| *kind == frame.kind).unwrap();
                seeds.push((kind as u8, frame.payload.to_vec()));
                at = scan::end_of(&frame).unwrap();
            }
        }
        assert!(seeds.len() > 10, "{}", seeds.len());
        let choose = |random: &mut Random, len: usize| {
            usize::from(u16::from_le_bytes([random.next(), random.next()])) % len.max(1)
        };
        for _ in 0..30_000 {
            let (kind, mut bytes) = seeds[choose(&mut random, seeds.len())].clone();
            for _ in 0..random.next() % 3 {
                let at = choose(&mut random, bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.next() >> (random.next() % 8);
                }
            }
            payload(&[&[kind], &bytes[..]].concat());
            let (other, event) = &seeds[choose(&mut random, seeds.len())];
            let event = &event[..event.len().min(255)];
            let begin = [1, *other, event.len() as u8];
            state(&[&begin, event, &bytes].concat());
        }
    }
}
