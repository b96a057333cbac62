//! What can go wrong in the harness.

use std::fmt::Display;
use std::path::Path;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a run, a cell or a command stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller asked for something that is not there or makes no sense; the
    /// message says what would.
    #[error("{0}")]
    Usage(String),
    /// A scenario, shape, trace or result could not be understood; the message
    /// says where.
    #[error("{0}")]
    Input(String),
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The engine or a backend failed.
    #[error("{what}: {source}")]
    Engine {
        /// What was attempted.
        what: String,
        /// What it said.
        source: chunkpoint_core::Error,
    },
    /// A database failed at what the harness itself asked of it.
    #[error("{what}: {source}")]
    Database {
        /// What was attempted.
        what: &'static str,
        /// What the driver said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A server that has to be there is not.
    #[error("{0}, and is required")]
    Missing(chunkpoint_testkit::services::Missing),
    /// What was read is not what was written.
    #[error("verification failed: {0}")]
    Wrong(String),
    /// A cell's process ended badly, or the harness contradicts itself.
    #[error("{0}")]
    Cell(String),
}

impl Error {
    /// An I/O error while doing `what`, such as "read".
    pub fn io(what: impl Display, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            what: format!("{what} {}", path.display()),
            source,
        }
    }

    /// An error of the engine while doing `what`.
    pub fn engine(what: impl Into<String>) -> impl FnOnce(chunkpoint_core::Error) -> Self {
        let what = what.into();
        move |source| Self::Engine { what, source }
    }
}
