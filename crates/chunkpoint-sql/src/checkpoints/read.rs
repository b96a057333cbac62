//! Reading records by name.

use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{Detail, Incarnation, PackId, Pick, RecordRef, RecordRow};

use super::in_namespace;
use super::row::{columns, record};
use crate::backend::Inner;
use crate::db::{Db, Statement, Tx};
use crate::dialect::Dialect;
use crate::names::Key;
use crate::value::{Args, Row, Value};

/// Records that one statement reads, each by a branch of its own.
const PICKS: usize = 32;

/// The life of a thread, from its name.
pub(crate) const LIFE: &str =
    "(SELECT t.life FROM {threads} t WHERE t.thread = ? AND t.thread_hash = ?)";

impl Inner {
    pub(crate) async fn get(
        &self,
        thread: &str,
        picks: &[Pick],
        detail: Detail,
    ) -> Result<Vec<Option<RecordRow>>> {
        let thread = Key::new(thread);
        let mut found = vec![None; picks.len()];
        if picks.len() <= PICKS {
            let (template, args) = branches(&self.db, &thread, picks, detail);
            if !picks.is_empty() {
                sort_in(&self.db, &mut found, self.db.rows(&template, args).await?).await?;
            }
            return Ok(found);
        }
        // Of several statements, one incarnation is seen only at one moment.
        let mut tx = self.db.snapshot().await?;
        let read = async {
            for (picks, found) in picks.chunks(PICKS).zip(found.chunks_mut(PICKS)) {
                let (template, args) = branches(&self.db, &thread, picks, detail);
                sort_in(&self.db, found, tx.rows(&template, args).await?).await?;
            }
            Ok(())
        };
        let read = read.await;
        tx.end(read).await?;
        Ok(found)
    }

    pub(crate) async fn incarnation(&self, thread: &str) -> Result<Option<Incarnation>> {
        let [head, hash] = Key::new(thread).indexed();
        let template = "SELECT t.incarnation FROM {threads} t WHERE t.thread = ? \
                        AND t.thread_hash = ?";
        let rows = self.db.rows(template, vec![head, hash]).await?;
        rows.first()
            .map(|row| row.id8(0).map(Incarnation))
            .transpose()
    }
}

/// What loading a thread reads, as the statements of a thread that cannot be: its latest
/// record, and chunks.
pub(crate) fn hot(db: &Db) -> Vec<(String, Args)> {
    let nobody = Key::new("");
    let latest = Pick::Latest {
        namespace: "".into(),
    };
    vec![
        branches(db, &nobody, &[latest], Detail::Writes),
        super::chunks::hot(db.dialect()),
    ]
}

/// One branch for each pick; the first column is its number. A branch among others has to be
/// a table of its own, for its order and limit; as it has a BLOB, MySQL would make a file for
/// it, so a pick alone, which nearly every call is, is none.
fn branches(db: &Db, thread: &Key, picks: &[Pick], detail: Detail) -> (String, Args) {
    let columns = columns(db.dialect(), detail);
    let (mut template, mut args) = (String::new(), Vec::new());
    let is_one = picks.len() == 1;
    for (n, pick) in picks.iter().enumerate() {
        // What holds for the first branch holds for all.
        let select = if n == 0 {
            db.dialect().select_long()
        } else {
            "UNION ALL SELECT"
        };
        let (namespace, rest) = match pick {
            Pick::Latest { namespace } => {
                (namespace, "AND c.hidden = FALSE ORDER BY c.id DESC LIMIT 1")
            }
            Pick::At(key) => (&key.namespace, "AND c.id = ?"),
        };
        let (condition, namespace) = in_namespace(namespace);
        let (begin, end) = if is_one {
            (String::new(), String::new())
        } else {
            ("* FROM (SELECT ".to_owned(), format!(") p{n} "))
        };
        template.push_str(&format!(
            "{select} {begin}{n} AS pick, {columns} FROM {{checkpoints}} c \
             WHERE c.life = {LIFE} AND c.{} AND {condition} {rest}{end}",
            db.dialect().is_current()
        ));
        args.extend(thread.indexed());
        args.extend(namespace);
        if let Pick::At(key) = pick {
            args.push(key.id.clone().into());
        }
    }
    (template, args)
}

async fn sort_in(db: &Db, found: &mut [Option<RecordRow>], rows: Vec<Row>) -> Result<()> {
    for row in rows {
        let pick = usize::try_from(row.unsigned(0)?).unwrap_or(usize::MAX);
        if let Some(place) = found.get_mut(pick) {
            *place = Some(record(db, &row, 1).await?);
        }
    }
    Ok(())
}

/// A condition that a pack is one of these.
pub(crate) fn one_of(dialect: Dialect, packs: &[PackId]) -> (String, Args) {
    let bytes = packs.iter().map(|pack| Bytes::copy_from_slice(&pack.0));
    match dialect {
        Dialect::Postgres => ("= ANY(?)".into(), vec![Value::Blobs(bytes.collect())]),
        Dialect::Sqlite | Dialect::MySql => in_list(dialect, bytes.map(Value::from).collect()),
    }
}

/// A condition that something is one of these values, where there are no arrays.
fn in_list(dialect: Dialect, mut args: Args) -> (String, Args) {
    let padded = dialect.padded(args.len());
    if let Some(last) = args.last().cloned() {
        args.resize(padded, last);
    }
    (format!("IN ({})", vec!["?"; args.len()].join(",")), args)
}

/// A condition that `c` is one of these records, not condemned. Its first parameter is the
/// life; the others are given.
pub(crate) fn these<'a>(
    dialect: Dialect,
    records: impl IntoIterator<Item = &'a RecordRef>,
) -> (String, Args) {
    let (ids, packs): (Vec<_>, Vec<PackId>) = records
        .into_iter()
        .map(|record| (record.key.id.clone(), record.pack))
        .unzip();
    let (in_packs, packs) = one_of(dialect, &packs);
    let (in_ids, mut args) = if dialect == Dialect::Postgres {
        ("= ANY(?)".to_owned(), vec![Value::Texts(ids)])
    } else {
        in_list(dialect, ids.into_iter().map(Value::from).collect())
    };
    args.extend(packs);
    let current = dialect.is_current();
    let condition = format!("c.life = ? AND c.{current} AND c.id {in_ids} AND c.pack {in_packs}");
    (condition, args)
}

/// A life and its incarnation, of a thread that has one.
pub(crate) async fn life_of(
    tx: &mut Tx,
    thread: &Key,
    lock: &str,
) -> Result<Option<(i64, Incarnation)>> {
    let (template, args) = life_statement(thread, lock);
    let rows = tx.rows(&template, args).await?;
    rows.first().map(life).transpose()
}

/// The statement that gives it.
pub(crate) fn life_statement(thread: &Key, lock: &str) -> Statement {
    let template = format!(
        "SELECT t.life, t.incarnation FROM {{threads}} t WHERE t.thread = ? AND \
         t.thread_hash = ?{lock}"
    );
    (template, thread.indexed().into())
}

/// Reads its row.
pub(crate) fn life(row: &Row) -> Result<(i64, Incarnation)> {
    Ok((row.int(0)?, Incarnation(row.id8(1)?)))
}

/// An id, to be compared: no id holds a NUL, so what comes before one with a NUL in it is
/// what comes before the part before that, and that part itself.
pub(crate) fn before(id: &Arc<str>) -> (&'static str, Arc<str>) {
    match id.split_once('\0') {
        None => ("<", id.clone()),
        Some((id, _)) => ("<=", id.into()),
    }
}
