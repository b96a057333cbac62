//! The columns of a record, and the record of a row of them.

use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{
    Detail, Incarnation, PackId, RecordIndex, RecordKey, RecordRef, RecordRow,
};
use chunkpoint_core::pending::Slots;

use crate::db::Db;
use crate::dialect::Dialect;
use crate::names::Key;
use crate::value::{Row, args};

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
         {REFERENCE}, {} AS locator, c.hidden, c.pinned, c.parent_id, \
         c.time_ms, c.run_id, c.delta, c.pack_bytes, {body} AS body, {writes} AS writes",
        dialect.locator()
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
            "(SELECT CASE WHEN SUM(LENGTH(w.writes)) > 4194304 THEN '-' \
             ELSE GROUP_CONCAT(HEX(w.writes) ORDER BY w.seq) END FROM {writes} w \
             WHERE w.life = c.life AND w.namespace = c.namespace \
             AND w.namespace_hash = c.namespace_hash AND w.id = c.id)",
        )
    }

    /// Where the row of a checkpoint `c` lies: the engine's *locator*. PostgreSQL has no use
    /// for one.
    pub(super) fn locator(self) -> &'static str {
        self.pick("c.seq", "0::bigint", "c.depth")
    }

    fn no_writes(self) -> &'static str {
        self.pick("NULL", "NULL::bytea[]", "NULL")
    }

    fn no_bytes(self) -> &'static str {
        self.pick("NULL", "NULL::bytea", "NULL")
    }
}

/// The columns of a name and pack, of `{checkpoints} c`; [`reference`] reads them.
pub(crate) const REFERENCE: &str = "c.pack, c.namespace, c.namespace_rest, c.id";

/// Reads the four columns above, the first of which is column `first`.
pub(crate) fn reference(row: &Row, first: usize) -> Result<RecordRef> {
    Ok(RecordRef {
        pack: PackId(row.id8(first)?),
        key: RecordKey {
            namespace: Key::join(row.text(first + 1)?, &row.text(first + 2)?),
            id: row.text(first + 3)?.into(),
        },
    })
}

/// Reads the columns above, the first of which is column `first`. Only where its writes
/// are too many for MySQL to gather, they are read by a query of their own.
pub(crate) async fn record(db: &Db, row: &Row, first: usize) -> Result<RecordRow> {
    let mut record = all_but_writes(row, first)?;
    let column = first + 14;
    let calls = if db.dialect() == Dialect::MySql && row.opt_text(column)?.as_deref() == Some("-") {
        calls(db, &record).await?
    } else {
        row.blobs(column)?
    };
    let slots = Slots::of(calls.into_iter().map(|call| ((), call)))?;
    record.writes = slots.into_writes().map(|(_, write)| write).collect();
    Ok(record)
}

/// The calls of writes for a record, in MySQL.
async fn calls(db: &Db, record: &RecordRow) -> Result<Vec<Bytes>> {
    let template = "SELECT w.writes FROM {checkpoints} c JOIN {threads} t ON t.life = c.life \
         JOIN {writes} w ON w.life = c.life AND w.namespace = c.namespace \
         AND w.namespace_hash = c.namespace_hash AND w.id = c.id \
         WHERE t.incarnation = ? AND c.depth = ? AND c.pack = ? ORDER BY w.seq";
    let args = args![
        record.incarnation.0,
        record.locator as i64,
        record.record.pack.0
    ];
    let rows = db.rows(template, args).await?;
    rows.iter().map(|row| row.bytes(0)).collect()
}

fn all_but_writes(row: &Row, first: usize) -> Result<RecordRow> {
    let opt_arc = |column: usize| Ok(row.opt_text(first + column)?.map(Arc::from));
    Ok(RecordRow {
        incarnation: Incarnation(row.id8(first)?),
        record: reference(row, first + 1)?,
        locator: row.unsigned(first + 5)?,
        hidden: row.bool(first + 6)?,
        pinned: row.bool(first + 7)?,
        index: RecordIndex {
            parent: opt_arc(8)?,
            time_ms: row.unsigned(first + 9)?,
            run_id: opt_arc(10)?,
            delta: row.bool(first + 11)?,
            pack_bytes: row.unsigned(first + 12)?,
        },
        body: row.opt_bytes(first + 13)?.unwrap_or_else(Bytes::new),
        writes: Vec::new(),
    })
}
