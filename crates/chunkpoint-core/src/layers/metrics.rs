//! [`Metrics`]: counts calls, errors, bytes and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;

use super::{Answer, Call, Layer, Method, Operation, Rows};
use crate::error::Result;

/// Counts what passes through, per method.
///
/// Clones share their counters: keep one, put the other into the
/// [`Layered`](super::Layered).
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    counters: Arc<[Counters; Method::ALL.len()]>,
}

/// The counters of one method. They are only added to, and no reader relates
/// one to another, so relaxed order is enough.
#[derive(Debug, Default)]
struct Counters {
    calls: AtomicU64,
    errors: AtomicU64,
    cancelled: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    nanos: AtomicU64,
}

/// What one method has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MethodMetrics {
    /// Calls begun.
    pub calls: u64,
    /// Calls, single changes of a batch, and rows of listings, that ended in an error.
    pub errors: u64,
    /// Calls dropped before they ended.
    pub cancelled: u64,
    /// Bytes of bodies, chunks and values handed to the backend.
    pub bytes_sent: u64,
    /// Bytes of bodies, chunks and values that came back.
    pub bytes_received: u64,
    /// Time spent in ended and dropped calls; of a listing, in its opening.
    pub time: Duration,
}

/// All counters at about one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetricsSnapshot {
    methods: [MethodMetrics; Method::ALL.len()],
}

impl Metrics {
    /// All counters at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counters now: a few dozen loads, no lock.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let mut snapshot = MetricsSnapshot::default();
        for (out, counters) in snapshot.methods.iter_mut().zip(&*self.counters) {
            *out = MethodMetrics {
                calls: counters.calls.load(Ordering::Relaxed),
                errors: counters.errors.load(Ordering::Relaxed),
                cancelled: counters.cancelled.load(Ordering::Relaxed),
                bytes_sent: counters.bytes_sent.load(Ordering::Relaxed),
                bytes_received: counters.bytes_received.load(Ordering::Relaxed),
                time: Duration::from_nanos(counters.nanos.load(Ordering::Relaxed)),
            };
        }
        snapshot
    }

    fn of(&self, method: Method) -> &Counters {
        &self.counters[method as usize]
    }
}

impl MetricsSnapshot {
    /// One method's.
    pub fn method(&self, method: Method) -> MethodMetrics {
        self.methods[method as usize]
    }

    /// Every method with its counters, in the order of the traits.
    pub fn methods(&self) -> impl Iterator<Item = (Method, MethodMetrics)> + '_ {
        Method::ALL.into_iter().zip(self.methods)
    }

    /// The sum over all methods.
    pub fn total(&self) -> MethodMetrics {
        let mut total = MethodMetrics::default();
        for (_, one) in self.methods() {
            total.calls += one.calls;
            total.errors += one.errors;
            total.cancelled += one.cancelled;
            total.bytes_sent += one.bytes_sent;
            total.bytes_received += one.bytes_received;
            total.time += one.time;
        }
        total
    }
}

impl Layer for Metrics {
    async fn around<'a, T: Answer + 'a>(
        &'a self,
        operation: Operation,
        call: Call<'a, T>,
    ) -> Result<T> {
        let counters = self.of(operation.method);
        add(&counters.calls, 1);
        add(&counters.bytes_sent, operation.bytes_sent);
        let mut running = Running {
            counters,
            start: Instant::now(),
            ended: false,
        };
        let mut answer = call().await;
        running.ended = true;
        match &mut answer {
            Ok(answer) => {
                add(&counters.bytes_received, answer.payload_bytes());
                add(&counters.errors, answer.failures().len() as u64);
            }
            Err(_) => add(&counters.errors, 1),
        }
        answer
    }

    fn rows<T: Answer + 'static>(&self, method: Method, rows: Rows<T>) -> Rows<T> {
        let metrics = self.clone();
        let rows = rows.inspect(move |row| {
            let counters = metrics.of(method);
            match row {
                Ok(row) => add(&counters.bytes_received, row.payload_bytes()),
                Err(_) => add(&counters.errors, 1),
            }
        });
        rows.boxed()
    }
}

/// Books the time of a call, whether it ends or is dropped.
struct Running<'a> {
    counters: &'a Counters,
    start: Instant,
    ended: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        add(&self.counters.nanos, nanos);
        if !self.ended {
            add(&self.counters.cancelled, 1);
        }
    }
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
