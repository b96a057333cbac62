//! What a server held and did while a cell used it: memory, its append-only file, and the
//! longest command.
//!
//! Nothing of the server is changed for it. What it had before is subtracted, so the cell
//! has to be alone with the server.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Value, cmd};

use super::{Place, ask, field};
use crate::error::{Error, Result};

/// How often, and how long at most, freed memory is waited for.
const LOOKS: usize = 600;
const BETWEEN: Duration = Duration::from_millis(50);

/// Commands that only the harness sends.
const HARNESS: [&str; 9] = [
    "info", "scan", "memory", "unlink", "slowlog", "latency", "config", "client", "command",
];

/// What a server had when it was begun to be watched.
#[derive(Debug)]
pub struct Watch {
    place: Place,
    memory: u64,
    append_only: Option<AppendOnly>,
    /// The newest entry of the log of slow commands.
    slowest_id: i64,
    /// Commands by their names and the upper bounds of their durations in microseconds.
    buckets: BTreeMap<(String, u64), i64>,
}

/// The append-only file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AppendOnly {
    bytes: u64,
    /// Bytes of it when it was last written anew.
    base: u64,
}

/// What a server did since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerUse {
    /// Growth of its `used_memory`.
    pub memory_bytes: u64,
    /// Growth of its append-only file; its size, if the server wrote it anew meanwhile.
    pub append_only_bytes: Option<u64>,
    /// The longest time for which a command kept it from serving others. Exact if its log
    /// of slow commands has one, else the upper bound that its histogram gives.
    pub longest_command: Option<Duration>,
}

impl Watch {
    pub(super) async fn begin(place: &Place) -> Result<Self> {
        let mut connection = place.connection().await?;
        let (memory, append_only) = sizes(&mut connection).await?;
        let newest: Vec<Value> = ask(&mut connection, cmd("SLOWLOG").arg("GET").arg(1)).await?;
        let slowest_id = newest.iter().filter_map(slow).map(|slow| slow.id).max();
        Ok(Self {
            place: place.clone(),
            memory,
            append_only,
            slowest_id: slowest_id.unwrap_or(-1),
            buckets: buckets(&mut connection).await?,
        })
    }

    /// What has come since.
    ///
    /// # Errors
    /// What the server says.
    pub async fn look(&self) -> Result<ServerUse> {
        let mut connection = self.place.connection().await?;
        // Asked first: looking takes time as well.
        let entries: Vec<Value> = ask(&mut connection, cmd("SLOWLOG").arg("GET").arg(-1)).await?;
        let logged = entries
            .iter()
            .filter_map(slow)
            .filter(|slow| slow.id > self.slowest_id && !is_of_harness(&slow.command))
            .map(|slow| slow.micros)
            .max();
        let now = buckets(&mut connection).await?;
        let grown = now
            .iter()
            .filter(|&(bucket, &count)| count > self.buckets.get(bucket).copied().unwrap_or(0))
            .map(|((_, micros), _)| *micros)
            .max();
        let (memory, append_only) = sizes(&mut connection).await?;
        let grew = |now: AppendOnly| match self.append_only {
            Some(before) if before.base == now.base => now.bytes.saturating_sub(before.bytes),
            _ => now.bytes,
        };
        Ok(ServerUse {
            memory_bytes: memory.saturating_sub(self.memory),
            append_only_bytes: append_only.map(grew),
            longest_command: logged.or(grown).map(Duration::from_micros),
        })
    }
}

fn is_of_harness(command: &str) -> bool {
    let name = command.split('|').next().unwrap_or_default();
    HARNESS.contains(&name.to_ascii_lowercase().as_str())
}

