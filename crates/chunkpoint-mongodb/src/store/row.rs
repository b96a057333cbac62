//! The document of an item.

use chunkpoint_core::Result;
use chunkpoint_core::backend::PackId;
use chunkpoint_core::store_backend::{ItemKey, ItemRow, Namespace};
use mongodb::bson::{Document, RawBsonRef, RawDocumentBuf, doc};

use crate::doc::Doc;

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

/// An item's document, without its value.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) rev: u64,
    /// The last write ids, the newest first.
    pub(super) ids: Vec<PackId>,
    /// Packs that are not listed any more, and since when.
    pub(super) garbage: Vec<(PackId, u64)>,
    /// Packs that must not be listed any more: they were swept before they were.
    pub(super) refused: Vec<PackId>,
    /// When it was removed, if it was.
    pub(super) gone_ms: Option<u64>,
    /// The item, unless it was removed.
    pub(super) row: Option<ItemRow>,
}

impl Item {
    pub(super) fn read(raw: RawDocumentBuf) -> Result<Self> {
        let doc = Doc::new("items", raw);
        let gone_ms = doc.opt_number("gone_ms")?;
        let packs = |field: &str| doc.array(field, pack);
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
                packs: packs("packs")?,
                body: doc.opt_bytes("body")?.unwrap_or_default(),
            }),
        };
        let mut garbage = Vec::new();
        for one in doc.documents("garbage")? {
            let name = one.opt_id8("pack")?.ok_or_else(|| doc.foreign("garbage"))?;
            garbage.push((PackId(name), one.number("since_ms")?));
        }
        Ok(Self {
            id: doc.text("_id")?.to_owned(),
            rev: doc.number("rev")?,
            ids: packs("ids")?,
            garbage,
            refused: packs("refused")?,
            gone_ms,
            row,
        })
    }

    /// What finds the document if nothing has changed since.
    pub(super) fn unchanged(&self) -> Document {
        doc! { "_id": &self.id, "rev": crate::doc::int(self.rev) }
    }
}

fn pack(value: RawBsonRef<'_>) -> Option<PackId> {
    match value {
        RawBsonRef::Binary(binary) => binary.bytes.try_into().ok().map(PackId),
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
        let mut items = vec![
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
