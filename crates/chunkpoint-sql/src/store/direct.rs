//! Changes that are one statement.

use std::sync::LazyLock;

use chunkpoint_core::Result;
use chunkpoint_core::store_backend::{Expect, ItemChange};

use super::change::{Change, remembered};
use super::row::{COLUMNS, arguments, parameters};
use crate::backend::Inner;
use crate::dialect::Dialect;
use crate::value::{Row, args};

/// The statements of one database. Those of SQLite and PostgreSQL give `created_ms` if they
/// changed something; those of MySQL note it as the *last inserted id*.
struct Statements {
    /// Puts or removes, whatever is there.
    any: String,
    /// Puts or removes, unless something is there.
    absent: String,
    /// Puts or removes in the place of a version.
    version: String,
    /// Renews a version.
    renew: String,
}

/// That the write id `$id` is none of those a row remembers.
fn forgotten(id: &str, row: &str) -> String {
    let nth = |n| format!("substr({row}recent, {}, 8)", 8 * n + 1);
    format!(
        "{id} NOT IN ({}, {}, {}, {})",
        nth(0),
        nth(1),
        nth(2),
        nth(3)
    )
}

fn statements(dialect: Dialect) -> &'static Statements {
    static ALL: LazyLock<[Statements; 3]> = LazyLock::new(|| {
        [
            returning(Dialect::Sqlite),
            returning(Dialect::Postgres),
            noting(),
        ]
    });
    let [sqlite, postgres, mysql] = &*ALL;
    dialect.pick(sqlite, postgres, mysql)
}

/// The write ids of a row `row` once `id` is added.
fn recalled(dialect: Dialect, id: &str, row: &str) -> String {
    let older = format!("substr({row}recent, 1, 24)");
    dialect.pick(
        // What SQLite concatenates is text.
        format!("CAST({id} || {older} AS BLOB)"),
        format!("{id} || {older}"),
        format!("CONCAT({id}, {older})"),
    )
}

fn json(dialect: Dialect) -> &'static str {
    dialect.pick("?", "?::jsonb", "CONVERT(? USING utf8mb4)")
}

/// A write id that a parameter is. In MySQL the type of a parameter beside functions is text,
/// unless it is said.
fn write_id(dialect: Dialect) -> &'static str {
    dialect.pick("?", "?", "CAST(? AS BINARY(8))")
}

/// Everything but the packs, which are none before and after, and when it was created.
fn version(dialect: Dialect, created: &str) -> String {
    format!(
        "UPDATE {{items}} SET version = ?, recent = {}, updated_ms = ?, ttl_ms = ?, \
         expires_ms = ?, value = {}, body = ?{created} \
         WHERE path = ? AND path_hash = ? AND path_rest = ? AND version = ? \
         AND (expires_ms IS NULL OR expires_ms > ?) AND length(packs) = 0 AND {}",
        recalled(dialect, write_id(dialect), ""),
        json(dialect),
        forgotten(write_id(dialect), "")
    )
}

const RENEW: &str = "UPDATE {items} SET expires_ms = ?";
const RENEWED: &str = "WHERE path = ? AND path_hash = ? AND path_rest = ? AND version = ?";

fn returning(dialect: Dialect) -> Statements {
    let lives = "i.version IS NOT NULL AND (i.expires_ms IS NULL \
                 OR i.expires_ms > excluded.updated_ms)";
    // The write id that a row brings is the only one it remembers.
    let any = format!(
        "INSERT INTO {{items}} AS i ({COLUMNS}) VALUES {} \
         ON CONFLICT (path, path_hash) DO UPDATE SET version = excluded.version, \
         recent = {}, \
         created_ms = CASE WHEN {lives} THEN i.created_ms ELSE excluded.created_ms END, \
         updated_ms = excluded.updated_ms, ttl_ms = excluded.ttl_ms, \
         expires_ms = excluded.expires_ms, value = excluded.value, body = excluded.body \
         WHERE i.path_rest = excluded.path_rest AND length(i.packs) = 0 AND {}",
        parameters(dialect),
        recalled(dialect, "excluded.recent", "i."),
        forgotten("excluded.recent", "i.")
    );
    Statements {
        absent: format!("{any} AND NOT ({lives}) RETURNING created_ms"),
        any: format!("{any} RETURNING created_ms"),
        version: format!("{} RETURNING created_ms", version(dialect, "")),
        renew: format!("{RENEW} {RENEWED} RETURNING created_ms"),
    }
}

