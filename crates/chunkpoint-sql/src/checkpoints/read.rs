//! Reading records by name, and chunks.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{ChunkName, Detail, Incarnation, PackId, Pick, RecordRow};

use super::row::{columns, record};
use super::{in_namespace, pack};
use crate::backend::Inner;
use crate::db::{Db, Statement, Tx};
use crate::dialect::Dialect;
use crate::names::Key;
use crate::value::{Args, Row, Value, args};

/// Records that one statement reads, each by a branch of its own.
const PICKS: usize = 32;

/// Chunks that one statement reads.
const CHUNKS: usize = 1024;

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

    pub(crate) async fn chunks(
        &self,
        thread: &str,
        incarnation: Incarnation,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        let thread = Key::new(thread);
        let wanted: BTreeSet<(PackId, u32)> =
            names.iter().map(|name| (name.pack, name.ordinal)).collect();
        let wanted: Vec<_> = wanted.into_iter().collect();
        let mut found = HashMap::with_capacity(wanted.len());
        for wanted in wanted.chunks(CHUNKS) {
            let (template, args) = runs_of(self.db.dialect(), &thread, incarnation, wanted);
            for row in self.db.rows(&template, args).await? {
                let pack = PackId(row.id8(0)?);
                for (ordinal, chunk) in pack::chunks(&row.bytes(1)?, &row.bytes(2)?)? {
                    if wanted.binary_search(&(pack, ordinal)).is_ok() {
                        found.insert((pack, ordinal), chunk);
                    }
                }
            }
        }
        let chunk = |name: &ChunkName| found.get(&(name.pack, name.ordinal)).cloned();
        Ok(names.iter().map(chunk).collect())
    }
}

/// What loading a thread reads, as the statements of a thread that cannot be: its latest
/// record, and one chunk or several.
pub(crate) fn hot(db: &Db) -> Vec<(String, Args)> {
    let nobody = Key::new("");
    let latest = Pick::Latest {
        namespace: "".into(),
    };
    let of_chunks = |count: u32| {
        let wanted: Vec<_> = (0..count).map(|n| (PackId([0; 8]), n)).collect();
        runs_of(db.dialect(), &nobody, Incarnation([0; 8]), &wanted)
    };
    let mut hot = vec![
        branches(db, &nobody, &[latest], Detail::Writes),
        of_chunks(1),
    ];
    if db.dialect() == Dialect::MySql {
        // Another statement there.
        hot.push(of_chunks(2));
    }
    hot
}

/// One branch for each pick; the first column is its number.
fn branches(db: &Db, thread: &Key, picks: &[Pick], detail: Detail) -> (String, Args) {
    let columns = columns(db.dialect(), detail);
    let (mut template, mut args) = (String::new(), Vec::new());
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
        template.push_str(&format!(
            "{select} * FROM (SELECT {n} AS pick, {columns} FROM {{checkpoints}} c \
             WHERE c.life = {LIFE} AND c.condemned_ms IS NULL AND {condition} {rest}) p{n} "
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

/// The rows that have these chunks: pack, directory, chunks. Of packs in rows of their own,
/// only those rows that have a wanted ordinal: each time, the last that begins at or
/// before it.
fn runs_of(
    dialect: Dialect,
    thread: &Key,
    incarnation: Incarnation,
    wanted: &[(PackId, u32)],
) -> (String, Args) {
    let life = "(SELECT t.life FROM {threads} t WHERE t.thread = ? AND t.thread_hash = ? \
                AND t.incarnation = ?)";
    let life_args = || {
        let [head, hash] = thread.indexed();
        [head, hash, incarnation.0.into()]
    };
    let mut packs: Vec<PackId> = wanted.iter().map(|(pack, _)| *pack).collect();
    // As many places in a statement as there are for chunks, or one array.
    if dialect != Dialect::MySql {
        packs.dedup();
    }
    let (in_packs, packs) = one_of(dialect, &packs);
    let (wanted, wanted_args) = table_of(dialect, wanted);
    let template = format!(
        "SELECT c.pack, c.directory, c.chunks FROM {{checkpoints}} c \
         WHERE c.life = {life} AND c.pack {in_packs} AND c.directory IS NOT NULL \
         UNION ALL \
         SELECT s.pack, s.directory, s.chunks FROM \
         (SELECT DISTINCT w.pack, (SELECT MAX(b.first) FROM {{chunks}} b WHERE b.life = {life} \
         AND b.pack = w.pack AND b.first <= w.ordinal) AS first FROM {wanted}) f \
         JOIN {{chunks}} s ON s.life = {life} AND s.pack = f.pack AND s.first = f.first"
    );
    let mut args: Args = life_args().into();
    args.extend(packs);
    args.extend(life_args());
    args.extend(wanted_args);
    args.extend(life_args());
    (template, args)
}

/// A condition that a pack is one of these.
pub(crate) fn one_of(dialect: Dialect, packs: &[PackId]) -> (String, Args) {
    let bytes = packs.iter().map(|pack| Bytes::copy_from_slice(&pack.0));
    match dialect {
        Dialect::Postgres => ("= ANY(?)".into(), vec![Value::Blobs(bytes.collect())]),
        Dialect::Sqlite | Dialect::MySql => {
            let mut args: Args = bytes.map(Value::from).collect();
            let padded = dialect.padded(args.len());
            if let Some(last) = args.last().cloned() {
                args.resize(padded, last);
            }
            (format!("IN ({})", vec!["?"; args.len()].join(",")), args)
        }
    }
}

/// A table `w` of packs and ordinals.
fn table_of(dialect: Dialect, wanted: &[(PackId, u32)]) -> (String, Args) {
    let packs = wanted
        .iter()
        .map(|(pack, _)| Bytes::copy_from_slice(&pack.0));
    let ordinals = wanted.iter().map(|(_, ordinal)| i64::from(*ordinal));
    if dialect == Dialect::Postgres {
        let args = vec![
            Value::Blobs(packs.collect()),
            Value::Ints(ordinals.collect()),
        ];
        return ("unnest(?, ?) AS w(pack, ordinal)".into(), args);
    }
    let mut args: Args = packs
        .zip(ordinals)
        .flat_map(|(pack, ordinal)| args![pack, ordinal])
        .collect();
    let padded = dialect.padded(wanted.len());
    while let Some(last) = args
        .len()
        .checked_sub(2)
        .filter(|_| args.len() < 2 * padded)
    {
        args.extend_from_within(last..);
    }
    let table = match dialect {
        Dialect::Sqlite => format!(
            "(SELECT column1 AS pack, column2 AS ordinal FROM (VALUES {})) w",
            crate::dialect::groups(padded, 2)
        ),
        _ => format!("({}) w", crate::dialect::pairs(padded)),
    };
    (table, args)
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
