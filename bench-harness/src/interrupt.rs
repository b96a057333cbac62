//! Ends a run when it is interrupted, and leaves nothing behind.
//!
//! The handler kills the cell's process that is under way; the run then stops where it
//! waits for that, and servers and directories go as they do at any other end. A run that is
//! itself killed (SIGKILL) leaves its directory, but no process: see
//! [`cell::work`](crate::cell::work).

use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::error::{Error, Result};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static UNDER_WAY: Mutex<Weak<Mutex<Child>>> = Mutex::new(Weak::new());

/// Sees to SIGINT, SIGTERM and SIGHUP, or Ctrl-C on Windows, from now on.
///
/// # Errors
/// If the system does not let it.
pub fn listen() -> Result<()> {
    ctrlc::set_handler(|| {
        INTERRUPTED.store(true, Ordering::SeqCst);
        let child = under_way().upgrade();
        if let Some(child) = child {
            // One that has ended needs no killing.
            let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        }
    })
    .map_err(|e| Error::Cell(format!("cannot listen to interrupts: {e}")))
}

fn under_way() -> std::sync::MutexGuard<'static, Weak<Mutex<Child>>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the run was interrupted.
pub fn has_been() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Has `child` killed by an interrupt as long as what this gives is there.
pub(crate) fn guard(child: &Arc<Mutex<Child>>) -> Guard {
    *under_way() = Arc::downgrade(child);
    if has_been() {
        let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
    }
    Guard
}

/// See [`guard`].
#[derive(Debug)]
pub(crate) struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        *under_way() = Weak::new();
    }
}
