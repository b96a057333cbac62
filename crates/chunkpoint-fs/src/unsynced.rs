//! What was written without a sync, and is synced by the time of closing.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chunkpoint_core::{Error, Result};

use crate::dir::Dir;

/// Files written but not synced that are remembered until `close`; more than that and
/// half of them are synced.
pub(crate) const UNSYNCED: usize = if cfg!(test) { 64 } else { 1024 };

/// Files with writes that were not synced, each known by an `N`.
#[derive(Debug)]
pub(crate) struct Unsynced<N>(Mutex<Left<N>>);

#[derive(Debug)]
struct Left<N> {
    files: HashSet<N>,
    /// Directories with entries that were not synced, besides those of the files.
    dirs: HashSet<String>,
    /// What kept earlier writes from being synced.
    failure: Option<Error>,
}

impl<N> Default for Unsynced<N> {
    fn default() -> Self {
        Self(Mutex::new(Left {
            files: HashSet::new(),
            dirs: HashSet::new(),
            failure: None,
        }))
    }
}

impl<N: Eq + Hash> Unsynced<N> {
    fn left(&self) -> MutexGuard<'_, Left<N>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a file that was written. If that makes too many, half of them are synced
    /// with `sync`: not this one, nor any that has no place yet as `is_placed` tells,
    /// for what is not found there is taken for removed.
    ///
    /// That others cannot be synced is no failure of what was written here: closing
    /// tells.
    pub(crate) fn note(
        &self,
        file: N,
        is_placed: impl Fn(&N) -> bool,
        sync: impl FnOnce(HashSet<N>) -> Result<()>,
    ) where
        N: Clone,
    {
        let due = {
            let files = &mut self.left().files;
            files.insert(file.clone());
            if files.len() <= UNSYNCED {
                return;
            }
            files
                .extract_if(|other| *other != file && is_placed(other))
                .take(UNSYNCED / 2)
                .collect()
        };
        if let Err(error) = sync(due) {
            tracing::error!(%error, "earlier writes could not be synced");
            self.left().failure.get_or_insert(error);
        }
    }

    /// Makes the entries of a directory survive: now or by closing, as was asked for.
    pub(crate) fn sync_dir(&self, dir: &Dir, name: &str) -> Result<()> {
        if dir.syncs() {
            return dir.force_sync_dir(name);
        }
        self.left().dirs.insert(name.to_owned());
        Ok(())
    }

    /// Syncs all that is left with `sync`, which gets the files and the directories.
    ///
    /// # Errors
    /// The first, be it of an earlier sync.
    pub(crate) fn close(
        &self,
        sync: impl FnOnce(HashSet<N>, HashSet<String>) -> Result<()>,
    ) -> Result<()> {
        let (files, dirs, failure) = {
            let left = &mut *self.left();
            (
                std::mem::take(&mut left.files),
                std::mem::take(&mut left.dirs),
                left.failure.take(),
            )
        };
        if files.is_empty() && dirs.is_empty() {
            return failure.map_or(Ok(()), Err);
        }
        let synced = sync(files, dirs);
        failure.map_or(synced, Err)
    }
}

/// Syncs files, the directories they are in, `dirs`, and `above`, in which those are.
/// All are tried; the first error is told.
pub(crate) fn sync_files(
    dir: &Dir,
    files: impl IntoIterator<Item = String>,
    mut dirs: HashSet<String>,
    above: &str,
) -> Result<()> {
    let mut outcome = Ok(());
    for file in files {
        outcome = outcome.and(dir.sync_file(&file));
        if let Some((shard, _)) = file.rsplit_once('/') {
            dirs.insert(shard.to_owned());
        }
    }
    dirs.insert(above.to_owned());
    for name in &dirs {
        outcome = outcome.and(dir.force_sync_dir(name));
    }
    outcome
}
