//! RFC 7396 merge patches, of JSON in memory and of values in pages.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::{Map, Value};

use super::value::{
    Entries, Entry, PAGES, Page, PageWriter, Pages, below, bytes_of, end_of, to_json,
};
use crate::error::{Error, Result};

/// Applies `patch` to `target`: the algorithm of RFC 7396, section 2.
pub(super) fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.remove(name);
            }
            Value::Object(inner) => {
                let member = target
                    .entry(name.as_str())
                    .or_insert_with(|| Value::Object(Map::new()));
                if !member.is_object() {
                    *member = Value::Object(Map::new());
                }
                if let Value::Object(member) = member {
                    merge(member, inner);
                }
            }
            other => {
                target.insert(name.clone(), other.clone());
            }
        }
    }
}

/// The paths at which a patch looks: each must be in a page that is read.
pub(super) fn looks_at(patch: &Map<String, Value>) -> BTreeSet<String> {
    fn walk(parent: Option<&str>, patch: &Map<String, Value>, paths: &mut BTreeSet<String>) {
        for (name, value) in patch {
            let path = below(parent, name);
            match value {
                Value::Object(inner) => walk(Some(&path), inner, paths),
                // All below it goes: what lies between is dropped unread.
                _ => {
                    paths.insert(end_of(&path));
                }
            }
            paths.insert(path);
        }
    }
    let mut paths = BTreeSet::new();
    walk(None, patch, &mut paths);
    paths
}

/// Packs that a value may be spread over, ...
const MOST_PACKS: usize = 48;
/// ... and stored bytes that no page uses, beyond as many as are used.
const MOST_GARBAGE: u64 = 64 * 1024;

/// The pages of one pack that the next patch should write anew, so that the pack
/// can go: those of the pack with the least in use, once there are too many packs
/// or too much in them is not used any more.
pub(super) fn to_move(pages: &Pages) -> Vec<usize> {
    let mut used: BTreeMap<_, u64> = BTreeMap::new();
    for page in &pages.pages {
        *used.entry(page.pack).or_default() += page.stored;
    }
    let live: u64 = used.values().sum();
    let stored: u64 = pages.packs.iter().map(|(_, bytes)| bytes).sum();
    if pages.packs.len() <= MOST_PACKS && stored <= 2 * live + MOST_GARBAGE {
        return Vec::new();
    }
    let Some((pack, _)) = used.into_iter().min_by_key(|(_, bytes)| *bytes) else {
        return Vec::new();
    };
    (0..pages.pages.len())
        .filter(|at| pages.pages[*at].pack == pack)
        .collect()
}

/// Pages that a value may have, ...
const MOST_PAGES: usize = 2 * PAGES;
/// ... and how many neighbours the next patch writes at least once it has more.
const MERGED: usize = 8;

/// Neighbouring pages that the next patch should write anew, as pages of the size that
/// goes with the value now: of a value that patches made large, the smallest ones. The
/// list of pages, which every patch reads and writes, is so kept short.
///
/// There are twice as many as are too many, and two of them make at most one: what one
/// patch added too much, the next takes away.
///
/// How small a page is, only its stored bytes tell. Where full pages compress so much better
/// than others that they are taken for the smallest, and written for nothing, the run grows
/// with what is too many, beyond them and in the end over the whole value: there never are
/// much over `2 * MOST_PAGES`.
pub(super) fn to_merge(pages: &Pages) -> Range<usize> {
    let count = pages.pages.len();
    if count <= MOST_PAGES {
        return 0..0;
    }
    let merged = (2 * (count - MOST_PAGES)).clamp(MERGED, count);
    let runs = pages.pages.windows(merged).enumerate();
    let smallest = runs.min_by_key(|(_, run)| run.iter().map(|page| page.stored).sum::<u64>());
    smallest.map_or(0..0, |(at, _)| at..at + merged)
}

/// A value in pages that is being patched. The pages that the patch looks at are
/// here with their entries.
pub(super) struct Patching<'a> {
    pages: &'a Pages,
    open: BTreeMap<usize, Open>,
    gone: BTreeSet<usize>,
}

