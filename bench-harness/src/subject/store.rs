//! Storage for one cell: fresh, and gone with it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chunkpoint_core::backend::{CheckpointBackend, Durability};
use chunkpoint_core::layers::{Layered, Method, Metrics};
use chunkpoint_core::memory::MemoryBackend;
use chunkpoint_fs::{FsBackend, FsConfig};
use serde::{Deserialize, Serialize};

use super::mongodb::Place as MongoPlace;
use super::own::{self, OwnBackend};
use super::peer::InMemory;
use super::redis::{Place as RedisPlace, Watch};
use super::sql::Place;
use super::{BackendKind, Site};
use crate::error::{Error, Result};
use crate::measure::{Io, Wire};

/// What the floor keeps in memory, by thread.
pub(super) type Heaps = Arc<Mutex<HashMap<u32, Vec<u8>>>>;

/// Where a cell keeps its data. It can be opened again and again, to read with a
/// cold cache what was written before.
#[derive(Debug, Clone)]
pub enum Store {
    /// A directory.
    File {
        /// Which.
        directory: PathBuf,
        /// What an acknowledged commit survives.
        durability: Durability,
    },
    /// This process's memory.
    Memory {
        /// The backend, which outlives the engines opened on it.
        backend: Arc<MemoryBackend>,
        /// The floor's bytes.
        heaps: Heaps,
        /// The peer's.
        peer: InMemory,
    },
    /// A database.
    Sql {
        /// Where in it.
        place: Place,
        /// What counts the bytes that go there, if anything does.
        wire: Option<Arc<Wire>>,
    },
    /// A backend of one's own.
    Own {
        /// How to open it.
        backend: Arc<dyn OwnBackend>,
        /// Where.
        place: PathBuf,
    },
    /// MongoDB.
    MongoDb {
        /// Where in it.
        place: MongoPlace,
        /// What counts the bytes that go there, if anything does.
        wire: Option<Arc<Wire>>,
    },
    /// A Redis server.
    Redis {
        /// Where in it.
        place: RedisPlace,
        /// What counts the bytes that go there, if anything does.
        wire: Option<Arc<Wire>>,
    },
}

/// What is at rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// Bytes of the files, of the values in memory, or by a database's own accounting.
    pub bytes: u64,
    /// Bytes of the blocks that the file system allocated.
    pub allocated_bytes: Option<u64>,
    /// Number of files.
    pub files: Option<u64>,
}

impl Store {
    /// Storage at a site, under a name of lower-case letters and dashes.
    ///
    /// # Errors
    /// If the site has no server, and the backend needs one.
    pub fn provision(site: &Site, name: &str) -> Result<Self> {
        Ok(match site.kind {
            BackendKind::File => Self::File {
                directory: site.directory.join(name),
                durability: site.durability,
            },
            BackendKind::Memory => Self::Memory {
                backend: Arc::default(),
                heaps: Arc::default(),
                peer: InMemory::default(),
            },
            BackendKind::Sqlite | BackendKind::Postgres | BackendKind::MySql => Self::Sql {
                place: Place::new(site, name)?,
                wire: None,
            },
            BackendKind::Own => {
                let none = || Error::Usage("this program has no backend of its own".into());
                Self::Own {
                    backend: own::registered().ok_or_else(none)?,
                    place: site.directory.join(name),
                }
            }
            BackendKind::MongoDb => Self::MongoDb {
                place: MongoPlace::new(site, name)?,
                wire: None,
            },
            BackendKind::Redis => Self::Redis {
                place: RedisPlace::new(site, name)?,
                wire: None,
            },
        })
    }

    /// The same storage, reached through a proxy that counts: traffic is then what goes
    /// over the wire. As it is where there is no wire.
    ///
    /// # Errors
    /// If there can be no proxy.
    pub async fn through_wire(&self) -> Result<Self> {
        Ok(match self {
            Self::Sql { place, .. } => match place.through_wire().await? {
                Some((place, wire)) => Self::Sql {
                    place,
                    wire: Some(wire),
                },
                None => self.clone(),
            },
            Self::Redis { place, .. } => {
                let (place, wire) = place.through_wire().await?;
                Self::Redis {
                    place,
                    wire: Some(wire),
                }
            }
            Self::MongoDb { place, .. } => {
                let (place, wire) = place.through_wire().await?;
                Self::MongoDb {
                    place,
                    wire: Some(wire),
                }
            }
            Self::File { .. } | Self::Memory { .. } | Self::Own { .. } => self.clone(),
        })
    }

