//! What ended lives left behind.

use chunkpoint_core::Result;

use crate::db::{Db, Tx};
use crate::value::{Args, args};

/// Rows that one transaction removes.
const BATCH: i64 = 500;

/// Removes the rows of ended lives, in transactions of a few hundred rows each. Several
/// processes may do it at once.
pub(crate) async fn purge(db: &Db) -> Result<()> {
    loop {
        let rows = db
            .rows("SELECT life FROM {ended} ORDER BY life LIMIT 1", args![])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(());
        };
        let life = row.int(0)?;
        for table in ["{checkpoints}", "{chunks}", "{writes}"] {
            while remove_some(db, table, life).await? {}
        }
        let mut tx = db.begin().await?;
        let removed = tx
            .run("DELETE FROM {ended} WHERE life = ?", args![life])
            .await;
        tx.end(removed).await?;
    }
}

/// Removes rows of a life; false if there are none left.
async fn remove_some(db: &Db, table: &str, life: i64) -> Result<bool> {
    let template = format!("DELETE FROM {table} WHERE {}", some_of(db, table));
    let args = some_args(db, life);
    let mut tx: Tx = db.begin().await?;
    let removed = tx.run(&template, args).await;
    Ok(tx.end(removed).await? > 0)
}

/// The condition that a row is one of the first few of a life.
fn some_of(db: &Db, table: &str) -> String {
    let row = db.dialect().pick("rowid", "ctid", "");
    if row.is_empty() {
        return "life = ? LIMIT ?".into();
    }
    let skip = db.dialect().pick("", " FOR UPDATE SKIP LOCKED", "");
    let one = db.dialect().pick("IN (", "= ANY(ARRAY(", "");
    let end = db.dialect().pick(")", "))", "");
    format!("{row} {one}SELECT {row} FROM {table} WHERE life = ? LIMIT ?{skip}{end}")
}

fn some_args(_: &Db, life: i64) -> Args {
    args![life, BATCH]
}
