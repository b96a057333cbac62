//! The open namespaces of a backend.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use chunkpoint_core::Result;

use crate::dir::{Dir, Lock};
use crate::error::from_io;
use crate::items::file::Place;
use crate::items::group::Op;
use crate::items::packs::PackFile;
use crate::items::space::Space;
use crate::log::identity;
use crate::lru::Lru;
use crate::queue::Queue;
use crate::store::Store;
use crate::wait::Wait;

/// Bytes of memory that open namespaces take together, one that is larger apart.
const SPACE_BYTES: usize = 8 * 1024 * 1024;

/// Queues of namespaces that are kept while nobody waits in them.
const QUEUES: usize = 4096;

/// Files written but not synced that are remembered until `close`.
const UNSYNCED: usize = 1024;

/// The open namespaces, and who waits to write to them.
#[derive(Debug)]
pub(crate) struct Spaces {
    spaces: Lru<Arc<Space>>,
    pub(crate) queues: Lru<Arc<Queue<Op>>>,
    /// Files with writes that were not synced.
    unsynced: Mutex<HashSet<String>>,
    /// What an open file weighs at least.
    file: usize,
}

impl Spaces {
    /// Keeps about so many files open.
    pub(crate) fn new(open_files: usize) -> Self {
        Self {
            spaces: Lru::new(SPACE_BYTES),
            queues: Lru::new(QUEUES),
            unsynced: Mutex::default(),
            file: SPACE_BYTES / open_files.max(1),
        }
    }

    /// Keeps a namespace open, or tells anew what it weighs.
    pub(crate) fn keep(&self, space: &Arc<Space>) {
        self.keep_unless(space, |_| false);
    }

    /// Tells anew what a namespace weighs, unless another took its place.
    fn weigh(&self, space: &Arc<Space>) {
        self.keep_unless(space, |there| !Arc::ptr_eq(there, space));
    }

    fn keep_unless(&self, space: &Arc<Space>, keep: impl FnOnce(&Arc<Space>) -> bool) {
        let files = 1 + usize::from(space.packs.get().is_some());
        let weight = space.weight().max(self.file * files);
        let key = space.file.place.key;
        self.spaces.insert_unless(key, space.clone(), weight, keep);
    }

    /// Drops what is known of a namespace.
    pub(crate) fn forget(&self, place: &Place) {
        self.spaces.remove(&place.key);
    }

    /// Notes files that were written and are to be synced at last.
    pub(crate) fn note_unsynced(&self, dir: &Dir, name: String) -> Result<()> {
        let all = {
            let mut unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
            unsynced.insert(name);
            if unsynced.len() <= UNSYNCED {
                return Ok(());
            }
            std::mem::take(&mut *unsynced)
        };
        sync_all(dir, &all)
    }

    /// Syncs what is left to sync, and lets go of everything.
    pub(crate) fn close(&self, dir: &Dir) -> Result<()> {
        let mut unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        let synced = sync_all(dir, &std::mem::take(&mut *unsynced));
        self.spaces.clear();
        self.queues.clear();
        synced
    }
}

/// Syncs files, and the directories they are in.
fn sync_all(dir: &Dir, names: &HashSet<String>) -> Result<()> {
    let mut dirs = HashSet::new();
    for name in names {
        let failed = |error| from_io(format_args!("syncing {name}"), error);
        match File::options().write(true).open(dir.path(name)) {
            Ok(file) => file.sync_all().map_err(failed)?,
            // Another took its place, and was synced before it did.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        dirs.insert(name.rsplit_once('/').map_or("", |(above, _)| above));
    }
    for name in &dirs {
        dir.force_sync_dir(name)?;
    }
    if dirs.is_empty() {
        return Ok(());
    }
    dir.force_sync_dir("s")
}

impl Store {
    /// A namespace as it is now; `None` if it has no file.
    pub(crate) fn space(&self, place: &Place, wait: Wait) -> Result<Option<Arc<Space>>> {
        let name = place.items();
        let path = self.dir.path(&name);
        // Elsewhere than on Unix nothing tells whether it is still the same file.
        if let Some(space) = self.items.spaces.get(&place.key).filter(|_| cfg!(unix)) {
            match std::fs::metadata(&path) {
                // An inode's number may come back once its file is gone, so it
                // identifies a file only while that is open.
                Ok(metadata)
                    if space.file.identity == identity(&metadata)
                        && (metadata.len() >= space.tail(|tail| tail.end)) =>
                {
                    space.catch_up(metadata.len(), wait)?;
                    return Ok(Some(space));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.items.forget(place);
                    return Ok(None);
                }
                Err(error) => return Err(from_io(format_args!("opening {name}"), error)),
            }
        }
        let Some(space) = Space::open(&path, place, &self.dir.counters, wait)? else {
            return Ok(None);
        };
        let space = Arc::new(space);
        self.items.keep(&space);
        Ok(Some(space))
    }

    /// The packs of a namespace; `None` if it has none, or not any more: then another
    /// file of items took the place of this one.
    pub(crate) fn packs(&self, space: &Arc<Space>, wait: Wait) -> Result<Option<Arc<PackFile>>> {
        if let Some(packs) = space.packs.get() {
            return Ok(Some(packs.clone()));
        }
        let (place, number) = (&space.file.place, space.file.header.packs);
        let path = self.dir.path(&place.packs(number));
        let opened = PackFile::open(&path, place, number, &self.dir.counters, wait)?;
        let Some(opened) = opened else {
            return Ok(None);
        };
        let packs = space.packs.get_or_init(|| Arc::new(opened)).clone();
        self.items.weigh(space);
        Ok(Some(packs))
    }

    /// Locks a namespace against every other writer.
    pub(crate) fn lock_place(&self, place: &Place) -> Result<Lock<'_>> {
        if place.is_names() {
            self.dir.lock_names()
        } else {
            self.dir.lock(&place.key)
        }
    }
}