struct Open {
    entries: Entries,
    changed: bool,
    /// Bytes before it was patched.
    bytes: u64,
}

impl<'a> Patching<'a> {
    pub(super) fn new(pages: &'a Pages, open: BTreeMap<usize, Entries>) -> Self {
        let open = open.into_iter().map(|(at, entries)| {
            let open = Open {
                changed: false,
                bytes: bytes_of(&entries),
                entries,
            };
            (at, open)
        });
        Self {
            pages,
            open: open.collect(),
            gone: BTreeSet::new(),
        }
    }

    /// Applies a patch.
    pub(super) fn apply(&mut self, patch: &Map<String, Value>) -> Result<()> {
        self.merge(None, patch)
    }

    fn merge(&mut self, parent: Option<&str>, patch: &Map<String, Value>) -> Result<()> {
        for (name, value) in patch {
            let path = below(parent, name);
            match value {
                Value::Null => self.remove(&path)?,
                Value::Object(inner) => {
                    let page = self.page(&path)?;
                    if page.entries.get(&path) != Some(&Entry::Object) {
                        page.entries.insert(path.clone(), Entry::Object);
                        page.changed = true;
                    }
                    self.merge(Some(&path), inner)?;
                }
                other => {
                    let leaf = Entry::Leaf(to_json(other)?.into());
                    if self.page(&path)?.entries.get(&path) != Some(&leaf) {
                        self.remove(&path)?;
                        let page = self.page(&path)?;
                        page.entries.insert(path, leaf);
                        page.changed = true;
                    }
                }
            }
        }
        Ok(())
    }

    fn page(&mut self, path: &str) -> Result<&mut Open> {
        self.open
            .get_mut(&self.pages.at(path))
            .ok_or_else(|| Error::corrupt("a page that a patch looks at was not read"))
    }

    /// Removes what is at and below a path.
    fn remove(&mut self, path: &str) -> Result<()> {
        let end = end_of(path);
        for at in self.pages.at(path)..=self.pages.at(&end) {
            let Some(page) = self.open.get_mut(&at) else {
                self.gone.insert(at);
                continue;
            };
            let before = page.entries.len();
            page.entries
                .retain(|there, _| **there < *path || *there >= end);
            page.changed |= page.entries.len() != before;
        }
        Ok(())
    }

    /// Whether anything is other than before.
    pub(super) fn is_changed(&self) -> bool {
        !self.gone.is_empty() || self.open.values().any(|page| page.changed)
    }

    /// Bytes of the new value as JSON, about.
    pub(super) fn bytes(&self) -> u64 {
        let pages = &self.pages.pages;
        let stored: u64 = pages.iter().map(|page| page.stored).sum();
        // What went unread is taken to have been like the rest.
        let gone: u64 = self.gone.iter().map(|at| pages[*at].stored).sum();
        let gone = u128::from(self.pages.bytes) * u128::from(gone) / u128::from(stored.max(1));
        let before: u64 = self.open.values().map(|page| page.bytes).sum();
        let after: u64 = self.open.values().map(|page| bytes_of(&page.entries)).sum();
        (self.pages.bytes + after).saturating_sub(before + gone as u64)
    }

