//! Operations that arrive by themselves.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc};

use super::Bench;
use super::arrivals::Arrivals;
use super::verify::compare;
use super::warm_up::warm_up;
use super::writer::{Thread, Writer};
use crate::error::{Error, Result};
use crate::measure::{PhaseName, Recorder};
use crate::progress::Teller;
use crate::scenario::OpenLoad;
use crate::subject::{Ledger, Op};
use crate::workload::{Conversation, Rng};

/// Of the rate that was asked for, what must be reached not to be saturated.
const ENOUGH: f64 = 0.95;

/// One conversation of the load. One operation of it is under way at a time.
struct User {
    thread: Thread,
    oracle: Arc<Conversation>,
    writer: Writer,
}

/// Commits the first half of every conversation, then lets commits and loads arrive.
pub(super) async fn write(bench: &mut Bench<'_>, model: &OpenLoad) -> Result<()> {
    warm_up(bench).await?;
    let opened = bench.provision().await?;
    let open = bench.recorder.begin(PhaseName::Prepare);
    let ledger = Arc::new(Mutex::new(bench.ledger()?));
    let mut users = Vec::new();
    for (number, conversation) in (0..).zip(bench.conversations()?) {
        let conversation = Arc::new(conversation?);
        let mut user = User {
            thread: Thread::open(&opened, number, &conversation)?,
            oracle: bench.oracle(&conversation),
            writer: Writer::new(&opened, false)?,
        };
        for _ in 0..conversation.len() / 2 {
            user.writer.put(&mut user.thread, &ledger).await?;
        }
        users.push(Arc::new(AsyncMutex::new(user)));
    }
    bench.recorder.end(open);

    let load = bench.job.scenario.load;
    let seed = bench.job.scenario.workload.seed();
    let rate = load.rate.unwrap_or(1.0);
    let arrivals = Arrivals::new(load.model, rate, seed).take(model.operations);
    let mut rng = Rng::at(&[seed, 0x0075_7365_7273]);
    let plan: Vec<_> = arrivals
        .map(|due| {
            let user = users[rng.below(users.len())].clone();
            (due, (user, rng.chance(model.load_share)))
        })
        .collect();

    let open = bench.recorder.begin(PhaseName::Measure);
    let ledger_of = ledger.clone();
    let outcome = drive(plan, load.clients, move |(user, loads)| {
        let ledger = ledger_of.clone();
        async move { operate(&user, loads, &ledger).await }
    })
    .await?;
    let phase = bench.recorder.end(open).clone();

    let mut all = Writer::new(&opened, false)?;
    for user in users {
        let user = Arc::into_inner(user).map(AsyncMutex::into_inner);
        let user = user.ok_or_else(|| Error::Cell("an operation outlives the load".into()))?;
        all.merge(&user.writer)?;
    }
    for done in outcome.done {
        let name = if done.value.loads {
            Op::Load.name()
        } else {
            "put"
        };
        let response = if done.value.loads {
            "load-response"
        } else {
            "put-response"
        };
        bench.recorder.op(name, done.value.service)?;
        bench
            .recorder
            .op(response, done.waited + done.value.response)?;
        if let Some((thread, verdict)) = done.value.verdict {
            bench.judge(&thread, verdict);
        }
    }
    book(&mut bench.recorder, rate, &outcome.summary);
    all.book(&mut bench.recorder, &phase);
    let ledger = Arc::into_inner(ledger).and_then(|ledger| ledger.into_inner().ok());
    let ledger = ledger.ok_or_else(|| Error::Cell("a client outlives its task".into()))?;
    ledger.finish()?;
    bench.footprint(&opened).await
}

/// What an operation gave.
struct Outcome {
    loads: bool,
    /// The operation alone.
    service: Duration,
    /// From when it was issued: where another process does it, with what it waited there.
    response: Duration,
    /// What a load's answer was about, and whether it was right.
    verdict: Option<(String, Result<(), String>)>,
}

async fn operate(user: &AsyncMutex<User>, loads: bool, ledger: &Mutex<Ledger>) -> Result<Outcome> {
    let mut user = user.lock().await;
    let user = &mut *user;
    let loads = loads || user.thread.len() == user.oracle.len();
    if !loads {
        let put = user.writer.put(&mut user.thread, ledger).await?;
        return Ok(Outcome {
            loads,
            service: put.took,
            response: put.response.unwrap_or(put.took),
            verdict: None,
        });
    }
    let step = user.thread.len().saturating_sub(1);
    let answer = user.thread.sessions().read(Op::Load, usize::MAX).await?;
    let (_, verdict) = compare(&user.oracle, step, answer.value, usize::MAX);
    Ok(Outcome {
        loads,
        service: answer.took,
        response: answer.response.unwrap_or(answer.took),
        verdict: Some((user.oracle.id.clone(), verdict)),
    })
}

