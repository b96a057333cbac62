//! The floor on a server or a database: its bare driver.
//!
//! A commit is one value of exactly as many bytes as the engine beside it handed to its
//! backend for that step, stored by one call with the same durability. A read takes at
//! least as many bytes as the engine's, of the newest values, by one call: what the
//! engine needs two calls for is in the comparison.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::bare::Noise;
use super::{Answer, Change, Counted, Session, Subject};
use crate::error::{Error, Result};
use crate::measure::Io;
use crate::workload::Conversation;

/// What a driver does for the floor.
///
/// The values of a thread are named by where they end: the bytes of all values up to and
/// including them. So one call can ask for the newest values of so many bytes.
#[async_trait]
pub(super) trait Driver: fmt::Debug + Send + Sync {
    /// Stores a value of `thread` that ends at `end`, durably, by one call.
    async fn put(&self, thread: u32, end: u64, value: &[u8]) -> Result<()>;

    /// Reads the newest values of `thread` that together have at least `bytes` bytes, or
    /// all there are, by one call. Gives the bytes they have.
    async fn newest(&self, thread: u32, bytes: u64) -> Result<u64>;

    /// Lets go.
    async fn close(&self) -> Result<()>;
}

/// The floor on a driver.
#[derive(Debug)]
pub(super) struct DriverFloor {
    driver: Arc<dyn Driver>,
    io: Arc<Mutex<Io>>,
}

impl DriverFloor {
    pub(super) fn new(driver: Arc<dyn Driver>) -> Self {
        Self {
            driver,
            io: Arc::default(),
        }
    }
}

impl Counted for DriverFloor {
    fn io(&self) -> Io {
        *self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Subject for DriverFloor {
    fn session(&self, number: u32, _: &Arc<Conversation>) -> Result<Box<dyn Session>> {
        Ok(Box::new(Thread {
            driver: self.driver.clone(),
            io: self.io.clone(),
            number,
            noise: Noise::new(u64::from(number)),
            moved: Io::default(),
            puts: 0,
            end: 0,
        }))
    }

    async fn maintain(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.driver.close().await
    }
}

struct Thread {
    driver: Arc<dyn Driver>,
    io: Arc<Mutex<Io>>,
    number: u32,
    noise: Noise,
    /// What the engine moved for the operation that comes next.
    moved: Io,
    puts: usize,
    end: u64,
}

impl Thread {
    fn count(&self, moved: impl FnOnce(&mut Io)) {
        let mut io = self.io.lock().unwrap_or_else(PoisonError::into_inner);
        io.calls += 1;
        moved(&mut io);
    }

    async fn repeat(&self) -> Result<Option<Answer>> {
        let expected = self.moved.bytes_read;
        let mut left = expected;
        // The engine may know without asking that there is nothing. Once is enough unless
        // it read a value twice.
        while left > 0 && self.moved.calls > 0 {
            let read = self.driver.newest(self.number, left).await?;
            self.count(|io| {
                io.reads += 1;
                io.bytes_read += read;
            });
            if read == 0 {
                break;
            }
            left = left.saturating_sub(read);
        }
        Ok(Some(Answer::Opaque {
            read: expected - left,
            expected,
        }))
    }
}

#[async_trait]
impl Session for Thread {
    fn follow(&mut self, moved: Io) {
        self.moved = moved;
    }

    async fn put(&mut self, _: Change) -> Result<String> {
        let bytes = self.moved.bytes_written;
        let value = self.noise.bytes(bytes as usize);
        self.end += bytes;
        self.driver.put(self.number, self.end, value).await?;
        self.count(|io| {
            io.writes += 1;
            io.bytes_written += bytes;
        });
        self.puts += 1;
        Ok((self.puts - 1).to_string())
    }

    async fn latest(&mut self) -> Result<Option<Answer>> {
        self.repeat().await
    }

    async fn tail(&mut self, _: usize) -> Result<Option<Answer>> {
        self.repeat().await
    }

    async fn at(&mut self, _: &str) -> Result<Option<Answer>> {
        Err(Error::Cell("the floor keeps bytes, not states".into()))
    }

    async fn history(&mut self) -> Result<Vec<String>> {
        Err(Error::Cell("the floor keeps bytes, not states".into()))
    }
}
