//! Runs operations on a memory and on the model, and compares the two.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chunkpoint_core::backend::Fencing;
use chunkpoint_core::{
    Checkpoint, Config, Draft, Error, ErrorKind, Item, Memory, PruneStrategy, Settings, Snapshot,
    Value, Version,
};
use serde_json::{Map as JsonMap, Value as Json, json};

use super::compare;
use super::op::{CHANNELS, Content, Edit, Given, NAMESPACES, Op, Place, THREADS, WRITTEN, Which};
use super::state::{COUNTERS, Cell, Key, LOG, Model, Pending, Record};
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
    step: u64,
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

    fn now_ms(&self) -> u64 {
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

    fn names(&self, place: Place) -> (String, String) {
        let thread = THREADS[place.thread as usize % THREADS.len()];
        let namespace = NAMESPACES[place.namespace as usize % NAMESPACES.len()];
        (thread.to_owned(), namespace.to_owned())
    }

    /// The id an operation is about, whether it exists or not.
    fn id(&self, place: Place, which: Which) -> Option<String> {
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

    fn thread(&self, thread: &str, namespace: &str) -> Outcome<chunkpoint_core::Thread> {
        let thread = self.memory.thread(thread).map_err(text)?;
        thread.with_namespace(namespace).map_err(text)
    }

    fn metadata(&self, namespace: &str, run: u8) -> JsonMap<String, Json> {
        let mut metadata = JsonMap::new();
        metadata.insert("run_id".into(), json!(format!("run {run}")));
        metadata.insert("step".into(), json!(self.step));
        if namespace != NAMESPACES[0] {
            metadata.insert(COUNTERS.into(), json!({LOG: [1, self.step]}));
        }
        metadata
    }

    async fn draft(&mut self, op: &Op) -> Outcome {
        let Op::Draft {
            place,
            on,
            edits,
            id,
            run,
            fenced,
        } = op
        else {
            return Ok(());
        };
        let (thread_id, namespace) = self.names(*place);
        let thread = self.thread(&thread_id, &namespace)?;
        let latest = self.model.latest(&thread_id, &namespace);
        let parent = self.id(*place, *on);
        let made = match (&parent, on) {
            (None, _) | (_, Which::Latest) => thread.draft().await,
            (Some(id), _) => thread.fork(id).await,
        };
        let key = |id: &str| (namespace.clone(), id.to_owned());
        let base = match &parent {
            Some(id) => self.model.visible(&thread_id, &key(id)).cloned(),
            None => None,
        };
        if parent.is_some() && base.is_none() {
            return expect(made.map(|_| ()), ErrorKind::ParentGone, "a fork of nothing");
        }
        let mut draft = made.map_err(text)?;
        if let Some((latest, _)) = &latest {
            check(draft.id() > latest.as_str(), || {
                format!("the id made, {}, is not above {latest}", draft.id())
            })?;
        }
        if let Some(n) = id {
            draft.set_id(&named(*n)).map_err(text)?;
        }
        let fenced = *fenced && self.target().capabilities().fencing == Fencing::Full;
        if fenced {
            draft.expect_latest();
        }
        let (metadata, time_ms) = (self.metadata(&namespace, *run), self.now_ms());
        draft.metadata(metadata.clone());
        let mut record = Record {
            parent: parent.clone(),
            time_ms,
            metadata,
            seen: base
                .as_ref()
                .map(|base| base.seen.clone())
                .unwrap_or_default(),
            cells: base.map(|base| base.cells).unwrap_or_default(),
            ..Record::default()
        };
        edit(&mut draft, &mut record.cells, edits)?;
        self.log(&namespace, &mut draft, &mut record)?;
        let key = key(draft.id());
        let committed = thread.commit(draft).await;
        if fenced && parent != latest.map(|(id, _)| id) {
            return expect(
                committed.map(|_| ()),
                ErrorKind::Conflict,
                "a stale expectation",
            );
        }
        let snapshot = committed.map_err(text)?;
        self.model.commit(&thread_id, &key, record);
        self.committed(snapshot, thread_id, key).await
    }

    /// In a delta namespace, a draft drops the channel's value or stores a
    /// snapshot of it.
    fn log(&mut self, namespace: &str, draft: &mut Draft, record: &mut Record) -> Outcome {
        if namespace == NAMESPACES[0] {
            return Ok(());
        }
        if self.rng.one_in(6) {
            let value = values::snapshot(Content {
                seed: self.rng.next_u64(),
                items: 1,
            });
            draft.set(LOG, value.clone()).map_err(text)?;
            let cell = Cell {
                version: None,
                value: Some(value),
            };
            record.cells.insert(LOG.into(), cell);
        } else {
            draft.remove(LOG).map_err(text)?;
            record.cells.remove(LOG);
        }
        Ok(())
    }

    /// What a commit gives must already be what it will read as.
    async fn committed(&mut self, snapshot: Snapshot, thread: String, key: Key) -> Outcome {
        if let Some(record) = self.model.record(&thread, &key).cloned() {
            let found = snapshot.load().await.map_err(text)?;
            check(found == record.values(), || {
                format!("{snapshot:?} is not as committed")
            })?;
            if self.rng.one_in(4) {
                let life = self.model.life(&thread).number;
                self.held.push(Held {
                    snapshot,
                    thread,
                    key,
                    life,
                    record,
                });
            }
        }
        Ok(())
    }

    async fn late(&mut self, held: u8, edits: &[(u8, Edit)]) -> Outcome {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = &self.held[held as usize % self.held.len()];
        let (thread_id, parent) = (held.thread.clone(), held.key.clone());
        let mut draft = held.snapshot.draft().map_err(text)?;
        let thread = held.snapshot.thread().clone();
        let life = self.model.threads.get(&thread_id).map(|life| life.number);
        let base = self.model.record(&thread_id, &parent);
        if base.is_some_and(|base| base.hidden) {
            return Ok(());
        }
        let current =
            base.is_some_and(|base| base.commit == held.record.commit) && life == Some(held.life);
        let metadata = self.metadata(&parent.0, 9);
        draft.metadata(metadata.clone());
        let mut record = Record {
            parent: Some(parent.1.clone()),
            time_ms: self.now_ms(),
            metadata,
            seen: held.record.seen.clone(),
            cells: held.record.cells.clone(),
            ..Record::default()
        };
        edit(&mut draft, &mut record.cells, edits)?;
        self.log(&parent.0, &mut draft, &mut record)?;
        let key = (parent.0.clone(), draft.id().to_owned());
        let committed = thread.commit(draft).await;
        if current {
            let snapshot = committed.map_err(text)?;
            self.model.commit(&thread_id, &key, record);
            return self.committed(snapshot, thread_id, key).await;
        }
        match committed {
            Err(error) if error.kind() == ErrorKind::ParentGone => Ok(()),
            // What the edit must read of the parent may have gone already.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(text(error)),
            Ok(_) => Err("a commit on a parent that has gone was let through".into()),
        }
    }

    async fn put(
        &mut self,
        place: Place,
        parent: Option<Which>,
        id: u8,
        given: &[(u8, Given)],
        run: u8,
    ) -> Outcome {
        let (thread_id, namespace) = self.names(place);
        let parent = parent.and_then(|which| self.id(place, which));
        let key = (namespace.clone(), named(id));
        let base = parent.as_ref().and_then(|id| {
            self.model
                .visible(&thread_id, &(namespace.clone(), id.clone()))
                .cloned()
        });
        let old = base.clone().unwrap_or_default().cells;
        let mut checkpoint = Checkpoint {
            v: 1,
            id: key.1.clone(),
            ts: format!("step {}", self.step),
            updated_channels: self.rng.one_in(2).then(|| vec![CHANNELS[0].to_owned()]),
            ..Checkpoint::default()
        };
        let mut new = BTreeMap::new();
        for (channel, given) in self.channels(&namespace, &old, given) {
            let version = |n: u8| Version::Int(n.into());
            let (version, value) = match given {
                Given::Dropped => continue,
                Given::New(content, n) => (version(n), Some(values::any(content))),
                Given::Grown(content, n) => (version(n), Some(grown(&old, &channel, content))),
                Given::Empty(n) => (version(n), None),
                Given::Kept => match old.get(&channel).and_then(|cell| cell.version.clone()) {
                    Some(version) => {
                        checkpoint.channel_versions.insert(channel, version);
                        continue;
                    }
                    None => continue,
                },
                Given::Carried(n) => {
                    checkpoint.channel_versions.insert(channel, version(n));
                    continue;
                }
            };
            checkpoint
                .channel_versions
                .insert(channel.clone(), version.clone());
            new.insert(channel.clone(), version);
            if let Some(value) = value {
                checkpoint.channel_values.insert(channel, value);
            }
        }
        let seen = checkpoint.channel_versions.clone();
        checkpoint
            .versions_seen
            .insert(format!("node {}", self.step % 3), seen);
        let borrows = checkpoint
            .channel_versions
            .keys()
            .any(|name| !new.contains_key(name));
        let mut config = Config::new(&thread_id).with_ns(&namespace);
        config.checkpoint_id.clone_from(&parent);
        let metadata = self.metadata(&namespace, run);
        let record = self.put_record(&thread_id, &namespace, &checkpoint, &new, &old);
        let record = Record {
            parent: parent.clone(),
            time_ms: self.now_ms(),
            metadata: metadata.clone(),
            ..record
        };
        let put = self
            .memory
            .saver()
            .put(&config, checkpoint, metadata, &new)
            .await;
        if borrows && parent.is_some() && base.is_none() {
            let what = "borrowing from a parent that is not there";
            return expect(put.map(|_| ()), ErrorKind::ParentGone, what);
        }
        put.map_err(text)?;
        self.model.commit(&thread_id, &key, record);
        Ok(())
    }

    /// What a put is given for each channel; the delta channel is mostly empty.
    fn channels(
        &mut self,
        namespace: &str,
        old: &BTreeMap<String, Cell>,
        given: &[(u8, Given)],
    ) -> BTreeMap<String, Given> {
        // What is not named otherwise is carried on, as callers do.
        let kept = old.keys().filter(|name| *name != LOG);
        let mut all: BTreeMap<_, _> = kept.map(|name| (name.clone(), Given::Kept)).collect();
        for (channel, given) in given {
            let name = CHANNELS[*channel as usize % CHANNELS.len()];
            all.insert(name.to_owned(), *given);
        }
        if namespace != NAMESPACES[0] && self.rng.one_in(2) {
            all.insert(LOG.to_owned(), Given::Empty((self.step % 200) as u8));
        }
        all
    }

    /// The record a put makes: what is new is taken, the rest borrowed.
    fn put_record(
        &mut self,
        thread: &str,
        namespace: &str,
        checkpoint: &Checkpoint,
        new: &BTreeMap<String, Version>,
        parent: &BTreeMap<String, Cell>,
    ) -> Record {
        let life = self.model.threads.get(thread);
        let visible = life.map(|life| life.visible(namespace)).unwrap_or_default();
        let cells = checkpoint.channel_versions.iter().map(|(name, version)| {
            let has = |cell: &&Cell| cell.version.as_ref() == Some(version);
            let value = if new.contains_key(name) {
                checkpoint.channel_values.get(name).cloned()
            } else if let Some(cell) = parent.get(name).filter(has) {
                cell.value.clone()
            } else {
                let mut newest = visible
                    .iter()
                    .filter_map(|(_, record)| record.cells.get(name));
                newest.find(has).and_then(|cell| cell.value.clone())
            };
            let version = Some(version.clone());
            (name.clone(), Cell { version, value })
        });
        Record {
            v: checkpoint.v,
            ts: checkpoint.ts.clone(),
            updated: checkpoint.updated_channels.clone(),
            seen: checkpoint.versions_seen.clone(),
            cells: cells.collect(),
            ..Record::default()
        }
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

/// Applies edits to a draft and to plain values; what the draft must refuse,
/// it must refuse.
fn edit(draft: &mut Draft, cells: &mut BTreeMap<String, Cell>, edits: &[(u8, Edit)]) -> Outcome {
    for (channel, edit) in edits {
        let name = CHANNELS[*channel as usize % CHANNELS.len()];
        let old = cells.get(name).and_then(|cell| cell.value.clone());
        let mut set = |value: Value| {
            draft.set(name, value.clone()).map_err(text)?;
            Ok::<_, String>(value)
        };
        let value = match *edit {
            Edit::Item(content) => set(Value::Item(values::item(content)))?,
            Edit::List(content) => set(Value::List(values::list(content)))?,
            Edit::Map(content) => set(Value::Map(values::map(content)))?,
            Edit::Remove => {
                draft.remove(name).map_err(text)?;
                cells.remove(name);
                continue;
            }
            Edit::Append(new) | Edit::Splice { new, .. } => {
                let mut list = match old {
                    None => Vec::new(),
                    Some(Value::List(list)) => list,
                    Some(_) => {
                        let refused = draft.append(name, []).map(|_| ());
                        expect(refused, ErrorKind::InvalidInput, "an append to no list")?;
                        continue;
                    }
                };
                let new = values::list(new);
                if let Edit::Splice { start, gone, .. } = *edit {
                    let start = start as usize % (list.len() + 1);
                    let end = (start + gone as usize).min(list.len());
                    let range = start as u64..end as u64;
                    draft.splice(name, range, new.clone()).map_err(text)?;
                    list.splice(start..end, new);
                } else {
                    draft.append(name, new.clone()).map_err(text)?;
                    list.extend(new);
                }
                Value::List(list)
            }
        };
        let cell = Cell {
            version: None,
            value: Some(value),
        };
        cells.insert(name.to_owned(), cell);
    }
    Ok(())
}

/// The parent's list with more behind it, or a new one.
fn grown(old: &BTreeMap<String, Cell>, channel: &str, content: Content) -> Value {
    let mut list = match old.get(channel).and_then(|cell| cell.value.clone()) {
        Some(Value::List(list)) => list,
        _ => Vec::new(),
    };
    list.extend(values::list(content));
    Value::List(list)
}

fn named(n: u8) -> String {
    format!("step-{n:03}")
}

pub(super) fn text(error: Error) -> String {
    format!("{error} ({:?}, {})", error.kind(), error.operation_name())
}

pub(super) fn check(holds: bool, message: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(message()) }
}

fn expect(result: Result<(), Error>, kind: ErrorKind, what: &str) -> Outcome {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(format!("{what}: {}", text(error))),
        Ok(()) => Err(format!("{what} was let through")),
    }
}
