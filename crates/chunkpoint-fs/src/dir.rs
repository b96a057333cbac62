//! The directory of a backend: its layout, its marker, its locks, and files
//! that are built aside before they take their place.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use chunkpoint_core::backend::Durability;
use chunkpoint_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::error::from_io;
#[cfg(test)]
use crate::fault::Call;
use crate::log::identity;
use crate::lru::Key;
use crate::stats::Counters;

/// The file that makes a directory ours.
const MARKER: &str = "CHUNKPOINT";

/// The layout this code knows.
const LAYOUT: u32 = 1;

/// Threads that share a lock file meet in one of so many.
const STRIPES: usize = 64;

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format: u32,
    program: String,
}

/// An open directory.
#[derive(Debug)]
pub(crate) struct Dir {
    root: PathBuf,
    durability: Durability,
    pub(crate) counters: Arc<Counters>,
    stripes: Vec<Mutex<Option<File>>>,
    catalog: Mutex<Option<File>>,
    names: Mutex<Option<File>>,
    /// Directories that this process has synced once, and when they had changed
    /// last by then, if that can be told.
    settled: Mutex<HashMap<String, Option<SystemTime>>>,
}

impl Dir {
    /// Opens `root`, making a directory of it that is ours where there is none
    /// or an empty one.
    pub(crate) fn open(
        root: &Path,
        durability: Durability,
        counters: Arc<Counters>,
    ) -> Result<Self> {
        let failed = |error| from_io(format_args!("opening {}", root.display()), error);
        let dir = Self {
            root: root.to_owned(),
            durability,
            counters,
            stripes: (0..STRIPES).map(|_| Mutex::new(None)).collect(),
            catalog: Mutex::new(None),
            names: Mutex::new(None),
            settled: Mutex::default(),
        };
        if !root.is_dir() {
            dir.create_root().map_err(failed)?;
        }
        if !dir.check_marker()? {
            if dir.has_strangers().map_err(failed)? && !dir.check_marker()? {
                return Err(Error::invalid(format!(
                    "{} belongs to another program: it is not empty and has no {MARKER} file; \
                     choose an empty directory",
                    root.display()
                )));
            }
            dir.write_marker().map_err(failed)?;
        }
        for sub in ["locks", "t", "s", "trash"] {
            match fs::create_dir_all(root.join(sub)) {
                // Reading needs none of them.
                Err(error) if is_read_only(&error) => {}
                other => other.map_err(failed)?,
            }
        }
        dir.sweep();
        Ok(dir)
    }

    /// Makes the root, and the directories above it that are missing, so that
    /// they survive the loss of power: whatever is acknowledged is in them.
    fn create_root(&self) -> io::Result<()> {
        let root = std::path::absolute(&self.root)?;
        let missing: Vec<&Path> = root.ancestors().take_while(|path| !path.is_dir()).collect();
        fs::create_dir_all(&root)?;
        for parent in missing.iter().filter_map(|path| path.parent()) {
            #[cfg(test)]
            self.counters.faults.note_sync(parent.to_string_lossy());
            sync_path(parent)?;
        }
        Ok(())
    }

