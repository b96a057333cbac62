//! Runs operations on a memory and on the model, and compares the two.

use std::collections::BTreeSet;
use std::time::Duration;

use chunkpoint_core::{Config, Error, ErrorKind, Item, Memory, PruneStrategy, Settings, Snapshot};
use serde_json::{Map as JsonMap, Value as Json, json};

use super::compare;
use super::op::{NAMESPACES, Op, Place, THREADS, WRITTEN, Which};
use super::state::{COUNTERS, Key, LOG, Model, Pending, Record};
use super::values;
use crate::deterministic::Rng;
use crate::target::Target;

/// What went wrong.
pub(super) type Outcome<T = ()> = Result<T, String>;

/// A snapshot kept open while its checkpoint may go.
pub(super) struct Held {
    pub(super) snapshot: Snapshot,
    pub(super) thread: String,
    pub(super) key: Key,
    pub(super) life: u64,
    pub(super) record: Record,
}

/// A memory and what must be in it.
pub(super) struct World<'a> {
    given: &'a Target,
    reopened: &'a mut Option<Target>,
    pub(super) memory: Memory,
    pub(super) model: Model,
    pub(super) held: Vec<Held>,
    pub(super) rng: Rng,
    pub(super) step: u64,
}

impl<'a> World<'a> {
    pub(super) fn new(given: &'a Target, reopened: &'a mut Option<Target>, seed: u64) -> Self {
        let memory = memory(reopened.as_ref().unwrap_or(given), None, None);
        Self {
            given,
            reopened,
            memory,
            model: Model::default(),
            held: Vec::new(),
            rng: Rng::new(!seed),
            step: 0,
        }
    }

    pub(super) fn target(&self) -> &Target {
        self.reopened.as_ref().unwrap_or(self.given)
    }

    /// A memory with nothing in its cache.
    pub(super) fn fresh_memory(&self) -> Memory {
        memory(self.target(), None, None)
    }

    pub(super) fn now_ms(&self) -> u64 {
        use chunkpoint_core::Clock;
        self.target().clock().now_ms()
    }

    /// Runs one operation on both.
    pub(super) async fn run(&mut self, op: &Op) -> Outcome {
        self.step += 1;
        match op {
            Op::Draft { .. } => self.draft(op).await?,
            Op::Late { held, edits } => self.late(*held, edits).await?,
            Op::Put {
                place,
                parent,
                id,
                given,
                run,
            } => {
                self.put(*place, *parent, *id, given, *run).await?;
            }
            Op::Writes { .. } => self.writes(op).await?,
            Op::Pin { place, of, pinned } => self.pin(*place, *of, *pinned).await?,
            Op::Prune { threads, delete } => self.prune(*threads, *delete).await?,
            Op::DeleteRuns { run } => self.delete_runs(*run).await?,
            Op::Maintain { most, age_s } => self.maintain(*most, *age_s).await?,
            Op::Advance { seconds } => {
                let seconds = Duration::from_secs((*seconds).into());
                self.target().clock().advance(seconds);
            }
            Op::Delete { thread } => {
                let thread = THREADS[*thread as usize % THREADS.len()];
                let thread = self.memory.thread(thread).map_err(text)?;
                thread.delete().await.map_err(text)?;
                self.model.threads.remove(thread.id());
            }
            Op::Copy { from, to } => self.copy(*from, *to).await?,
            Op::Hold { place, of } => self.hold(*place, *of).await?,
            Op::Forget => {
                if !self.held.is_empty() {
                    self.held.remove(0);
                }
            }
            Op::Reopen => self.reopen().await?,
        }
        let sample = 2;
        compare::all(self, sample).await
    }

    async fn reopen(&mut self) -> Outcome {
        if self.target().capabilities().persistent {
            // Handles of the closed store are no longer of use.
            self.held.clear();
            let reopened = self.target().reopened().await;
            *self.reopened = reopened;
        }
        self.memory = self.fresh_memory();
        Ok(())
    }

    pub(super) fn names(&self, place: Place) -> (String, String) {
        let thread = THREADS[place.thread as usize % THREADS.len()];
        let namespace = NAMESPACES[place.namespace as usize % NAMESPACES.len()];
        (thread.to_owned(), namespace.to_owned())
    }

