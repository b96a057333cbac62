//! How the chunks of a pack lie in rows.
//!
//! Chunks lie one after the other in one value, and a *directory* beside it says which
//! they are: for each, how many ordinals are skipped before it, and its length, both
//! LEB128. A fresh pack skips none; a reclaim leaves gaps. Up to [`INLINE`] bytes they
//! are in the checkpoint's own row; beyond that in rows of their own of about as many,
//! so that reading one chunk of a large pack reads little else.

use bytes::{Bytes, BytesMut};
use chunkpoint_core::Result;
use chunkpoint_core::wire::{Put, Reader};

/// Most bytes of chunks in the row of their checkpoint, and about the most in a row of
/// their own, unless a single chunk has more.
pub(crate) const INLINE: usize = 16 << 10;

/// Chunks of one row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first ordinal it is about.
    pub(crate) first: u32,
    /// Which chunks it has.
    pub(crate) directory: Bytes,
    /// The chunks.
    pub(crate) chunks: Bytes,
}

/// The chunks of a commit, as they go into rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Into the checkpoint's own row.
    Inline(Run),
    /// Into rows of their own.
    Apart(Vec<Run>),
}

/// Lays out the chunks of a commit.
pub(crate) fn lay_out(chunks: &[Bytes]) -> Layout {
    if chunks.iter().map(Bytes::len).sum::<usize>() <= INLINE {
        return Layout::Inline(run(0, (0..).zip(chunks.iter().cloned())));
    }
    let (mut runs, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, chunk) in chunks.iter().enumerate() {
        if at > from && bytes + chunk.len() > INLINE {
            runs.push(part(chunks, from, at));
            (from, bytes) = (at, 0);
        }
        bytes += chunk.len();
    }
    runs.push(part(chunks, from, chunks.len()));
    Layout::Apart(runs)
}

fn part(chunks: &[Bytes], from: usize, to: usize) -> Run {
    // A commit has fewer chunks than a `u32` counts: they are bytes in memory.
    let first = u32::try_from(from).unwrap_or(u32::MAX);
    run(first, (first..).zip(chunks[from..to].iter().cloned()))
}

/// A row of these chunks, whose ordinals ascend.
pub(crate) fn run(first: u32, chunks: impl IntoIterator<Item = (u32, Bytes)>) -> Run {
    let (mut directory, mut bytes, mut next) = (Vec::new(), BytesMut::new(), 0);
    for (ordinal, chunk) in chunks {
        directory.put_varint(u64::from(ordinal - next));
        directory.put_varint(chunk.len() as u64);
        bytes.extend_from_slice(&chunk);
        next = ordinal + 1;
    }
    Run {
        first,
        directory: directory.into(),
        chunks: bytes.freeze(),
    }
}

/// The ordinals and lengths that a directory lists.
pub(crate) fn entries(directory: &Bytes) -> Result<Vec<(u32, usize)>> {
    let mut reader = Reader::new(directory.clone());
    let (mut entries, mut next) = (Vec::new(), 0u32);
    while !reader.is_empty() {
        let skipped = reader.small()?;
        let len = reader.small()? as usize;
        let ordinal = next.saturating_add(skipped);
        entries.push((ordinal, len));
        next = ordinal.saturating_add(1);
    }
    Ok(entries)
}

/// The chunks of a row, by ordinal.
pub(crate) fn chunks(directory: &Bytes, chunks: &Bytes) -> Result<Vec<(u32, Bytes)>> {
    let mut reader = Reader::new(chunks.clone());
    let entries = entries(directory)?.into_iter();
    let chunks = entries.map(|(ordinal, len)| Ok((ordinal, reader.take(len)?)));
    let chunks = chunks.collect::<Result<Vec<_>>>()?;
    reader.finish()?;
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(runs: &[Run]) -> Vec<(u32, Bytes)> {
        let of = |run: &Run| chunks(&run.directory, &run.chunks).unwrap();
        runs.iter().flat_map(of).collect()
    }

    #[test]
    fn small_packs_are_inline() {
        let given: Vec<Bytes> = ["a", "", "ccc"].map(Bytes::from).to_vec();
        let Layout::Inline(run) = lay_out(&given) else {
            panic!("so few bytes need no row of their own");
        };
        assert_eq!(all(&[run]), (0..).zip(given).collect::<Vec<_>>());
        assert_eq!(lay_out(&[]), Layout::Inline(Run::default()));
    }

    #[test]
    fn large_packs_are_in_rows_of_their_own() {
        let given: Vec<Bytes> = (0..100).map(|n| vec![n as u8; n * 97].into()).collect();
        let mut given = given;
        given.insert(40, vec![7; 3 * INLINE].into());
        let Layout::Apart(runs) = lay_out(&given) else {
            panic!("so many bytes do not go into one row");
        };
        assert_eq!(all(&runs), (0..).zip(given).collect::<Vec<_>>());
        for run in &runs {
            let entries = entries(&run.directory).unwrap();
            assert_eq!(entries[0].0, run.first);
            assert!(run.chunks.len() <= INLINE || entries.len() == 1);
        }
    }

    #[test]
    fn gaps_are_kept_and_damage_is_seen() {
        let left = [(3, Bytes::from("x")), (7, Bytes::from("yy"))];
        let run = run(2, left.clone());
        assert_eq!(all(std::slice::from_ref(&run)), left);
        assert!(chunks(&run.directory, &run.chunks.slice(1..)).is_err());
        assert!(chunks(&run.directory.slice(1..), &run.chunks).is_err());
        assert!(chunks(&run.directory, &[&run.chunks[..], b"z"].concat().into()).is_err());
    }
}