/// Memory in use and the append-only file, once nothing is left to be freed.
async fn sizes(connection: &mut MultiplexedConnection) -> Result<(u64, Option<AppendOnly>)> {
    for _ in 0..LOOKS {
        let info: String = ask(connection, cmd("INFO").arg("everything")).await?;
        let number = |name| field(&info, name).and_then(|text| text.trim().parse::<u64>().ok());
        if number("lazyfree_pending_objects").unwrap_or(0) == 0 {
            let none = || Error::Cell("the server does not tell its used_memory".into());
            let append_only = number("aof_current_size").zip(number("aof_base_size"));
            return Ok((
                number("used_memory").ok_or_else(none)?,
                append_only.map(|(bytes, base)| AppendOnly { bytes, base }),
            ));
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Err(Error::Cell(
        "the server is not done freeing what was removed".into(),
    ))
}

/// An entry of the log of slow commands.
struct Slow {
    id: i64,
    micros: u64,
    command: String,
}

/// Reads an entry: id, time, microseconds, words, and who sent it.
fn slow(entry: &Value) -> Option<Slow> {
    let Value::Array(parts) = entry else {
        return None;
    };
    let [
        Value::Int(id),
        _,
        Value::Int(micros),
        Value::Array(words),
        ..,
    ] = &parts[..]
    else {
        return None;
    };
    Some(Slow {
        id: *id,
        micros: u64::try_from(*micros).ok()?,
        command: text(words.first()?)?,
    })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

/// How many commands of each name took at most so many microseconds, and more than the
/// bucket before has.
async fn buckets(connection: &mut MultiplexedConnection) -> Result<BTreeMap<(String, u64), i64>> {
    let histogram: Value = ask(connection, cmd("LATENCY").arg("HISTOGRAM")).await?;
    Ok(counts(&histogram))
}

/// Reads a reply of `LATENCY HISTOGRAM`: names, each with the number of its calls and what
/// its buckets have, those below included.
fn counts(histogram: &Value) -> BTreeMap<(String, u64), i64> {
    let mut counts = BTreeMap::new();
    let Value::Array(commands) = histogram else {
        return counts;
    };
    for command in commands.chunks_exact(2) {
        let (Some(name), Value::Array(parts)) = (text(&command[0]), &command[1]) else {
            continue;
        };
        let Some(Value::Array(buckets)) = parts.get(3) else {
            continue;
        };
        if is_of_harness(&name) {
            continue;
        }
        let mut below = 0;
        for bucket in buckets.chunks_exact(2) {
            if let [Value::Int(micros), Value::Int(count)] = bucket {
                let micros = u64::try_from(*micros).unwrap_or(u64::MAX);
                counts.insert((name.clone(), micros), count - below);
                below = *count;
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn histograms_are_read() {
        let of = |buckets: &[i64]| {
            Value::Array(vec![
                bulk("calls"),
                Value::Int(9),
                bulk("histogram_usec"),
                Value::Array(buckets.iter().map(|&n| Value::Int(n)).collect()),
            ])
        };
        let reply = Value::Array(vec![
            bulk("evalsha"),
            of(&[33, 5, 132, 8, 1056, 9]),
            bulk("slowlog|get"),
            of(&[4, 1]),
        ]);
        let counts = counts(&reply);
        let found: Vec<_> = counts
            .iter()
            .map(|((name, micros), count)| (&name[..], *micros, *count))
            .collect();
        assert_eq!(
            found,
            [
                ("evalsha", 33, 5),
                ("evalsha", 132, 3),
                ("evalsha", 1056, 1)
            ]
        );
    }

    #[test]
    fn slow_commands_are_read() {
        let entry = Value::Array(vec![
            Value::Int(7),
            Value::Int(1_700_000_000),
            Value::Int(2_345),
            Value::Array(vec![bulk("EVALSHA"), bulk("…")]),
            bulk("127.0.0.1:1"),
            bulk(""),
        ]);
        let slow = slow(&entry).unwrap();
        assert_eq!((slow.id, slow.micros), (7, 2_345));
        assert!(!is_of_harness(&slow.command) && is_of_harness("MEMORY"));
    }
}
