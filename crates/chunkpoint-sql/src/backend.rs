//! [`SqlBackend`]: what it consists of. What it does is in the modules beside.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chunkpoint_core::backend::Capabilities;
use chunkpoint_core::store_backend::ItemKey;
use chunkpoint_core::{Error, ErrorKind, Result};
use futures::future::BoxFuture;

use crate::builder::SqlBuilder;
use crate::config::SqlConfig;
use crate::db::Db;
use crate::dialect::Dialect;
use crate::error::{closed, is_lost_race};
use crate::orphans::Orphans;

/// Checkpoints in an SQL database.
pub struct SqlBackend {
    inner: Arc<Inner>,
}

/// What calls that outlive their future share with the backend.
pub(crate) struct Inner {
    pub(crate) db: Db,
    capabilities: Capabilities,
    shown: String,
    closed: AtomicBool,
    threads: Arc<Orphans<Arc<str>>>,
    items: Arc<Orphans<ItemKey>>,
}

impl Inner {
    pub(crate) fn new(db: Db, capabilities: Capabilities, shown: String) -> Self {
        Self {
            db,
            capabilities,
            shown,
            closed: AtomicBool::new(false),
            threads: Orphans::new(),
            items: Orphans::new(),
        }
    }

    pub(crate) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.db.close().await;
    }
}

/// Runs something again while it loses races against other transactions: a deadlock is
/// the database's way to say so. After the last attempt, that is the result.
macro_rules! retrying {
    ($db:expr, $attempt:expr) => {{
        let mut patience = $crate::backend::Patience::new();
        loop {
            match $attempt {
                Err(error) if patience.for_another(&$db, &error).await => {}
                result => break result,
            }
        }
    }};
}
pub(crate) use retrying;

/// Runs a block in a transaction, which ends with it: committed if it gives `Ok`, else
/// undone; and again if it lost a race. `return` leaves the block, not the function.
/// Another beginning than the usual gives the transaction and what it begins with.
macro_rules! transaction {
    ($inner:expr, $tx:ident, $work:block) => {
        $crate::backend::transaction!($inner, $tx, _rows: $inner.db.begin_with(Vec::new()), $work)
    };
    ($inner:expr, $tx:ident, $first:ident: $begin:expr, $work:block) => {
        $crate::backend::retrying!($inner.db, {
            match $begin.await {
                Err(error) => Err(error),
                Ok((mut begun, $first)) => {
                    let $tx = &mut begun;
                    let result = async { $work }.await;
                    begun.end(result).await
                }
            }
        })
    };
}
pub(crate) use transaction;

/// Attempts at a transaction.
const ATTEMPTS: u32 = 8;

/// How often something was tried.
pub(crate) struct Patience {
    attempts: u32,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self { attempts: 1 }
    }

    /// Whether to try again after this error; if so, after a wait.
    pub(crate) async fn for_another(&mut self, db: &Db, error: &Error) -> bool {
        if self.attempts == ATTEMPTS || !is_lost_race(db.dialect(), error) {
            return false;
        }
        // 1 to 2, 2 to 4, … milliseconds: those that met each other should not again.
        let most = 1_000_u64 << self.attempts;
        let mut random = [0; 8];
        // Without randomness they merely wait alike.
        let _ = getrandom::fill(&mut random);
        let wait = most / 2 + u64::from_le_bytes(random) % (most / 2);
        tokio::time::sleep(Duration::from_micros(wait)).await;
        self.attempts += 1;
        true
    }
}

impl SqlBackend {
    pub(crate) fn new(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Opens a backend with a configuration.
    ///
    /// # Errors
    /// As [`SqlBuilder::open`].
    pub async fn from_config(config: SqlConfig) -> Result<Self> {
        SqlBuilder::new(config).open().await
    }

    /// Which database it is on.
    pub fn dialect(&self) -> Dialect {
        self.inner.db.dialect()
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// What calls work with, unless the backend was closed.
    pub(crate) fn open(&self) -> Result<Arc<Inner>> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        Ok(self.inner.clone())
    }

    /// As [`open`](Self::open), once everything is decided that callers who have gone left
    /// undecided for a thread; for all threads, if none is named.
    pub(crate) async fn settled(&self, thread: Option<&str>) -> Result<Arc<Inner>> {
        let inner = self.open()?;
        let concerns = |one: &Arc<str>| thread.is_none_or(|thread| **one == *thread);
        inner.threads.decided(concerns).await;
        Ok(inner)
    }

    /// The same of items, those for which `concerns` holds.
    pub(crate) async fn settled_items(
        &self,
        concerns: impl Fn(&ItemKey) -> bool + Send + Sync,
    ) -> Result<Arc<Inner>> {
        let inner = self.open()?;
        inner.items.decided(concerns).await;
        Ok(inner)
    }

    /// Runs a mutation of a thread to its end, whether its caller waits for it or not.
    pub(crate) async fn mutate<T: Send + 'static>(
        &self,
        operation: &'static str,
        thread: &Arc<str>,
        work: impl FnOnce(Arc<Inner>) -> BoxFuture<'static, Result<T>>,
    ) -> Result<T> {
        let inner = self.settled(Some(thread)).await?;
        let halves = inner.threads.halves([thread.clone()].into());
        to_its_end(operation, halves, work(inner)).await
    }

    /// The same of items.
    pub(crate) async fn mutate_items<T: Send + 'static>(
        &self,
        operation: &'static str,
        items: Arc<[ItemKey]>,
        work: impl FnOnce(Arc<Inner>) -> BoxFuture<'static, Result<T>>,
    ) -> Result<T> {
        let inner = self.settled_items(|item| items.contains(item)).await?;
        let halves = inner.items.halves(items);
        to_its_end(operation, halves, work(inner)).await
    }
}

/// Runs a mutation to its end, even if nobody waits for it any more: a future dropped
/// half-way would leave a transaction on a connection that is in nobody's hands. `halves`
/// tell [`Orphans`] which of the two was first, its caller or its end.
async fn to_its_end<T: Send + 'static, H: Send + 'static>(
    operation: &'static str,
    (caller, task): (H, H),
    work: BoxFuture<'static, Result<T>>,
) -> Result<T> {
    let done = tokio::spawn(async move {
        let done = work.await;
        drop(task);
        done
    });
    let done = done.await.unwrap_or_else(|stopped| {
        let message = "the call was stopped before its end";
        Err(Error::new(ErrorKind::Other, message).source(stopped))
    });
    drop(caller);
    done.map_err(|error| error.operation(operation))
}

impl fmt::Display for SqlBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.shown)
    }
}

impl fmt::Debug for SqlBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlBackend")
            .field("db", &self.inner.db)
            .finish_non_exhaustive()
    }
}
