//! What a backend can do.

use serde::{Deserialize, Serialize};

use super::Commit;
use crate::error::{Error, ErrorKind, Result};

/// How sure an acknowledged mutation is to survive.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Nothing is promised until [`CheckpointBackend::close`](super::CheckpointBackend::close).
    Buffered,
    /// Survives `kill -9` of client and server.
    Process,
    /// Survives the loss of power.
    #[default]
    Disk,
    /// Survives the loss of a machine.
    Replicated,
}

/// How well `expect_latest` excludes a second writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fencing {
    /// The second writer gets `Conflict`, and nothing of it is stored.
    Full,
    /// Writers that ask for it exclude each other; others are not seen.
    Cooperative,
    /// The request is refused with `Unsupported`.
    None,
}

/// What a backend can do, as plain data. The suite, the documentation and the
/// reports read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// The backend's URL scheme, such as `file`.
    pub name: String,
    /// How `expect_latest` is kept.
    pub fencing: Fencing,
    /// The levels of [`Durability`] it can give, weakest first.
    pub durability: Vec<Durability>,
    /// Most bytes one chunk or record body may have.
    pub max_value_bytes: u64,
    /// Most bytes one commit may have in all.
    pub max_commit_bytes: u64,
    /// Whether data outlives the process.
    pub persistent: bool,
    /// Whether several processes may use the same storage at once.
    pub shared: bool,
    /// Whether a commit sees the removal of its parent inside its atomic
    /// step, or only by looking again afterwards.
    pub atomic_parent_check: bool,
}

impl Capabilities {
    /// Capabilities of a backend called `name` with full fencing and an atomic
    /// parent check, 1 GiB values and commits, volatile and private.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            fencing: Fencing::Full,
            durability: vec![Durability::Buffered],
            max_value_bytes: 1 << 30,
            max_commit_bytes: 1 << 30,
            persistent: false,
            shared: false,
            atomic_parent_check: true,
        }
    }
    /// Checks a commit against the limits.
    ///
    /// # Errors
    /// `TooLarge` if a chunk, the body, or all of it together is over one.
    pub fn check(&self, commit: &Commit) -> Result<()> {
        let too_large = |what: &str, bytes: u64, most: u64| {
            let message = format!("{what} has {bytes} bytes; at most {most} are accepted");
            Err(Error::new(ErrorKind::TooLarge, message))
        };
        let chunks = commit.chunks.iter().map(|chunk| (chunk, "a chunk"));
        let mut total = 0;
        for (part, what) in chunks.chain([(&commit.body, "the body")]) {
            let bytes = part.len() as u64;
            if bytes > self.max_value_bytes {
                return too_large(what, bytes, self.max_value_bytes);
            }
            total += bytes;
        }
        if total > self.max_commit_bytes {
            return too_large("the commit", total, self.max_commit_bytes);
        }
        Ok(())
    }
}
