//! Work off the request path: few tasks at once, one of a kind, all stopped
//! when the memory is closed or dropped.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many run at once.
const AT_ONCE: usize = 2;

pub(crate) struct Background {
    enabled: bool,
    running: Arc<Semaphore>,
    named: Arc<Mutex<HashSet<String>>>,
    /// Dropping it aborts what runs.
    tasks: Mutex<JoinSet<()>>,
}

impl Background {
    pub(crate) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            running: Arc::new(Semaphore::new(AT_ONCE)),
            named: Arc::default(),
            tasks: Mutex::default(),
        }
    }

    pub(crate) fn enabled(&self) -> bool {
        self.enabled && Handle::try_current().is_ok()
    }

    /// Runs `work`, unless work of this name runs or waits already, or
    /// background work is switched off.
    pub(crate) fn spawn(&self, name: String, work: impl Future<Output = ()> + Send + 'static) {
        let (true, Ok(handle)) = (self.enabled, Handle::try_current()) else {
            return;
        };
        let lock = || self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if !lock().insert(name.clone()) {
            return;
        }
        let named = Named {
            name,
            set: self.named.clone(),
        };
        let running = self.running.clone();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(
            async move {
                let _named = named;
                let Ok(_permit) = running.acquire_owned().await else {
                    return;
                };
                work.await;
            },
            &handle,
        );
    }

    /// Stops everything, and waits for it.
    pub(crate) async fn stop(&self) {
        self.running.close();
        let mut tasks =
            std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }
}

/// Frees the name however the task ends.
struct Named {
    name: String,
    set: Arc<Mutex<HashSet<String>>>,
}

impl Drop for Named {
    fn drop(&mut self) {
        self.set
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.name);
    }
}
