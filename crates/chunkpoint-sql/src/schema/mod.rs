//! The tables, and how they come to be.
//!
//! A table of one row says which version of the schema is there. Opening reads it; only
//! where it is missing or older, migrations run under a lock, so that of many processes
//! that start at once one does it and the others find it done.

use chunkpoint_core::{Error, ErrorKind, Result};

use crate::config::Setup;
use crate::db::{Db, Tx};
use crate::dialect::Dialect;
use crate::names::Place;
use crate::value::args;

/// Steps from nothing to the newest version, in order; the first makes version 1.
const MIGRATIONS: &[[&str; 3]] = &[
    [
        include_str!("sqlite.sql"),
        include_str!("postgres.sql"),
        include_str!("mysql.sql"),
    ],
    [
        include_str!("store_sqlite.sql"),
        include_str!("store_postgres.sql"),
        include_str!("store_mysql.sql"),
    ],
];

/// What each of these steps makes, and a column by which it is told from another program's
/// table of that name.
const MADE: &[&[(&str, &str)]] = &[
    &[
        ("threads", "thread_hash"),
        ("ended", "life"),
        ("checkpoints", "namespace_hash"),
        ("chunks", "directory"),
        ("writes", "write_id"),
        ("history", "pack_bytes"),
    ],
    &[
        ("items", "path_hash"),
        ("item_packs", "unlisted_ms"),
        ("item_chunks", "ordinal"),
        ("store", "expires"),
    ],
];

/// The newest version.
const VERSION: i64 = MIGRATIONS.len() as i64;

/// Seconds that MySQL waits for another process's migration.
const LOCK_WAIT: i64 = 120;

impl Dialect {
    fn of<'a>(self, step: &[&'a str; 3]) -> &'a str {
        self.pick(step[0], step[1], step[2])
    }

    /// The table of the version, and its only row.
    fn version_table(self) -> &'static str {
        self.pick(
            "CREATE TABLE IF NOT EXISTS {schema_version} (version INTEGER NOT NULL) STRICT",
            "CREATE TABLE IF NOT EXISTS {schema_version} (version BIGINT NOT NULL)",
            // Some servers take no table without a primary key (`sql_require_primary_key`).
            "CREATE TABLE IF NOT EXISTS {schema_version} (version BIGINT NOT NULL PRIMARY KEY) \
             ENGINE = InnoDB",
        )
    }
}

/// The statements that set a database up from nothing, for a database administrator to
/// run where the program's role may not.
///
/// The role needs, on the tables, `SELECT, INSERT, UPDATE, DELETE`; on PostgreSQL also
/// `EXECUTE` on the functions and `USAGE` on the schema.
///
/// # Errors
/// `InvalidInput` if `schema` or `table_prefix` are no plain identifiers.
pub fn schema_sql(dialect: Dialect, schema: Option<&str>, table_prefix: &str) -> Result<String> {
    let schema = schema.filter(|_| dialect == Dialect::Postgres);
    let place = Place::new(schema, table_prefix)?;
    let mut out = String::new();
    if let Some(schema) = place.schema() {
        out.push_str(&format!("CREATE SCHEMA IF NOT EXISTS {schema};\n"));
    }
    if dialect != Dialect::MySql {
        out.push_str("BEGIN;\n");
    }
    out.push_str(&place.fill(dialect.version_table()));
    out.push_str(";\n\n");
    for step in MIGRATIONS {
        out.push_str(&place.fill(dialect.of(step)));
        out.push('\n');
    }
    out.push_str(&place.fill(&format!(
        "INSERT INTO {{schema_version}} (version) VALUES ({VERSION});\n"
    )));
    if dialect != Dialect::MySql {
        out.push_str("COMMIT;\n");
    }
    Ok(out)
}

/// Makes sure that the tables are there and of this version.
///
/// # Errors
/// `Unsupported` if they are of a newer version; `Unavailable` if they are not there and
/// may not be made, or if tables of these names are another program's.
pub(crate) async fn set_up(db: &Db, setup: Setup) -> Result<()> {
    match found(version(db).await)? {
        Some(VERSION) => return Ok(()),
        Some(version) if version > VERSION => return Err(newer(version)),
        found if setup == Setup::Check => return Err(missing(db, found)),
        _ => {}
    }
    let migrating = match db.dialect() {
        Dialect::MySql => migrate_mysql(db).await,
        Dialect::Sqlite | Dialect::Postgres => {
            let mut tx = db.begin().await?;
            let migrated = migrate(&mut tx).await;
            tx.end(migrated).await
        }
    };
    migrating.map_err(|error| {
        let place = db.sql().place();
        error.context(format_args!("setting up the tables {place}"))
    })
}

/// What is missing is no error, here.
fn found(version: Result<Option<i64>>) -> Result<Option<i64>> {
    match version {
        Err(error) if is_missing(&error) => Ok(None),
        other => other,
    }
}

/// Whether a table or a column of it is not there.
fn is_missing(error: &Error) -> bool {
    // SQLite has no code of its own for that.
    let source = std::error::Error::source(error).map(ToString::to_string);
    let source = source.unwrap_or_default();
    error.message().contains("not there or not ours")
        || ["no such table", "no such column"]
            .iter()
            .any(|what| source.contains(what))
}

fn foreign(place: &Place, name: &str) -> Error {
    let name = place.fill(&format!("{{{name}}}"));
    let message =
        format!("there is a table {name} already, of another program; choose another table_prefix");
    Error::new(ErrorKind::Unavailable, message).retryable(false)
}

