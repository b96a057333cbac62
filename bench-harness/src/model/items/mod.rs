//! The long-term store: a mix of operations, one large value, and a store of many items.
//!
//! There are four stores. *Few* and *all* hold the same kinds of items in namespaces of
//! the same size, a hundred times as many in *all*; operations on the two take turns, so
//! that both meet the same device at the same time. *Large* holds one large value.
//! *Many* is only filled, and then opened by processes that have just started.

mod cold;
mod fill;
mod large;
mod mix;
mod traffic;
mod verify;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chunkpoint_core::store::ItemKey;

use super::Bench;
use super::pair::{Timed, timed};
use crate::error::{Error, Result};
use crate::measure::{Io, PhaseName};
use crate::scenario::{EngineSettings, Items, LongTermStore, Source};
use crate::subject::items::{self, ItemAnswer, ItemOp, ItemSubject};
use crate::subject::{Store, Variant};
use crate::workload::{Collection, ItemOracle, Members};

pub(super) use cold::cold;
pub(super) use fill::fill;
pub(super) use verify::verify;

/// What is at rest is looked at so often; ...
const LOOK: Duration = Duration::from_millis(100);
/// ... if it is so often as it was before, nothing is done in the background, ...
const STILL: u32 = 3;
/// ... and nobody waits longer for it than this.
const MOST_WAIT: Duration = Duration::from_secs(20);

/// All operations that are measured on stores that are open for long.
pub(super) async fn write(bench: &mut Bench<'_>, model: &LongTermStore) -> Result<()> {
    mix::mix(bench, model).await?;
    large::patch(bench, model).await
}

/// One of the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    Few,
    Large,
    Many,
}

impl Which {
    /// Its name, and that of the engine's beside the floor.
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::All => ["all", "all-leader"],
            Self::Few => ["few", "few-leader"],
            Self::Large => ["large", "large-leader"],
            Self::Many => ["many", "many-leader"],
        }
    }

    /// What it is filled with.
    fn collection(self, spec: &Items, model: &LongTermStore) -> Collection {
        match self {
            Self::Few => Collection::new(spec, model.small_items, model.small_namespaces, 1),
            Self::Many => {
                Collection::new(spec, model.many_items, model.many_namespaces, 2).of_first_kind()
            }
            Self::All | Self::Large => Collection::new(spec, spec.items, spec.namespaces, 0),
        }
    }
}

/// An opened variant, and for the floor the engine beside it.
#[derive(Debug)]
struct Pair {
    own: Arc<dyn ItemSubject>,
    leader: Option<Arc<dyn ItemSubject>>,
}

impl Pair {
    /// Puts a batch, unmeasured.
    async fn load(&self, namespace: u32, items: Vec<(ItemKey, Members)>) -> Result<()> {
        if let Some(leader) = &self.leader {
            let led = timed(&**leader, leader.load(namespace, items.clone())).await?;
            self.own.follow(led.io);
        }
        self.own.load(namespace, items).await
    }

    /// Does one operation: the engine beside first, then the variant.
    async fn run(&self, namespace: u32, op: ItemOp) -> Result<Timed<ItemAnswer>> {
        let mut leader_took = None;
        if let Some(leader) = &self.leader {
            let led = timed(&**leader, leader.run(namespace, op.clone())).await?;
            leader_took = Some(led.took);
            self.own.follow(led.io);
        }
        let run = timed(&*self.own, self.own.run(namespace, op)).await?;
        Ok(Timed {
            leader_took,
            bare: self.own.bare(),
            ..run
        })
    }

    fn io(&self) -> Io {
        self.own.io()
    }

    /// Whether the process also holds an engine that is not what is measured.
    fn is_accompanied(&self) -> bool {
        self.leader.is_some()
    }

    async fn sweep(&self) -> Result<()> {
        if let Some(leader) = &self.leader {
            leader.sweep().await?;
        }
        self.own.sweep().await
    }

    async fn close(&self) -> Result<()> {
        if let Some(leader) = &self.leader {
            leader.close().await?;
        }
        self.own.close().await
    }
}

impl Bench<'_> {
    /// Sweeps, once the grace period has passed, and waits until the backend has done
    /// in the background what it has to do: until what is at rest stays the same.
    async fn settle(&mut self, pair: &Pair, which: Which) -> Result<()> {
        let grace = self.job.scenario.settings.grace_ms.unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(grace + 100)).await;
        pair.sweep().await?;
        let [own, leader] = which.names();
        let stores = [self.store(own)?, self.store(leader)?];
        let (mut before, mut looks) = (None, 0);
        let start = Instant::now();
        while looks < STILL && start.elapsed() < MOST_WAIT {
            tokio::time::sleep(LOOK).await;
            let at_rest = [stores[0].footprint().await?, stores[1].footprint().await?];
            looks = if before == Some(at_rest) {
                looks + 1
            } else {
                0
            };
            before = Some(at_rest);
        }
        Ok(())
    }

    /// Closes a pair, as a phase.
    async fn teardown_items(&mut self, pair: &Pair) -> Result<()> {
        self.recorder.phase(PhaseName::Teardown, pair.close()).await
    }

    fn items(&self) -> Result<&Items> {
        match &self.job.scenario.workload {
            Source::Items(spec) => Ok(spec),
            _ => Err(Error::Input("the workload has no items".into())),
        }
    }

    fn collection(&self, which: Which, model: &LongTermStore) -> Result<Arc<Collection>> {
        Ok(Arc::new(which.collection(self.items()?, model)))
    }

    /// The oracle of a store that was filled and not changed since.
    fn first_oracle(&self, which: Which, model: &LongTermStore) -> Result<ItemOracle> {
        let collection = self.collection(which, model)?;
        Ok(ItemOracle::new(collection, self.job.corrupt_oracle))
    }

    /// Opens the variant on one of the stores, as a phase.
    async fn open(&mut self, which: Which) -> Result<Pair> {
        let [own, leader] = which.names();
        let (own, leader) = (self.store(own)?, self.store(leader)?);
        let job = self.job;
        let open = self.recorder.begin(PhaseName::Provision);
        let pair = open_pair(job.variant, &own, &leader, &job.scenario.settings).await;
        self.recorder.end(open);
        pair
    }
}

/// Opens a variant; the floor with an engine beside it.
async fn open_pair(
    variant: Variant,
    own: &Store,
    leader: &Store,
    settings: &EngineSettings,
) -> Result<Pair> {
    let own = items::open(variant, own, settings).await?;
    let leader = match variant {
        Variant::Floor => Some(items::open(Variant::Default, leader, settings).await?),
        _ => None,
    };
    Ok(Pair { own, leader })
}
