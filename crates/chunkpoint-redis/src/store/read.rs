//! Rows by name, and chunks.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes};
use chunkpoint_core::backend::ChunkName;
use chunkpoint_core::store_backend::{ItemKey, ItemRow, Namespace};
use chunkpoint_core::{Error, Result};
use futures::stream::{self, StreamExt, TryStreamExt};
use redis::{Cmd, cmd};

use super::row::read;
use crate::backend::Inner;
use crate::error::Doing;
use crate::reply::{array, opt_bytes, unexpected};

/// Rows, or chunks, that are asked for at once.
const FEW: usize = 256;

/// Questions under way at once.
const AT_ONCE: usize = 16;

impl Inner {
    /// Fields of a hash, some at a time.
    async fn fields(
        &self,
        lane: u64,
        key: &Bytes,
        fields: &[Vec<u8>],
    ) -> Result<Vec<Option<Bytes>>> {
        let mut found = Vec::with_capacity(fields.len());
        for some in fields.chunks(FEW) {
            let mut get: Cmd = cmd("HMGET");
            get.arg(&key[..]);
            for field in some {
                get.arg(&field[..]);
            }
            let values = array(self.command(Doing::Reading, lane, get).await?)?;
            if values.len() != some.len() {
                return Err(unexpected());
            }
            for value in values {
                found.push(opt_bytes(value)?);
            }
        }
        Ok(found)
    }

    pub(super) async fn items(&self, keys: &[ItemKey]) -> Result<Vec<Option<ItemRow>>> {
        let mut of: BTreeMap<&Namespace, Vec<usize>> = BTreeMap::new();
        for (at, key) in keys.iter().enumerate() {
            of.entry(&key.namespace).or_default().push(at);
        }
        let mut reads = Vec::with_capacity(of.len());
        for (namespace, places) in of {
            let fields = places.iter().map(|&at| keys[at].key.as_bytes().to_vec());
            reads.push((
                self.names.space(namespace),
                fields.collect::<Vec<_>>(),
                places,
            ));
        }
        let reads = stream::iter(reads).map(|(space, fields, places)| async move {
            let rows = self.fields(space.lane, &space.keys[1], &fields).await?;
            Ok::<_, Error>((places, rows))
        });
        let reads: Vec<_> = reads.buffer_unordered(AT_ONCE).try_collect().await?;
        let mut found: Vec<Option<ItemRow>> = keys.iter().map(|_| None).collect();
        for (places, rows) in reads {
            for (at, row) in places.into_iter().zip(rows) {
                if let Some(row) = row {
                    found[at] = read(keys[at].clone(), row)?;
                }
            }
        }
        Ok(found)
    }

    pub(super) async fn item_chunks(
        &self,
        key: &ItemKey,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        let space = self.names.space(&key.namespace);
        let fields = names.iter().map(|name| {
            let mut field = vec![b'c'];
            field.put_slice(&name.pack.0);
            field.put_u32(name.ordinal);
            field.put_slice(key.key.as_bytes());
            field
        });
        let fields: Vec<_> = fields.collect();
        self.fields(space.lane, &space.keys[5], &fields).await
    }
}