    /// Whether the marker is there and of this layout.
    fn check_marker(&self) -> Result<bool> {
        let path = self.root.join(MARKER);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(from_io(format_args!("reading {MARKER}"), error)),
        };
        let marker: Marker = serde_json::from_slice(&bytes).map_err(|error| {
            Error::corrupt(format!("{} is damaged", path.display())).source(error)
        })?;
        if marker.format > LAYOUT {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{} has layout {}, and this version reads up to {LAYOUT}: upgrade \
                     chunkpoint-fs",
                    self.root.display(),
                    marker.format
                ),
            ));
        }
        Ok(true)
    }

    /// Whether anything is there but an unfinished marker, or what a filesystem
    /// has at its root from the start.
    fn has_strangers(&self) -> io::Result<bool> {
        for entry in fs::read_dir(&self.root)? {
            let name = entry?.file_name();
            if !name.to_string_lossy().starts_with(MARKER) && name != "lost+found" {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn write_marker(&self) -> io::Result<()> {
        let marker = Marker {
            format: LAYOUT,
            program: "chunkpoint-fs".to_owned(),
        };
        let aside = self.root.join(format!("{MARKER}.{}", std::process::id()));
        fs::write(&aside, serde_json::to_vec(&marker)?)?;
        File::open(&aside)?.sync_all()?;
        fs::rename(&aside, self.root.join(MARKER))?;
        File::open(&self.root)?.sync_all()
    }

    /// Removes what crashes left in the trash. What somebody still builds is
    /// locked.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(self.root.join("trash")) else {
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            if let Ok(file) = File::open(&path)
                && file.try_lock().is_ok()
                && let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%error, "a leftover file stays");
            }
        }
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path below the root.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Whether what is acknowledged has to be synced first.
    pub(crate) fn syncs(&self) -> bool {
        self.durability >= Durability::Disk
    }

    /// Makes the entries of a directory below the root survive, if that was
    /// asked for.
    pub(crate) fn sync_dir(&self, name: &str) -> Result<()> {
        if !self.syncs() {
            return Ok(());
        }
        self.force_sync_dir(name)
    }

    /// Makes the entries of a directory below the root survive.
    pub(crate) fn force_sync_dir(&self, name: &str) -> Result<()> {
        self.counters.synced();
        #[cfg(test)]
        self.counters.faults.note_sync(name);
        sync_path(&self.root.join(name))
            .map_err(|error| from_io(format_args!("syncing {name}"), error))
    }

    /// Makes what was written to a file below the root survive. One that is not
    /// there is no error.
    pub(crate) fn sync_file(&self, name: &str) -> Result<()> {
        let failed = |error| from_io(format_args!("syncing {name}"), error);
        let file = match File::options().write(true).open(self.root.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        self.counters.synced();
        let synced = || {
            #[cfg(test)]
            {
                self.counters.faults.note_sync(name);
                self.counters.faults.check(Call::Sync)?;
            }
            file.sync_all()
        };
        synced().map_err(failed)
    }

    /// Makes sure that a directory below the root exists.
    pub(crate) fn make_dir(&self, name: &str) -> Result<()> {
        match fs::create_dir(self.root.join(name)) {
            Ok(()) => self.settle_parents(name),
            // Whoever made it may have been killed before it was synced.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if self.settled().contains_key(name) {
                    return Ok(());
                }
                self.settle_parents(name)
            }
            Err(error) => Err(from_io(format_args!("creating {name}"), error)),
        }
    }

    /// Makes the entry of a directory below the root survive, if that was asked
    /// for, and those above it.
    fn settle_parents(&self, name: &str) -> Result<()> {
        if !self.syncs() {
            return Ok(());
        }
        if !self.settled().contains_key("") {
            self.sync_dir("")?;
            self.settled().insert(String::new(), None);
        }
        self.sync_dir(name.rsplit_once('/').map_or("", |(parent, _)| parent))?;
        self.settled().entry(name.to_owned()).or_default();
        Ok(())
    }

    fn settled(&self) -> MutexGuard<'_, HashMap<String, Option<SystemTime>>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the entries of a directory below the root survive, if that was asked
    /// for, where this process did not put them there: who did may not have been
    /// asked for that, or was killed before it.
    ///
    /// `now` is what the filesystem's clock says.
    pub(crate) fn settle_entry(&self, name: &str, now: Option<SystemTime>) -> Result<()> {
        if !self.syncs() {
            return Ok(());
        }
        // What changed it since the last sync shows in its time, unless that
        // was in the same tick of the clock.
        let changed = fs::metadata(self.root.join(name)).and_then(|metadata| metadata.modified());
        let changed = changed.ok().filter(|time| {
            let age = now.and_then(|now| now.duration_since(*time).ok());
            age.is_some_and(|age| age > Duration::from_secs(1))
        });
        let before = self.settled().get(name).copied();
        if before.is_some_and(|before| before.is_some() && before == changed) {
            return Ok(());
        }
        if before.is_none() {
            self.settle_parents(name)?;
        }
        self.sync_dir(name)?;
        self.settled().insert(name.to_owned(), changed);
        Ok(())
    }

    /// Locks the stripe of a thread against every other writer, in this process
    /// and others, until the guard is dropped.
    pub(crate) fn lock(&self, key: &Key) -> Result<Lock<'_>> {
        let stripe = usize::from(key[0]) % STRIPES;
        self.lock_file(&self.stripes[stripe], &format!("locks/{stripe:02x}"))
    }

    /// Locks the catalog of threads.
    pub(crate) fn lock_catalog(&self) -> Result<Lock<'_>> {
        self.lock_file(&self.catalog, "locks/catalog")
    }

    /// Locks the catalog of namespaces. May be taken while a stripe is held, never
    /// the other way round.
    pub(crate) fn lock_names(&self) -> Result<Lock<'_>> {
        self.lock_file(&self.names, "locks/names")
    }

    fn lock_file<'a>(&'a self, slot: &'a Mutex<Option<File>>, name: &str) -> Result<Lock<'a>> {
        // Locks of one open file do not exclude each other, hence the mutex.
        let mut guard = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error| from_io(format_args!("locking {name}"), error);
        let file = match guard.take() {
            Some(file) => file,
            None => File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(self.root.join(name))
                .map_err(failed)?,
        };
        file.lock().map_err(failed)?;
        *guard = Some(file);
        Ok(Lock { guard })
    }

    /// Returns once all who hold a lock in this process have let go of it.
    pub(crate) fn wait_for_writers(&self) {
        for slot in self.stripes.iter().chain([&self.catalog, &self.names]) {
            drop(slot.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Lets go of the lock files.
    pub(crate) fn close(&self) {
        for slot in self.stripes.iter().chain([&self.catalog, &self.names]) {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Starts a file that will take its place later: empty, and locked so that
    /// nobody takes it for a leftover. `None` if somebody else is building it.
    pub(crate) fn build(&self, name: &str) -> Result<Option<File>> {
        let path = self.root.join(name);
        let failed = |error| from_io(format_args!("creating {name}"), error);
        loop {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
            }
            // It may have been swept between the two.
            let ours = identity(&file.metadata().map_err(failed)?);
            match fs::metadata(&path) {
                Ok(there) if identity(&there) == ours => {
                    file.set_len(0).map_err(failed)?;
                    return Ok(Some(file));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Gives a file another name, and makes that survive.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
            .map_err(|error| from_io(format_args!("renaming {from} to {to}"), error))
    }

    /// Removes a file; one that is not there is no error.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.root.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(from_io(format_args!("removing {name}"), error))
            }
            _ => Ok(()),
        }
    }

    /// The sizes of all files.
    pub(crate) fn bytes(&self) -> Result<u64> {
        fn sum(path: &Path) -> io::Result<u64> {
            let mut bytes = 0;
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                // What was removed meanwhile counts nothing.
                let added = match entry.file_type() {
                    Ok(kind) if kind.is_dir() => sum(&entry.path()),
                    _ => entry.metadata().map(|metadata| metadata.len()),
                };
                bytes += match added {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                    other => other?,
                };
            }
            Ok(bytes)
        }
        sum(&self.root).map_err(|error| from_io("adding up the files", error))
    }
}

/// Makes the entries of a directory survive.
fn sync_path(path: &Path) -> io::Result<()> {
    // Directories cannot be opened as files everywhere; where they cannot,
    // renames are durable by themselves.
    match File::open(path) {
        Ok(dir) => dir.sync_all(),
        Err(_) if cfg!(not(unix)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether an error only says that nothing can be written here.
pub(crate) fn is_read_only(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
    )
}

/// A lock that is held.
#[derive(Debug)]
pub(crate) struct Lock<'a> {
    guard: MutexGuard<'a, Option<File>>,
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // A file that cannot be unlocked is closed, which unlocks it.
        if self
            .guard
            .as_ref()
            .is_some_and(|file| file.unlock().is_err())
        {
            *self.guard = None;
        }
    }
}
