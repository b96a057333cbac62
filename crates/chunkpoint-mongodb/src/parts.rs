//! Chunks, in the document of their pack or in documents of their own.

use bytes::Bytes;
use chunkpoint_core::backend::{Incarnation, PackId};
use mongodb::bson::RawDocumentBuf;
use mongodb::bson::raw::cstr;

use crate::doc::{int, ordinal, raw_binary};
use crate::names::of_part;

/// Most bytes of chunks in the document of their pack. A document has 16 MiB at most, and is
/// written anew when any of it changes.
const INLINE: usize = 1 << 20;

/// Most bytes of one chunk, and of chunks in a document of their own, if there are two.
pub(crate) const PART: usize = 12 << 20;

/// Where a pack's chunks go.
#[derive(Debug)]
pub(crate) struct Stored {
    /// In the pack's document: the chunks by their ordinals, unless they are elsewhere.
    pub(crate) inline: Option<RawDocumentBuf>,
    /// Documents of their own, to be inserted first.
    pub(crate) parts: Vec<RawDocumentBuf>,
    /// The ordinals that those begin with.
    pub(crate) firsts: Vec<u32>,
    /// Each chunk's length, in four bytes, the least significant first.
    pub(crate) lengths: Vec<u8>,
}

/// Lays out the chunks of a pack in a life, written at this time.
pub(crate) fn lay_out(
    thread: &str,
    life: Incarnation,
    pack: PackId,
    time_ms: u64,
    chunks: &[Bytes],
) -> Stored {
    let lengths = chunks.iter().flat_map(|chunk| {
        let length = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        length.to_le_bytes()
    });
    let mut stored = Stored {
        inline: None,
        parts: Vec::new(),
        firsts: Vec::new(),
        lengths: lengths.collect(),
    };
    if chunks.iter().map(Bytes::len).sum::<usize>() <= INLINE {
        let all: Vec<(u32, &Bytes)> = (0..).zip(chunks).collect();
        stored.inline = (!chunks.is_empty()).then(|| by_ordinal(&all));
        return stored;
    }
    for (first, chunks) in apart(chunks) {
        let mut part = RawDocumentBuf::new();
        part.append(cstr!("_id"), raw_binary(&of_part(&life.0, pack, first)));
        part.append(cstr!("thread"), thread);
        part.append(cstr!("time_ms"), int(time_ms));
        part.append(cstr!("chunks"), &chunks);
        stored.parts.push(part);
        stored.firsts.push(first);
    }
    stored
}

/// Chunks by their ordinals, in documents that the server takes; each with its first ordinal.
pub(crate) fn apart(chunks: &[Bytes]) -> Vec<(u32, RawDocumentBuf)> {
    let mut rest: Vec<(u32, &Bytes)> = (0..).zip(chunks).collect();
    let mut documents = Vec::new();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |(_, chunk): &&(u32, &Bytes)| {
            bytes += chunk.len() + 16;
            bytes <= PART
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let these: Vec<_> = rest.drain(..count).collect();
        documents.push((these[0].0, by_ordinal(&these)));
    }
    documents
}

fn by_ordinal(chunks: &[(u32, &Bytes)]) -> RawDocumentBuf {
    let mut document = RawDocumentBuf::new();
    for (number, chunk) in chunks {
        document.append(ordinal(*number), raw_binary(chunk));
    }
    document
}

/// The lengths that [`Stored::lengths`] has.
pub(crate) fn lengths(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let lengths = bytes.as_chunks::<4>().0.iter();
    lengths.map(|length| u32::from_le_bytes(*length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_packs_have_parts_below_the_servers_limit() {
        let pack = PackId([1; 8]);
        let lay_out = |chunks: &[Bytes]| lay_out("t", Incarnation([0; 8]), pack, 5, chunks);
        let small = lay_out(&[Bytes::from_static(b"a"), Bytes::new()]);
        assert!(small.inline.is_some() && small.parts.is_empty());
        assert_eq!(lengths(&small.lengths).collect::<Vec<_>>(), [1, 0]);
        let chunk = Bytes::from(vec![7; 5 << 20]);
        let large = lay_out(&vec![chunk; 7]);
        assert!(large.inline.is_none());
        assert_eq!(large.firsts, [0, 2, 4, 6]);
        let within = |part: &RawDocumentBuf| part.as_bytes().len() < 16 << 20;
        assert!(large.parts.iter().all(within));
        let none = lay_out(&[]);
        assert!(none.inline.is_none() && none.parts.is_empty() && none.lengths.is_empty());
    }
}
