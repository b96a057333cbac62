//! The long-term store, as programs use it: by patches, or by whole values that are
//! read, changed and put again.

use async_trait::async_trait;
use chunkpoint_core::store::{
    Delete, Expect, Get, ItemKey, Patch, Put, Store as Items, StoreAnswer, StoreItem, StoreOp, Ttl,
    Written,
};

use super::{Counted, ItemAnswer, ItemOp, ItemSubject};
use crate::error::{Error, Result};
use crate::measure::Io;
use crate::scenario::EngineSettings;
use crate::subject::engine::{Open, engine_settings};
use crate::subject::{Store, Variant};
use crate::workload::{Members, merge};

/// The engine on a store.
#[derive(Debug)]
pub(super) struct Engine {
    open: Open,
    items: Items,
    whole_values: bool,
}

impl Engine {
    pub(super) async fn open(
        store: &Store,
        settings: &EngineSettings,
        whole_values: bool,
    ) -> Result<Self> {
        let open = Open::on(store, engine_settings(settings, Variant::Default)).await?;
        let items = open.memory.store();
        Ok(Self {
            items: items.map_err(Error::engine("open the long-term store"))?,
            open,
            whole_values,
        })
    }

    async fn put(&self, item: ItemKey, value: Members, expect: Expect) -> Result<ItemAnswer> {
        let put = put(item, value, expect);
        let written = self.items.put_with(put).await;
        written.map(Into::into).map_err(Error::engine("put"))
    }

    async fn get(&self, item: ItemKey) -> Result<Option<StoreItem>> {
        let get = Get {
            item,
            refresh_ttl: None,
        };
        self.items.get_with(get).await.map_err(Error::engine("get"))
    }

    async fn patch(&self, item: ItemKey, patch: Members) -> Result<ItemAnswer> {
        if self.whole_values {
            let (mut value, expect) = match self.get(item.clone()).await? {
                Some(found) => (found.value, Expect::Version(found.version)),
                None => (Members::new(), Expect::Absent),
            };
            merge(&mut value, &patch);
            return self.put(item, value, expect).await;
        }
        let patch = Patch {
            item,
            patch,
            expect: Expect::Any,
        };
        let written = self.items.patch_with(patch).await;
        written.map(Into::into).map_err(Error::engine("patch"))
    }
}

fn put(item: ItemKey, value: Members, expect: Expect) -> Put {
    Put {
        item,
        value,
        ttl: Ttl::Default,
        expect,
    }
}

fn items(found: impl IntoIterator<Item = StoreItem>) -> ItemAnswer {
    let named = |item: StoreItem| {
        let StoreItem {
            namespace,
            key,
            value,
            ..
        } = item;
        (ItemKey { namespace, key }, value)
    };
    ItemAnswer::Items(found.into_iter().map(named).collect())
}

impl From<Written> for ItemAnswer {
    fn from(written: Written) -> Self {
        Self::Written {
            engine_bytes: written.bytes_written,
        }
    }
}

impl Counted for Engine {
    fn io(&self) -> Io {
        self.open.io()
    }
}

#[async_trait]
impl ItemSubject for Engine {
    async fn load(&self, _: u32, items: Vec<(ItemKey, Members)>) -> Result<()> {
        let failed = || Error::engine("put a batch");
        let ops = items
            .into_iter()
            .map(|(item, value)| StoreOp::Put(put(item, value, Expect::Any)));
        for answer in self.items.batch(ops.collect()).await.map_err(failed())? {
            let answer = answer.map_err(failed())?;
            if !matches!(answer, StoreAnswer::Written(Some(_))) {
                return Err(Error::Wrong("a put of a batch was not made".into()));
            }
        }
        Ok(())
    }

    async fn run(&self, _: u32, op: ItemOp) -> Result<ItemAnswer> {
        match op {
            ItemOp::Get(item) => self.get(item).await.map(items),
            ItemOp::Put(item, value) => self.put(item, value, Expect::Any).await,
            ItemOp::Patch(item, patch) => self.patch(item, patch).await,
            ItemOp::Delete(item) => {
                let delete = Delete {
                    item,
                    expect: Expect::Any,
                };
                let deleted = self.items.delete_with(delete).await;
                deleted.map_err(Error::engine("delete"))?;
                Ok(ItemAnswer::Written { engine_bytes: 0 })
            }
            ItemOp::Search(search) => {
                let found = self.items.search(search).await;
                found.map(items).map_err(Error::engine("search"))
            }
        }
    }

    async fn sweep(&self) -> Result<()> {
        let swept = self.items.sweep().await;
        swept.map(|_| ()).map_err(Error::engine("sweep"))
    }

    async fn close(&self) -> Result<()> {
        self.open.close().await
    }
}
