//! Commits, on a memory and on the model: of drafts, on parents that may have
//! gone, and of whole values.

use std::collections::BTreeMap;

use chunkpoint_core::backend::Fencing;
use chunkpoint_core::{Checkpoint, Config, Draft, ErrorKind, Snapshot, Value, Version};

use super::op::{CHANNELS, Content, Edit, Given, NAMESPACES, Op, Place, Which};
use super::state::{Cell, Key, LOG, Record};
use super::values;
use super::world::{Held, Outcome, World, check, expect, named, text};

impl World<'_> {
    pub(super) async fn draft(&mut self, op: &Op) -> Outcome {
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

    pub(super) async fn late(&mut self, held: u8, edits: &[(u8, Edit)]) -> Outcome {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = &self.held[held as usize % self.held.len()];
        let (thread_id, parent) = (held.thread.clone(), held.key.clone());
        let mut draft = held.snapshot.draft().map_err(text)?;
        let thread = held.snapshot.thread().clone();
        let life = self.model.threads.get(&thread_id).map(|life| life.number);
        // A hidden parent is whole, and can still be borrowed from; but a delta history
        // that would run through it may be refused.
        let base = self.model.record(&thread_id, &parent);
        let current =
            base.is_some_and(|base| base.commit == held.record.commit) && life == Some(held.life);
        let hidden = base.is_some_and(|base| base.hidden);
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
        if current && !(hidden && committed.is_err()) {
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

    pub(super) async fn put(
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
