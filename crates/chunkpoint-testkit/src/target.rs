//! What a behaviour of the engine runs against.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chunkpoint_core::backend::{Capabilities, CheckpointBackend};
use chunkpoint_core::layers::{Layer, Layered, Metrics, MetricsSnapshot};
use chunkpoint_core::store::Store;
use chunkpoint_core::{Memory, Saver, Settings};

use crate::backend_suite::Fixture;
use crate::deterministic::{ManualClock, SeededEntropy};
use crate::watched::{Watch, Watched};

/// One isolated, empty store, with memories on it that share a manual clock
/// and seeded randomness. Nothing runs in the background unless asked.
#[derive(Debug)]
pub struct Target {
    name: String,
    fixture: Arc<dyn AnyFixture>,
    backend: Arc<dyn CheckpointBackend>,
    metrics: Metrics,
    /// As `backend`, for memories whose long-term store is used.
    watched: Arc<dyn CheckpointBackend>,
    watch: Arc<Watch>,
    clock: Arc<ManualClock>,
    entropy: Arc<SeededEntropy>,
}

/// A fixture that can be kept and need not say how it looks.
trait AnyFixture: Fixture + std::fmt::Debug {}

struct Kept<F>(F);

impl<F> std::fmt::Debug for Kept<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fixture")
    }
}

#[async_trait::async_trait]
impl<F: Fixture> Fixture for Kept<F> {
    async fn open(&self) -> Arc<dyn CheckpointBackend> {
        self.0.open().await
    }

    async fn teardown(&self) {
        self.0.teardown().await;
    }
}

impl<F: Fixture> AnyFixture for Kept<F> {}

impl Target {
    /// Opens the store of `fixture`. `name` is that of the behaviour.
    pub async fn open(name: &str, fixture: impl Fixture + 'static) -> Self {
        Self::on(name, Arc::new(Kept(fixture))).await
    }

    async fn on(name: &str, fixture: Arc<dyn AnyFixture>) -> Self {
        let metrics = Metrics::new();
        let opened = fixture.open().await;
        let watch = Arc::new(Watch::default());
        let watched = Arc::new(Watched::new(opened.clone(), watch.clone()));
        let backend = Layered::new(opened, metrics.clone());
        Self {
            name: name.to_owned(),
            fixture,
            backend: Arc::new(backend),
            metrics,
            watched,
            watch,
            clock: Arc::default(),
            entropy: Arc::new(SeededEntropy::new(0x00c0_ffee)),
        }
    }

    /// Another memory on the store, with a cache of its own, and nothing in it.
    pub fn memory(&self) -> Memory {
        self.memory_with(self.settings())
    }

    /// As [`memory`](Self::memory), with settings.
    pub fn memory_with(&self, settings: Settings) -> Memory {
        self.memory_on(self.backend.clone(), settings)
    }

    /// A memory on the store as `layer` lets it be seen.
    pub fn memory_through(&self, layer: impl Layer) -> Memory {
        let backend = Layered::new(self.backend.clone(), layer);
        self.memory_on(Arc::new(backend), self.settings())
    }

    fn memory_on(&self, backend: Arc<dyn CheckpointBackend>, settings: Settings) -> Memory {
        Memory::builder(backend)
            .settings(settings)
            .clock(self.clock.clone())
            .entropy(self.entropy.clone())
            .build()
            .expect("the settings of a behaviour make sense")
    }

    /// The long-term store, through a memory of its own: nothing is in its cache.
    pub fn store(&self) -> Store {
        self.store_with(self.settings())
    }

    /// As [`store`](Self::store), with settings.
    pub fn store_with(&self, settings: Settings) -> Store {
        let store = self.store_memory(settings).store();
        store.expect("the backend must have a long-term store")
    }

    /// A memory whose long-term store is [watched](Self::watch).
    pub fn store_memory(&self, settings: Settings) -> Memory {
        self.memory_on(self.watched.clone(), settings)
    }

    /// The backend whose long-term store is [watched](Self::watch).
    pub fn watched(&self) -> Arc<dyn CheckpointBackend> {
        self.watched.clone()
    }

    /// What was asked of the long-term store.
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// The contract, on a memory of its own.
    pub fn saver(&self) -> Saver {
        self.memory().saver()
    }

    /// Settings with nothing in the background, so that a behaviour says
    /// itself when retention runs.
    pub fn settings(&self) -> Settings {
        Settings {
            background: false,
            ..Settings::default()
        }
    }

    /// The clock of all memories.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// The clock, for a task of its own.
    pub fn clock_handle(&self) -> Arc<ManualClock> {
        self.clock.clone()
    }

    /// The store, as the memories see it.
    pub fn backend(&self) -> &Arc<dyn CheckpointBackend> {
        &self.backend
    }

