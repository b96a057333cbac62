//! Where a backend keeps its files, and how.

use std::path::PathBuf;

use chunkpoint_core::backend::Durability;
use chunkpoint_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::FsBackend;

/// What the options of a URL accept.
const ACCEPTED: &str = "durability=buffered|process|disk, open_files=<number>";

/// Files kept open when nothing else is said, where the process may have enough.
const OPEN_FILES: usize = 1024;

/// The same where nobody says how many it may have.
const OPEN_FILES_UNTOLD: usize = 128;

/// The configuration of an [`FsBackend`], as plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FsConfig {
    /// The directory. It is made if there is none; it has to be empty or made
    /// by this crate.
    pub path: PathBuf,
    /// What an acknowledged mutation survives. `Disk` (the default) syncs each
    /// group of commits; `Process` and `Buffered` leave that to the operating
    /// system until `close`.
    #[serde(default)]
    pub durability: Durability,
    /// Most log files kept open between operations, and most files of the long-term
    /// store. Unless said otherwise each an eighth of what the process may open, and at
    /// most 1,024.
    #[serde(default = "open_files")]
    pub open_files: usize,
}

fn open_files() -> usize {
    most_files().map_or(OPEN_FILES_UNTOLD, |most| {
        (most / 8).clamp(16, OPEN_FILES as u64) as usize
    })
}

/// How many files this process may open; `None` if nobody says.
#[cfg(unix)]
fn most_files() -> Option<u64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    // No limit is more than enough.
    Some(limit.current.unwrap_or(u64::MAX))
}

#[cfg(not(unix))]
fn most_files() -> Option<u64> {
    None
}

impl FsConfig {
    /// The names of the options that [`from_url`](Self::from_url) knows.
    pub const OPTIONS: &'static [&'static str] = &["durability", "open_files"];

    /// The defaults, for this directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            durability: Durability::default(),
            open_files: open_files(),
        }
    }

    /// Reads a URL such as `file:///dir?durability=process&open_files=64`.
    ///
    /// # Errors
    /// `InvalidInput` if it is no such URL or has an option that does not exist;
    /// the message lists those that do.
    pub fn from_url(url: &str) -> Result<Self> {
        let invalid = |what: String| Error::invalid(what).operation("open");
        let parsed = url::Url::parse(url)
            .map_err(|error| invalid("not a URL such as file:///dir".into()).source(error))?;
        if parsed.scheme() != "file" {
            return Err(invalid(format!(
                "the URL's scheme is {}, and here it has to be file",
                parsed.scheme()
            )));
        }
        if parsed.fragment().is_some() {
            return Err(invalid(
                "the URL has a fragment; write a # in a path as %23".into(),
            ));
        }
        // The parser makes `file:dir` absolute, and drops control characters.
        if !url.starts_with("file:/") || url.contains(char::is_control) {
            return Err(invalid(
                "the URL's path is not absolute, or has a control character; write file:///dir"
                    .into(),
            ));
        }
        let path = parsed.to_file_path().map_err(|()| {
            invalid("the URL has no absolute local path; write file:///dir".into())
        })?;
        let mut config = Self::new(path);
        for (option, value) in parsed.query_pairs() {
            let wrong = || {
                invalid(format!(
                    "option {option} cannot be {value:?}; known: {ACCEPTED}"
                ))
            };
            match &*option {
                "durability" => {
                    config.durability = match &*value {
                        "buffered" => Durability::Buffered,
                        "process" => Durability::Process,
                        "disk" => Durability::Disk,
                        "replicated" => Durability::Replicated,
                        _ => return Err(wrong()),
                    }
                }
                "open_files" => {
                    config.open_files = value.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?;
                }
                _ => {
                    return Err(invalid(format!(
                        "unknown option {option:?}; known: {ACCEPTED}"
                    )));
                }
            }
        }
        Ok(config)
    }

    /// Refuses what a filesystem cannot give.
    pub(crate) fn check(&self) -> Result<()> {
        if self.durability > Durability::Disk {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a filesystem cannot give durability replicated; the most is disk",
            ));
        }
        if self.open_files == 0 {
            return Err(Error::invalid("open_files is 0; give at least 1"));
        }
        Ok(())
    }
}

/// Builds an [`FsBackend`].
#[derive(Debug, Clone)]
pub struct FsBuilder {
    config: FsConfig,
}

impl FsBuilder {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            config: FsConfig::new(path),
        }
    }

    /// What an acknowledged mutation survives; `Disk` unless told otherwise.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.config.durability = durability;
        self
    }

    /// Most log files kept open between operations, and most files of the long-term
    /// store; see [`FsConfig::open_files`].
    #[must_use]
    pub fn open_files(mut self, open_files: usize) -> Self {
        self.config.open_files = open_files;
        self
    }

    /// Opens the backend.
    ///
    /// # Errors
    /// See [`FsBackend::from_config`].
    pub fn open(self) -> Result<FsBackend> {
        FsBackend::from_config(self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let config = FsConfig::from_url("file:///a%20b/%23?durability=process&open_files=64");
        let config = config.unwrap();
        assert_eq!(config.path, PathBuf::from("/a b/#"));
        assert_eq!(
            (config.durability, config.open_files),
            (Durability::Process, 64)
        );
        assert_eq!(
            FsConfig::from_url("file:///d").unwrap(),
            FsConfig::new("/d")
        );
        for wrong in [
            "d",
            "s3://bucket",
            "file://host/d",
            "file:///d?sync=1",
            "file:///d?open_files=0",
            "file:///d?durability=much",
            "file:///d#x",
        ] {
            let error = FsConfig::from_url(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong}");
        }
        let error = FsConfig::from_url("file:///d?sync=1").unwrap_err();
        assert!(error.message().contains("open_files"), "{error}");
    }

    #[test]
    fn plain_data() {
        let config: FsConfig = serde_json::from_str(r#"{"path":"/d"}"#).unwrap();
        assert_eq!(config, FsConfig::new("/d"));
        assert!(serde_json::from_str::<FsConfig>(r#"{"path":"/d","x":1}"#).is_err());
    }
}
