//! One namespace's items as they are now: the sorted part and the tail together.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use chunkpoint_core::Result;

use crate::frame::Kind;
use crate::items::entry::{Entry, behind};
use crate::items::file::{Frames, ItemsFile, Place, Root};
use crate::items::node::{Node, find_child, find_in_leaf};
use crate::items::packs::PackFile;
use crate::items::tail::{More, Slot, Tail, decode, replay};
use crate::stats::Counters;
use crate::wait::Wait;

/// Bytes of a sorted part that are read at once by whoever goes through it.
const AHEAD: usize = 64 * 1024;

/// A tail is merged once it has so many bytes, ...
const LEAST_TAIL: u64 = 64 * 1024;

/// ... and half of those of the sorted part; or so many: it is read when the file is
/// opened, and its keys are kept in memory.
const MOST_TAIL: u64 = 16 * 1024 * 1024;

/// Packs are copied together once so many bytes of them are of no use, and that is
/// half of them.
const LEAST_DEAD: u64 = 64 * 1024;

/// An open file of items, and what is kept of it in memory. It stays what it is when
/// another file takes its place.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) file: ItemsFile,
    tail: RwLock<Tail>,
    root: OnceLock<Bytes>,
    pub(crate) packs: OnceLock<Arc<PackFile>>,
    /// Whether this process is writing to it: what it has beyond what is known here is
    /// not acknowledged.
    writing: AtomicBool,
    pub(crate) compacting: AtomicBool,
    /// Whether it is known that the file keeps its place when the power fails.
    pub(crate) placed: AtomicBool,
    /// Where the next sweep of the sorted part goes on.
    pub(crate) swept: Mutex<Vec<u8>>,
}

impl Space {
    /// Opens the file of `place` and reads its tail. `None` if there is no file.
    pub(crate) fn open(
        path: &Path,
        place: &Place,
        counters: &Arc<Counters>,
        wait: Wait,
    ) -> Result<Option<Self>> {
        let Some((file, len, head)) = ItemsFile::open(path, place, counters, wait)? else {
            return Ok(None);
        };
        let space = Self::new(file);
        let end = space.file.header.base_end;
        space.apply(end, replay(&space.file, end, len, head, wait)?);
        Ok(Some(space))
    }

    /// Of a file whose tail is empty so far.
    pub(crate) fn new(file: ItemsFile) -> Self {
        Self {
            tail: RwLock::new(Tail::new(&file)),
            file,
            root: OnceLock::new(),
            packs: OnceLock::new(),
            writing: AtomicBool::new(false),
            compacting: AtomicBool::new(false),
            placed: AtomicBool::new(false),
            swept: Mutex::default(),
        }
    }

    /// Looks at the tail. Nothing may be waited for meanwhile.
    pub(crate) fn tail<T>(&self, look: impl FnOnce(&Tail) -> T) -> T {
        look(&self.tail.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in what was appended from `from` on.
    pub(crate) fn apply(&self, from: u64, more: More) {
        let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
        // Another may have been faster.
        if tail.end == from {
            tail.apply(more);
        }
    }

    /// Takes in what another process appended, up to `len`.
    pub(crate) fn catch_up(&self, len: u64, wait: Wait) -> Result<()> {
        let end = self.tail(|tail| tail.end);
        if end >= len || self.writing.load(Ordering::Acquire) {
            return Ok(());
        }
        self.apply(end, replay(&self.file, end, len, Bytes::new(), wait)?);
        Ok(())
    }

    /// Keeps others in this process from taking in what is being written.
    pub(crate) fn writing(&self) -> Writing<'_> {
        self.writing.store(true, Ordering::Release);
        Writing(self)
    }

    /// Bytes that it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        4096 + self.tail(|tail| tail.weight)
    }

    /// Whether it is time to merge the tail, and to copy the packs together.
    pub(crate) fn is_due_for(&self, packs_len: u64) -> (bool, bool) {
        let (end, dead) = self.tail(|tail| (tail.end, tail.dead));
        let base = self.file.header.base_end;
        let packs = dead >= LEAST_DEAD && dead >= packs_len / 2;
        let tail = end - base >= (base / 2).clamp(LEAST_TAIL, MOST_TAIL);
        (tail || packs, packs)
    }

    /// Fails if there is damage that anything may have been in.
    pub(crate) fn check(&self) -> Result<()> {
        match self.tail(|tail| tail.hole) {
            Some((from, _)) => Err(self.file.damaged("an entry", from)),
            None => Ok(()),
        }
    }

    /// What is under a key; `None` if nothing is.
    pub(crate) fn get(&self, key: &[u8], wait: Wait) -> Result<Option<Entry>> {
        let (slot, hole) = self.tail(|tail| (tail.get(key), tail.hole));
        if let Some((from, to)) = hole
            && slot.is_none_or(|slot| slot.offset < to)
        {
            return Err(self.file.damaged("an entry", from));
        }
        match slot {
            Some(slot) if slot.is_gone => Ok(None),
            Some(slot) => self.read_slot(key, slot, wait).map(Some),
            None => self.get_sorted(key, wait),
        }
    }

    fn read_slot(&self, key: &[u8], slot: Slot, wait: Wait) -> Result<Entry> {
        let frame = self.file.frame(slot.offset, slot.len, wait)?;
        match decode(&frame) {
            Some((there, entry)) if there == key => Ok(entry),
            _ => Err(self.file.damaged("an entry", slot.offset)),
        }
    }

