//! [`Coalesce`]: reads of the same thing, asked of the backend once.
//!
//! Callers who ask for the same thing form a line. One *round* reads for all who joined
//! it; when it ends, each gets a clone of what it gave. What may change is read as a
//! group commit writes: who comes while a round is under way waits for the next one,
//! because what the round under way reads may be older than a change that was
//! acknowledged before the caller came. What never changes is taken from the round
//! under way.
//!
//! No task is spawned. The first of a round reads, within its own call; when that is
//! dropped, the next of the round begins anew.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use crate::error::Result;

/// Until when others may join a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joining {
    /// Until it starts to read: for what may change.
    UntilStart,
    /// Until it ends: for what never changes.
    UntilEnd,
}

/// Lines of callers, by what they ask for. It has an entry for as long as someone asks.
pub(crate) struct Coalesce<K, V> {
    joining: Joining,
    lines: Mutex<HashMap<K, Arc<Line<V>>>>,
}

type Round<V> = Arc<OnceCell<Result<V>>>;

struct Line<V> {
    /// Whose it is may read: one round at a time.
    turn: tokio::sync::Mutex<()>,
    /// What a newcomer joins.
    open: Mutex<Round<V>>,
}

/// A caller's place in a line; the last to leave takes the line away.
struct Place<'a, K: Eq + Hash, V> {
    all: &'a Coalesce<K, V>,
    key: K,
    line: Arc<Line<V>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K, V> Coalesce<K, V>
where
    K: Eq + Hash + Clone + Send,
    V: Clone + Send + Sync,
{
    pub(crate) fn new(joining: Joining) -> Self {
        Self {
            joining,
            lines: Mutex::default(),
        }
    }

    /// What `read` gives, or what it gave to another who asks for `key`. All who ask for
    /// it must read the same.
    ///
    /// # Errors
    /// Those of the round's one read, for all of the round alike.
    pub(crate) async fn read(
        &self,
        key: K,
        read: impl Future<Output = Result<V>> + Send,
    ) -> Result<V> {
        let place = self.place(key);
        let round = lock(&place.line.open).clone();
        let work = || async {
            let _turn = place.line.turn.lock().await;
            if self.joining == Joining::UntilStart {
                place.line.close(&round);
            }
            let outcome = read.await;
            place.line.close(&round);
            outcome
        };
        match round.get_or_init(work).await {
            Ok(value) => Ok(value.clone()),
            Err(error) => Err(error.again()),
        }
    }

    fn place(&self, key: K) -> Place<'_, K, V> {
        let line = lock(&self.lines).entry(key.clone()).or_default().clone();
        Place {
            all: self,
            key,
            line,
        }
    }
}

impl<V> Line<V> {
    /// Lets nobody else join this round: newcomers find the next one.
    fn close(&self, round: &Round<V>) {
        let mut open = lock(&self.open);
        if Arc::ptr_eq(&open, round) {
            *open = Round::default();
        }
    }
}

impl<V> Default for Line<V> {
    fn default() -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            open: Mutex::default(),
        }
    }
}

impl<K: Eq + Hash, V> Drop for Place<'_, K, V> {
    fn drop(&mut self) {
        let mut lines = lock(&self.all.lines);
        // The table's and this one. Others are made under the lock only.
        if Arc::strong_count(&self.line) == 2 {
            lines.remove(&self.key);
        }
    }
}
