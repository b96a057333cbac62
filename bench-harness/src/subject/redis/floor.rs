//! What the floor does in Redis: a string for each value.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::cmd;

use super::{Keys, Place, ask};
use crate::error::{Error, Result};
use crate::subject::driver::Driver;

/// Strings, each a value.
#[derive(Debug)]
pub(in crate::subject) struct Values {
    connection: MultiplexedConnection,
    /// What the keys start with.
    prefix: String,
    /// Where the values of each thread end, ascending: their keys, and so what to ask for.
    ends: Mutex<HashMap<u32, Vec<u64>>>,
}

impl Values {
    /// Connects, and looks for the keys of the values that are there.
    pub(in crate::subject) async fn open(place: &Place) -> Result<Self> {
        let mut connection = place.connection().await?;
        let prefix = format!("{}:floor:", place.prefix);
        let mut ends: HashMap<u32, Vec<u64>> = HashMap::new();
        let mut keys = Keys::of(format!("{prefix}*"));
        while let Some(some) = keys.next(&mut connection).await? {
            for key in some {
                let (thread, end) = parse(&key, &prefix).ok_or_else(|| {
                    Error::Cell("a key of the floor has a name that it does not give".into())
                })?;
                ends.entry(thread).or_default().push(end);
            }
        }
        for ends in ends.values_mut() {
            ends.sort_unstable();
            // A scan may give a key twice.
            ends.dedup();
        }
        Ok(Self {
            connection,
            prefix,
            ends: Mutex::new(ends),
        })
    }

    fn key(&self, thread: u32, end: u64) -> String {
        format!("{}{thread}:{end}", self.prefix)
    }
}

fn parse(key: &[u8], prefix: &str) -> Option<(u32, u64)> {
    let name = std::str::from_utf8(key).ok()?.strip_prefix(prefix)?;
    let (thread, end) = name.split_once(':')?;
    Some((thread.parse().ok()?, end.parse().ok()?))
}

#[async_trait]
impl Driver for Values {
    /// `SET`.
    async fn put(&self, thread: u32, end: u64, value: &[u8]) -> Result<()> {
        let mut set = cmd("SET");
        set.arg(self.key(thread, end)).arg(value);
        ask::<()>(&mut self.connection.clone(), &set).await?;
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.entry(thread).or_default().push(end);
        Ok(())
    }

    /// `MGET`.
    async fn newest(&self, thread: u32, bytes: u64) -> Result<u64> {
        let mut get = cmd("MGET");
        {
            let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            let ends = ends.get(&thread).map(Vec::as_slice).unwrap_or_default();
            let Some(last) = ends.last() else {
                return Ok(0);
            };
            // A value begins where the one before it ends.
            let ended = |end: &u64| *end <= last.saturating_sub(bytes);
            let first = ends.partition_point(ended);
            for &end in &ends[first..] {
                get.arg(self.key(thread, end));
            }
        }
        let values: Vec<Option<Vec<u8>>> = ask(&mut self.connection.clone(), &get).await?;
        Ok(values
            .iter()
            .flatten()
            .map(|value| value.len() as u64)
            .sum())
    }

    async fn close(&self) -> Result<()> {
        // The connection goes with the last that has it.
        Ok(())
    }
}
