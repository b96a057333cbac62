//! The variants of the long-term store, behind one interface of their own.
//!
//! As with checkpoints, the models drive an [`ItemSubject`] and nothing else: every
//! variant goes through the same code, is timed at the same place and checked the same
//! way. A backend is a [`Store`], whatever it is: none is named here but by the floor,
//! which is made of what the backend is made of.

mod engine;
mod floor;
mod noop;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chunkpoint_core::store::{ItemKey, Search};

use super::noop::NoOp;
use super::{Counted, Store, Variant};
use crate::error::{Error, Result};
use crate::measure::Io;
use crate::scenario::EngineSettings;
use crate::workload::Members;

/// One operation.
#[derive(Debug, Clone)]
pub enum ItemOp {
    /// Reads an item.
    Get(ItemKey),
    /// Puts one.
    Put(ItemKey, Members),
    /// Changes members of one.
    Patch(ItemKey, Members),
    /// Removes one.
    Delete(ItemKey),
    /// Looks for some.
    Search(Search),
}

/// What an operation gives back.
#[derive(Debug, Clone)]
pub enum ItemAnswer {
    /// Items that were read.
    Items(Vec<(ItemKey, Members)>),
    /// A change was made.
    Written {
        /// Bytes that the engine says it handed to its backend.
        engine_bytes: u64,
    },
    /// Bytes without meaning: the floor's. Only their number can be checked.
    Opaque {
        /// Bytes that were read.
        read: u64,
        /// Bytes that should have been.
        expected: u64,
    },
    /// Nothing is stored, so there is nothing to compare.
    Nothing,
}

/// A variant of the long-term store on opened storage.
#[async_trait]
pub trait ItemSubject: Counted + fmt::Debug + Send + Sync {
    /// Tells the floor what the engine beside it moved for the next operation.
    fn follow(&self, moved: Io) {
        let _ = moved;
    }

    /// What the system calls of the last operation took, if that is less than
    /// the operation.
    fn bare(&self) -> Option<Duration> {
        None
    }

    /// Puts many items of namespace number `namespace` at once.
    async fn load(&self, namespace: u32, items: Vec<(ItemKey, Members)>) -> Result<()>;

    /// Does one operation in namespace number `namespace`: what is timed.
    async fn run(&self, namespace: u32, op: ItemOp) -> Result<ItemAnswer>;

    /// Removes what nothing uses any more, as far as the grace period lets it.
    async fn sweep(&self) -> Result<()>;

    /// Makes everything durable and lets go.
    async fn close(&self) -> Result<()>;
}

/// Opens a variant on a store. `settings` are the engine's.
///
/// # Errors
/// Those of the store; `Usage` for a variant that the long-term store has not.
pub async fn open(
    variant: Variant,
    store: &Store,
    settings: &EngineSettings,
) -> Result<Arc<dyn ItemSubject>> {
    Ok(match variant {
        Variant::Default => Arc::new(engine::Engine::open(store, settings, false).await?),
        Variant::WholeValue => Arc::new(engine::Engine::open(store, settings, true).await?),
        Variant::Floor => Arc::new(floor::Floor::open(store)?),
        Variant::NoOp => Arc::new(NoOp),
        Variant::FullSnapshot | Variant::LangGraph => {
            return Err(Error::Usage(format!(
                "the long-term store has no variant {variant}; whole-value is the nearest"
            )));
        }
    })
}
