//! A backend of one's own, measured by this harness.
//!
//! A program of a few lines [registers](register) it and then is
//! [`chunkpoint-bench`](crate::cli::main), with one backend more: `--backend own`. Its cells
//! run in processes that are this same program, started again, so it must be registered
//! first thing in `main`. `examples/own-backend` is such a program.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use chunkpoint_core::backend::{CheckpointBackend, Durability};

use super::store::directory_footprint;

/// How the harness opens, weighs and removes a backend that it does not know.
///
/// A *place* is a directory that nothing else uses. A backend that keeps its data elsewhere
/// takes the place's name, which is as unique, as the prefix of its names there.
#[async_trait]
pub trait OwnBackend: fmt::Debug + Send + Sync {
    /// What results call it.
    fn name(&self) -> &str;

    /// What an acknowledged commit on it survives.
    fn durability(&self) -> Durability;

    /// Opens it at `place`: empty the first time, and with what is there when another
    /// process opens the same place again.
    ///
    /// # Errors
    /// What the backend says; the cell fails with it.
    async fn open(&self, place: &Path) -> chunkpoint_core::Result<Arc<dyn CheckpointBackend>>;

    /// Bytes at rest at `place`, by whatever accounting is true of the backend. Unless it
    /// says otherwise, those of the files there.
    ///
    /// # Errors
    /// What the backend says.
    async fn bytes_at_rest(&self, place: &Path) -> chunkpoint_core::Result<u64> {
        let footprint = directory_footprint(place).map_err(|e| {
            chunkpoint_core::Error::new(chunkpoint_core::ErrorKind::Other, e.to_string())
        })?;
        Ok(footprint.bytes)
    }

    /// Removes what is kept elsewhere for `place`; the directory is removed by the harness.
    ///
    /// # Errors
    /// What the backend says.
    async fn remove(&self, place: &Path) -> chunkpoint_core::Result<()> {
        let _ = place;
        Ok(())
    }
}

static OWN: OnceLock<Arc<dyn OwnBackend>> = OnceLock::new();

/// Makes a backend known as `own`. The first one counts.
pub fn register(backend: impl OwnBackend + 'static) {
    // A second call in one program is a mistake that the results' name of the backend shows.
    let _ = OWN.set(Arc::new(backend));
}

/// The registered backend.
pub(crate) fn registered() -> Option<Arc<dyn OwnBackend>> {
    OWN.get().cloned()
}
