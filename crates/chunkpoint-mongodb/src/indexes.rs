//! The indexes of our collections.

use std::time::Duration;

use chunkpoint_core::{Error, ErrorKind, Result};
use futures::TryStreamExt;
use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;

use crate::db::{Db, Documents};
use crate::error::Doing;

/// How long the trace of a deleted thread is kept after its documents went.
const TRACE: Duration = Duration::from_secs(24 * 60 * 60);

impl Db {
    /// Makes what is missing, and looks whether all is as it has to be.
    ///
    /// # Errors
    /// `Unavailable` if there is an index of one of our names that is not like ours.
    pub(crate) async fn make_indexes(&self) -> Result<()> {
        let sparse = || IndexOptions::builder().sparse(true).build();
        let unique = || IndexOptions::builder().sparse(true).unique(true).build();
        let plain = || IndexOptions::builder().build();
        let expiring = || IndexOptions::builder().expire_after(TRACE).build();
        let wanted = [
            (&self.threads, doc! { "swept": 1 }, expiring()),
            (&self.records, doc! { "thread": 1 }, plain()),
            (&self.parts, doc! { "thread": 1 }, plain()),
            (&self.records, doc! { "pack": 1 }, plain()),
            (&self.records, doc! { "from": 1 }, sparse()),
            (&self.records, doc! { "condemned": 1 }, sparse()),
            (&self.records, doc! { "fence": 1 }, unique()),
            (&self.writes, doc! { "of": 1, "number": 1 }, plain()),
            (&self.items, doc! { "expires_ms": 1 }, sparse()),
            (&self.items, doc! { "due": 1 }, sparse()),
            (&self.packs, doc! { "due": 1 }, sparse()),
        ];
        for (of, keys, options) in wanted {
            self.make_index(of, keys, options).await?;
        }
        Ok(())
    }

    async fn make_index(
        &self,
        of: &Documents,
        keys: Document,
        options: IndexOptions,
    ) -> Result<()> {
        let unique = options.unique == Some(true);
        let index = IndexModel::builder()
            .keys(keys.clone())
            .options(options)
            .build();
        let made = self.run(Doing::Changing, of.create_index(index)).await;
        if let Err(error) = made {
            // Of another kind, under the same name.
            let context = format!("index {keys} of collection {}", of.name());
            return Err(error.context(context));
        }
        let list = async { of.list_indexes().await?.try_collect::<Vec<_>>().await };
        let there = self.run(Doing::Reading, list).await?;
        let right = there.iter().any(|index| {
            let is_unique = index.options.as_ref().and_then(|options| options.unique);
            index.keys == keys && is_unique.unwrap_or(false) == unique
        });
        if !right {
            let message = format!(
                "collection {} has no index {keys} after it was made",
                of.name()
            );
            return Err(Error::new(ErrorKind::Unavailable, message).retryable(false));
        }
        Ok(())
    }
}
