//! The items of a long-term store, made on demand.

use std::collections::BTreeMap;

use chunkpoint_core::store::{ItemKey, item_key};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::rng::Rng;
use super::summary::Spread;
use super::text::{Lexicon, Script, Sink};
use crate::error::{Error, Result};
use crate::scenario::{ItemKind, Items};

/// What items are about; a search asks for one of these.
const TOPICS: [&str; 4] = ["work", "home", "travel", "health"];
/// The first label of every namespace.
const ROOT: &str = "memories";
/// Scores are below this.
const SCORES: usize = 100;

/// A value, as the store takes it.
pub type Members = Map<String, Value>;

/// A collection of items. Every item has a place, and as many places follow each other
/// in each namespace.
#[derive(Debug)]
pub struct Collection {
    seed: [u64; 2],
    kinds: Vec<ItemKind>,
    items: u32,
    per_namespace: u32,
    /// The share of requests for each namespace and those before it.
    wanted: Vec<f64>,
}

/// How often an item was put, and how often patched since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Puts after the first.
    pub puts: u32,
    /// Patches since the last of them.
    pub patches: u32,
}

/// What a collection amounts to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemSummary {
    /// Number of items.
    pub items: u64,
    /// Number of namespaces.
    pub namespaces: u64,
    /// Bytes of all values, as compact JSON.
    pub raw_bytes: u64,
    /// Bytes a value.
    pub item_bytes: Spread,
    /// Items of the small store that it is compared with.
    pub small_items: u64,
    /// BLAKE3 over all keys and values, in hex.
    pub digest: String,
}

impl Collection {
    /// `items` items over `namespaces` namespaces, with kinds, seed and popularity of
    /// `spec`; `number` tells collections of one scenario apart.
    pub fn new(spec: &Items, items: usize, namespaces: usize, number: u64) -> Self {
        let weights = (1..=namespaces).map(|rank| (rank as f64).powf(-spec.popularity));
        let mut sum = 0.0;
        let mut wanted: Vec<f64> = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        wanted.iter_mut().for_each(|share| *share /= sum);
        Self {
            seed: [spec.seed, number],
            kinds: spec.kinds.clone(),
            items: items as u32,
            per_namespace: items.div_ceil(namespaces) as u32,
            wanted,
        }
    }

    /// The same with only the first kind.
    #[must_use]
    pub fn of_first_kind(mut self) -> Self {
        self.kinds.truncate(1);
        self
    }