    fn get_sorted(&self, key: &[u8], wait: Wait) -> Result<Option<Entry>> {
        let Some(mut payload) = self.root(wait)? else {
            return Ok(None);
        };
        let mut at = self.file.header.root;
        let damaged = |at: Root| self.file.damaged("a node", at.offset);
        loop {
            if Node::level(&payload) == Some(0) {
                return find_in_leaf(&payload, key).ok_or_else(|| damaged(at));
            }
            match find_child(&payload, key).ok_or_else(|| damaged(at))? {
                None => return Ok(None),
                Some(child) => at = child,
            }
            payload = self.node(at, wait)?;
        }
    }

    /// The node at the top, which is kept.
    pub(crate) fn root(&self, wait: Wait) -> Result<Option<Bytes>> {
        if let Some(root) = self.root.get() {
            return Ok(Some(root.clone()));
        }
        let at = self.file.header.root;
        if at.len == 0 {
            return Ok(None);
        }
        let payload = self.node(at, wait)?;
        Ok(Some(self.root.get_or_init(|| payload).clone()))
    }

    pub(crate) fn node(&self, at: Root, wait: Wait) -> Result<Bytes> {
        let frame = self.file.frame(at.offset, at.len, wait)?;
        if frame.kind != Kind::Node {
            return Err(self.file.damaged("a node", at.offset));
        }
        Ok(frame.payload)
    }

    /// Where the node of level 0 lies that `key` is in, or would be.
    fn leaf_of(&self, key: &[u8], wait: Wait) -> Result<Option<u64>> {
        let Some(mut payload) = self.root(wait)? else {
            return Ok(None);
        };
        let mut at = self.file.header.root;
        while Node::level(&payload) != Some(0) {
            let damaged = || self.file.damaged("a node", at.offset);
            let child = match find_child(&payload, key).ok_or_else(damaged)? {
                Some(child) => child,
                // One before all is where the first is.
                None => match Node::decode(&payload) {
                    Some(Node::Inner(children)) => children.first().ok_or_else(damaged)?.at,
                    _ => return Err(damaged()),
                },
            };
            at = child;
            payload = self.node(at, wait)?;
        }
        Ok(Some(at.offset))
    }

    /// Goes through entries in the order of their keys.
    pub(crate) fn entries(self: &Arc<Self>, from: &[u8], wait: Wait) -> Result<Entries> {
        self.check()?;
        let offset = self.leaf_of(from, wait)?;
        let base_end = self.file.header.base_end;
        Ok(Entries {
            space: self.clone(),
            from: from.to_vec(),
            frames: Frames::new(base_end, AHEAD, wait),
            offset: offset.unwrap_or(base_end),
            leaf: Vec::new().into_iter(),
            sorted: None,
            wait,
        })
    }
}

/// Marks a space as being written to.
#[derive(Debug)]
pub(crate) struct Writing<'a>(&'a Space);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.writing.store(false, Ordering::Release);
    }
}

/// Entries in the order of their keys; those that are gone are left out.
#[derive(Debug)]
pub(crate) struct Entries {
    space: Arc<Space>,
    /// Nothing before this is given any more.
    from: Vec<u8>,
    frames: Frames,
    offset: u64,
    leaf: std::vec::IntoIter<(Bytes, Entry)>,
    /// The next one of the sorted part.
    sorted: Option<(Bytes, Entry)>,
    wait: Wait,
}

impl Entries {
    /// The next entry; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(Bytes, Entry)>> {
        loop {
            self.fill()?;
            let Some((key, slot)) = self.space.tail(|tail| tail.next(&self.from)) else {
                return Ok(self.take_sorted());
            };
            match &self.sorted {
                Some((sorted, _)) if **sorted < key[..] => return Ok(self.take_sorted()),
                Some((sorted, _)) if **sorted == key[..] => self.sorted = None,
                _ => {}
            }
            self.from = behind(&key);
            if !slot.is_gone {
                let entry = self.space.read_slot(&key, slot, self.wait)?;
                return Ok(Some((key.into(), entry)));
            }
        }
    }

    fn take_sorted(&mut self) -> Option<(Bytes, Entry)> {
        let taken = self.sorted.take();
        if let Some((key, _)) = &taken {
            self.from = behind(key);
        }
        taken
    }

    /// Reads the next one of the sorted part.
    fn fill(&mut self) -> Result<()> {
        while self.sorted.is_none() {
            if let Some((key, entry)) = self.leaf.next() {
                if *key >= self.from[..] {
                    self.sorted = Some((key, entry));
                }
                continue;
            }
            if self.offset >= self.frames.end {
                break;
            }
            let file = &self.space.file;
            let damaged = || file.damaged("a node", self.offset);
            let frame = self.frames.frame(file, self.offset)?;
            let frame = frame
                .filter(|frame| frame.kind == Kind::Node)
                .ok_or_else(damaged)?;
            if Node::level(&frame.payload) == Some(0) {
                match Node::decode(&frame.payload) {
                    Some(Node::Leaf(entries)) => self.leaf = entries.into_iter(),
                    _ => return Err(damaged()),
                }
            }
            self.offset = frame.tail;
        }
        Ok(())
    }
}