    /// What the store can do.
    pub fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    /// What was asked of the store so far, by all memories together.
    pub fn asked(&self) -> MetricsSnapshot {
        self.metrics.snapshot()
    }

    /// The calls that `work` made to the store.
    pub async fn calls_of<T>(&self, work: impl Future<Output = T>) -> (T, u64) {
        let before = self.asked().total().calls;
        let out = work.await;
        (out, self.asked().total().calls - before)
    }

    /// The bytes that `work` handed to the store.
    pub async fn bytes_of<T>(&self, work: impl Future<Output = T>) -> (T, u64) {
        let before = self.asked().total().bytes_sent;
        let out = work.await;
        (out, self.asked().total().bytes_sent - before)
    }

    /// Closes the store and opens it again; `None` where nothing would be left.
    pub async fn reopened(&self) -> Option<Self> {
        if !self.capabilities().persistent {
            self.skipped("the backend keeps nothing");
            return None;
        }
        self.backend.close().await.expect("closing must succeed");
        Some(Self {
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            ..Self::on(&self.name, self.fixture.clone()).await
        })
    }

    /// Says that (the rest of) the behaviour was not tested, and why.
    pub fn skipped(&self, why: &str) {
        println!("skipped {}: {why}", self.name);
    }

    async fn teardown(self) {
        self.fixture.teardown().await;
    }
}

/// A behaviour on its way.
pub type Running<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The longest a behaviour may take; one that blocks for ever fails.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs one behaviour on a runtime of several threads. What
/// [`engine_suite!`](crate::engine_suite!) expands to; not for use by hand.
#[doc(hidden)]
pub fn run<F: Fixture + 'static>(
    name: &str,
    fixture: impl Future<Output = Option<F>>,
    behaviour: impl for<'a> Fn(&'a Target) -> Running<'a>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let Some(fixture) = fixture.await else {
            println!("skipped {name}: the store is not at hand");
            return;
        };
        let target = Target::open(name, fixture).await;
        if tokio::time::timeout(LIMIT, behaviour(&target))
            .await
            .is_err()
        {
            panic!("{name} has not ended after {LIMIT:?}");
        }
        target.teardown().await;
    });
}

/// Every behaviour in `sources` must be in the list that `module` has.
#[cfg(test)]
pub(crate) fn assert_all_listed(module: &str, sources: &[&str]) {
    for source in sources {
        for line in source.lines() {
            let Some(rest) = line.strip_prefix("pub async fn ") else {
                continue;
            };
            let name = rest.split('(').next().unwrap_or_default();
            let listed = module.lines().any(|line| line.trim() == name);
            assert!(listed, "{name} is not in the list");
        }
    }
}

/// Makes one test of each behaviour of the engine on a backend: the contract
/// of LangGraph's checkpointers, everything else that a
/// [`Memory`](chunkpoint_core::Memory) promises, and the model test.
///
/// Takes what [`backend_suite!`](crate::backend_suite!) takes: an expression
/// that makes a [`Fixture`](crate::backend_suite::Fixture), evaluated once for
/// each test, or `optional` and one that makes an `Option` of it.
#[macro_export]
macro_rules! engine_suite {
    ($($fixture:tt)*) => {
        $crate::suite_of!(engine_suite_all; $($fixture)*);
    };
}

/// Calls the macro `$tests` with an expression that makes an `Option` of a
/// fixture, of what the user of a suite wrote.
#[doc(hidden)]
#[macro_export]
macro_rules! suite_of {
    ($tests:ident; optional $fixture:expr) => {
        $crate::$tests!(($fixture));
    };
    ($tests:ident; $fixture:expr) => {
        $crate::$tests!((::core::option::Option::Some($fixture)));
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! engine_suite_all {
    ($fixture:tt) => {
        $crate::contract_list!($fixture);
        $crate::engine_suite_list!($fixture);
        $crate::model_list!($fixture);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! engine_suite_tests {
    ($fixture:tt; $suite:ident; $($groups:tt)*) => {
        mod $suite {
            #[allow(unused_imports)]
            use super::*;
            $crate::suite_tests! { $fixture; $crate::target::run; $suite; $($groups)* }
        }
    };
}

/// Makes the tests of one suite, a module for each group.
#[doc(hidden)]
#[macro_export]
macro_rules! suite_tests {
    ($fixture:tt; $run:path; $suite:ident; $($group:ident: $($name:ident)*;)*) => {
        $(
            mod $group {
                #[allow(unused_imports)]
                use super::*;
                $(
                    #[test]
                    fn $name() {
                        $run(
                            concat!(stringify!($group), "::", stringify!($name)),
                            async { $fixture },
                            |target| {
                                ::std::boxed::Box::pin($crate::$suite::$group::$name(target))
                            },
                        );
                    }
                )*
            }
        )*
    };
}
