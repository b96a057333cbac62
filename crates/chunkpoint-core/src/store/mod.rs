//! The long-term store: what agents know across runs, as JSON values under
//! (namespace, key).
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use chunkpoint_core::store::Search;
//! use chunkpoint_core::{Memory, memory::MemoryBackend};
//! use serde_json::json;
//!
//! let store = Memory::new(MemoryBackend::new())?.store()?;
//! store.put(&["users", "ada"], "profile", json!({"city": "London", "age": 36})).await?;
//! store.patch(&["users", "ada"], "profile", json!({"city": "Paris", "age": null})).await?;
//!
//! let profile = store.get(&["users", "ada"], "profile").await?.expect("it was put");
//! assert_eq!(json!(profile.value), json!({"city": "Paris"}));
//!
//! let found = store.search(Search::below(&["users"])?.filter(&json!({"city": "Paris"}))?).await?;
//! assert_eq!(&*found[0].key, "profile");
//! # Ok::<(), chunkpoint_core::Error>(())
//! # }).unwrap();
//! ```
//!
//! It has the semantics of LangGraph's `BaseStore` (its `batch`: reads see what was
//! before the batch's writes, and of several writes to one item the last one counts),
//! and beyond it [`patch`](Store::patch), versions to expect, values of any size, and a
//! [`Filter`] that is the same on every backend.

mod batch;
mod copy;
pub(crate) mod filter;
mod patch;
mod read;
mod search;
mod types;
mod value;
mod write;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::engine::Engine;
use crate::error::{Error, Result, quote};
use crate::store_backend::{StoreBackend, SweepItems, SweptItems};
use crate::types::check_id;

pub(crate) use copy::Original;

pub use crate::store_backend::{Expect, ItemKey, Namespace};
pub use filter::Filter;
pub use types::{
    Delete, Get, LabelMatch, NamespaceQuery, Order, Patch, Put, Search, StoreAnswer, StoreItem,
    StoreOp, Ttl, Written,
};

/// Rows and packs that one slice of a sweep may remove.
const SWEEP_SLICE: usize = 500;

/// A handle on the long-term store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    engine: Arc<Engine>,
    backend: Arc<dyn StoreBackend>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.backend).finish()
    }
}

impl Store {
    pub(crate) fn new(engine: Arc<Engine>, backend: Arc<dyn StoreBackend>) -> Self {
        Self { engine, backend }
    }

    /// Reads an item; `None` if there is none, or it has expired. Renews its life,
    /// if it has a limited one and the settings do not say otherwise.
    ///
    /// # Errors
    /// `InvalidInput` for labels or a key that cannot be; `Corrupt` if stored bytes are
    /// damaged; what the backend reports.
    pub async fn get<L: AsRef<str> + Sync>(
        &self,
        namespace: &[L],
        key: &str,
    ) -> Result<Option<StoreItem>> {
        let get = Get::new(namespace, key).map_err(|e| e.operation("get"))?;
        self.get_with(get).await
    }

    /// Puts a JSON object, in the place of what is there.
    ///
    /// # Errors
    /// `InvalidInput` for labels or a key that cannot be, or a value that is no object;
    /// `TooLarge` over the backend's limits; what the backend reports.
    pub async fn put<L: AsRef<str> + Sync>(
        &self,
        namespace: &[L],
        key: &str,
        value: Value,
    ) -> Result<Written> {
        let put = Put::new(namespace, key, value).map_err(|e| e.operation("put"))?;
        self.put_with(put).await
    }

    /// Changes members of an item's value; see [`Patch`]. Tries again if another
    /// writer comes between.
    ///
    /// # Errors
    /// As [`put`](Self::put); `Conflict` if other writers keep coming between. Where an
    /// answer was lost and others changed the item since, it cannot be known whether the
    /// patch was applied before: the error is `Conflict` and *unknown*. The same patch may
    /// then be made again, but for members that others may have changed meanwhile.
    pub async fn patch<L: AsRef<str> + Sync>(
        &self,
        namespace: &[L],
        key: &str,
        patch: Value,
    ) -> Result<Written> {
        let patch = Patch::new(namespace, key, patch).map_err(|e| e.operation("patch"))?;
        self.patch_with(patch).await
    }

    /// Removes an item. One that is not there is no error.
    ///
    /// # Errors
    /// `InvalidInput` for labels or a key that cannot be; what the backend reports.
    pub async fn delete<L: AsRef<str> + Sync>(&self, namespace: &[L], key: &str) -> Result<()> {
        let delete = Delete::new(namespace, key).map_err(|e| e.operation("delete"))?;
        self.delete_with(delete).await
    }

    /// Removes, for good, items that expired and what nothing uses any more, both
    /// longer than [`Settings::grace`](crate::Settings::grace) ago. Safe at any time,
    /// from several processes; done in the background every
    /// [`Settings::store_sweep`](crate::Settings::store_sweep).
    ///
    /// # Errors
    /// What the backend reports; what was done until then is done.
    pub async fn sweep(&self) -> Result<SweptItems> {
        let mut swept = SweptItems::default();
        loop {
            self.engine.check_open()?;
            let slice = self.sweep_slice().await?;
            swept.expired += slice.expired;
            swept.packs += slice.packs;
            if !slice.more {
                return Ok(swept);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn sweep_slice(&self) -> Result<SweptItems> {
        let grace = self.engine.settings.grace.as_millis() as u64;
        let sweep = SweepItems {
            before_ms: self.now_ms().saturating_sub(grace),
            limit: SWEEP_SLICE,
        };
        let swept = self.backend.sweep(sweep).await;
        swept.map_err(|e| e.operation("sweep"))
    }

    /// Starts a sweep off the request path, if it is time for one.
    fn sweep_if_due(&self) {
        let every = self.engine.settings.store_sweep.as_millis() as u64;
        if !self.engine.background.enabled() || !self.engine.store_sweep_due(self.now_ms(), every) {
            return;
        }
        let store = self.clone();
        self.engine
            .background
            .spawn("store sweep".into(), async move {
                if let Err(error) = store.sweep().await {
                    tracing::warn!(%error, "the store could not be swept");
                }
            });
    }

    /// The backend, for its own figures.
    pub fn backend(&self) -> &Arc<dyn StoreBackend> {
        &self.backend
    }

    fn now_ms(&self) -> u64 {
        self.engine.clock.now_ms()
    }
}

/// Checks and makes the name of an item.
///
/// # Errors
/// `InvalidInput` for labels or a key that cannot be.
pub fn item_key<L: AsRef<str>>(namespace: &[L], key: &str) -> Result<ItemKey> {
    let namespace = Namespace::new(namespace)?;
    let key = key.into();
    let item = ItemKey { namespace, key };
    check_item(&item)?;
    Ok(item)
}

/// Refuses what names no item: a name may have been made by hand.
fn check_item(item: &ItemKey) -> Result<()> {
    if item.namespace.labels().is_empty() {
        return Err(Error::invalid(
            "the namespace has no labels; an item's has at least one",
        ));
    }
    check_id("store key", &item.key, false)
}

/// Refuses what must not be written to.
fn check_writable(item: &ItemKey) -> Result<()> {
    match item.namespace.labels() {
        [root, ..] if &**root == "langgraph" => Err(Error::invalid(format!(
            "namespace {} starts with {}, which is reserved",
            item.namespace,
            quote(root)
        ))),
        _ => check_item(item),
    }
}

fn object(what: &str, value: Value) -> Result<serde_json::Map<String, Value>> {
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(Error::invalid(format!(
            "{what} is a JSON object; put anything else into a member of one"
        ))),
    }
}
