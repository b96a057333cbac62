//! What ended lives left behind.

use chunkpoint_core::Result;

use crate::db::Db;
use crate::value::args;

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
        // Rows that another one is removing are still there, and its to forget.
        let forget = "DELETE FROM {ended} WHERE life = ? \
             AND NOT EXISTS (SELECT 1 FROM {checkpoints} c WHERE c.life = ?) \
             AND NOT EXISTS (SELECT 1 FROM {chunks} s WHERE s.life = ?) \
             AND NOT EXISTS (SELECT 1 FROM {writes} w WHERE w.life = ?)";
        if db.change(forget, args![life, life, life, life]).await? == 0 {
            return Ok(());
        }
    }
}

/// As [`purge_in_background`], where a look finds that there is something to remove.
pub(crate) async fn purge_leftovers(db: &Db) {
    let any = db.rows("SELECT life FROM {ended} LIMIT 1", args![]).await;
    if any.is_ok_and(|rows| !rows.is_empty()) {
        purge_in_background(db);
    }
}

/// As [`purge`], in a task that nobody waits for: what it does not come to is found at
/// the next opening, and by every reclaim.
pub(crate) fn purge_in_background(db: &Db) {
    let db = db.clone();
    tokio::spawn(async move {
        if let Err(error) = purge(&db).await {
            tracing::debug!(%error, "what ended threads left could not be removed yet");
        }
    });
}

/// Removes rows of a life; false if there are none left.
async fn remove_some(db: &Db, table: &str, life: i64) -> Result<bool> {
    let condition = db.dialect().pick(
        "rowid IN (SELECT rowid FROM {table} WHERE life = ? LIMIT ?)",
        // Others who do the same take other rows.
        "ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE life = ? LIMIT ? \
         FOR UPDATE SKIP LOCKED))",
        "life = ? LIMIT ?",
    );
    let condition = condition.replace("{table}", table);
    let template = format!("DELETE FROM {table} WHERE {condition}");
    Ok(db.change(&template, args![life, BATCH]).await? > 0)
}
