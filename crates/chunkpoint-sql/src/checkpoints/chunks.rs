//! Reading chunks.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;

use bytes::Bytes;
use chunkpoint_core::backend::{ChunkName, Incarnation, PackId};
use chunkpoint_core::wire::Reader;
use chunkpoint_core::{Error, Result};

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
        let mut rows = packs_in(dialect, &self.db.rows(&template, args).await?)?;
        let mut lost: HashSet<PackId> = packs.into_iter().map(|(pack, _)| pack).collect();
        lost.retain(|pack| !rows.contains_key(pack));
        // In SQLite, locators of a copied thread are its source's. In MySQL there is no index
        // for this, but a locator is only wrong if it never was right, or the pack has gone.
        if dialect != Dialect::Postgres && !lost.is_empty() {
            let packs: Vec<PackId> = lost.into_iter().collect();
            let (template, args) = rows_by_pack(dialect, life, &packs);
            rows.extend(packs_in(dialect, &self.db.rows(&template, args).await?)?);
        }
        let mut apart = HashSet::new();
        for (pack, run) in rows {
            match run {
                Some((directory, bytes)) => take(found, pack, &directory, &bytes)?,
                None => _ = apart.insert(pack),
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

impl Dialect {
    /// Gives the rows of packs: pack, directory and chunks, the last two NULL for a pack in
    /// rows of its own.
    ///
    /// The driver of SQLite hands each row over from another thread, which costs more than
    /// reading it. So there all of them are one value: each as its pack, the lengths of
    /// directory and chunks as eight hexadecimal digits, and both. What `group_concat` gives
    /// is a text by name; its bytes are those that went in, as the database is UTF-8.
    fn select_packs(self) -> &'static str {
        self.pick(
            "SELECT CAST(group_concat(c.pack || printf('%08x%08x', \
             ifnull(length(c.directory), 4294967295), ifnull(length(c.chunks), 0)) \
             || ifnull(c.directory, '') || ifnull(c.chunks, ''), '') AS BLOB) FROM",
            "SELECT c.pack, c.directory, c.chunks FROM",
            "SELECT c.pack, c.directory, c.chunks FROM",
        )
    }
}

/// Directory and chunks of packs; `None` of those in rows of their own.
type Packs = HashMap<PackId, Option<(Bytes, Bytes)>>;

/// Reads what [`Dialect::select_packs`] gives.
fn packs_in(dialect: Dialect, rows: &[Row]) -> Result<Packs> {
    let mut packs = Packs::with_capacity(rows.len());
    for row in rows {
        if dialect != Dialect::Sqlite {
            let run = row.opt_bytes(1)?.zip(row.opt_bytes(2)?);
            packs.insert(PackId(row.id8(0)?), run);
            continue;
        }
        let mut reader = Reader::new(row.opt_bytes(0)?.unwrap_or_default());
        while !reader.is_empty() {
            let pack = PackId(reader.array()?);
            let (directory, chunks) = (length(&mut reader)?, length(&mut reader)?);
            // Copied: a chunk that is kept must not keep all others with it.
            let mut part = |len| Ok(Bytes::copy_from_slice(&reader.take(len)?));
            let run = match directory {
                u32::MAX => None,
                len => Some((part(len as usize)?, part(chunks as usize)?)),
            };
            packs.insert(pack, run);
        }
    }
    Ok(packs)
}

/// A length of eight hexadecimal digits.
fn length(reader: &mut Reader) -> Result<u32> {
    let digits: [u8; 8] = reader.array()?;
    let length = std::str::from_utf8(&digits).ok();
    let length = length.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    length.ok_or_else(|| Error::corrupt("the length of a pack's chunks is no number"))
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
        "{} {table} {} {{checkpoints}} c ON {here} AND {only}c.life = {LIFE_OF} \
         AND {only}c.pack = w.pack",
        dialect.select_packs(),
        ordered_join(dialect)
    );
    args.extend(life.args());
    (template, args)
}

/// The rows of packs, wherever they lie.
fn rows_by_pack(dialect: Dialect, life: &LifeOf, packs: &[PackId]) -> Statement {
    let (condition, packs) = one_of(dialect, packs);
    let template = format!(
        "{} {{checkpoints}} c WHERE c.life = {LIFE_OF} AND c.pack {condition}",
        dialect.select_packs()
    );
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