    /// Number of items.
    pub fn len(&self) -> u32 {
        self.items
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// Number of namespaces that have places.
    pub fn namespaces(&self) -> u32 {
        self.items.div_ceil(self.per_namespace.max(1))
    }

    /// The namespace of a place.
    pub fn namespace_of(&self, place: u32) -> u32 {
        place / self.per_namespace.max(1)
    }

    /// The labels of a namespace. They are in the order of the numbers.
    pub fn labels(&self, namespace: u32) -> [String; 2] {
        [ROOT.into(), format!("user-{namespace:06}")]
    }

    /// The places of a namespace.
    pub fn places(&self, namespace: u32) -> std::ops::Range<u32> {
        let first = namespace * self.per_namespace;
        first..(first + self.per_namespace).min(self.items)
    }

    /// One place: of a namespace by its popularity, all places of it alike.
    pub fn draw(&self, rng: &mut Rng) -> u32 {
        let share = rng.unit();
        let namespace = self.wanted.partition_point(|upto| *upto <= share) as u32;
        let namespace = namespace.min(self.namespaces().saturating_sub(1));
        let places = self.places(namespace);
        places.start + rng.below(places.len()) as u32
    }

    fn kind(&self, place: u32) -> &ItemKind {
        let rng = &mut Rng::at(&[self.seed[0], self.seed[1], u64::from(place)]);
        let total: f64 = self.kinds.iter().map(|kind| kind.share).sum();
        let mut left = rng.unit() * total;
        let chosen = self.kinds.iter().find(|kind| {
            left -= kind.share;
            left < 0.0
        });
        chosen.unwrap_or(&self.kinds[0])
    }

    /// The name of the item at a place.
    ///
    /// # Errors
    /// `Engine` if a kind's name cannot be in a key.
    pub fn key(&self, place: u32) -> Result<ItemKey> {
        // An odd factor: no two places of a namespace have one key, and the keys'
        // order is not that in which they are put.
        let number = place.wrapping_mul(2_654_435_761);
        let key = format!("{}-{number:08x}", self.kind(place).name);
        item_key(&self.labels(self.namespace_of(place)), &key)
            .map_err(Error::engine("name an item"))
    }

    /// The value of an item.
    pub fn value(&self, place: u32, revision: Revision) -> Members {
        let kind = self.kind(place);
        let rng = &mut self.rng(place, revision.puts, 0);
        let bytes = kind.bytes.draw(rng);
        let words = Lexicon::of(Script::Latin);
        let (topic, score) = self.traits(place, revision);
        let mut value = Members::new();
        let tags: Vec<_> = (0..2).map(|_| words.word(rng)).collect();
        for (name, member) in [
            ("kind", json!(kind.name)),
            ("topic", json!(topic)),
            ("score", json!(score)),
            ("tags", json!(tags)),
            ("text", json!("")),
        ] {
            value.insert(name.into(), member);
        }
        // The text is of the size that the value was put with: a patch leaves it alone.
        let put = Revision {
            patches: 0,
            ..revision
        };
        self.set_patched(place, put, &mut value);
        let frame = json_len(&value);
        let mut text = Sink::new(bytes.saturating_sub(frame));
        words.prose(&mut text, rng);
        value.insert("text".into(), text.finish().into());
        self.set_patched(place, revision, &mut value);
        value
    }

    /// What a search looks at: the item's topic and its score.
    pub fn traits(&self, place: u32, revision: Revision) -> (&'static str, usize) {
        let rng = &mut self.rng(place, revision.puts, 1);
        let topic = rng.pick(&TOPICS).copied().unwrap_or_default();
        (topic, rng.below(SCORES))
    }

    /// The patch that leads to a revision.
    pub fn patch(&self, place: u32, revision: Revision) -> Members {
        let mut patch = Members::new();
        self.set_patched(place, revision, &mut patch);
        patch
    }

    /// Sets the members that patches are about, as the last of them did.
    fn set_patched(&self, place: u32, revision: Revision, value: &mut Members) {
        let rng = &mut self.rng(place, revision.puts, 2 + u64::from(revision.patches));
        let by = Lexicon::of(Script::Latin).word(rng).to_string();
        value.insert("uses".into(), json!(revision.patches));
        value.insert(
            "seen".into(),
            json!({"step": revision.patches, "by": by, "score": rng.below(SCORES)}),
        );
    }

    fn rng(&self, place: u32, puts: u32, part: u64) -> Rng {
        let [seed, number] = self.seed;
        Rng::at(&[seed, number, u64::from(place), u64::from(puts), part])
    }

    /// Goes through all items once; `step` is told how many were seen.
    ///
    /// # Errors
    /// As [`key`](Self::key).
    pub fn summarize(&self, mut step: impl FnMut(u64)) -> Result<ItemSummary> {
        let mut hasher = blake3::Hasher::new();
        let mut sizes = Vec::with_capacity(self.items as usize);
        for place in 0..self.items {
            let json = Value::Object(self.value(place, Revision::default())).to_string();
            hasher.update(self.key(place)?.key.as_bytes());
            hasher.update(&[0]);
            hasher.update(json.as_bytes());
            hasher.update(&[0]);
            sizes.push(json.len() as u64);
            step(u64::from(place));
        }
        Ok(ItemSummary {
            items: u64::from(self.items),
            namespaces: u64::from(self.namespaces()),
            raw_bytes: sizes.iter().sum(),
            item_bytes: Spread::of(sizes),
            small_items: 0,
            digest: hasher.finalize().to_hex().to_string(),
        })
    }

    /// The places of a namespace by their keys, ascending.
    ///
    /// # Errors
    /// As [`key`](Self::key).
    pub fn by_key(&self, namespace: u32) -> Result<BTreeMap<ItemKey, u32>> {
        self.places(namespace)
            .map(|place| Ok((self.key(place)?, place)))
            .collect()
    }
}

/// What a search asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The topic.
    pub topic: &'static str,
    /// The least score.
    pub score: usize,
}

