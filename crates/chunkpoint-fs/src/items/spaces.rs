//! The open namespaces of a backend.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

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
use crate::unsynced::{Unsynced, sync_files};
use crate::wait::Wait;

/// Bytes of memory that open namespaces take together, one that is larger apart.
const SPACE_BYTES: usize = 8 * 1024 * 1024;

/// Queues of namespaces that are kept while nobody waits in them.
const QUEUES: usize = 4096;

/// The open namespaces, and who waits to write to them.
#[derive(Debug)]
pub(crate) struct Spaces {
    spaces: Lru<Arc<Space>>,
    pub(crate) queues: Lru<Arc<Queue<Op>>>,
    /// Files with writes that were not synced.
    unsynced: Unsynced<String>,
    /// What an open file weighs at least.
    file: usize,
}

impl Spaces {
    /// Keeps about so many files open.
    pub(crate) fn new(open_files: usize) -> Self {
        Self {
            spaces: Lru::new(SPACE_BYTES),
            queues: Lru::new(QUEUES),
            unsynced: Unsynced::default(),
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

    /// Notes a file that was written, in its place, and is to be synced at last.
    pub(crate) fn note_unsynced(&self, dir: &Dir, name: String) {
        self.unsynced.note(
            name,
            |_| true,
            |names| sync_files(dir, names, HashSet::new(), "s"),
        );
    }

    /// Makes the entries of a namespace's directory survive: now or by `close`, as was
    /// asked for.
    pub(crate) fn sync_dir(&self, dir: &Dir, place: &Place) -> Result<()> {
        self.unsynced.sync_dir(dir, &place.dir())
    }

    /// Syncs what is left to sync, and lets go of everything.
    pub(crate) fn close(&self, dir: &Dir) -> Result<()> {
        let synced = self
            .unsynced
            .close(|names, dirs| sync_files(dir, names, dirs, "s"));
        self.spaces.clear();
        self.queues.clear();
        synced
    }
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
