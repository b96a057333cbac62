//! Scenarios of the long-term store: what is kept, and what is done with it.

use serde::{Deserialize, Serialize};

use super::at_least_one;
use crate::workload::Quantiles;

/// Items of a long-term store, as many in each namespace.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Items {
    /// How many.
    #[serde(deserialize_with = "at_least_one")]
    pub items: usize,
    /// Over how many namespaces.
    #[serde(deserialize_with = "at_least_one")]
    pub namespaces: usize,
    /// Which of the workloads of this description.
    pub seed: u64,
    /// How unequally namespaces are asked for: the exponent of Zipf's law, so that the
    /// n-th most wanted is asked for in proportion to 1 / n^popularity. 0: all alike.
    #[serde(deserialize_with = "exponent")]
    pub popularity: f64,
    /// The kinds of items; their shares need not add up to 1.
    #[serde(deserialize_with = "some_kinds")]
    pub kinds: Vec<ItemKind>,
}

/// One kind of items.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemKind {
    /// Its name, which starts its keys.
    pub name: String,
    /// Its share of the items.
    pub share: f64,
    /// Bytes of a value, as compact JSON.
    pub bytes: Quantiles,
}

/// Parameters of [`Model::LongTermStore`](super::Model::LongTermStore).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LongTermStore {
    /// Items of the small store that the large one is compared with.
    #[serde(deserialize_with = "at_least_one")]
    pub small_items: usize,
    /// Its namespaces.
    #[serde(deserialize_with = "at_least_one")]
    pub small_namespaces: usize,
    /// Items that are put at once to fill a store.
    #[serde(deserialize_with = "at_least_one")]
    pub batch: usize,
    /// Operations that are done before any is recorded, on each of the two stores.
    pub warm_up: usize,
    /// Operations that are recorded, on each.
    #[serde(deserialize_with = "at_least_one")]
    pub operations: usize,
    /// Which operations.
    pub mix: Mix,
    /// Items of a page of a search.
    #[serde(deserialize_with = "at_least_one")]
    pub page: usize,
    /// Bytes of the one large value, as compact JSON.
    #[serde(deserialize_with = "at_least_one")]
    pub large_bytes: usize,
    /// Patches of one field of it; and as many of another field each.
    #[serde(deserialize_with = "at_least_one")]
    pub large_patches: usize,
    /// Items of the first kind in the store that fresh processes open.
    #[serde(deserialize_with = "at_least_one")]
    pub many_items: usize,
    /// Its namespaces.
    #[serde(deserialize_with = "at_least_one")]
    pub many_namespaces: usize,
    /// How many fresh processes open it.
    #[serde(deserialize_with = "at_least_one")]
    pub cold_opens: usize,
}

/// Shares of the operations; they need not add up to 1.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Reads of an item.
    pub get: f64,
    /// Puts: of an item in the place of another, or of one that was deleted.
    pub put: f64,
    /// Patches of two members.
    pub patch: f64,
    /// Searches of a namespace by a filter: the first page or the second.
    pub search: f64,
    /// Removals.
    pub delete: f64,
}

fn exponent<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let exponent = f64::deserialize(from)?;
    if !(0.0..=4.0).contains(&exponent) {
        return Err(serde::de::Error::custom("must be between 0 and 4"));
    }
    Ok(exponent)
}

fn some_kinds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<ItemKind>, D::Error> {
    let kinds = Vec::<ItemKind>::deserialize(from)?;
    if !kinds.iter().any(|kind| kind.share > 0.0) || kinds.iter().any(|kind| kind.share < 0.0) {
        return Err(serde::de::Error::custom(
            "give at least one kind, with a share above 0",
        ));
    }
    Ok(kinds)
}
