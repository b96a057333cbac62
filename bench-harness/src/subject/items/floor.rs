//! Bare storage moving the bytes that the long-term store moves.
//!
//! A change is one append of as many bytes as the engine beside it wrote, to the
//! file of the namespace, made durable as it was; a read takes as many bytes in as
//! many calls; a patch does both, one after the other.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chunkpoint_core::store::ItemKey;

use super::{Counted, ItemAnswer, ItemOp, ItemSubject, Store};
use crate::error::Result;
use crate::measure::Io;
use crate::subject::bare::{Bare, Idle};
use crate::workload::Members;

/// The floor.
#[derive(Debug)]
pub(super) struct Floor {
    bare: Arc<Bare>,
    idle: Idle,
}

impl Floor {
    pub(super) fn open(store: &Store) -> Result<Self> {
        let bare = Bare::open(store)?;
        let idle = Idle::new(&bare, 0);
        Ok(Self { bare, idle })
    }
}

impl Counted for Floor {
    fn io(&self) -> Io {
        self.bare.io()
    }
}

#[async_trait]
impl ItemSubject for Floor {
    fn follow(&self, moved: Io) {
        self.idle.follow(moved);
    }

    fn bare(&self) -> Option<Duration> {
        self.idle.bare()
    }

    async fn load(&self, namespace: u32, _: Vec<(ItemKey, Members)>) -> Result<()> {
        let append = move |hand: &mut crate::subject::bare::Hand| {
            hand.append(namespace, hand.moved.bytes_written as usize)
        };
        self.idle.run(append).await
    }

    async fn run(&self, namespace: u32, op: ItemOp) -> Result<ItemAnswer> {
        let writes = matches!(op, ItemOp::Put(..) | ItemOp::Patch(..) | ItemOp::Delete(..));
        let (read, expected) = self
            .idle
            .run(move |hand| {
                let repeated = hand.repeat(namespace)?;
                if writes {
                    hand.append(namespace, hand.moved.bytes_written as usize)?;
                }
                Ok(repeated)
            })
            .await?;
        Ok(ItemAnswer::Opaque { read, expected })
    }

    async fn sweep(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
