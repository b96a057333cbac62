//! Values of all shapes, made from their own seeds.

use std::collections::BTreeMap;

use chunkpoint_core::{DELTA_SNAPSHOT_TAG, Item, Value};

use super::op::Content;
use crate::deterministic::Rng;

/// One item: mostly short, sometimes long enough for chunks of its own, now
/// and then over the size at which it is split.
fn item_of(rng: &mut Rng) -> Item {
    let len = match rng.below(60) {
        0 => 16_000 + rng.below(30_000),
        1..6 => rng.below(4000),
        _ => rng.below(200),
    } as usize;
    if rng.one_in(2) {
        // Compresses, and repeats what others have.
        let word = rng.pick(&["alpha ", "beta ", "gamma "]);
        let mut text = word.repeat(len / word.len() + 1);
        text.truncate(len);
        Item::text(text)
    } else {
        Item::new("bytes", rng.bytes(len))
    }
}

pub(super) fn item(content: Content) -> Item {
    item_of(&mut Rng::new(content.seed))
}

pub(super) fn list(content: Content) -> Vec<Item> {
    let mut rng = Rng::new(content.seed);
    (0..content.items).map(|_| item_of(&mut rng)).collect()
}

pub(super) fn map(content: Content) -> BTreeMap<String, Item> {
    let mut rng = Rng::new(content.seed);
    (0..content.items)
        .map(|_| (format!("key {}", rng.below(500)), item_of(&mut rng)))
        .collect()
}

/// A value of any kind.
pub(super) fn any(content: Content) -> Value {
    match content.seed % 3 {
        0 => Value::Item(item(content)),
        1 => Value::List(list(content)),
        _ => Value::Map(map(content)),
    }
}

/// A delta channel's snapshot.
pub(super) fn snapshot(content: Content) -> Value {
    let item = item(content);
    Value::Item(Item::new(DELTA_SNAPSHOT_TAG, item.bytes))
}
