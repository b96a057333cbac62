//! Reading chunks.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{ChunkName, Incarnation, PackId};

use super::pack;
use super::read::one_of;
use crate::backend::Inner;
use crate::db::Statement;
use crate::dialect::Dialect;
use crate::names::Key;
use crate::value::{Args, Row, Value, args};

/// Chunks that one statement reads.
const CHUNKS: usize = 1024;

impl Inner {
    /// Reads the rows of the packs. Only for packs that have rows of their own it asks for
    /// those as well.
    pub(crate) async fn chunks(
        &self,
        thread: &str,
        incarnation: Incarnation,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        let life = LifeOf::new(thread, incarnation);
        let wanted = names.iter().map(|n| (n.locator, n.pack, n.ordinal));
        // Neighbours lie together.
        let wanted: BTreeSet<(u64, PackId, u32)> = wanted.collect();
        let wanted: Vec<_> = wanted.into_iter().collect();
        let mut found = Found::with_capacity(wanted.len());
        for wanted in wanted.chunks(CHUNKS) {
            self.read_chunks(&life, wanted, &mut found).await?;
        }
        let chunk = |name: &ChunkName| found.get(&(name.pack, name.ordinal)).cloned();
        Ok(names.iter().map(chunk).collect())
    }

    async fn read_chunks(
        &self,
        life: &LifeOf,
        wanted: &[(u64, PackId, u32)],
        found: &mut Found,
    ) -> Result<()> {
        let dialect = self.db.dialect();
        let mut packs: Vec<(PackId, u64)> = wanted.iter().map(|w| (w.1, w.0)).collect();
        packs.dedup();
        let (template, args) = rows_of(dialect, life, &packs);
        let mut rows = self.db.rows(&template, args).await?;
        let mut lost: HashSet<PackId> = packs.into_iter().map(|(pack, _)| pack).collect();
        forget(&mut lost, &rows)?;
        // In SQLite, locators of a copied thread are its source's. In MySQL there is no index
        // for this, but a locator is only wrong if it never was right, or the pack has gone.
        if dialect != Dialect::Postgres && !lost.is_empty() {
            let packs: Vec<PackId> = lost.into_iter().collect();
            let (template, args) = rows_by_pack(dialect, life, &packs);
            rows.extend(self.db.rows(&template, args).await?);
        }
        let mut apart = HashSet::new();
        for row in rows {
            let pack = PackId(row.id8(0)?);
            match (row.opt_bytes(1)?, row.opt_bytes(2)?) {
                (Some(directory), Some(bytes)) => take(found, pack, &directory, &bytes)?,
                _ => _ = apart.insert(pack),
            }
        }
        let wanted = wanted.iter().filter(|wanted| apart.contains(&wanted.1));
        let wanted: Vec<_> = wanted
            .map(|(_, pack, ordinal)| (*pack, u64::from(*ordinal)))
            .collect();
        if !wanted.is_empty() {
            let (template, args) = runs_of(dialect, life, &wanted);
            for row in self.db.rows(&template, args).await? {
                let pack = PackId(row.id8(0)?);
                take(found, pack, &row.bytes(1)?, &row.bytes(2)?)?;
            }
        }
        Ok(())
    }
}

/// The columns of a row that has chunks. The last two are NULL for a pack in rows of its own.
const COLUMNS: &str = "SELECT c.pack, c.directory, c.chunks FROM";

/// Takes the packs of rows out of those that are looked for.
fn forget(packs: &mut HashSet<PackId>, rows: &[Row]) -> Result<()> {
    for row in rows {
        packs.remove(&PackId(row.id8(0)?));
    }
    Ok(())
}

/// Chunks that were found, by pack and ordinal.
type Found = HashMap<(PackId, u32), Bytes>;

/// Takes in the chunks of a row.
fn take(found: &mut Found, pack: PackId, directory: &Bytes, bytes: &Bytes) -> Result<()> {
    let chunks = pack::chunks(directory, bytes)?.into_iter();
    found.extend(chunks.map(|(ordinal, chunk)| ((pack, ordinal), chunk)));
    Ok(())
}

/// The statement that reads a chunk of a thread that cannot be.
pub(super) fn hot(dialect: Dialect) -> Statement {
    let nobody = LifeOf::new("", Incarnation([0; 8]));
    rows_of(dialect, &nobody, &[(PackId([0; 8]), 0)])
}

/// The life of an incarnation of a thread, if it has not ended.
const LIFE_OF: &str = "(SELECT t.life FROM {threads} t WHERE t.thread = ? AND t.thread_hash = ? \
     AND t.incarnation = ?)";