impl Wanted {
    /// One of the searches: about one item in five is found.
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            topic: rng.pick(&TOPICS).copied().unwrap_or_default(),
            score: rng.below(SCORES / 2),
        }
    }

    /// It as a filter.
    pub fn filter(self) -> Value {
        json!({"topic": self.topic, "score": {"$gte": self.score}})
    }

    /// Whether an item with these traits is found.
    pub fn finds(self, (topic, score): (&str, usize)) -> bool {
        topic == self.topic && score >= self.score
    }
}

/// Bytes of a value as compact JSON.
pub(crate) fn json_len(value: &Members) -> usize {
    serde_json::to_string(value).map_or(0, |json| json.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Quantiles;

    fn spec(popularity: f64) -> Items {
        let kind = |name: &str, share, from, to| ItemKind {
            name: name.into(),
            share,
            bytes: Quantiles::try_from(vec![(0.0, from), (1.0, to)]).unwrap(),
        };
        Items {
            items: 1_000,
            namespaces: 10,
            seed: 7,
            popularity,
            kinds: vec![
                kind("preference", 3.0, 200.0, 300.0),
                kind("document", 1.0, 9_000.0, 20_000.0),
            ],
        }
    }

    fn collection(popularity: f64) -> Collection {
        Collection::new(&spec(popularity), 1_000, 10, 1)
    }

    #[test]
    fn values_have_the_sizes_of_their_kind_and_change_with_their_revision() {
        let all = collection(1.0);
        let first = Revision::default();
        let mut documents = 0;
        for place in 0..all.len() {
            let value = all.value(place, first);
            let size = json_len(&value);
            let is_document = value["kind"] == "document";
            documents += u32::from(is_document);
            let range = if is_document {
                9_000..=20_000
            } else {
                200..=300
            };
            assert!(range.contains(&size), "{size}");
            let traits = (
                value["topic"].as_str().unwrap(),
                value["score"].as_u64().unwrap() as usize,
            );
            assert_eq!(traits, all.traits(place, first));
        }
        assert!((150..350).contains(&documents), "{documents}");
        let again = Revision { puts: 1, ..first };
        assert_ne!(all.value(3, first), all.value(3, again));
        assert_eq!(all.value(3, first), collection(1.0).value(3, first));
    }

    #[test]
    fn a_patch_leads_from_one_revision_to_the_next() {
        let all = collection(1.0);
        let revision = |patches| Revision { puts: 2, patches };
        let mut value = all.value(5, revision(3));
        for (name, member) in all.patch(5, revision(4)) {
            value.insert(name, member);
        }
        assert_eq!(value, all.value(5, revision(4)));
    }

    #[test]
    fn keys_differ_and_namespaces_are_in_their_order() {
        let all = collection(1.0);
        let keys: std::collections::BTreeSet<_> = (0..all.len())
            .map(|place| all.key(place).unwrap())
            .collect();
        assert_eq!(keys.len(), 1_000);
        let places: Vec<_> = keys
            .iter()
            .map(|key| key.namespace.labels()[1].to_string())
            .collect();
        let numbered = (0..10).flat_map(|n| std::iter::repeat_n(all.labels(n)[1].clone(), 100));
        assert!(places.into_iter().eq(numbered));
    }

    #[test]
    fn popular_namespaces_are_drawn_more_often() {
        let share = |popularity| {
            let (all, rng) = (collection(popularity), &mut Rng::at(&[1]));
            let draws = 10_000;
            let first = (0..draws).filter(|_| all.namespace_of(all.draw(rng)) == 0);
            first.count() as f64 / f64::from(draws)
        };
        // 1 / (1 + 1/2 + … + 1/10)
        assert!((share(1.0) - 0.341).abs() < 0.02);
        assert!((share(0.0) - 0.1).abs() < 0.02);
    }
}
