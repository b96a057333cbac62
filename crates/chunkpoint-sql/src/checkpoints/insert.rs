//! The rows of a commit.

use std::sync::Arc;

use chunkpoint_core::Result;
use chunkpoint_core::backend::{Commit, PackId, RecordRef};

use super::metadata::{self, Columns};
use super::pack::{Layout, Run, lay_out};
use super::read::these;
use super::threads::Life;
use crate::db::{Statement, Tx};
use crate::dialect::Dialect;
use crate::names::Key;
use crate::value::{Args, Value, args};

/// Most rows of chunks that one statement writes, where each has its own parameters.
const RUNS: usize = 64;

/// Bytes of chunks that one statement writes, unless one row has more: together with the
/// rest they stay below the smallest `max_allowed_packet` that is accepted.
const BATCH_BYTES: usize = 512 << 10;

/// A commit, with everything worked out that does not depend on the database.
pub(super) struct Prepared<'a> {
    pub(super) commit: &'a Commit,
    pub(super) namespace: Key,
    pub(super) columns: Columns,
    pub(super) inline: Option<Run>,
    pub(super) apart: Vec<Run>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(commit: &'a Commit) -> Self {
        let (inline, apart) = match lay_out(&commit.chunks) {
            Layout::Inline(run) => (Some(run), Vec::new()),
            Layout::Apart(runs) => (None, runs),
        };
        Self {
            namespace: Key::new(&commit.key.namespace),
            columns: metadata::columns(&commit.metadata),
            inline,
            apart,
            commit,
        }
    }

    pub(super) fn chunk_count(&self) -> i64 {
        self.commit.chunks.len() as i64
    }

    pub(super) fn directory(&self) -> Value {
        Value::Bytes(self.inline.as_ref().map(|run| run.directory.clone()))
    }

    pub(super) fn chunks(&self) -> Value {
        Value::Bytes(self.inline.as_ref().map(|run| run.chunks.clone()))
    }
}

/// A record that is replaced, and what of it stays.
pub(super) struct Replaced {
    pub(super) pack: PackId,
    pub(super) parent: Option<String>,
    pub(super) pinned: bool,
}

/// Adds the rows of a commit, after condemning the record it replaces; gives its locator.
/// Only MySQL's have a `depth`.
pub(super) async fn insert(
    tx: &mut Tx,
    life: Life,
    prepared: &Prepared<'_>,
    depth: u64,
    replaced: Option<Replaced>,
) -> Result<u64> {
    let commit = prepared.commit;
    let dialect = tx.db().dialect();
    let mut parent = commit.index.parent.clone();
    let mut pinned = false;
    // What is replaced is there, so its life is known.
    if let (Some(replaced), Life::Known(life)) = (replaced, life) {
        let record = RecordRef {
            key: commit.key.clone(),
            pack: replaced.pack,
        };
        let (template, args) = condemn(dialect, commit.index.time_ms, life, &[&record]);
        tx.write(&template, args).await?;
        parent = replaced.parent.map(Into::into);
        pinned = replaced.pinned;
    }
    let (life, life_arg) = life.value();
    for runs in batches(&prepared.apart) {
        let groups = vec![format!("({life},?,?,?,?)"); runs.len()].join(",");
        let template = format!(
            "INSERT INTO {{chunks}} (life, pack, first, directory, chunks) VALUES {groups}"
        );
        let mut rows = Vec::new();
        for run in runs {
            rows.extend(life_arg.clone());
            let (directory, chunks) = (run.directory.clone(), run.chunks.clone());
            rows.extend(args![
                commit.pack.0,
                i64::from(run.first),
                directory,
                chunks
            ]);
        }
        tx.write(&template, rows).await?;
    }
    let values = column_values(dialect);
    let (depth_column, depth_value) = dialect.pick(("", ""), ("", ""), (", depth", ", ?"));
    let template = format!(
        "INSERT INTO {{checkpoints}} (life, {COLUMNS}{depth_column}) \
         VALUES ({life}, {values}{depth_value})"
    );
    let mut args: Args = life_arg.into_iter().collect();
    args.extend(column_args(prepared, parent, pinned));
    if dialect == Dialect::MySql {
        args.extend(args![depth as i64]);
    }
    tx.write(&template, args).await?;
    if dialect == Dialect::Sqlite {
        let rows = tx.rows("SELECT last_insert_rowid()", args![]).await?;
        return rows.first().map_or(Ok(0), |row| row.unsigned(0));
    }
    Ok(depth)
}

/// The columns of a commit, but its life.
pub(super) const COLUMNS: &str = "pack, namespace, namespace_rest, namespace_hash, id, parent_id, run_id, \
     source, step, time_ms, pinned, delta, pack_bytes, chunk_count, metadata, directory, chunks, \
     body, hidden";

/// Their values. MySQL takes no bytes for JSON, and text is bytes there.
pub(super) fn column_values(dialect: Dialect) -> &'static str {
    dialect.pick(
        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, FALSE",
        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, FALSE",
        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, CONVERT(? USING utf8mb4), ?, ?, ?, FALSE",
    )
}

/// Their parameters.
pub(super) fn column_args(prepared: &Prepared<'_>, parent: Option<Arc<str>>, pinned: bool) -> Args {
    let Prepared {
        commit,
        namespace,
        columns,
        ..
    } = prepared;
    let mut args = args![
        commit.pack.0,
        namespace.head.clone(),
        namespace.rest.clone(),
        namespace.hash.clone(),
        commit.key.id.clone(),
        parent,
        commit.index.run_id.clone(),
        columns.source.clone(),
        columns.step,
        commit.index.time_ms as i64,
        pinned,
        commit.index.delta,
        commit.index.pack_bytes as i64,
        prepared.chunk_count(),
        columns.json.clone(),
    ];
    args.extend([prepared.directory(), prepared.chunks()]);
    args.push(commit.body.clone().into());
    args
}

/// Rows that go into one statement each.
fn batches(runs: &[Run]) -> Vec<&[Run]> {
    let (mut batches, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, run) in runs.iter().enumerate() {
        if at > from && (at - from == RUNS || bytes + run.chunks.len() > BATCH_BYTES) {
            batches.push(&runs[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += run.chunks.len();
    }
    if from < runs.len() {
        batches.push(&runs[from..]);
    }
    batches
}

/// The statement that condemns the packs of records.
pub(super) fn condemn(
    dialect: Dialect,
    time_ms: u64,
    life: i64,
    records: &[&RecordRef],
) -> Statement {
    let (condition, records) = these(dialect, records.iter().copied());
    let condemned = dialect.pick("", "", ", condemned = pack");
    let template =
        format!("UPDATE {{checkpoints}} AS c SET condemned_ms = ?{condemned} WHERE {condition}");
    let mut args = args![time_ms as i64, life];
    args.extend(records);
    (template, args)
}
