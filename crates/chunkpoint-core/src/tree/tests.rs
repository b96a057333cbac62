//! The tree against plain vectors: however a list came about, it has the same
//! hash, gives the same elements, and stores only what is new.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::backend::PackId;
use crate::codec::{Codec, Compression};
use crate::error::Result;
use crate::types::Item;

/// Packs in memory.
struct Packs {
    codec: Codec,
    chunks: Mutex<HashMap<(PackId, u32), Bytes>>,
    fetched: Mutex<usize>,
}

impl Packs {
    fn new() -> Self {
        Self {
            codec: Codec::new(Compression::Zstd),
            chunks: Mutex::default(),
            fetched: Mutex::default(),
        }
    }

    fn builder(&self, n: u64) -> PackBuilder<'_> {
        PackBuilder::new(PackId(n.to_be_bytes()), &self.codec)
    }

    /// Stores the pack; gives the bytes it took.
    fn store(&self, pack: PackBuilder<'_>) -> usize {
        let id = pack.id();
        let chunks = pack.into_chunks();
        let bytes = chunks.iter().map(Bytes::len).sum();
        for (n, chunk) in chunks.into_iter().enumerate() {
            self.chunks.lock().unwrap().insert((id, n as u32), chunk);
        }
        bytes
    }
}

#[async_trait]
impl Fetch for Packs {
    async fn fetch(&self, refs: &[Ref]) -> Result<Vec<Arc<Decoded>>> {
        *self.fetched.lock().unwrap() += refs.len();
        refs.iter()
            .map(|r| {
                let stored = self.chunks.lock().unwrap()[&(r.pack, r.ordinal)].clone();
                decode(self.codec.unpack(stored)?, r).map(Arc::new)
            })
            .collect()
    }
}

/// Item `n` of a kind of list: what sizes its items have.
fn item(n: u64, spread: usize) -> Item {
    let size = blake3::hash(&n.to_le_bytes()).as_bytes()[0] as usize * spread / 64;
    Item::new("json", format!("{n:06} ").repeat(size / 7 + 1).into_bytes())
}

fn elements(items: &[Item]) -> Vec<Element> {
    items
        .iter()
        .cloned()
        .map(|item| Element::new(Arc::default(), item))
        .collect()
}

fn scratch(packs: &Packs, n: u64, items: &[Item], donor: Donor<'_>) -> (Edge, usize) {
    let mut pack = packs.builder(n);
    let edge = block_on(build_edge(packs, false, elements(items), donor, &mut pack)).unwrap();
    (edge, packs.store(pack))
}

fn all(packs: &Packs, edge: &Edge) -> Vec<Bytes> {
    let elements = block_on(range(packs, edge, 0..edge.len())).unwrap();
    let data: Vec<&Data> = elements.iter().map(|e| &e.data).collect();
    block_on(read_data(packs, &data)).unwrap()
}

