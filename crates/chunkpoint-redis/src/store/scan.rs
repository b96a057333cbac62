//! Scans and listings of namespaces.
//!
//! Both walk the index of namespaces in its order. A few namespaces ahead are asked at once,
//! so that many small ones do not take a round trip each.

use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::store_backend::{ItemKey, ItemRow, ListNamespaces, Namespace, ScanItems};
use chunkpoint_core::{Error, Result};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::row::read;
use crate::backend::Inner;
use crate::error::Doing;
use crate::index::{Index, Walk};
use crate::reply::{array, bytes, fixed, int, text};
use crate::script::{Call, LIVING, SCAN};

/// Rows, and about so many bytes of them, read at once.
const PAGE: usize = 256;
const BYTES: u64 = 256 << 10;

/// Namespaces that are asked at once.
const AHEAD: usize = 16;

/// The namespaces below a prefix, as the index names them: each once, those without items too.
fn named(
    inner: Arc<Inner>,
    prefix: &Namespace,
    from: Vec<u8>,
) -> BoxStream<'static, Result<Namespace>> {
    let mut to = prefix.to_bytes();
    match to.last_mut() {
        Some(nul) => *nul += 1,
        None => to.push(0xff),
    }
    let walk = Walk::new(Index::Namespaces, from, to, PAGE);
    let pages = stream::try_unfold((walk, None), move |(mut walk, mut last)| {
        let inner = inner.clone();
        async move {
            let some = walk.next(&inner, AHEAD).await?;
            if some.is_empty() {
                return Ok(None);
            }
            let mut fresh = Vec::new();
            for (name, _) in some {
                if last.as_ref() != Some(&name) {
                    fresh.push(Namespace::from_bytes(&name));
                    last = Some(name);
                }
            }
            Ok::<_, Error>(Some((stream::iter(fresh), (walk, last))))
        }
    });
    pages.try_flatten().boxed()
}

/// A page of one namespace, and where its next begins.
struct Page {
    rows: Vec<ItemRow>,
    next: Option<Vec<u8>>,
}

impl Inner {
    async fn page(&self, namespace: &Namespace, from: &[u8], limit: usize) -> Result<Page> {
        let space = self.names.space(namespace);
        let mut call = Call::new(&SCAN, space.keys);
        call.arg(Bytes::copy_from_slice(from))
            .number(limit as u64)
            .number(BYTES);
        let answer = self.run(Doing::Reading, space.lane, &call).await?;
        let [found, more] = fixed(answer)?;
        let mut found = array(found)?.into_iter();
        let (mut rows, mut next) = (Vec::new(), None);
        while let (Some(key), Some(row)) = (found.next(), found.next()) {
            let key = bytes(key)?;
            next = Some([b"(", &key[..]].concat());
            let key = ItemKey {
                namespace: namespace.clone(),
                key: text(&key)?,
            };
            rows.extend(read(key, bytes(row)?)?);
        }
        if int(&more)? == 0 {
            next = None;
        }
        Ok(Page { rows, next })
    }

    pub(super) fn scan(self: Arc<Self>, query: &ScanItems) -> BoxStream<'static, Result<ItemRow>> {
        let prefix = query.prefix.to_bytes();
        let after = query.after.clone();
        let from = match &after {
            // Its own namespace again: the rest of it.
            Some(after) if after.namespace >= query.prefix => after.namespace.to_bytes(),
            _ => prefix,
        };
        let limit = query.likely.unwrap_or(PAGE).clamp(1, PAGE);
        let ahead = limit.div_ceil(4).min(AHEAD);
        let inner = self.clone();
        let first = named(self.clone(), &query.prefix, from).map(move |namespace| {
            let (inner, after) = (inner.clone(), after.clone());
            async move {
                let namespace = namespace?;
                let from = match after {
                    Some(after) if after.namespace == namespace => {
                        [b"(", after.key.as_bytes()].concat()
                    }
                    _ => b"-".to_vec(),
                };
                let page = inner.page(&namespace, &from, limit).await?;
                Ok::<_, Error>((namespace, page))
            }
        });
        let rows = first.buffered(ahead).and_then(move |(namespace, page)| {
            let inner = self.clone();
            let pages = stream::try_unfold(Some(page), move |page| {
                let (inner, namespace) = (inner.clone(), namespace.clone());
                async move {
                    let Some(page) = page else { return Ok(None) };
                    let rows = stream::iter(page.rows.into_iter().map(Ok));
                    let next = match page.next {
                        Some(from) => Some(inner.page(&namespace, &from, PAGE).await?),
                        None => None,
                    };
                    Ok::<_, Error>(Some((rows, next)))
                }
            });
            async move { Ok(pages.try_flatten()) }
        });
        rows.try_flatten().boxed()
    }

    pub(super) fn namespaces(
        self: Arc<Self>,
        query: &ListNamespaces,
    ) -> BoxStream<'static, Result<Namespace>> {
        let prefix = query.prefix.to_bytes();
        let from = match &query.after {
            Some(after) if *after >= query.prefix => Walk::behind(&after.to_bytes()),
            _ => prefix,
        };
        let now_ms = query.now_ms;
        let looked = named(self.clone(), &query.prefix, from).map(move |namespace| {
            let inner = self.clone();
            async move {
                let namespace = namespace?;
                let space = inner.names.space(&namespace);
                let mut call = Call::new(&LIVING, space.keys);
                call.number(now_ms);
                let answer = inner.run(Doing::Reading, space.lane, &call).await?;
                let [_, living] = fixed(answer)?;
                Ok::<_, Error>((int(&living)? > 0).then_some(namespace))
            }
        });
        let listed = looked.buffered(AHEAD);
        listed
            .try_filter_map(async |namespace| Ok(namespace))
            .boxed()
    }
}