/// Its parameters.
struct LifeOf {
    thread: Key,
    incarnation: Incarnation,
}

impl LifeOf {
    fn new(thread: &str, incarnation: Incarnation) -> Self {
        Self {
            thread: Key::new(thread),
            incarnation,
        }
    }

    fn args(&self) -> Args {
        let [head, hash] = self.thread.indexed();
        vec![head, hash, self.incarnation.0.into()]
    }
}

/// The rows of packs, given with their locators.
fn rows_of(dialect: Dialect, life: &LifeOf, packs: &[(PackId, u64)]) -> Statement {
    if dialect == Dialect::Postgres {
        let packs: Vec<PackId> = packs.iter().map(|(pack, _)| *pack).collect();
        return rows_by_pack(dialect, life, &packs);
    }
    let (table, mut args) = table_of(dialect, packs);
    // SQLite finds the row by its number alone.
    let (here, only) = dialect.pick(("c.seq = w.n", "+"), ("", ""), ("c.depth = w.n", ""));
    let template = format!(
        "{COLUMNS} {table} {} {{checkpoints}} c ON {here} AND {only}c.life = {LIFE_OF} \
         AND {only}c.pack = w.pack",
        ordered_join(dialect)
    );
    args.extend(life.args());
    (template, args)
}

/// The rows of packs, wherever they lie.
fn rows_by_pack(dialect: Dialect, life: &LifeOf, packs: &[PackId]) -> Statement {
    let (condition, packs) = one_of(dialect, packs);
    let template =
        format!("{COLUMNS} {{checkpoints}} c WHERE c.life = {LIFE_OF} AND c.pack {condition}");
    let mut args = life.args();
    args.extend(packs);
    (template, args)
}

/// A join that goes from the few that are wanted to the many that there are.
fn ordered_join(dialect: Dialect) -> &'static str {
    dialect.pick("CROSS JOIN", "JOIN", "STRAIGHT_JOIN")
}

/// Of packs in rows of their own, those that have a chunk of these, given by pack and
/// ordinal: pack, directory, chunks. It is the last row that begins at or before it.
fn runs_of(dialect: Dialect, life: &LifeOf, wanted: &[(PackId, u64)]) -> Statement {
    let (table, table_args) = table_of(dialect, wanted);
    let template = format!(
        "SELECT s.pack, s.directory, s.chunks FROM \
         (SELECT DISTINCT w.pack, (SELECT MAX(b.first) FROM {{chunks}} b WHERE b.life = {LIFE_OF} \
         AND b.pack = w.pack AND b.first <= w.n) AS first FROM {table}) f \
         {} {{chunks}} s ON s.life = {LIFE_OF} AND s.pack = f.pack AND s.first = f.first",
        ordered_join(dialect)
    );
    let mut args = life.args();
    args.extend(table_args);
    args.extend(life.args());
    (template, args)
}

/// A table `w` of a pack and a number each. It is one parameter, or two, however many there
/// are: so it is one statement, which is prepared once.
fn table_of(dialect: Dialect, packs: &[(PackId, u64)]) -> (String, Args) {
    if dialect == Dialect::Postgres {
        let names = packs
            .iter()
            .map(|(pack, _)| Bytes::copy_from_slice(&pack.0));
        let numbers = packs.iter().map(|(_, n)| *n as i64);
        let args = vec![
            Value::Blobs(names.collect()),
            Value::Ints(numbers.collect()),
        ];
        return ("unnest(?, ?) AS w(pack, n)".into(), args);
    }
    let mut json = String::with_capacity(32 * packs.len() + 2);
    for (n, (pack, number)) in packs.iter().enumerate() {
        // Writing to a string cannot fail.
        let (comma, pack) = (if n == 0 { '[' } else { ',' }, u64::from_be_bytes(pack.0));
        let _ = write!(json, "{comma}[\"{pack:016x}\",{number}]");
    }
    json.push(']');
    let table = dialect.pick(
        "(SELECT unhex(j.value ->> 0) AS pack, j.value ->> 1 AS n FROM json_each(?) j) w",
        "",
        "(SELECT UNHEX(j.pack) AS pack, j.n FROM JSON_TABLE(CONVERT(? USING utf8mb4), '$[*]' \
         COLUMNS (pack CHAR(16) PATH '$[0]', n BIGINT PATH '$[1]')) j) w",
    );
    (table.into(), args![&*json])
}