/// MySQL has no `RETURNING` (MariaDB has), but a statement's answer has a number of
/// changed rows and the *last inserted id*, which `LAST_INSERT_ID(…)` sets. The table has
/// no column of the kind, so it is 0 where that was not called.
fn noting() -> Statements {
    let dialect = Dialect::MySql;
    let insert = format!(
        "INSERT INTO {{items}} ({COLUMNS}) VALUES {}",
        parameters(dialect)
    );
    let accepts = format!(
        "path_rest = VALUES(path_rest) AND length(packs) = 0 AND {}",
        forgotten("VALUES(recent)", "")
    );
    let lives = "version IS NOT NULL AND (expires_ms IS NULL OR expires_ms > VALUES(updated_ms))";
    let take = |column: &str| format!("{column} = IF({accepts}, VALUES({column}), {column})");
    let columns = [
        "version",
        "updated_ms",
        "ttl_ms",
        "expires_ms",
        "value",
        "body",
    ];
    let untouched = "created_ms + 0 * LAST_INSERT_ID(1)";
    Statements {
        // Assignments see what those before them did: so `created_ms` comes before what it
        // depends on, and `recent`, on which all depend, at the end.
        any: format!(
            "{insert} ON DUPLICATE KEY UPDATE \
             created_ms = IF({accepts}, \
             LAST_INSERT_ID(IF({lives}, created_ms, VALUES(created_ms))), {untouched}), \
             {}, recent = IF({accepts}, {}, recent)",
            columns.map(take).join(", "),
            recalled(dialect, "VALUES(recent)", "")
        ),
        absent: format!("{insert} ON DUPLICATE KEY UPDATE created_ms = {untouched}"),
        version: version(dialect, ", created_ms = LAST_INSERT_ID(created_ms)"),
        renew: format!("{RENEW}, created_ms = LAST_INSERT_ID(created_ms) {RENEWED}"),
    }
}

impl Inner {
    /// Makes a change that has to do with no packs, in one statement: gives when the item
    /// was created, or `None` if nothing was changed, for whatever reason.
    pub(super) async fn direct(&self, change: &Change) -> Result<Option<u64>> {
        let dialect = self.db.dialect();
        let statements = statements(dialect);
        let path = &change.path;
        let names = args![path.head.clone(), path.hash.clone(), path.rest.clone()];
        let Some((content, write_id)) = change.content() else {
            let ItemChange::Renew {
                version,
                expires_ms,
                ..
            } = &change.change
            else {
                return Ok(None);
            };
            let mut args = args![*expires_ms as i64];
            args.extend(names);
            args.extend(args![version.0]);
            return self.one_row(&statements.renew, args, false, 0).await;
        };
        let created_ms = change.created_ms();
        let row = arguments(
            change.key(),
            path,
            &content,
            remembered(write_id, None),
            created_ms,
        );
        match change.expect() {
            Expect::Any => self.one_row(&statements.any, row, true, created_ms).await,
            Expect::Absent => {
                self.one_row(&statements.absent, row, true, created_ms)
                    .await
            }
            Expect::Version(version) => {
                // The columns that an update sets, in its order.
                let mut args: Vec<_> = [5, 6, 8, 9, 10, 12, 13].map(|n| row[n].clone()).into();
                args.extend(names);
                args.extend(args![version.0, change.now_ms() as i64, write_id.0]);
                self.one_row(&statements.version, args, false, 0).await
            }
        }
    }

    /// Runs a statement that changes at most one row, and gives its `created_ms`.
    /// `inserts`: it may be a new row, created at `created_ms`.
    async fn one_row(
        &self,
        template: &str,
        args: Vec<crate::value::Value>,
        inserts: bool,
        created_ms: u64,
    ) -> Result<Option<u64>> {
        if self.db.dialect() != Dialect::MySql {
            let rows = self.db.call(template, args).await?;
            return rows.first().map(|row: &Row| row.unsigned(0)).transpose();
        }
        let (changed, noted) = self.db.noting(template, args).await?;
        Ok(match (inserts, changed) {
            (true, 1) if noted == 0 => Some(created_ms),
            // One that was there and stays as it is counts as 1 or as 0, by the connection's
            // flags; one that changed, as 2.
            (true, 0 | 1) => None,
            (false, 0) => None,
            _ => Some(noted),
        })
    }
}
