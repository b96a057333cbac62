//! What a row of the table of items has in its columns.

use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::backend::PackId;
use chunkpoint_core::store_backend::{ItemKey, ItemRow, Namespace, PutItem};
use chunkpoint_core::{Error, Result};
use serde_json::{Map, Value as Json};

use super::path::Path;
use crate::dialect::Dialect;
use crate::value::{Args, Row, Value, args};

/// The columns of a whole row, in the order of [`arguments`].
pub(super) const COLUMNS: &str = "path, path_hash, path_rest, namespace, item_key, version, \
     recent, created_ms, updated_ms, ttl_ms, expires_ms, packs, value, body";

/// The parameters of a whole row.
pub(super) fn parameters(dialect: Dialect) -> &'static str {
    dialect.pick(
        "(?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        "(?,?,?,?,?,?,?,?,?,?,?,?,?::jsonb,?)",
        // Text is sent as bytes, of which MySQL makes no JSON.
        "(?,?,?,?,?,?,?,?,?,?,?,?,CONVERT(? USING utf8mb4),?)",
    )
}

/// The columns that [`read`] takes.
pub(super) const READ: &str = "i.namespace, i.item_key, i.version, i.created_ms, i.updated_ms, \
     i.ttl_ms, i.expires_ms, i.packs, i.body";

/// A row as an item.
pub(super) fn read(row: &Row) -> Result<ItemRow> {
    let time = |column: usize| {
        let time = row.opt_int(column)?.map(u64::try_from).transpose();
        time.map_err(|e| {
            Error::corrupt(format!("column {column} of an item is negative")).source(e)
        })
    };
    Ok(ItemRow {
        key: ItemKey {
            namespace: namespace(&row.text(0)?)?,
            key: row.text(1)?.into(),
        },
        version: PackId(row.id8(2)?),
        created_ms: row.unsigned(3)?,
        updated_ms: row.unsigned(4)?,
        ttl_ms: time(5)?,
        expires_ms: time(6)?,
        packs: ids(&row.bytes(7)?)?,
        body: row.bytes(8)?,
    })
}

/// The labels of a namespace with full stops between, which no label has.
pub(super) fn namespace(text: &str) -> Result<Namespace> {
    Namespace::new(text.split('.'))
        .map_err(|e| Error::corrupt("a column that should be a namespace is not").source(e))
}

/// Ids one after the other.
pub(super) fn ids(bytes: &[u8]) -> Result<Vec<PackId>> {
    let (ids, rest) = bytes.as_chunks::<8>();
    if rest.is_empty() {
        return Ok(ids.iter().copied().map(PackId).collect());
    }
    Err(Error::corrupt("a column of ids is cut short"))
}

/// The opposite of [`ids`].
pub(super) fn joined(ids: &[PackId]) -> Bytes {
    ids.iter().flat_map(|id| id.0).collect()
}

/// What a change makes of a row.
pub(super) enum Content<'a> {
    /// What was put.
    Item(&'a PutItem),
    /// Nothing but the memory of it, since this time.
    Removed(u64),
}

/// The parameters of a whole row, as a change makes it. `recent` are the write ids that it
/// remembers, the newest first.
pub(super) fn arguments(
    key: &ItemKey,
    path: &Path,
    content: &Content<'_>,
    recent: Bytes,
    created_ms: u64,
) -> Args {
    let labels: Vec<&str> = key
        .namespace
        .labels()
        .iter()
        .map(|label| &**label)
        .collect();
    let mut args = args![
        path.head.clone(),
        path.hash.clone(),
        path.rest.clone(),
        &*labels.join("."),
        key.key.clone(),
    ];
    match content {
        Content::Item(put) => args.extend(args![
            put.row.version.0,
            recent,
            created_ms as i64,
            put.row.updated_ms as i64,
            put.row.ttl_ms.map(|ms| ms as i64),
            put.row.expires_ms.map(|ms| ms as i64),
            joined(&put.row.packs),
            native(put),
            put.row.body.clone(),
        ]),
        // Its expiry is when it was removed, so that one index finds all that is due.
        Content::Removed(now_ms) => args.extend(args![
            Value::Bytes(None),
            recent,
            0_i64,
            *now_ms as i64,
            Option::<i64>::None,
            *now_ms as i64,
            Bytes::new(),
            Option::<Arc<str>>::None,
            Value::Bytes(None),
        ]),
    }
    args
}

/// Levels of lists and objects in each other that every database's JSON takes: MariaDB
/// refuses more than 32.
const MOST_DEEP: usize = 30;

/// The value as the database's own JSON; `None` where that would be out of date, large, or
/// more than every database can hold: then it is searched for as any.
fn native(put: &PutItem) -> Option<Arc<str>> {
    /// PostgreSQL's JSON has no NUL.
    fn fits(value: &Json, left: usize) -> bool {
        match value {
            Json::String(text) => !text.contains('\0'),
            Json::Array(list) => left > 0 && list.iter().all(|value| fits(value, left - 1)),
            Json::Object(members) => left > 0 && all_fit(members, left - 1),
            Json::Null | Json::Bool(_) | Json::Number(_) => true,
        }
    }
    fn all_fit(members: &Map<String, Json>, left: usize) -> bool {
        let fits = |(name, value): (&String, &Json)| !name.contains('\0') && fits(value, left);
        members.iter().all(fits)
    }
    let value = put.value.as_ref()?;
    let wanted = put.row.packs.is_empty() && all_fit(value, MOST_DEEP);
    wanted
        .then(|| serde_json::to_string(&**value).ok())?
        .map(Arc::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chunkpoint_core::store_backend::Expect;
    use serde_json::json;

    fn put(value: Json, packs: Vec<PackId>) -> PutItem {
        PutItem {
            row: ItemRow {
                key: ItemKey {
                    namespace: Namespace::new(["a", "b"]).unwrap(),
                    key: "k".into(),
                },
                version: PackId([1; 8]),
                created_ms: 1,
                updated_ms: 1,
                ttl_ms: None,
                expires_ms: None,
                packs,
                body: Bytes::new(),
            },
            expect: Expect::Any,
            chunks: Vec::new(),
            value: value.as_object().map(|value| Arc::new(value.clone())),
        }
    }

    #[test]
    fn only_what_every_database_holds_is_kept_beside() {
        let kept = |value| native(&put(value, Vec::new()));
        assert_eq!(
            kept(json!({"a": "é\"\n"})).as_deref(),
            Some(r#"{"a":"é\"\n"}"#)
        );
        assert_eq!(kept(json!({"a": ["\0"]})), None);
        assert_eq!(kept(json!({"\0": 1})), None);
        let mut deep = json!(1);
        for _ in 0..40 {
            deep = json!([deep]);
        }
        assert_eq!(kept(json!({ "a": deep })), None);
        assert_eq!(kept(Json::Null), None);
        assert_eq!(native(&put(json!({"a": 1}), vec![PackId([2; 8])])), None);
    }

    #[test]
    fn ids_come_back() {
        let list = [PackId([1; 8]), PackId([0xff; 8])];
        assert_eq!(ids(&joined(&list)).unwrap(), list);
        assert!(ids(b"1234567").is_err());
        assert_eq!(
            namespace("a.b").unwrap(),
            Namespace::new(["a", "b"]).unwrap()
        );
        assert!(namespace("a..b").is_err());
    }
}
