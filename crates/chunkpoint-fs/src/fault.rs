//! Calls to the filesystem that a test has fail.

use std::collections::HashMap;
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

/// What fails in one backend.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<HashMap<Call, usize>>);

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

    /// Called before each call.
    pub(crate) fn check(&self, call: Call) -> io::Result<()> {
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