fn bytes(items: &[Item]) -> Vec<Bytes> {
    items.iter().map(|item| item.bytes.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_list_has_one_tree_however_it_came_about(
        spread in prop::sample::select(vec![8usize, 64, 2000, 20_000]),
        start in 0usize..600,
        steps in prop::collection::vec((0.0f64..=1.0, 0.0f64..=1.0, 0usize..60), 1..6),
    ) {
        let packs = Packs::new();
        let start = if spread > 1000 { start / 6 } else { start };
        let mut plain: Vec<Item> = (0..start as u64).map(|n| item(n, spread)).collect();
        let mut edge = Edge::new(false);
        let mut pack = packs.builder(1);
        for element in elements(&plain) {
            edge.append([element], &mut pack).unwrap();
        }
        packs.store(pack);
        for (step, (at, len, new)) in steps.into_iter().enumerate() {
            let from = (at * plain.len() as f64) as usize;
            let to = from + (len * len * (plain.len() - from) as f64) as usize;
            let new: Vec<Item> =
                (0..new as u64).map(|n| item(1_000_000 * (step as u64 + 1) + n, spread)).collect();
            let id = 10 + step as u64;
            let mut pack = packs.builder(id);
            let gone = from as u64..to as u64;
            let spliced =
                block_on(splice(&packs, &edge, gone, elements(&new), &mut pack)).unwrap();
            packs.store(pack);
            plain.splice(from..to, new);
            let (built, stored) = scratch(&packs, id + 100, &plain, Donor::Edge(&spliced));
            prop_assert_eq!(spliced.hash(), built.hash());
            prop_assert_eq!(stored, 0, "an equal list stores nothing");
            prop_assert_eq!(all(&packs, &spliced), bytes(&plain));
            prop_assert_eq!(spliced.len(), plain.len() as u64);
            edge = spliced;
        }
    }

    #[test]
    fn any_range_reads_the_same(from in 0u64..500, len in 0u64..500) {
        let packs = Packs::new();
        let items: Vec<Item> = (0..500).map(|n| item(n, 64)).collect();
        let (edge, _) = scratch(&packs, 1, &items, Donor::None);
        let to = (from + len).min(500);
        let got = block_on(range(&packs, &edge, from..to)).unwrap();
        prop_assert_eq!(got.len() as u64, to - from);
        for (element, item) in got.iter().zip(&items[from as usize..]) {
            prop_assert!(matches!(&element.data, Data::Inline(b) if *b == item.bytes));
        }
    }

    #[test]
    fn no_chunk_panics(bytes: Vec<u8>, kind in 0u8..7, sum: bool) {
        let mut raw = vec![kind];
        if sum {
            raw.extend(crc32c::crc32c(&bytes).to_le_bytes());
        }
        raw.extend(bytes);
        let r = Ref::to_nothing();
        prop_assert!(decode(raw.into(), &r).is_err());
    }

    #[test]
    fn a_damaged_chunk_is_never_taken_for_another(
        at: prop::sample::Index, byte: u8, resum: bool,
    ) {
        let packs = Packs::new();
        let items: Vec<Item> = (0..60).map(|n| item(n, 64)).collect();
        let (edge, _) = scratch(&packs, 1, &items, Donor::None);
        let r = edge.levels[0][0].clone();
        let stored = packs.chunks.lock().unwrap()[&(r.pack, r.ordinal)].clone();
        let mut raw = packs.codec.unpack(stored).unwrap().to_vec();
        let at = at.index(raw.len());
        raw[at] = byte;
        if resum {
            let sum = crc32c::crc32c(&raw[5..]);
            raw[1..5].copy_from_slice(&sum.to_le_bytes());
        }
        match decode(raw.into(), &r) {
            Err(error) => prop_assert_eq!(error.kind(), crate::ErrorKind::Corrupt),
            Ok(Decoded::Leaf(read)) => prop_assert_eq!(node::leaf_hash(false, &read), r.hash),
            Ok(_) => prop_assert!(false, "another kind of chunk"),
        }
    }
}

#[test]
fn a_grown_list_stores_its_end() {
    let packs = Packs::new();
    let items: Vec<Item> = (0..5000).map(|n| item(n, 64)).collect();
    let (edge, _) = scratch(&packs, 1, &items[..4999], Donor::None);
    *packs.fetched.lock().unwrap() = 0;
    let (_, stored) = scratch(&packs, 2, &items, Donor::Edge(&edge));
    assert!(stored < 8000, "{stored} bytes");
    assert!(*packs.fetched.lock().unwrap() < 40);
}

#[test]
fn a_change_in_a_large_value_stores_its_pieces() {
    let packs = Packs::new();
    let mut big: Vec<u8> = (0..40_000u32)
        .flat_map(|n| blake3::hash(&n.to_le_bytes()).as_bytes()[..8].to_vec())
        .collect();
    let mut items: Vec<Item> = (0..50).map(|n| item(n, 64)).collect();
    items[20] = Item::new("bytes", big.clone());
    let (edge, _) = scratch(&packs, 1, &items, Donor::None);
    big[100_000] ^= 1;
    items[20] = Item::new("bytes", big.clone());
    let (changed, stored) = scratch(&packs, 2, &items, Donor::Edge(&edge));
    assert!(stored < 40_000, "{stored} bytes");
    assert_eq!(all(&packs, &changed), bytes(&items));
}

#[test]
fn what_is_reachable_is_what_was_stored() {
    let packs = Packs::new();
    let mut items: Vec<Item> = (0..900).map(|n| item(n, 64)).collect();
    items[400] = Item::new(
        "bytes",
        (0..30_000u32)
            .flat_map(u32::to_le_bytes)
            .collect::<Vec<_>>(),
    );
    let (edge, _) = scratch(&packs, 1, &items, Donor::None);
    let mut seen = std::collections::HashSet::new();
    block_on(reachable(&packs, Root::of_edge(&edge), &mut seen)).unwrap();
    assert_eq!(seen.len(), packs.chunks.lock().unwrap().len());
}

#[test]
fn a_flipped_bit_is_found() {
    let packs = Packs::new();
    let items: Vec<Item> = (0..100).map(|n| item(n, 64)).collect();
    let (edge, _) = scratch(&packs, 1, &items, Donor::None);
    let r = edge.levels[0][0].clone();
    let stored = packs.chunks.lock().unwrap()[&(r.pack, r.ordinal)].clone();
    for bit in 0..stored.len() * 8 {
        let mut bad = stored.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        let read = packs
            .codec
            .unpack(bad.into())
            .and_then(|raw| decode(raw, &r));
        match read {
            Err(error) => assert_eq!(error.kind(), crate::ErrorKind::Corrupt),
            // A bit that the decompressor does not look at changes nothing.
            Ok(Decoded::Leaf(elements)) => {
                assert_eq!(super::node::leaf_hash(false, &elements), r.hash);
            }
            Ok(_) => panic!("another kind of chunk"),
        }
    }
}
