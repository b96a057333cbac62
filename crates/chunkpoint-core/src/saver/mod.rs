//! The LangGraph checkpointer contract, under its own names.
//!
//! Where the published savers differ from each other, [`Saver`] follows what
//! `docs/design.md` lists. Values come as the binding's serializer made them,
//! a type tag and bytes; they go in whole, and the engine finds what changed.

mod delta;
mod manage;
mod put;
mod read;
mod types;

use std::sync::Arc;

pub use types::{
    Checkpoint, CheckpointTuple, Config, DeltaChannelHistory, ListQuery, PruneStrategy, Write,
};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::thread::Thread;
use crate::types::{check_checkpoint_id, check_id};

/// The contract over a [`Memory`](crate::Memory)'s checkpoints. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Saver {
    pub(crate) engine: Arc<Engine>,
}

impl Saver {
    fn thread(&self, config: &Config) -> Result<Thread> {
        check_id("thread_id", &config.thread_id, false)?;
        check_id("checkpoint_ns", &config.checkpoint_ns, true)?;
        if let Some(id) = &config.checkpoint_id {
            check_checkpoint_id(id)?;
        }
        Ok(Thread::new(
            self.engine.clone(),
            config.thread_id.as_str().into(),
            config.checkpoint_ns.as_str().into(),
        ))
    }
}

fn required_id(config: &Config) -> Result<&str> {
    config.checkpoint_id.as_deref().ok_or_else(|| {
        Error::invalid("the config has no checkpoint_id; name the checkpoint it is for")
    })
}