    /// Begins to watch what the server holds and does; `None` where there is none that
    /// tells.
    ///
    /// # Errors
    /// What the server says.
    pub async fn watch(&self) -> Result<Option<Watch>> {
        match self {
            Self::Redis { place, .. } => Box::pin(place.watch()).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Opens a backend on it, and a meter of its traffic.
    pub(super) async fn backend(&self) -> Result<(Arc<dyn CheckpointBackend>, Meter)> {
        let mut counted = None;
        let (backend, files): (Arc<dyn CheckpointBackend>, _) = match self {
            Self::File {
                directory,
                durability,
            } => {
                let backend = FsBackend::from_config(file_config(directory, *durability))
                    .map_err(Error::engine("open the file backend"))?;
                let backend = Arc::new(backend);
                (backend.clone(), Some(backend))
            }
            Self::Memory { backend, .. } => (backend.clone(), None),
            Self::Own { backend, place } => {
                std::fs::create_dir_all(place).map_err(|e| Error::io("create", place, e))?;
                let opened = backend.open(place).await;
                (opened.map_err(Error::engine("open the backend"))?, None)
            }
            Self::Sql { place, wire } => {
                counted.clone_from(wire);
                (Box::pin(place.backend()).await?, None)
            }
            Self::MongoDb { place, wire } => {
                counted.clone_from(wire);
                (Box::pin(place.backend()).await?, None)
            }
            Self::Redis { place, wire } => {
                counted.clone_from(wire);
                (Box::pin(place.backend()).await?, None)
            }
        };
        let calls = Metrics::new();
        let layered = Layered::new(backend, calls.clone());
        Ok((
            Arc::new(layered),
            Meter {
                files,
                calls,
                wire: counted,
            },
        ))
    }

    /// Whether what is written outlives the process.
    pub fn is_persistent(&self) -> bool {
        !matches!(self, Self::Memory { .. })
    }

    /// What is at rest: files and memory counted by the harness itself, databases by
    /// their own accounting.
    ///
    /// # Errors
    /// I/O errors; what the database says.
    pub async fn footprint(&self) -> Result<Footprint> {
        match self {
            Self::File { directory, .. } => directory_footprint(directory),
            Self::Memory {
                backend,
                heaps,
                peer,
            } => {
                let of_peer = peer.bytes().await?;
                let heaps = heaps.lock().unwrap_or_else(PoisonError::into_inner);
                let of_floor = heaps.values().map(|v| v.len() as u64).sum::<u64>();
                let bytes = backend.bytes() + of_floor + of_peer;
                Ok(Footprint {
                    bytes,
                    allocated_bytes: None,
                    files: None,
                })
            }
            Self::Sql { place, .. } => Box::pin(place.footprint()).await,
            Self::MongoDb { place, .. } => Box::pin(place.footprint()).await,
            Self::Redis { place, .. } => Box::pin(place.footprint()).await,
            Self::Own { backend, place } => {
                let bytes = backend.bytes_at_rest(place).await;
                Ok(Footprint {
                    bytes: bytes.map_err(Error::engine("weigh what is at rest"))?,
                    allocated_bytes: None,
                    files: None,
                })
            }
        }
    }

    /// Has the storage give back what it can, by its own means; says by which, if it has
    /// any that do not run by themselves.
    ///
    /// # Errors
    /// What the database says.
    pub async fn compact(&self) -> Result<Option<&'static str>> {
        match self {
            Self::Sql { place, .. } => Box::pin(place.compact()).await,
            Self::File { .. }
            | Self::Memory { .. }
            | Self::Redis { .. }
            | Self::MongoDb { .. }
            | Self::Own { .. } => Ok(None),
        }
    }

    /// Removes everything.
    ///
    /// # Errors
    /// I/O errors; what the database says.
    pub async fn remove(&self) -> Result<()> {
        match self {
            Self::File { directory, .. } if directory.exists() => {
                std::fs::remove_dir_all(directory).map_err(|e| Error::io("remove", directory, e))
            }
            Self::Sql { place, .. } => Box::pin(place.remove()).await,
            Self::MongoDb { place, .. } => Box::pin(place.remove()).await,
            Self::Redis { place, .. } => Box::pin(place.remove()).await,
            Self::Own { backend, place } => {
                let removed = backend.remove(place).await;
                removed.map_err(Error::engine("remove what was stored"))?;
                if place.exists() {
                    std::fs::remove_dir_all(place).map_err(|e| Error::io("remove", place, e))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// How files are opened: by the backend's defaults, but for the durability. How many are
/// kept open depends on what this process may open, as do its children, which inherit
/// the limit.
pub fn file_config(directory: &Path, durability: Durability) -> FsConfig {
    FsConfig {
        durability,
        ..FsConfig::new(directory)
    }
}

/// Counts a backend's traffic.
#[derive(Debug)]
pub(super) struct Meter {
    /// Counts system calls and their bytes.
    files: Option<Arc<FsBackend>>,
    /// Counts calls of the trait and the bytes of their payload.
    calls: Metrics,
    /// Counts what goes over the wire, and then alone decides.
    wire: Option<Arc<Wire>>,
}

impl Meter {
    pub(super) fn io(&self) -> Io {
        if let Some(wire) = &self.wire {
            return wire.io();
        }
        let mut io = Io::default();
        for (method, counted) in self.calls.snapshot().methods() {
            io.calls += counted.calls;
            if is_read(method) {
                io.reads += counted.calls;
                io.bytes_read += counted.bytes_received;
            } else {
                io.writes += counted.calls;
                io.bytes_written += counted.bytes_sent;
            }
        }
        if let Some(backend) = &self.files {
            let stats = backend.io_stats();
            io.reads = stats.reads;
            io.bytes_read = stats.bytes_read;
            io.writes = stats.writes;
            io.bytes_written = stats.bytes_written;
            io.syncs = stats.syncs;
        }
        io
    }
}

/// Whether a call brings bytes back.
fn is_read(method: Method) -> bool {
    matches!(
        method,
        Method::Get
            | Method::List
            | Method::Chunks
            | Method::Items
            | Method::ItemChunks
            | Method::Scan
            | Method::Namespaces
    )
}

/// Adds up all files under a directory; one that is not there has none.
///
/// # Errors
/// I/O errors, except of files that go away meanwhile.
pub fn directory_footprint(directory: &Path) -> Result<Footprint> {
    let mut total = Footprint {
        bytes: 0,
        allocated_bytes: allocated(None),
        files: Some(0),
    };
    let mut left = vec![directory.to_path_buf()];
    while let Some(directory) = left.pop() {
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io("read", &directory, e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("read", &directory, e))?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::io("inspect", &entry.path(), e)),
            };
            if metadata.is_dir() {
                left.push(entry.path());
                continue;
            }
            total.bytes += metadata.len();
            total.files = total.files.map(|files| files + 1);
            total.allocated_bytes = total
                .allocated_bytes
                .zip(allocated(Some(&metadata)))
                .map(|(sum, one)| sum + one);
        }
    }
    Ok(total)
}

/// Bytes of a file's blocks, or zero; `None` where the system does not tell.
#[cfg(unix)]
fn allocated(metadata: Option<&std::fs::Metadata>) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    // The unit is 512 bytes whatever the file system's block size.
    Some(metadata.map_or(0, |metadata| metadata.blocks() * 512))
}

/// Bytes of a file's blocks, or zero; `None` where the system does not tell.
#[cfg(not(unix))]
fn allocated(_: Option<&std::fs::Metadata>) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_adds_up() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/x"), [0; 1000]).unwrap();
        std::fs::write(dir.path().join("y"), [0; 24]).unwrap();
        let footprint = directory_footprint(dir.path()).unwrap();
        assert_eq!((footprint.bytes, footprint.files), (1024, Some(2)));
        assert_eq!(
            directory_footprint(&dir.path().join("none")).unwrap().bytes,
            0
        );
    }
}
