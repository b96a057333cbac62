//! Bare storage moving the bytes that an engine moves.
//!
//! A commit is one append of exactly as many bytes as the engine beside it wrote
//! for that step, made durable as it was; a read takes as many bytes in as many
//! calls. As in any asynchronous program, an operation on files is one blocking
//! task of the runtime. What its system calls alone took, without the hand-over to
//! another thread, is told beside it: no asynchronous program can do with less.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::bare::{Bare, Idle};
use super::{Answer, Change, Counted, Session, Store, Subject};
use crate::error::{Error, Result};
use crate::measure::Io;
use crate::workload::Conversation;

/// The floor.
#[derive(Debug)]
pub(super) struct Floor {
    bare: Arc<Bare>,
}

impl Floor {
    pub(super) fn open(store: &Store) -> Result<Self> {
        let bare = Bare::open(store)?;
        Ok(Self { bare })
    }
}

impl Counted for Floor {
    fn io(&self) -> Io {
        self.bare.io()
    }
}

#[async_trait]
impl Subject for Floor {
    fn session(&self, number: u32, _: &Arc<Conversation>) -> Result<Box<dyn Session>> {
        Ok(Box::new(Thread {
            number,
            idle: Idle::new(&self.bare, u64::from(number)),
            puts: 0,
        }))
    }

    async fn maintain(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

struct Thread {
    number: u32,
    idle: Idle,
    puts: usize,
}

impl Thread {
    async fn repeat(&self) -> Result<Option<Answer>> {
        let number = self.number;
        let (read, expected) = self.idle.run(move |hand| hand.repeat(number)).await?;
        Ok(Some(Answer::Opaque { read, expected }))
    }
}

#[async_trait]
impl Session for Thread {
    fn follow(&mut self, moved: Io) {
        self.idle.follow(moved);
    }

    fn bare(&self) -> Option<Duration> {
        self.idle.bare()
    }

    async fn put(&mut self, _: Change) -> Result<String> {
        let number = self.number;
        let append = self
            .idle
            .run(move |hand| hand.append(number, hand.moved.bytes_written as usize));
        append.await?;
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
