//! RFC 7396 merge patches, of JSON in memory and of values in pages.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::value::{Entries, Entry, Page, PageWriter, Pages, below, end_of, to_json};
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
}

impl<'a> Patching<'a> {
    pub(super) fn new(pages: &'a Pages, open: BTreeMap<usize, Entries>) -> Self {
        let open = open.into_iter().map(|(at, entries)| {
            let changed = false;
            (at, Open { entries, changed })
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

    /// Writes what changed, and the pages `moved`, into the writer's pack; gives all
    /// pages of the new value.
    pub(super) fn finish(
        mut self,
        moved: &[usize],
        writer: &mut PageWriter<'_>,
    ) -> Result<Vec<Page>> {
        let mut pages = Vec::with_capacity(self.pages.pages.len());
        for (at, page) in self.pages.pages.iter().enumerate() {
            match self.open.remove(&at) {
                Some(open) if open.changed || moved.contains(&at) => {
                    pages.extend(writer.pages(open.entries)?);
                }
                _ if self.gone.contains(&at) => {}
                _ => pages.push(page.clone()),
            }
        }
        // Of a value that had no page.
        for open in std::mem::take(&mut self.open).into_values() {
            pages.extend(writer.pages(open.entries)?);
        }
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

    fn patch_like_merging(start: Map<String, Value>, patches: Vec<Map<String, Value>>) {
        let codec = Codec::new(Compression::Lz4);
        let mut kept = Kept::default();
        let mut expected = start;
        expected.insert("long".into(), "y".repeat(20_000).into());
        let first = PackId([0; 8]);
        kept.put(encode(&expected, first, &codec).unwrap(), first);
        for (nth, patch) in (1u64..).zip(patches) {
            let pages = kept.pages(&codec);
            let moved = to_move(&pages);
            let looks = looks_at(&patch);
            let wanted = looks.iter().map(|path| pages.at(path)).chain(moved.clone());
            let open = wanted.map(|at| {
                let mut entries = Entries::new();
                kept.read(&pages.pages[at], &codec, &mut entries);
                (at, entries)
            });
            let mut patching = Patching::new(&pages, open.collect());
            patching.apply(&patch).unwrap();
            merge(&mut expected, &patch);
            let pack = PackId(nth.to_be_bytes());
            let mut writer = PageWriter::new(pack, &codec, pages.bytes);
            let list = patching.finish(&moved, &mut writer).unwrap();
            let next = Pages {
                pages: list,
                ..pages.clone()
            };
            kept.put(writer.finish(next).unwrap(), pack);
            let pages = kept.pages(&codec);
            assert!(pages.packs.len() <= MOST_PACKS + 1);
            let mut all = Entries::new();
            for page in &pages.pages {
                kept.read(page, &codec, &mut all);
            }
            assert_eq!(unflatten(&all).unwrap(), expected);
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