    /// The id an operation is about, whether it exists or not.
    pub(super) fn id(&self, place: Place, which: Which) -> Option<String> {
        let (thread, namespace) = self.names(place);
        let life = self.model.threads.get(&thread);
        let visible = life
            .map(|life| life.visible(&namespace))
            .unwrap_or_default();
        let back = match which {
            Which::Latest => 0,
            Which::Back(back) => back as usize,
            Which::Named(n) => return Some(named(n)),
        };
        let place = back.min(visible.len().saturating_sub(1));
        visible.get(place).map(|(id, _)| (*id).to_owned())
    }

    pub(super) fn thread(&self, thread: &str, namespace: &str) -> Outcome<chunkpoint_core::Thread> {
        let thread = self.memory.thread(thread).map_err(text)?;
        thread.with_namespace(namespace).map_err(text)
    }

    pub(super) fn metadata(&self, namespace: &str, run: u8) -> JsonMap<String, Json> {
        let mut metadata = JsonMap::new();
        metadata.insert("run_id".into(), json!(format!("run {run}")));
        metadata.insert("step".into(), json!(self.step));
        if namespace != NAMESPACES[0] {
            metadata.insert(COUNTERS.into(), json!({LOG: [1, self.step]}));
        }
        metadata
    }

    async fn writes(&mut self, op: &Op) -> Outcome {
        let Op::Writes {
            place,
            of,
            task,
            path,
            writes,
        } = op
        else {
            return Ok(());
        };
        let (thread_id, namespace) = self.names(*place);
        let Some(id) = self.id(*place, *of) else {
            return Ok(());
        };
        let key = (namespace, id);
        let life = self.model.threads.get(&thread_id);
        let before = life.and_then(|life| life.writes.get(&key));
        if before.is_some_and(|writes| writes.values().any(|write| write.doubtful)) {
            // Whether these would be kept cannot be told.
            return Ok(());
        }
        let config = Config::new(&thread_id).with_ns(&key.0).with_id(&key.1);
        let (task, path) = (format!("task {task}"), format!("~{path}"));
        let writes: Vec<(String, Item)> = writes
            .iter()
            .map(|(channel, content)| {
                let channel = WRITTEN[*channel as usize % WRITTEN.len()];
                (channel.to_owned(), values::item(*content))
            })
            .collect();
        let saver = self.memory.saver();
        let put = saver.put_writes(&config, writes.clone(), &task, &path);
        put.await.map_err(text)?;
        let came_ms = self.now_ms();
        let life = self.model.life(&thread_id);
        let stored = life.writes.entry(key).or_default();
        for (position, (channel, item)) in (0..).zip(writes) {
            let special = match channel.as_str() {
                "__error__" => Some(-1),
                "__interrupt__" => Some(-3),
                "__resume__" => Some(-4),
                _ => None,
            };
            let slot = (task.clone(), special.unwrap_or(position));
            if special.is_none() && stored.contains_key(&slot) {
                continue;
            }
            let path = path.clone();
            let doubtful = false;
            stored.insert(
                slot,
                Pending {
                    path,
                    channel,
                    item,
                    came_ms,
                    doubtful,
                },
            );
        }
        Ok(())
    }

    async fn pin(&mut self, place: Place, of: Which, pinned: bool) -> Outcome {
        let (thread_id, namespace) = self.names(place);
        let Some(id) = self.id(place, of) else {
            return Ok(());
        };
        let thread = self.thread(&thread_id, &namespace)?;
        let done = match pinned {
            true => thread.pin(&id).await,
            false => thread.unpin(&id).await,
        };
        let key = (namespace, id);
        if self.model.visible(&thread_id, &key).is_none() {
            return expect(done, ErrorKind::NotFound, "pinning nothing");
        }
        done.map_err(text)?;
        if let Some(record) = self.model.life(&thread_id).records.get_mut(&key) {
            record.pinned = pinned;
        }
        Ok(())
    }

