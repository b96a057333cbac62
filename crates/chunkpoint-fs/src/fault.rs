//! Calls to the filesystem that a test has fail.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

/// A call on a log's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    /// Fails with half of it written.
    Write,
    Sync,
    Truncate,
}

/// What a test does in the middle of something.
struct Hook(Box<dyn FnOnce() + Send>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// What fails in one backend.
#[derive(Debug, Default)]
pub(crate) struct Faults(
    Mutex<HashMap<Call, usize>>,
    Mutex<HashMap<Call, Hook>>,
    Mutex<Vec<String>>,
);

impl Faults {
    /// Lets `good` more of these calls succeed, and has the rest fail.
    pub(crate) fn fail_after(&self, call: Call, good: usize) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.insert(call, good);
    }

    /// Has nothing fail any more.
    pub(crate) fn clear(&self) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.clear();
    }

    /// Runs `hook` before the next of these calls.
    pub(crate) fn before(&self, call: Call, hook: impl FnOnce() + Send + 'static) {
        let mut hooks = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.insert(call, Hook(Box::new(hook)));
    }

    /// Notes what is synced besides open logs.
    pub(crate) fn note_sync(&self, name: impl Into<String>) {
        let mut synced = self.2.lock().unwrap_or_else(PoisonError::into_inner);
        synced.push(name.into());
    }

    /// What was synced since this was asked last.
    pub(crate) fn take_synced(&self) -> Vec<String> {
        std::mem::take(&mut *self.2.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Called before each call.
    pub(crate) fn check(&self, call: Call) -> io::Result<()> {
        let mut hooks = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let hook = hooks.remove(&call);
        drop(hooks);
        if let Some(Hook(hook)) = hook {
            hook();
        }
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match left.get_mut(&call) {
            None => Ok(()),
            Some(0) => Err(io::Error::other("a fault of the test")),
            Some(good) => {
                *good -= 1;
                Ok(())
            }
        }
    }
}
