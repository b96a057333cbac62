//! Going through items and namespaces in order, a batch at a time.
//!
//! Between two batches nothing is held but a position, so a slow reader keeps neither
//! files nor memory.

use std::collections::VecDeque;

use chunkpoint_core::Result;
use chunkpoint_core::store_backend::{ItemRow, ListNamespaces, Namespace, ScanItems};

use crate::items::entry::{Entry, behind, item_key};
use crate::items::file::Place;
use crate::items::names;
use crate::store::Store;
use crate::wait::{Wait, is_would_wait, would_wait};

/// Rows given at once.
const BATCH: usize = 256;

/// Bytes of bodies given at once, a little more at most.
const BATCH_BYTES: usize = 256 * 1024;

/// Namespaces read of the catalog at once.
const NAMES: usize = 128;

/// Namespaces, read of the catalog in order.
#[derive(Debug, Clone)]
struct Names {
    prefix: Vec<u8>,
    /// Where to go on; `None` at the end.
    from: Option<Vec<u8>>,
    read: VecDeque<Namespace>,
}

impl Names {
    fn new(prefix: &Namespace, from: Vec<u8>) -> Self {
        Self {
            prefix: prefix.to_bytes(),
            from: Some(from),
            read: VecDeque::new(),
        }
    }

    fn next(&mut self, store: &Store, wait: Wait) -> Result<Option<Namespace>> {
        if self.read.is_empty()
            && let Some(from) = &self.from
        {
            let page = names::page(store, &self.prefix, from, NAMES, wait)?;
            let last = page.last().filter(|_| page.len() == NAMES);
            self.from = last.map(|last| behind(&last.to_bytes()));
            self.read = page.into();
        }
        Ok(self.read.pop_front())
    }
}

/// A scan that does not wait looks into at most about half so many namespaces.
const FEW: usize = 32;

/// A scan under way.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    names: Names,
    /// The namespace being read, and from which key on.
    current: Option<(Namespace, Vec<u8>)>,
    /// Rows given at once.
    batch: usize,
}

impl Scan {
    pub(crate) fn new(query: &ScanItems) -> Self {
        let mut from = Vec::new();
        let mut current = None;
        if let Some(after) = &query.after {
            let label = after.namespace.to_bytes();
            from = behind(&label);
            if after.namespace.starts_with(&query.prefix) {
                current = Some((after.namespace.clone(), behind(after.key.as_bytes())));
            }
        }
        Self {
            names: Names::new(&query.prefix, from),
            current,
            batch: query.likely.unwrap_or(BATCH).clamp(1, BATCH),
        }
    }

    /// The next rows; none at the end. What cannot be read is an error among them, and
    /// the scan goes on with the next namespace.
    ///
    /// # Errors
    /// Only that it would wait: then nothing happened.
    pub(crate) fn batch(&mut self, store: &Store, wait: Wait) -> Result<Vec<Result<ItemRow>>> {
        let before = (wait == Wait::No).then(|| self.clone());
        let mut rows = Vec::new();
        match self.fill(store, wait, &mut rows) {
            Err(error) if is_would_wait(&error) => {
                if let Some(before) = before {
                    *self = before;
                }
                return Err(error);
            }
            Err(error) => {
                self.current = None;
                rows.push(Err(error));
            }
            Ok(()) => {}
        }
        // Whoever wants more than was likely wants many.
        self.batch = BATCH;
        Ok(rows)
    }

    fn fill(&mut self, store: &Store, wait: Wait, rows: &mut Vec<Result<ItemRow>>) -> Result<()> {
        let (mut bytes, mut opened) = (0, 0);
        loop {
            opened += 1;
            if wait == Wait::No && opened > FEW {
                return Err(would_wait());
            }
            let Some((namespace, from)) = &mut self.current else {
                let next = self.names.next(store, wait);
                match next {
                    Ok(None) => return Ok(()),
                    Ok(Some(namespace)) => self.current = Some((namespace, Vec::new())),
                    Err(error) => {
                        if !is_would_wait(&error) {
                            self.names.from = None;
                        }
                        return Err(error);
                    }
                }
                continue;
            };
            if let Some(space) = store.space(&Place::of(namespace), wait)? {
                let mut entries = space.entries(from, wait)?;
                while let Some((key, entry)) = entries.next()? {
                    let Entry::Row(row) = entry else { continue };
                    let Some(item) = item_key(namespace, &key) else {
                        continue;
                    };
                    bytes += row.body.len() + key.len();
                    rows.push(Ok(row.into_item(item)));
                    if rows.len() >= self.batch || bytes >= BATCH_BYTES {
                        *from = behind(&key);
                        return Ok(());
                    }
                }
            }
            self.current = None;
        }
    }
}

/// A listing of namespaces under way.
#[derive(Debug)]
pub(crate) struct Listing {
    names: Names,
    now_ms: u64,
}

impl Listing {
    pub(crate) fn new(query: &ListNamespaces) -> Self {
        let after = query.after.as_ref();
        let from = after.map(|after| behind(&after.to_bytes()));
        Self {
            names: Names::new(&query.prefix, from.unwrap_or_default()),
            now_ms: query.now_ms,
        }
    }

    /// The next namespaces; none at the end.
    pub(crate) fn batch(&mut self, store: &Store) -> Vec<Result<Namespace>> {
        let mut found = Vec::new();
        while found.len() < NAMES {
            let namespace = match self.names.next(store, Wait::Yes) {
                Ok(Some(namespace)) => namespace,
                Ok(None) => break,
                Err(error) => {
                    self.names.from = None;
                    found.push(Err(error));
                    break;
                }
            };
            match self.has_items(store, &namespace) {
                Ok(false) => {}
                Ok(true) => found.push(Ok(namespace)),
                Err(error) => found.push(Err(error)),
            }
        }
        found
    }

    fn has_items(&self, store: &Store, namespace: &Namespace) -> Result<bool> {
        let Some(space) = store.space(&Place::of(namespace), Wait::Yes)? else {
            return Ok(false);
        };
        let mut entries = space.entries(&[], Wait::Yes)?;
        while let Some((_, entry)) = entries.next()? {
            if matches!(entry, Entry::Row(row) if !row.is_expired(self.now_ms)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
