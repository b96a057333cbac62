//! The harness without storage.

use async_trait::async_trait;
use chunkpoint_core::store::ItemKey;

use super::{ItemAnswer, ItemOp, ItemSubject};
use crate::error::Result;
use crate::subject::noop::NoOp;
use crate::workload::Members;

#[async_trait]
impl ItemSubject for NoOp {
    async fn load(&self, _: u32, _: Vec<(ItemKey, Members)>) -> Result<()> {
        Ok(())
    }

    async fn run(&self, _: u32, _: ItemOp) -> Result<ItemAnswer> {
        Ok(ItemAnswer::Nothing)
    }

    async fn sweep(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
