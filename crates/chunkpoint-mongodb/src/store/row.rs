//! The document of an item.

use chunkpoint_core::Result;
use chunkpoint_core::backend::PackId;
use chunkpoint_core::store_backend::{ItemKey, ItemRow, Namespace};
use mongodb::bson::{Bson, Document, RawBsonRef, RawDocumentBuf, doc};

use crate::doc::{Doc, binary};

/// What stands between a namespace and a key: no label begins with it, so that items come
/// before those of the namespaces below.
const BETWEEN: char = '\0';

/// The key of an item's document. They order as items do.
pub(super) fn id_of(key: &ItemKey) -> String {
    format!("{}{BETWEEN}{}", labels(&key.namespace), key.key)
}

/// The labels of a namespace, a NUL after each.
pub(super) fn labels(namespace: &Namespace) -> String {
    let labels = namespace.labels().iter();
    labels.map(|label| format!("{label}\0")).collect()
}

/// Takes [`id_of`] apart.
pub(super) fn key_of(doc: &Doc) -> Result<ItemKey> {
    let id = doc.text("_id")?;
    // Labels and keys have no NUL, and no label is empty: the first two in a row.
    let (labels, key) = id.split_once("\0\0").ok_or_else(|| doc.foreign("_id"))?;
    Ok(ItemKey {
        namespace: Namespace::new(labels.split('\0'))?,
        key: key.into(),
    })
}

/// A pack as one attempt to put it wrote it.
///
/// What a sweep has deleted, or is about to, is not to be listed by a put that was slow. So each
/// attempt writes a copy under a name that nobody had before, and no copy is ever brought in
/// twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PackCopy {
    pub(super) pack: PackId,
    pub(super) copy: [u8; 8],
}

impl PackCopy {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        [self.pack.0, self.copy].concat()
    }

    pub(super) fn to_bson(self) -> Bson {
        binary(&self.to_bytes())
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let (pack, copy) = bytes.split_first_chunk()?;
        Some(Self {
            pack: PackId(*pack),
            copy: copy.try_into().ok()?,
        })
    }

    /// The copy that a document names.
    pub(super) fn read(doc: &Doc) -> Result<Self> {
        Self::of(&doc.bytes("pack")?).ok_or_else(|| doc.foreign("pack"))
    }
}

/// An item's document, without its value.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) rev: u64,
    /// The last write ids, the newest first.
    pub(super) ids: Vec<PackId>,
    /// The packs that the row uses.
    pub(super) listed: Vec<PackCopy>,
    /// Packs that are not listed, any more or yet, and since when.
    pub(super) garbage: Vec<(PackCopy, u64)>,
    /// When it was removed, if it was.
    pub(super) gone_ms: Option<u64>,
    /// The item, unless it was removed.
    pub(super) row: Option<ItemRow>,
}

impl Item {
    pub(super) fn read(raw: RawDocumentBuf) -> Result<Self> {
        let doc = Doc::new("items", raw);
        let gone_ms = doc.opt_number("gone_ms")?;
        let listed = doc.array("packs", |value| PackCopy::of(bytes_of(value)?))?;
        let row = match gone_ms {
            Some(_) => None,
            None => Some(ItemRow {
                key: key_of(&doc)?,
                version: PackId(
                    doc.opt_id8("version")?
                        .ok_or_else(|| doc.foreign("version"))?,
                ),
                created_ms: doc.number("created_ms")?,
                updated_ms: doc.number("updated_ms")?,
                ttl_ms: doc.opt_number("ttl_ms")?,
                expires_ms: doc.opt_number("expires_ms")?,
                packs: listed.iter().map(|copy| copy.pack).collect(),
                body: doc.opt_bytes("body")?.unwrap_or_default(),
            }),
        };
        let mut garbage = Vec::new();
        for one in doc.documents("garbage")? {
            garbage.push((PackCopy::read(&one)?, one.number("since_ms")?));
        }
        Ok(Self {
            id: doc.text("_id")?.to_owned(),
            rev: doc.number("rev")?,
            ids: doc.array("ids", |value| {
                Some(PackId(bytes_of(value)?.try_into().ok()?))
            })?,
            listed,
            garbage,
            gone_ms,
            row,
        })
    }

    /// What finds the document if nothing has changed since.
    pub(super) fn unchanged(&self) -> Document {
        doc! { "_id": &self.id, "rev": crate::doc::int(self.rev) }
    }
}

fn bytes_of(value: RawBsonRef<'_>) -> Option<&[u8]> {
    match value {
        RawBsonRef::Binary(binary) => Some(binary.bytes),
        _ => None,
    }
}

/// What is read of an item: all but what only the server looks at.
pub(super) fn fields() -> Document {
    doc! { "value": 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_as_items_do() {
        let item = |labels: &[&str], key: &str| ItemKey {
            namespace: Namespace::new(labels).unwrap(),
            key: key.into(),
        };
        let mut items = [
            item(&["a"], "z"),
            item(&["a"], "$x.y"),
            item(&["a", "b"], "a"),
            item(&["a\u{1}"], "a"),
            item(&["ab"], "a"),
            item(&["a", "\u{1}"], "a"),
        ];
        items.sort();
        let ids: Vec<_> = items.iter().map(id_of).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        for (item, id) in items.iter().zip(&ids) {
            let raw = mongodb::bson::rawdoc! { "_id": id.as_str() };
            assert_eq!(&key_of(&Doc::new("items", raw)).unwrap(), item);
        }
    }
}