    async fn prune(&mut self, threads: u8, delete: bool) -> Outcome {
        let named = THREADS.iter().enumerate();
        let named: Vec<&str> = named
            .filter(|(n, _)| threads & (1 << n) != 0)
            .map(|(_, thread)| *thread)
            .collect();
        let strategy = match delete {
            true => PruneStrategy::Delete,
            false => PruneStrategy::KeepLatest,
        };
        let saver = self.memory.saver();
        saver.prune(&named, strategy).await.map_err(text)?;
        for thread in named {
            if delete {
                self.model.threads.remove(thread);
                continue;
            }
            let mut newest = BTreeSet::new();
            self.model
                .remove_where(thread, |ns, _, _| !newest.insert(ns.to_owned()));
        }
        Ok(())
    }

    async fn delete_runs(&mut self, run: u8) -> Outcome {
        let run = format!("run {run}");
        let saver = self.memory.saver();
        saver.delete_for_runs(&[&run]).await.map_err(text)?;
        for thread in THREADS {
            let of_run = |_: &str, _: &str, record: &Record| record.metadata["run_id"] == *run;
            self.model.remove_where(thread, of_run);
        }
        Ok(())
    }

    async fn maintain(&mut self, most: Option<u8>, age_s: Option<u8>) -> Outcome {
        let most = most.map(usize::from);
        let age = age_s.map(|seconds| Duration::from_secs(seconds.into()));
        let memory = memory(self.target(), most, age);
        memory.maintain().await.map_err(text)?;
        let now = self.now_ms();
        let grace = memory.settings().grace.as_millis() as u64;
        let oldest = age.map(|age| now.saturating_sub(age.as_millis() as u64));
        for life in self.model.threads.values_mut() {
            for namespace in life.namespaces() {
                life.trim(&namespace, most, oldest);
            }
            life.reclaim(now.saturating_sub(grace));
        }
        Ok(())
    }

    async fn copy(&mut self, from: u8, to: u8) -> Outcome {
        let [from, to] = [from, to].map(|n| THREADS[n as usize % THREADS.len()]);
        let copied = self.memory.saver().copy_thread(from, to).await;
        if self.model.threads.contains_key(to) {
            return expect(copied, ErrorKind::Conflict, "a copy onto a thread");
        }
        let Some(life) = self.model.threads.get(from).cloned() else {
            return expect(copied, ErrorKind::NotFound, "a copy of nothing");
        };
        copied.map_err(text)?;
        let number = self.model.number();
        let life = super::state::Life { number, ..life };
        self.model.threads.insert(to.to_owned(), life);
        Ok(())
    }

    async fn hold(&mut self, place: Place, of: Which) -> Outcome {
        let (thread_id, namespace) = self.names(place);
        let Some(id) = self.id(place, of) else {
            return Ok(());
        };
        // Half of them from a memory that has nothing in its cache.
        let memory = match self.rng.one_in(2) {
            true => self.memory.clone(),
            false => self.fresh_memory(),
        };
        let thread = memory.thread(&thread_id).map_err(text)?;
        let thread = thread.with_namespace(&namespace).map_err(text)?;
        let found = thread.at(&id).await.map_err(text)?;
        let key = (namespace, id);
        let record = self.model.visible(&thread_id, &key).cloned();
        match (found, record) {
            (None, None) => Ok(()),
            (Some(snapshot), Some(record)) => {
                let life = self.model.life(&thread_id).number;
                let thread = thread_id;
                self.held.push(Held {
                    snapshot,
                    thread,
                    key,
                    life,
                    record,
                });
                Ok(())
            }
            (found, _) => Err(format!("checkpoint {key:?} is there: {}", found.is_some())),
        }
    }
}

fn memory(target: &Target, max_history: Option<usize>, max_age: Option<Duration>) -> Memory {
    target.memory_with(Settings {
        max_history,
        max_age,
        // Small, so that much is read again.
        cache_bytes: 64 << 10,
        ..target.settings()
    })
}

pub(super) fn named(n: u8) -> String {
    format!("step-{n:03}")
}

pub(super) fn text(error: Error) -> String {
    format!("{error} ({:?}, {})", error.kind(), error.operation_name())
}

pub(super) fn check(holds: bool, message: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(message()) }
}

pub(super) fn expect(result: Result<(), Error>, kind: ErrorKind, what: &str) -> Outcome {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(format!("{what}: {}", text(error))),
        Ok(()) => Err(format!("{what} was let through")),
    }
}
