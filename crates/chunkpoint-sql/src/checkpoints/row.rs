//! The columns of a record, and the record of a row of them.

use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{
    Detail, Incarnation, PackId, RecordIndex, RecordKey, RecordRef, RecordRow,
};

use super::writes::Slots;
use crate::dialect::Dialect;
use crate::names::Key;
use crate::value::Row;

/// The columns of a record in full, of `{checkpoints} c`; the `n`th of them is read by
/// [`record`] as column `first + n`.
pub(crate) fn columns(dialect: Dialect, detail: Detail) -> String {
    let body = if detail >= Detail::Bodies {
        "c.body"
    } else {
        dialect.no_bytes()
    };
    let writes = if detail >= Detail::Writes {
        dialect.writes()
    } else {
        dialect.no_writes()
    };
    format!(
        "(SELECT i.incarnation FROM {{threads}} i WHERE i.life = c.life) AS incarnation, \
         c.pack, c.namespace, c.namespace_rest, c.id, c.hidden, c.pinned, c.parent_id, \
         c.time_ms, c.run_id, c.delta, c.pack_bytes, {body} AS body, {writes} AS writes"
    )
}

impl Dialect {
    /// The calls of writes for `c`, in their order; see [`Row::blobs`].
    fn writes(self) -> &'static str {
        self.pick(
            "(SELECT group_concat(o.hex, ',') FROM (SELECT hex(w.writes) AS hex \
             FROM {writes} w WHERE w.life = c.life AND w.namespace = c.namespace \
             AND w.namespace_hash = c.namespace_hash AND w.id = c.id ORDER BY w.seq) o)",
            "ARRAY(SELECT w.writes FROM {writes} w WHERE w.life = c.life \
             AND w.namespace = c.namespace AND w.namespace_hash = c.namespace_hash \
             AND w.id = c.id ORDER BY w.seq)",
            "(SELECT GROUP_CONCAT(HEX(w.writes) ORDER BY w.seq) FROM {writes} w \
             WHERE w.life = c.life AND w.namespace = c.namespace \
             AND w.namespace_hash = c.namespace_hash AND w.id = c.id)",
        )
    }

    fn no_writes(self) -> &'static str {
        self.pick("NULL", "NULL::bytea[]", "NULL")
    }

    fn no_bytes(self) -> &'static str {
        self.pick("NULL", "NULL::bytea", "NULL")
    }
}

/// Reads the columns above, the first of which is column `first`.
pub(crate) fn record(row: &Row, first: usize) -> Result<RecordRow> {
    let opt_arc = |column: usize| Ok(row.opt_text(first + column)?.map(Arc::from));
    let calls = row.blobs(first + 13)?.into_iter().map(|call| ((), call));
    let writes = Slots::of(calls)?.into_writes();
    Ok(RecordRow {
        incarnation: Incarnation(row.id8(first)?),
        record: RecordRef {
            pack: PackId(row.id8(first + 1)?),
            key: RecordKey {
                namespace: Key::join(row.text(first + 2)?, &row.text(first + 3)?),
                id: row.text(first + 4)?.into(),
            },
        },
        locator: 0,
        hidden: row.bool(first + 5)?,
        pinned: row.bool(first + 6)?,
        index: RecordIndex {
            parent: opt_arc(7)?,
            time_ms: row.unsigned(first + 8)?,
            run_id: opt_arc(9)?,
            delta: row.bool(first + 10)?,
            pack_bytes: row.unsigned(first + 11)?,
        },
        body: row.opt_bytes(first + 12)?.unwrap_or_else(Bytes::new),
        writes: writes.map(|(_, write)| write).collect(),
    })
}
