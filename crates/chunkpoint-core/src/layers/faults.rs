//! [`Faults`]: fails on purpose, for tests.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Poll;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{StreamExt, stream};

use super::rng::Rng;
use super::{Answer, Call, Layer, Method, Operation, Rows};
use crate::error::{Applied, Error, ErrorKind, Result};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The call never reaches the backend, and fails with this kind, *not applied*.
    Before(ErrorKind),
    /// The call is made; if it succeeds, the answer is lost: `Unavailable`, and
    /// *unknown* for a mutation.
    After,
    /// The call is made after this long.
    Delay(Duration),
    /// The call's future is polled so often; if it has not ended by then, it
    /// is dropped: `Timeout`, and *unknown* for a mutation. 0 never starts it.
    Cancel {
        /// Most polls.
        polls: u32,
    },
    /// A listing opens, gives so many rows, then `Unavailable`. Such a rule
    /// sees listings only.
    BreakList {
        /// Rows given before.
        rows: u64,
    },
}

/// When a [`Fault`] strikes. By default: at every call of every method.
#[derive(Debug, Clone)]
pub struct Rule {
    fault: Fault,
    methods: Option<Vec<Method>>,
    first: u64,
    last: u64,
    probability: f64,
}

impl Rule {
    /// `fault`, always.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            methods: None,
            first: 1,
            last: u64::MAX,
            probability: 1.0,
        }
    }

    /// Only at these methods.
    #[must_use]
    pub fn on(mut self, methods: &[Method]) -> Self {
        self.methods = Some(methods.to_vec());
        self
    }

    /// Only at the n-th call that the rule's methods get, counted from 1.
    #[must_use]
    pub fn nth(self, n: u64) -> Self {
        self.between(n, n)
    }

    /// Only at the first n calls that the rule's methods get.
    #[must_use]
    pub fn first(self, n: u64) -> Self {
        self.between(1, n)
    }

    /// Only with this probability, by the seed.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    fn between(mut self, first: u64, last: u64) -> Self {
        (self.first, self.last) = (first, last);
        self
    }

    fn covers(&self, method: Method, at: At) -> bool {
        let breaks_list = matches!(self.fault, Fault::BreakList { .. });
        let methods = self.methods.as_ref();
        breaks_list == (at == At::Rows) && methods.is_none_or(|list| list.contains(&method))
    }
}

/// Makes calls fail by [`Rule`]s. Of several that strike at one call, the
/// first added does; all of them count the call.
///
/// Clones share their rules: keep one to change them while the other is in
/// the [`Layered`](super::Layered). With the same seed, rules and order of
/// calls, the same calls fail.
#[derive(Debug, Clone)]
pub struct Faults {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rng: Rng,
    armed: AtomicBool,
    struck: AtomicU64,
    rules: RwLock<Vec<Armed>>,
}

/// Where in an operation a rule is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Call,
    Rows,
}

#[derive(Debug)]
struct Armed {
    rule: Rule,
    seen: AtomicU64,
}

impl Faults {
    /// No rules yet; `seed` decides where rules have a probability.
    pub fn new(seed: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                rng: Rng::new(seed),
                armed: AtomicBool::new(true),
                struck: AtomicU64::new(0),
                rules: RwLock::new(Vec::new()),
            }),
        }
    }

    /// Adds a rule.
    #[must_use]
    pub fn rule(self, rule: Rule) -> Self {
        self.add(rule);
        self
    }

    /// Adds a rule to faults that are in use.
    pub fn add(&self, rule: Rule) {
        let mut rules = self
            .shared
            .rules
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        rules.push(Armed {
            rule,
            seen: AtomicU64::new(0),
        });
    }

    /// Takes all rules away.
    pub fn clear(&self) {
        let mut rules = self
            .shared
            .rules
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        rules.clear();
    }

    /// Switches all rules on or off; while off, they do not count calls.
    pub fn arm(&self, armed: bool) {
        self.shared.armed.store(armed, Ordering::SeqCst);
    }

    /// How often a fault has struck.
    pub fn struck(&self) -> u64 {
        self.shared.struck.load(Ordering::SeqCst)
    }

    fn strike(&self, method: Method, at: At) -> Option<Fault> {
        if !self.shared.armed.load(Ordering::SeqCst) {
            return None;
        }
        let rules = self
            .shared
            .rules
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut fault = None;
        for Armed { rule, seen } in rules.iter().filter(|armed| armed.rule.covers(method, at)) {
            let n = seen.fetch_add(1, Ordering::SeqCst) + 1;
            let due = (rule.first..=rule.last).contains(&n);
            if due && fault.is_none() && self.shared.rng.unit() < rule.probability {
                fault = Some(rule.fault.clone());
            }
        }
        if fault.is_some() {
            self.shared.struck.fetch_add(1, Ordering::SeqCst);
        }
        fault
    }
}

impl Layer for Faults {
    async fn around<'a, T: Answer + 'a>(
        &'a self,
        operation: Operation,
        call: Call<'a, T>,
    ) -> Result<T> {
        let method = operation.method;
        match self.strike(method, At::Call) {
            Some(Fault::Before(kind)) => {
                let error = Error::new(kind, "injected before the call").applied(Applied::No);
                Err(error.operation(method.name()))
            }
            Some(Fault::After) => {
                call().await?;
                Err(lost(
                    method,
                    ErrorKind::Unavailable,
                    "injected after the call",
                ))
            }
            Some(Fault::Delay(pause)) => {
                tokio::time::sleep(pause).await;
                call().await
            }
            Some(Fault::Cancel { polls }) => match poll_at_most(call(), polls).await {
                Some(answer) => answer,
                None => Err(lost(
                    method,
                    ErrorKind::Timeout,
                    "injected by dropping the call",
                )),
            },
            Some(Fault::BreakList { .. }) | None => call().await,
        }
    }

    fn rows<T: Answer + 'static>(&self, method: Method, rows: Rows<T>) -> Rows<T> {
        let Some(Fault::BreakList { rows: most }) = self.strike(method, At::Rows) else {
            return rows;
        };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let broken = lost(method, ErrorKind::Unavailable, "injected between rows");
        rows.take(most).chain(stream::iter([Err(broken)])).boxed()
    }
}

/// An error of a call that may have been applied, if it is one that mutates.
fn lost(method: Method, kind: ErrorKind, message: &str) -> Error {
    let applied = if method.mutates() {
        Applied::Unknown
    } else {
        Applied::No
    };
    Error::new(kind, message)
        .applied(applied)
        .operation(method.name())
}

/// Polls a future at most so often, then drops it.
async fn poll_at_most<T>(future: BoxFuture<'_, T>, mut polls: u32) -> Option<T> {
    let mut future = Some(future);
    poll_fn(|context| {
        let Some(running) = future.as_mut().filter(|_| polls > 0) else {
            return Poll::Ready(None);
        };
        polls -= 1;
        match running.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            // Dropped now, not at the next wake, which may never come.
            Poll::Pending if polls == 0 => {
                future = None;
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