    /// Writes what changed, and the pages `moved`, into the writer's pack; gives all
    /// pages of the new value. Neighbours that are written become pages of the writer's
    /// size.
    pub(super) fn finish(
        mut self,
        moved: &BTreeSet<usize>,
        writer: &mut PageWriter<'_>,
    ) -> Result<Vec<Page>> {
        let mut pages = Vec::with_capacity(self.pages.pages.len());
        let mut written = Entries::new();
        for (at, page) in self.pages.pages.iter().enumerate() {
            match self.open.remove(&at) {
                Some(open) if open.changed || moved.contains(&at) => written.extend(open.entries),
                _ if self.gone.contains(&at) => {}
                _ => {
                    pages.extend(writer.pages(std::mem::take(&mut written))?);
                    pages.push(page.clone());
                }
            }
        }
        // The last ones, or those of a value that had no page.
        let rest = std::mem::take(&mut self.open).into_values();
        rest.for_each(|open| written.extend(open.entries));
        pages.extend(writer.pages(written)?);
        Ok(pages)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::value::{Body, Encoded, encode, read_body, read_page, unflatten};
    use super::*;
    use crate::backend::PackId;
    use crate::codec::{Codec, Compression};
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    /// The examples of RFC 7396, appendix A, that have objects on both sides.
    #[test]
    fn merges_as_the_rfc_says() {
        for (target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
        ] {
            let mut merged = object(target);
            merge(&mut merged, &object(patch));
            assert_eq!(Value::Object(merged), expected);
        }
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[a-z\\\\\"\0\u{1}\u{2}ü]{0,6}".prop_map(Value::from),
            (2000usize..9000).prop_map(|n| Value::from("x".repeat(n))),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                members(inner).prop_map(Value::Object),
            ]
        })
    }

    fn members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
        proptest::collection::btree_map("[abc\0\u{1}\u{2}]{0,2}", value, 0..8)
            .prop_map(|map| map.into_iter().collect())
    }

    /// Bodies and chunks as a backend would have them.
    #[derive(Default)]
    struct Kept {
        body: Bytes,
        chunks: HashMap<(PackId, u32), Bytes>,
    }

    impl Kept {
        fn put(&mut self, encoded: Encoded, pack: PackId) {
            self.chunks.extend(
                (0..)
                    .zip(encoded.chunks)
                    .map(|(n, chunk)| ((pack, n), chunk)),
            );
            self.chunks
                .retain(|(pack, _), _| encoded.packs.contains(pack));
            self.body = encoded.body;
        }

        fn pages(&self, codec: &Codec) -> Pages {
            match read_body(self.body.clone(), codec).unwrap() {
                Body::Pages(pages) => pages,
                Body::Inline(_) => panic!("a long value is in pages"),
            }
        }

        fn read(&self, page: &Page, codec: &Codec, entries: &mut Entries) {
            let chunk = |name: crate::backend::ChunkName| {
                let chunk = self.chunks[&(name.pack, name.ordinal)].clone();
                assert_eq!(chunk.len(), name.len as usize);
                chunk
            };
            let parts: Vec<Bytes> = page.names().map(chunk).collect();
            read_page(page.raw(&parts, codec).unwrap(), entries).unwrap();
        }
    }

    /// What a store with this value does with a patch.
    fn patch_kept(kept: &mut Kept, patch: &Map<String, Value>, nth: u64, codec: &Codec) {
        let pages = kept.pages(codec);
        let moved = to_move(&pages).into_iter().chain(to_merge(&pages));
        let moved: BTreeSet<_> = moved.collect();
        let looks = looks_at(patch);
        let wanted = looks.iter().map(|path| pages.at(path));
        let open = wanted.chain(moved.iter().copied()).map(|at| {
            let mut entries = Entries::new();
            kept.read(&pages.pages[at], codec, &mut entries);
            (at, entries)
        });
        let mut patching = Patching::new(&pages, open.collect());
        patching.apply(patch).unwrap();
        let pack = PackId(nth.to_be_bytes());
        let bytes = patching.bytes();
        let mut writer = PageWriter::new(pack, codec, bytes);
        let list = patching.finish(&moved, &mut writer).unwrap();
        let next = Pages {
            bytes,
            pages: list,
            packs: pages.packs,
        };
        kept.put(writer.finish(next).unwrap(), pack);
    }

    fn whole(kept: &Kept, codec: &Codec) -> Map<String, Value> {
        let mut all = Entries::new();
        for page in &kept.pages(codec).pages {
            kept.read(page, codec, &mut all);
        }
        unflatten(&all).unwrap()
    }

    fn put_first(value: &Map<String, Value>, codec: &Codec) -> Kept {
        let (mut kept, first) = (Kept::default(), PackId([0; 8]));
        kept.put(encode(value, first, codec).unwrap(), first);
        kept
    }

    fn patch_like_merging(start: Map<String, Value>, patches: Vec<Map<String, Value>>) {
        let codec = Codec::new(Compression::Lz4);
        let mut expected = start;
        expected.insert("long".into(), "y".repeat(20_000).into());
        let mut kept = put_first(&expected, &codec);
        for (nth, patch) in (1u64..).zip(patches) {
            patch_kept(&mut kept, &patch, nth, &codec);
            merge(&mut expected, &patch);
            assert!(kept.pages(&codec).packs.len() <= MOST_PACKS + 1);
            assert_eq!(whole(&kept, &codec), expected);
        }
    }

    /// The list of pages is in the row, which every patch writes.
    #[test]
    fn a_value_that_patches_made_large_has_few_pages() {
        let codec = Codec::new(Compression::Lz4);
        let mut expected = object(json!({"long": "y".repeat(20_000)}));
        let mut kept = put_first(&expected, &codec);
        for nth in 1..=40u64 {
            let members =
                (0..100).map(|n| (format!("m{}", n * 40 + nth), "z".repeat(8_200).into()));
            let patch: Map<String, Value> = members.collect();
            patch_kept(&mut kept, &patch, nth, &codec);
            merge(&mut expected, &patch);
        }
        let pages = kept.pages(&codec);
        let bytes = to_json(&expected).unwrap().len() as u64;
        assert!(bytes > 4 * (PAGES * 8_000) as u64);
        assert!(pages.bytes.abs_diff(bytes) < bytes / 100, "{}", pages.bytes);
        // One patch may have added its own before the next merges.
        assert!(
            pages.pages.len() <= MOST_PAGES + 100,
            "{}",
            pages.pages.len()
        );
        assert_eq!(whole(&kept, &codec), expected);

        // And as it shrinks, it is known to be smaller.
        let gone = expected
            .keys()
            .filter(|name| name.ends_with(['1', '2', '3', '4']));
        let patch: Map<String, Value> = gone.map(|name| (name.clone(), Value::Null)).collect();
        patch_kept(&mut kept, &patch, 100, &codec);
        merge(&mut expected, &patch);
        let bytes = to_json(&expected).unwrap().len() as u64;
        let pages = kept.pages(&codec);
        assert!(
            pages.bytes.abs_diff(bytes) < bytes / 50,
            "{} {bytes}",
            pages.bytes
        );
        assert_eq!(whole(&kept, &codec), expected);
    }

    /// Full pages that compress well look like the smallest, and are no fewer when they are
    /// written anew; the list of pages is bounded all the same.
    #[test]
    fn pages_that_compress_well_do_not_keep_others_from_being_merged() {
        let codec = Codec::new(Compression::Lz4);
        let member = |name: &str, n: u64, text: String| (format!("{name}{n:05}"), text.into());
        let even = (0..2000).map(|n| member("a", n, "y".repeat(8_200)));
        let mut kept = put_first(&even.collect(), &codec);
        let noise = |n: u64| {
            let mut bytes = vec![0; 4_100];
            let mut hasher = blake3::Hasher::new();
            hasher
                .update(&n.to_le_bytes())
                .finalize_xof()
                .fill(&mut bytes);
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        for nth in 1..=20u64 {
            let members = (0..300).map(|n| n * 20 + nth);
            let patch = members.map(|n| member("b", n, noise(n)));
            patch_kept(&mut kept, &patch.collect(), nth, &codec);
            let pages = kept.pages(&codec).pages.len();
            assert!(
                pages <= 2 * MOST_PAGES + 300,
                "{pages} pages after {nth} patches"
            );
        }
    }

    proptest! {
        #[test]
        fn pages_give_what_merging_gives(
            start in members(json_value()),
            patches in proptest::collection::vec(members(json_value()), 1..6),
        ) {
            patch_like_merging(start, patches);
        }
    }

    #[test]
    fn many_patches_stay_in_few_packs() {
        let start = (0..2000).map(|n| (format!("m{n:04}"), "z".repeat(50).into()));
        let patches = (0..300).map(|n| object(json!({format!("m{:04}", n * 37 % 2000): n})));
        patch_like_merging(start.collect(), patches.collect());
    }
}
