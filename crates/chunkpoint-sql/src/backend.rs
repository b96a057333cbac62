//! [`SqlBackend`]: what it consists of. What it does is in the modules beside.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use chunkpoint_core::backend::Durability;
use chunkpoint_core::{Error, ErrorKind, Result};

use crate::builder::SqlBuilder;
use crate::config::SqlConfig;
use crate::db::Db;
use crate::dialect::Dialect;

/// Checkpoints in an SQL database.
pub struct SqlBackend {
    inner: Arc<Inner>,
}

/// What calls that outlive their future share with the backend.
pub(crate) struct Inner {
    pub(crate) db: Db,
    pub(crate) durability: Durability,
    shown: String,
}

impl Inner {
    pub(crate) async fn open(db: Db, durability: Durability, shown: String) -> Result<Self> {
        Ok(Self {
            db,
            durability,
            shown,
        })
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
}

/// Runs a mutation to its end, even if nobody waits for it any more: a future dropped
/// half-way would leave a transaction on a connection that is in nobody's hands.
pub(crate) async fn to_its_end<T: Send + 'static>(
    operation: &'static str,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let done = tokio::spawn(work).await.unwrap_or_else(|stopped| {
        let message = "the call was stopped before its end";
        Err(Error::new(ErrorKind::Other, message).source(stopped))
    });
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
            .field("durability", &self.inner.durability)
            .finish_non_exhaustive()
    }
}