async fn version(db: &Db) -> Result<Option<i64>> {
    let rows = db
        .rows("SELECT version FROM {schema_version}", args![])
        .await?;
    rows.first().map(|row| row.int(0)).transpose()
}

/// Runs what is missing, inside a transaction that others wait for.
async fn migrate(tx: &mut Tx) -> Result<()> {
    let db = tx.db().clone();
    let (dialect, place) = (db.dialect(), db.sql().place().clone());
    if dialect == Dialect::Postgres {
        // Any number will do, as long as it is the same in all processes.
        let lock = i64::from_le_bytes(*b"chunkpnt");
        tx.rows("SELECT pg_advisory_xact_lock(?)", args![lock])
            .await?;
        if let Some(schema) = place.schema() {
            tx.script(&format!("CREATE SCHEMA IF NOT EXISTS {schema}"))
                .await?;
        }
    }
    if dialect == Dialect::MySql {
        // What is made here is not undone, and ours are told from others at any time.
        refuse_foreign(tx, 0).await?;
    }
    tx.script(&place.fill(dialect.version_table())).await?;
    let rows = match tx
        .rows("SELECT version FROM {schema_version}", args![])
        .await
    {
        Err(error) if is_missing(&error) => return Err(foreign(&place, "schema_version")),
        rows => rows?,
    };
    let there = rows.first().map(|row| row.int(0)).transpose()?;
    if let Some(version) = there.filter(|version| *version > VERSION) {
        return Err(newer(version));
    }
    let done = usize::try_from(there.unwrap_or(0)).unwrap_or(0);
    if dialect != Dialect::MySql {
        refuse_foreign(tx, done).await?;
    }
    for step in MIGRATIONS.iter().skip(done) {
        tx.script(&place.fill(dialect.of(step))).await?;
    }
    let record = match there {
        Some(_) => "UPDATE {schema_version} SET version = ?",
        None => "INSERT INTO {schema_version} (version) VALUES (?)",
    };
    tx.run(record, args![VERSION]).await?;
    Ok(())
}

/// Fails if another program has tables of the names of those that are still to be made.
async fn refuse_foreign(tx: &mut Tx, done: usize) -> Result<()> {
    let place = tx.db().sql().place().clone();
    for (name, column) in MADE[done.min(MADE.len())..].concat() {
        if is_foreign(tx, name, column).await? {
            return Err(foreign(&place, name));
        }
    }
    Ok(())
}

/// Whether a table of ours, that is not there yet, is there as another one's. In MySQL it
/// may be ours: a migration that was stopped has left it.
async fn is_foreign(tx: &mut Tx, name: &str, column: &str) -> Result<bool> {
    let db = tx.db().clone();
    let table = db.sql().place().fill(&format!("{{{name}}}"));
    let count = match db.dialect() {
        Dialect::Sqlite => "SELECT COUNT(*) FROM sqlite_master WHERE name = ?",
        Dialect::Postgres => {
            "SELECT COUNT(*) FROM (SELECT to_regclass(?) AS found) f \
             WHERE found IS NOT NULL"
        }
        Dialect::MySql => {
            "SELECT COUNT(*) FROM information_schema.tables t \
             WHERE t.table_schema = DATABASE() AND t.table_name = ? AND NOT EXISTS \
             (SELECT 1 FROM information_schema.columns c WHERE c.table_schema = t.table_schema \
             AND c.table_name = t.table_name AND c.column_name = ?)"
        }
    };
    let mut args = args![&*table];
    if db.dialect() == Dialect::MySql {
        args.extend(args![column]);
    }
    let rows = tx.rows(count, args).await?;
    Ok(rows.first().map_or(Ok(0), |row| row.int(0))? > 0)
}

/// MySQL ends a transaction at each `CREATE`: so the lock is a named one, each step may
/// be repeated, and the version comes last.
async fn migrate_mysql(db: &Db) -> Result<()> {
    let name = format!("chunkpoint.{}", db.sql().place().prefix());
    let mut tx = db.begin().await?;
    let lock = "SELECT COALESCE(GET_LOCK(CONCAT(LEFT(DATABASE(), 10), ?), ?), 0)";
    let locked = tx.rows(lock, args![&*name, LOCK_WAIT]).await?;
    if locked.first().map(|row| row.int(0)).transpose()? != Some(1) {
        let message = "another process is setting up the tables and does not come to an end";
        return tx
            .end(Err(Error::new(ErrorKind::Unavailable, message)))
            .await;
    }
    let migrated = migrate(&mut tx).await;
    let unlock = "DO RELEASE_LOCK(CONCAT(LEFT(DATABASE(), 10), ?))";
    let unlocked = tx.run(unlock, args![&*name]).await;
    tx.end(migrated.and(unlocked.map(drop))).await
}

fn newer(version: i64) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "the tables are of version {version}, and this program knows versions up to \
             {VERSION}; use a newer one"
        ),
    )
}

fn missing(db: &Db, found: Option<i64>) -> Error {
    let what = match found {
        None => "are not there".to_owned(),
        Some(version) => format!("are of version {version}, and this program needs {VERSION}"),
    };
    Error::new(
        ErrorKind::Unavailable,
        format!(
            "the tables {} {what}; with setup=check they are not made: let a role that may \
             create tables open the memory once, or run the SQL of chunkpoint_sql::schema_sql",
            db.sql().place()
        ),
    )
    .retryable(false)
}
