//! [`Memory`]: the handle everything starts from.

use std::sync::Arc;

use crate::backend::{Capabilities, CheckpointBackend, ListThreads};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::retention::Maintained;
use crate::saver::Saver;
use crate::settings::{Clock, Entropy, Settings, SystemClock, SystemEntropy};
use crate::store::Store;
use crate::thread::Thread;
use crate::types::check_id;

/// An agent's durable memory on one backend. Cheap to clone; all clones share
/// one cache and one budget.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use chunkpoint_core::{Item, Memory, memory::MemoryBackend};
///
/// let memory = Memory::new(MemoryBackend::new())?;
/// let thread = memory.thread("support-4711")?;
///
/// let mut draft = thread.draft().await?;
/// draft.append("messages", [Item::text("Where is my parcel?")])?;
/// let first = thread.commit(draft).await?;
///
/// let mut draft = first.draft()?;
/// draft.append("messages", [Item::text("In Rotterdam since Tuesday.")])?;
/// let second = thread.commit(draft).await?;
///
/// assert_eq!(second.list("messages").await?.len(), 2);
/// assert_eq!(first.list("messages").await?.len(), 1); // every state stays readable
/// # Ok::<(), chunkpoint_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Memory {
    pub(crate) engine: Arc<Engine>,
}

impl Memory {
    /// A memory on `backend`, with default settings.
    ///
    /// # Errors
    /// None with default settings.
    pub fn new(backend: impl CheckpointBackend) -> Result<Self> {
        Self::builder(Arc::new(backend)).build()
    }

    /// Starts a memory on `backend` with settings of its own.
    pub fn builder(backend: Arc<dyn CheckpointBackend>) -> MemoryBuilder {
        MemoryBuilder {
            backend,
            settings: Settings::default(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }

    /// The root namespace of the thread `id`, which need not exist yet.
    ///
    /// # Errors
    /// `InvalidInput` for an id that is empty, has a NUL, or is over 16 KiB.
    pub fn thread(&self, id: &str) -> Result<Thread> {
        check_id("thread id", id, false)?;
        Ok(Thread::new(self.engine.clone(), id.into(), "".into()))
    }

    /// Ids of threads that have a checkpoint and start with `prefix`,
    /// ascending by their bytes, after `after`, at most `limit`. A page that
    /// is not full is the last.
    ///
    /// # Errors
    /// What the backend reports.
    pub async fn threads(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Arc<str>>> {
        self.engine.check_open()?;
        self.engine
            .backend
            .threads(ListThreads {
                prefix: prefix.to_owned(),
                after: after.map(Arc::from),
                limit,
                all: false,
            })
            .await
            .map_err(|e| e.operation("threads"))
    }

    /// The LangGraph checkpointer contract over the same checkpoints.
    pub fn saver(&self) -> Saver {
        Saver {
            engine: self.engine.clone(),
        }
    }

    /// The long-term store on the same storage: what agents know across runs.
    ///
    /// # Errors
    /// `Unsupported` if the backend has none.
    pub fn store(&self) -> Result<Store> {
        let backend = self.engine.backend.clone().store().ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("{} has no long-term store", self.engine.backend),
            )
        })?;
        Ok(Store::new(self.engine.clone(), backend))
    }

    /// Applies retention to every thread and removes what nothing reaches,
    /// and pending writes whose checkpoint did not come within the grace
    /// period, now. Safe to run at any time, from several processes at once, and to
    /// stop half-way.
    ///
    /// # Errors
    /// What the backend reports; what was done until then is done.
    pub async fn maintain(&self) -> Result<Maintained> {
        self.engine.check_open()?;
        Engine::maintain(&self.engine).await
    }

    /// What the backend can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.engine.capabilities
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.engine.settings
    }

    /// The backend, for its own figures.
    pub fn backend(&self) -> &Arc<dyn CheckpointBackend> {
        &self.engine.backend
    }

    /// Bytes in the cache now; never over `cache_bytes` for long.
    pub fn cached_bytes(&self) -> u64 {
        self.engine.cache.bytes()
    }

    /// Stops background work, makes everything acknowledged durable, and lets
    /// go of files and connections. Handles fail with `Unavailable` afterwards.
    ///
    /// # Errors
    /// What the backend reports.
    pub async fn close(&self) -> Result<()> {
        self.engine.close().await.map_err(|e| e.operation("close"))
    }
}

/// Makes a [`Memory`].
#[derive(Debug)]
pub struct MemoryBuilder {
    backend: Arc<dyn CheckpointBackend>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl MemoryBuilder {
    /// Sets how it behaves.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Takes the time from `clock`; tests do.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Takes randomness from `entropy`; tests do.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Makes it.
    ///
    /// # Errors
    /// `InvalidInput` for settings that make no sense.
    pub fn build(self) -> Result<Memory> {
        let engine = Engine::new(self.backend, self.settings, self.clock, self.entropy)?;
        Ok(Memory {
            engine: Arc::new(engine),
        })
    }
}
