//! Measures a backend of one's own with the harness of Chunkpoint.
//!
//! The backend here is files that are two milliseconds away, as on a disk of the network:
//! the backend for files, and a [`Layer`] that waits before every call. What the harness
//! measures of it is how many calls the engine makes, and whether one waits for another.
//!
//! ```sh
//! cargo run --release -p own-backend -- run quick --backend own
//! cargo run --release -p own-backend -- run quick --backend own --backend file
//! cargo run --release -p own-backend -- report
//! ```
//!
//! Yours takes the place of [`FarFiles`]: a crate that has
//! [`CheckpointBackend`], and a few lines that open it.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chunkpoint_bench::subject::own::{self, OwnBackend};
use chunkpoint_core::Result;
use chunkpoint_core::backend::{CheckpointBackend, Durability};
use chunkpoint_core::layers::{Answer, Call, Layer, Layered, Operation};
use chunkpoint_fs::{FsBackend, FsConfig};

fn main() -> ExitCode {
    // First thing: the cells of a run are this same program, started again.
    own::register(FarFiles);
    chunkpoint_bench::cli::main()
}

/// Files, [`Distance`] away.
#[derive(Debug)]
struct FarFiles;

#[async_trait]
impl OwnBackend for FarFiles {
    fn name(&self) -> &str {
        "far-files"
    }

    fn durability(&self) -> Durability {
        Durability::Disk
    }

    async fn open(&self, place: &Path) -> Result<Arc<dyn CheckpointBackend>> {
        let files = Arc::new(FsBackend::from_config(FsConfig::new(place))?);
        Ok(Arc::new(Layered::new(
            files,
            Distance(Duration::from_millis(2)),
        )))
    }
}

/// Waits before every call.
#[derive(Debug)]
struct Distance(Duration);

impl Layer for Distance {
    async fn around<'a, T: Answer + 'a>(&'a self, _: Operation, call: Call<'a, T>) -> Result<T> {
        tokio::time::sleep(self.0).await;
        call().await
    }
}
