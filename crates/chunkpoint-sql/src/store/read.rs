//! Reading items by name.

use std::collections::HashMap;

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{ChunkName, PackId};
use chunkpoint_core::store_backend::{ItemKey, ItemRow};

use super::path::Path;
use super::row::{READ, read};
use crate::backend::Inner;
use crate::dialect::Dialect;
use crate::value::{Args, Value, args};

/// Names that one statement looks for.
const AT_ONCE: usize = 1024;

/// `(?,?,?,?)` for a list of values, and the values: filled up with the last one to a power
/// of two, so that few different statements are prepared.
pub(super) fn list(mut values: Vec<Value>) -> (String, Args) {
    if let Some(last) = values.last().cloned() {
        values.resize(values.len().next_power_of_two(), last);
    }
    (crate::dialect::groups(1, values.len()), values)
}

/// The condition that a row is of one of these paths, and its parameters. It holds for
/// others as well, if two of them are long: whoever reads compares.
pub(super) fn named<'a>(paths: impl Iterator<Item = &'a Path>) -> (String, Args) {
    let (mut heads, mut hashes) = (Vec::new(), Vec::<Bytes>::new());
    for path in paths {
        heads.push(path.head.clone().into());
        if !hashes.contains(&path.hash) {
            hashes.push(path.hash.clone());
        }
    }
    let (head_list, mut args) = list(heads);
    let (hash_list, hashes) = list(hashes.into_iter().map(Value::from).collect());
    args.extend(hashes);
    (
        format!("path IN {head_list} AND path_hash IN {hash_list}"),
        args,
    )
}

impl Inner {
    pub(super) async fn items(&self, keys: &[ItemKey]) -> Result<Vec<Option<ItemRow>>> {
        let mut found = HashMap::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            let paths: Vec<Path> = keys.iter().map(Path::new).collect();
            let (named, args) = named(paths.iter());
            let template =
                format!("SELECT {READ} FROM {{items}} i WHERE {named} AND version IS NOT NULL");
            for row in self.db.rows(&template, args).await? {
                let row = read(&row)?;
                found.insert(row.key.clone(), row);
            }
        }
        // A key may be asked for twice.
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    pub(super) async fn item_chunks(
        &self,
        key: &ItemKey,
        names: &[ChunkName],
    ) -> Result<Vec<Option<Bytes>>> {
        let item = Path::new(key).item();
        let mut found: HashMap<(PackId, u32), Bytes> = HashMap::with_capacity(names.len());
        for names in names.chunks(AT_ONCE) {
            let (template, mut args) = chunks(self.db.dialect(), names);
            args.push(item.clone().into());
            for row in self.db.rows(&template, args).await? {
                let name = (PackId(row.id8(0)?), row.unsigned(1)? as u32);
                found.insert(name, row.bytes(2)?);
            }
        }
        let chunk = |name: &ChunkName| found.get(&(name.pack, name.ordinal)).cloned();
        Ok(names.iter().map(chunk).collect())
    }
}

/// The statement that reads these chunks of an item, and its parameters but the last, which
/// is the item.
fn chunks(dialect: Dialect, names: &[ChunkName]) -> (String, Args) {
    if dialect == Dialect::Postgres {
        let packs = names
            .iter()
            .map(|name| Bytes::copy_from_slice(&name.pack.0));
        let ordinals = names.iter().map(|name| i64::from(name.ordinal));
        let args = vec![
            Value::Blobs(packs.collect()),
            Value::Ints(ordinals.collect()),
        ];
        // OFFSET 0 keeps it from becoming a join: taken for one, an item of many chunks is
        // read whole, since most have few.
        let template = "SELECT c.pack, c.ordinal, c.chunk FROM unnest(?, ?) AS w (pack, ordinal) \
             CROSS JOIN LATERAL (SELECT pack, ordinal, chunk FROM {item_chunks} \
             WHERE item = ? AND pack = w.pack AND ordinal = w.ordinal OFFSET 0) c";
        return (template.into(), args);
    }
    let mut args = Args::with_capacity(2 * names.len());
    for name in names {
        args.extend(args![name.pack.0, i64::from(name.ordinal)]);
    }
    let padded = dialect.padded(names.len());
    if let Some(last) = names.last() {
        while args.len() < 2 * padded {
            args.extend(args![last.pack.0, i64::from(last.ordinal)]);
        }
    }
    let wanted = if dialect == Dialect::Sqlite {
        let rows = crate::dialect::groups(padded, 2);
        format!("SELECT column1 AS pack, column2 AS ordinal FROM (VALUES {rows})")
    } else {
        crate::dialect::pairs(padded)
    };
    // From the chunks that are wanted to their rows: the other way round, an item of many
    // chunks is read whole.
    let join = dialect.pick("CROSS JOIN", "JOIN", "STRAIGHT_JOIN");
    let template = format!(
        "SELECT c.pack, c.ordinal, c.chunk FROM ({wanted}) AS w {join} {{item_chunks}} c \
         ON c.item = ? AND c.pack = w.pack AND c.ordinal = w.ordinal"
    );
    (template, args)
}
