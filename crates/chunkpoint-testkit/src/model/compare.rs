//! Compares what a memory says with what the model holds.

use chunkpoint_core::{CheckpointTuple, Config, ErrorKind, Memory};
use futures::TryStreamExt;

use super::state::{Key, LOG, Record};
use super::world::{Held, Outcome, World, check, text};

/// Compares the listings, `sample` checkpoints in full, and what is held.
pub(super) async fn all(world: &mut World<'_>, sample: usize) -> Outcome {
    let listed = listings(world).await?;
    for _ in 0..sample.min(listed.len()) {
        let tuple = &listed[world.rng.below(listed.len() as u64) as usize];
        let memory = match world.rng.one_in(3) {
            true => world.fresh_memory(),
            false => world.memory.clone(),
        };
        whole(world, &memory, &tuple.config).await?;
    }
    if !world.held.is_empty() {
        let n = world.rng.below(world.held.len() as u64) as usize;
        held(world, &world.held[n]).await?;
    }
    Ok(())
}

/// Compares everything there is, read by a memory with an empty cache.
pub(super) async fn everything(world: &mut World<'_>) -> Outcome {
    let memory = world.fresh_memory();
    for tuple in listings(world).await? {
        whole(world, &memory, &tuple.config).await?;
    }
    for one in &world.held {
        held(world, one).await?;
    }
    Ok(())
}

/// Names, order, parents, metadata, pins and writes of every checkpoint.
async fn listings(world: &mut World<'_>) -> Outcome<Vec<CheckpointTuple>> {
    let tuples = world.memory.saver().list(Default::default());
    let tuples: Vec<CheckpointTuple> = tuples.try_collect().await.map_err(text)?;
    let names = tuples.iter().map(|tuple| {
        let config = tuple.config.clone();
        let id = config.checkpoint_id.unwrap_or_default();
        (config.thread_id, config.checkpoint_ns, id)
    });
    let (names, expected): (Vec<_>, _) = (names.collect(), world.model.listed());
    check(names == expected, || {
        format!("listed are {names:?}, not {expected:?}")
    })?;
    let threads = world.memory.threads("", None, 100).await.map_err(text)?;
    let expected = world.model.listed_threads();
    check(
        threads
            .iter()
            .map(|id| &**id)
            .eq(expected.iter().map(String::as_str)),
        || format!("threads are {threads:?}, not {expected:?}"),
    )?;
    for ((thread, namespace, id), tuple) in names.into_iter().zip(&tuples) {
        let key = (namespace, id);
        surroundings(world, &thread, &key, tuple)?;
    }
    Ok(tuples)
}

fn surroundings(
    world: &mut World<'_>,
    thread: &str,
    key: &Key,
    tuple: &CheckpointTuple,
) -> Outcome {
    let Some(record) = world.model.record(thread, key).cloned() else {
        return Err(format!("{key:?} is not in the model"));
    };
    let place = || format!("checkpoint {key:?} of thread {thread}");
    let parent = tuple
        .parent_config
        .as_ref()
        .and_then(|config| config.checkpoint_id.clone());
    check(parent == record.parent, || {
        format!(
            "{}: the parent is {parent:?}, not {:?}",
            place(),
            record.parent
        )
    })?;
    check(tuple.metadata == record.metadata, || {
        format!("{}: the metadata differs", place())
    })?;
    check(tuple.snapshot.is_pinned() == record.pinned, || {
        format!("{}: the pin differs", place())
    })?;
    check(tuple.snapshot.time_ms() == record.time_ms, || {
        format!("{}: the time differs", place())
    })?;
    let found: Vec<_> = tuple
        .pending_writes
        .iter()
        .map(|write| (write.task_id.to_string(), write.idx))
        .collect();
    // Whether a write that may have expired has is seen once its checkpoint is there.
    let life = world.model.life(thread);
    if let Some(writes) = life.writes.get_mut(key) {
        writes.retain(|slot, write| !write.doubtful || found.contains(slot));
        for write in writes.values_mut() {
            write.doubtful = false;
        }
    }
    let expected = life.ordered_writes(key);
    let same =
        tuple.pending_writes.len() == expected.len()
            && tuple.pending_writes.iter().zip(&expected).all(
                |(write, ((task, idx), expected))| {
                    *write.task_id == **task
                        && write.idx == *idx
                        && *write.task_path == *expected.path
                        && *write.channel == *expected.channel
                        && write.value == expected.item
                },
            );
    check(same, || {
        format!("{}: the writes are {found:?}, not {expected:?}", place())
    })
}

/// One checkpoint in full, and the history of its delta channel.
async fn whole(world: &World<'_>, memory: &Memory, config: &Config) -> Outcome {
    let saver = memory.saver();
    let id = config.checkpoint_id.clone().unwrap_or_default();
    let key = (config.checkpoint_ns.clone(), id);
    let Some(expected) = world.model.visible(&config.thread_id, &key) else {
        return Err(format!("{key:?} is not in the model"));
    };
    let place = || format!("checkpoint {key:?} of thread {}", config.thread_id);
    let tuple = saver.get_tuple(config).await.map_err(text)?;
    let Some(tuple) = tuple else {
        return Err(format!("{} is listed but not got", place()));
    };
    let found = tuple.checkpoint().await.map_err(text)?;
    let values = expected.values();
    let names: Vec<_> = values.keys().collect();
    check(found.channel_values.keys().eq(values.keys()), || {
        format!(
            "{} has {:?}, not {names:?}",
            place(),
            found.channel_values.keys()
        )
    })?;
    for (name, value) in &values {
        check(found.channel_values[name] == *value, || {
            format!("{}: {name} differs", place())
        })?;
    }
    check(found.channel_versions == expected.versions(), || {
        format!("{}: versions", place())
    })?;
    check(found.versions_seen == expected.seen, || {
        format!("{}: versions_seen", place())
    })?;
    check(found.v == expected.v && found.ts == expected.ts, || {
        format!("{}: v or ts", place())
    })?;
    check(found.updated_channels == expected.updated, || {
        format!("{}: updated", place())
    })?;
    if expected.metadata.contains_key(super::state::COUNTERS) {
        let histories = saver
            .get_delta_channel_history(config, &[LOG])
            .await
            .map_err(text)?;
        let found = &histories[LOG];
        let (writes, seed) = world.model.threads[&config.thread_id].history(&key);
        check(found.seed == seed, || {
            format!("{}: the history's seed differs", place())
        })?;
        let replayed = found.writes.iter();
        let replayed =
            replayed.map(|write| (write.task_id.to_string(), write.idx, write.value.clone()));
        check(replayed.eq(writes), || {
            format!("{}: the history's writes differ", place())
        })?;
    }
    Ok(())
}

/// What is held reads as it did, or is gone; while its checkpoint is there, it reads.
async fn held(world: &World<'_>, held: &Held) -> Outcome {
    let life = world.model.threads.get(&held.thread);
    let life = life.filter(|life| life.number == held.life);
    let record = life.and_then(|life| life.records.get(&held.key));
    // A hidden one is whole as well.
    let is_there = |record: &&Record| record.commit == held.record.commit;
    let place = || format!("{:?}", held.snapshot);
    match held.snapshot.load().await {
        Ok(found) => check(found == held.record.values(), || {
            format!("{} has changed", place())
        }),
        Err(error) if record.filter(is_there).is_none() => {
            check(error.kind() == ErrorKind::NotFound, || {
                format!("{}: {}", place(), text(error))
            })
        }
        Err(error) => Err(format!("{}: {}", place(), text(error))),
    }
}
