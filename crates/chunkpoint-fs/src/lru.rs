//! A small cache by weight that drops what was not used for longest.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What names a thread inside this crate: the start of its id's BLAKE3.
pub(crate) type Key = [u8; 16];

/// A bounded map from threads to what is kept of them. Entries in use live on
/// through their own reference counts.
#[derive(Debug)]
pub(crate) struct Lru<V> {
    most: usize,
    inner: Mutex<Inner<V>>,
}

#[derive(Debug)]
struct Inner<V> {
    map: HashMap<Key, Entry<V>>,
    weight: usize,
    clock: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight: usize,
    used: u64,
}

impl<V: Clone> Lru<V> {
    /// A cache of values that together weigh at most `most`.
    pub(crate) fn new(most: usize) -> Self {
        let inner = Inner {
            map: HashMap::new(),
            weight: 0,
            clock: 0,
        };
        Self {
            most,
            inner: Mutex::new(inner),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner<V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: &Key) -> Option<V> {
        let inner = &mut *self.lock();
        let entry = inner.map.get_mut(key)?;
        inner.clock += 1;
        entry.used = inner.clock;
        Some(entry.value.clone())
    }

    /// The value of `key`, made if there is none.
    pub(crate) fn get_or_insert(&self, key: Key, make: impl FnOnce() -> V) -> V {
        if let Some(value) = self.get(&key) {
            return value;
        }
        let value = make();
        self.insert(key, value.clone(), 1);
        value
    }

    pub(crate) fn insert(&self, key: Key, value: V, weight: usize) {
        self.insert_unless(key, value, weight, |_| false);
    }

    /// Inserts unless there is a value that is to be kept.
    pub(crate) fn insert_unless(
        &self,
        key: Key,
        value: V,
        weight: usize,
        keep: impl FnOnce(&V) -> bool,
    ) {
        let inner = &mut *self.lock();
        if inner.map.get(&key).is_some_and(|entry| keep(&entry.value)) {
            return;
        }
        inner.clock += 1;
        let entry = Entry {
            value,
            weight,
            used: inner.clock,
        };
        if let Some(old) = inner.map.insert(key, entry) {
            inner.weight -= old.weight;
        }
        inner.weight += weight;
        if inner.weight > self.most && inner.map.len() > 1 {
            inner.shrink(self.most);
        }
    }

    pub(crate) fn remove(&self, key: &Key) {
        let inner = &mut *self.lock();
        if let Some(old) = inner.map.remove(key) {
            inner.weight -= old.weight;
        }
    }

    pub(crate) fn clear(&self) {
        let inner = &mut *self.lock();
        inner.map.clear();
        inner.weight = 0;
    }
}

impl<V> Inner<V> {
    /// Drops the entries not used for longest, down to seven eighths: looking
    /// for them takes time in proportion to all, and so is done rarely.
    fn shrink(&mut self, most: usize) {
        let mut by_use: Vec<(u64, Key)> = self
            .map
            .iter()
            .map(|(key, entry)| (entry.used, *key))
            .collect();
        by_use.sort_unstable();
        // The newest stays, however heavy.
        by_use.pop();
        for (_, key) in by_use {
            if self.weight <= most - most / 8 {
                break;
            }
            if let Some(old) = self.map.remove(&key) {
                self.weight -= old.weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let lru = Lru::new(8);
        for n in 0..8u8 {
            lru.insert([n; 16], n, 1);
        }
        assert_eq!(lru.get(&[0; 16]), Some(0));
        lru.insert([8; 16], 8, 1);
        assert_eq!(lru.get(&[1; 16]), None);
        assert_eq!(lru.get(&[0; 16]), Some(0));
        assert_eq!(lru.get(&[8; 16]), Some(8));
        lru.insert([9; 16], 9, 100);
        assert_eq!(lru.get(&[9; 16]), Some(9));
        assert_eq!(lru.get(&[0; 16]), None);
    }
}
