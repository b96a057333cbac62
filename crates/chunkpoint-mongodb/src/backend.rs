//! [`MongoBackend`]: what it consists of. What it does is in the modules beside.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chunkpoint_core::backend::Capabilities;
use chunkpoint_core::{Clock, Error, ErrorKind, Result};

use crate::builder::MongoBuilder;
use crate::config::MongoConfig;
use crate::db::Db;
use crate::error::closed;

/// Checkpoints and a long-term store in MongoDB.
pub struct MongoBackend {
    inner: Inner,
    closed: AtomicBool,
}

/// What calls, streams and tasks share with the backend.
#[derive(Debug, Clone)]
pub(crate) struct Inner {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
    capabilities: Arc<Capabilities>,
    shown: Arc<str>,
}

impl Inner {
    pub(crate) fn new(
        db: Db,
        clock: Arc<dyn Clock>,
        capabilities: Capabilities,
        shown: String,
    ) -> Self {
        Self {
            db,
            clock,
            capabilities: Arc::new(capabilities),
            shown: shown.into(),
        }
    }

    /// The same, with what was found out about the server.
    pub(crate) fn with(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = Arc::new(capabilities);
        self
    }

    pub(crate) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Eight bytes that nobody else has.
    pub(crate) fn random(&self) -> Result<[u8; 8]> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)
            .map_err(|e| Error::new(ErrorKind::Other, "no random bytes").source(e))?;
        Ok(bytes)
    }
}

impl MongoBackend {
    pub(crate) fn new(inner: Inner) -> Self {
        Self {
            inner,
            closed: AtomicBool::new(false),
        }
    }

    /// Opens a backend with a configuration.
    ///
    /// # Errors
    /// As [`MongoBuilder::open`].
    pub async fn from_config(config: MongoConfig) -> Result<Self> {
        MongoBuilder::new(config).open().await
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// What calls work with, unless the backend was closed.
    pub(crate) fn open(&self) -> Result<&Inner> {
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        Ok(&self.inner)
    }

    /// Lets go of all connections.
    pub(crate) async fn shut_down(&self) -> Result<()> {
        if !self.closed.swap(true, Ordering::AcqRel) {
            self.inner
                .db
                .client()
                .clone()
                .shutdown()
                .immediate(true)
                .await;
        }
        Ok(())
    }
}

impl fmt::Display for MongoBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.shown)
    }
}

impl fmt::Debug for MongoBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoBackend")
            .field("server", &self.inner.shown)
            .field("capabilities", &self.inner.capabilities)
            .finish_non_exhaustive()
    }
}