fn book(recorder: &mut Recorder, rate: f64, of: &Load) {
    let saturated = of.achieved_per_s < rate * ENOUGH;
    recorder.figure("offered_per_s", rate);
    recorder.figure("achieved_per_s", of.achieved_per_s);
    recorder.figure("backlog_most", of.backlog_most as f64);
    recorder.figure("saturated", f64::from(u8::from(saturated)));
    if saturated {
        recorder.note(format!(
            "saturated: {:.0} of {rate:.0} operations a second; its response times say how long \
             the run was, not what a user would wait",
            of.achieved_per_s
        ));
    }
}

/// An operation that is done.
struct Done<T> {
    /// From when it should have begun until it was issued to the variant.
    waited: Duration,
    value: T,
}

/// How a load went.
struct Load {
    achieved_per_s: f64,
    /// The most operations that had arrived and were not done.
    backlog_most: usize,
}

struct Driven<T> {
    done: Vec<Done<T>>,
    summary: Load,
}

/// Issues every operation of `plan` when it is due, or as soon after as one of `clients` is
/// free. Arrivals are a thread's of their own, which sleeps more exactly than the runtime's
/// timer and which nothing that the runtime does holds up.
async fn drive<I, T, F>(
    plan: Vec<(Duration, I)>,
    clients: usize,
    operation: impl Fn(I) -> F + Send + Sync + 'static,
) -> Result<Driven<T>>
where
    I: Send + 'static,
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let total = plan.len();
    let teller = Teller::new("operate", total as u64);
    let (give, mut take) = mpsc::unbounded_channel();
    let (runtime, operation) = (Handle::current(), Arc::new(operation));
    let free = Arc::new(Semaphore::new(clients));
    let backlog = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let dispatcher = std::thread::spawn(move || {
        let mut most = 0;
        for (due, input) in plan {
            std::thread::sleep((start + due).saturating_duration_since(Instant::now()));
            most = most.max(backlog.fetch_add(1, Ordering::Relaxed) + 1);
            let (give, free) = (give.clone(), free.clone());
            let (operation, backlog) = (operation.clone(), backlog.clone());
            runtime.spawn(async move {
                let permit = free.acquire_owned().await;
                let waited = (start + due).elapsed();
                let value = operation(input).await;
                backlog.fetch_sub(1, Ordering::Relaxed);
                drop(permit);
                // Who no longer listens has met an error already.
                let _ = give.send(value.map(|value| Done { waited, value }));
            });
        }
        most
    });
    let mut done = Vec::with_capacity(total);
    while let Some(one) = take.recv().await {
        done.push(one?);
        teller.at(done.len() as u64);
    }
    let wall = start.elapsed().as_secs_f64();
    let backlog_most = dispatcher
        .join()
        .map_err(|_| Error::Cell("the thread that issues operations died".into()))?;
    Ok(Driven {
        summary: Load {
            achieved_per_s: done.len() as f64 / wall,
            backlog_most,
        },
        done,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Latency;
    use crate::scenario::LoadModel;

    /// A stall of one second in the middle of two seconds of arrivals: half of all users met
    /// it, and only a response time from the intended start shows that.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stall_is_in_the_latency_of_all_that_it_delayed() {
        const STALL: Duration = Duration::from_secs(1);
        let arrivals = Arrivals::new(LoadModel::Constant, 100.0, 1).take(200);
        let plan: Vec<_> = arrivals.zip(0..).collect();
        let driven = drive(plan, 1, |number: usize| async move {
            let begun = Instant::now();
            if number == 50 {
                tokio::time::sleep(STALL).await;
            }
            Ok(begun.elapsed())
        })
        .await
        .unwrap();
        let (mut service, mut response) = (Latency::new().unwrap(), Latency::new().unwrap());
        for done in &driven.done {
            service.record(done.value);
            response.record(done.waited + done.value);
        }
        let (service, response) = (service.percentiles(), response.percentiles());
        assert_eq!(driven.done.len(), 200);
        assert!(service.max >= STALL.as_nanos() as u64);
        // A hundred operations waited, from a second down to nothing.
        let millis = |ms: u64| ms * 1_000_000;
        assert!(response.p90 >= millis(600), "{response:?}");
        assert!(response.p99 >= millis(950), "{response:?}");
        // What a closed client would have seen: one slow operation of two hundred.
        assert!(service.p90 < response.p90, "{service:?}");
        assert!(driven.summary.backlog_most >= 50);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_error_ends_the_load() {
        let plan = vec![(Duration::ZERO, 1), (Duration::ZERO, 2)];
        let driven = drive(plan, 1, |number| async move {
            match number {
                1 => Ok(()),
                _ => Err(Error::Wrong("two".into())),
            }
        })
        .await;
        assert!(matches!(driven.map(|_| ()), Err(Error::Wrong(what)) if what == "two"));
    }
}
