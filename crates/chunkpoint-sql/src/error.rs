//! What the drivers' errors mean to a caller: one function for all three.

use chunkpoint_core::{Applied, Error, ErrorKind};
use sqlx::error::DatabaseError;

use crate::dialect::Dialect;

/// What was under way when a driver failed, and so what is known of the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing that changes anything, or a transaction before its end: whatever it had
    /// done is undone.
    Before,
    /// A statement that is its own transaction, or the end of one: if the connection
    /// is lost now, it may have happened.
    Deciding,
}

/// What a server's own code says.
struct Meaning {
    kind: ErrorKind,
    retryable: bool,
    /// Whether the server may have ended the transaction before it said so.
    uncertain: bool,
    advice: &'static str,
}

const fn meaning(kind: ErrorKind, retryable: bool, advice: &'static str) -> Meaning {
    Meaning {
        kind,
        retryable,
        uncertain: false,
        advice,
    }
}

const fn uncertain(advice: &'static str) -> Meaning {
    Meaning {
        kind: ErrorKind::Unavailable,
        retryable: true,
        uncertain: true,
        advice,
    }
}

/// Turns a driver's error into one of ours.
pub(crate) fn from_sqlx(dialect: Dialect, stage: Stage, error: sqlx::Error) -> Error {
    let meaning = match &error {
        sqlx::Error::Database(database) => of_database(dialect, &**database),
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            uncertain("the connection to the database was lost")
        }
        sqlx::Error::Tls(_) => meaning(
            ErrorKind::Unavailable,
            false,
            "no encrypted connection could be made; look at sslmode and the certificates",
        ),
        sqlx::Error::PoolTimedOut => meaning(
            ErrorKind::Unavailable,
            true,
            "no connection was free in time; raise pool or pool_timeout, or look whether the \
             server can be reached",
        ),
        sqlx::Error::PoolClosed => meaning(ErrorKind::Unavailable, false, "the backend was closed"),
        sqlx::Error::Configuration(_) => meaning(
            ErrorKind::InvalidInput,
            false,
            "the connection is not configured right",
        ),
        sqlx::Error::InvalidArgument(_) | sqlx::Error::Encode(_) => meaning(
            ErrorKind::TooLarge,
            false,
            "a value cannot be sent to the database",
        ),
        _ => meaning(ErrorKind::Other, false, "the database failed"),
    };
    let applied =
        if stage == Stage::Deciding && (meaning.uncertain || meaning.kind == ErrorKind::Other) {
            Applied::Unknown
        } else {
            Applied::No
        };
    Error::new(meaning.kind, meaning.advice)
        .retryable(meaning.retryable)
        .applied(applied)
        .source(without_secrets(error))
}

/// A server's message names roles, tables and addresses, never passwords; a detail may
/// quote values, and stays out.
fn without_secrets(error: sqlx::Error) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            format!("{} ({code})", database.message()).into()
        }
        error => error.into(),
    }
}

fn of_database(dialect: Dialect, error: &dyn DatabaseError) -> Meaning {
    let code = error.code().unwrap_or_default();
    match dialect {
        Dialect::Sqlite => of_sqlite(code.parse().unwrap_or(1)),
        Dialect::Postgres => of_postgres(&code),
        Dialect::MySql => of_mysql(mysql_number(error)),
    }
}

/// By [result code](https://www.sqlite.org/rescode.html); its lowest byte is the
/// primary one.
fn of_sqlite(code: i32) -> Meaning {
    use ErrorKind::{Corrupt, Other, TooLarge, Unavailable};
    match code & 0xff {
        5 | 6 => meaning(
            Unavailable,
            true,
            "the database file is locked by another process",
        ),
        3 | 23 => meaning(Unavailable, false, "permission denied"),
        7 => meaning(Unavailable, true, "out of memory"),
        8 => meaning(Unavailable, false, "the database file cannot be written to"),
        10 => meaning(Unavailable, false, "the disk failed"),
        11 => meaning(Corrupt, false, "the database file is damaged"),
        13 => meaning(Unavailable, false, "disk full; free some space"),
        14 => meaning(
            Unavailable,
            false,
            "the database file cannot be opened or written to; does its directory exist?",
        ),
        18 => meaning(TooLarge, false, "a value is larger than SQLite takes"),
        // SQLITE_CONSTRAINT_PRIMARYKEY and _UNIQUE.
        19 if matches!(code, 1555 | 2067) => meaning(Other, false, DUPLICATE),
        26 => meaning(Corrupt, false, "the file is not an SQLite database"),
        1 => meaning(
            Other,
            false,
            "SQLite refused a statement; are these its tables?",
        ),
        _ => meaning(Other, false, "SQLite failed"),
    }
}

/// By [SQLSTATE](https://www.postgresql.org/docs/current/errcodes-appendix.html).
fn of_postgres(code: &str) -> Meaning {
    use ErrorKind::{Conflict, Corrupt, Other, Timeout, TooLarge, Unavailable};
    match code {
        "40001" | "40P01" | "55P03" => meaning(
            Conflict,
            true,
            "another transaction was in the way, again and again",
        ),
        "23505" => meaning(Other, false, DUPLICATE),
        "57014" => meaning(Timeout, true, "the statement was cancelled"),
        "57P01" | "57P02" | "57P05" => uncertain("the server is shutting down"),
        "57P03" => meaning(Unavailable, true, "the server is starting or stopping"),
        "53100" => meaning(Unavailable, false, "the server's disk is full"),
        "53300" => meaning(Unavailable, true, "the server has no connection left"),
        "3D000" => meaning(Unavailable, false, "there is no such database"),
        "42501" => meaning(
            Unavailable,
            false,
            "permission denied; what a role needs is in the documentation of setup",
        ),
        "42P01" | "42703" | "42883" | "3F000" => meaning(
            Unavailable,
            false,
            "the tables are not there or not ours; set them up, or choose another table_prefix",
        ),
        "25006" => meaning(Unavailable, false, "the database is read-only"),
        "XX001" | "XX002" => meaning(Corrupt, false, "the server found damaged data"),
        _ if code.starts_with("28") => meaning(
            Unavailable,
            false,
            "the server refused the user or the password",
        ),
        _ if code.starts_with("08") => uncertain("the connection to the database was lost"),
        _ if code.starts_with("53") => meaning(Unavailable, true, "the server is out of resources"),
        _ if code.starts_with("54") => meaning(TooLarge, false, "over a limit of the server"),
        _ => meaning(Other, false, "the server refused a statement"),
    }
}

/// By [error number](https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html).
fn of_mysql(number: u16) -> Meaning {
    use ErrorKind::{Conflict, Corrupt, Other, Timeout, TooLarge, Unavailable};
    match number {
        // 1467: a deadlock over the lock of an AUTO_INCREMENT.
        1205 | 1213 | 1020 | 1467 => meaning(
            Conflict,
            true,
            "another transaction was in the way, again and again",
        ),
        1062 => meaning(Other, false, DUPLICATE),
        1317 | 1969 | 3024 => meaning(Timeout, true, "the statement was cancelled"),
        1053 | 1077 | 1079 | 1927 => uncertain("the server is shutting down"),
        1040 | 1041 | 1203 | 1226 => {
            meaning(Unavailable, true, "the server has no connection left")
        }
        1021 | 1114 => meaning(Unavailable, false, "the server's disk is full"),
        1044 | 1142 | 1143 | 1227 | 1370 => meaning(
            Unavailable,
            false,
            "permission denied; what a role needs is in the documentation of setup",
        ),
        1045 | 1698 => meaning(
            Unavailable,
            false,
            "the server refused the user or the password",
        ),
        1049 => meaning(Unavailable, false, "there is no such database"),
        1054 | 1146 | 1305 => meaning(
            Unavailable,
            false,
            "the tables are not there or not ours; set them up, or choose another table_prefix",
        ),
        1290 | 1792 | 1836 => meaning(Unavailable, false, "the database is read-only"),
        1153 | 1301 | 1406 => meaning(TooLarge, false, "over a limit of the server"),
        1712 | 1034 | 1194 => meaning(Corrupt, false, "the server found damaged data"),
        _ => meaning(Other, false, "the server refused a statement"),
    }
}

#[cfg(feature = "mysql")]
fn mysql_number(error: &dyn DatabaseError) -> u16 {
    let error = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>();
    error.map_or(0, |error| error.number())
}

#[cfg(not(feature = "mysql"))]
fn mysql_number(_: &dyn DatabaseError) -> u16 {
    0
}

/// Whether a transaction may be tried once more as it is: it lost to another one, and
/// nothing of it was done.
pub(crate) fn is_lost_race(dialect: Dialect, error: &Error) -> bool {
    let race = match dialect {
        Dialect::Sqlite => false, // it has waited for the lock already
        Dialect::Postgres | Dialect::MySql => error.kind() == ErrorKind::Conflict,
    };
    race && error.is_retryable() && error.is_certainly_not_applied()
}

/// Whether the connection went with the error.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        // What a server says last before it closes one.
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            code.starts_with("08")
                || matches!(&*code, "57P01" | "57P02" | "57P03" | "57P05" | "25P03")
                || matches!(mysql_number(&**database), 1053 | 1077 | 1079 | 1927 | 4031)
        }
        _ => false,
    }
}

/// Whether a row of the same key was there already.
pub(crate) fn is_duplicate(error: &Error) -> bool {
    error.message() == DUPLICATE
}

/// What is said of a row whose key another row has.
const DUPLICATE: &str = "a row of this key is there already";

/// The error of every call after `close`.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the backend was closed").retryable(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_uncertain_only_while_deciding() {
        let lost = || sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        let before = from_sqlx(Dialect::Postgres, Stage::Before, lost());
        assert_eq!(before.kind(), ErrorKind::Unavailable);
        assert!(before.is_retryable() && before.is_certainly_not_applied());
        let deciding = from_sqlx(Dialect::Postgres, Stage::Deciding, lost());
        assert!(deciding.is_retryable() && !deciding.is_certainly_not_applied());
        let full = from_sqlx(Dialect::MySql, Stage::Deciding, sqlx::Error::PoolTimedOut);
        assert!(full.is_retryable() && full.is_certainly_not_applied());
        let closed = from_sqlx(Dialect::Sqlite, Stage::Deciding, sqlx::Error::PoolClosed);
        assert!(!closed.is_retryable() && closed.is_certainly_not_applied());
    }

    #[test]
    fn codes_are_told_apart() {
        assert_eq!(of_sqlite(5).kind, ErrorKind::Unavailable);
        assert_eq!(of_sqlite(0x105).kind, ErrorKind::Unavailable);
        assert_eq!(of_sqlite(13).advice, "disk full; free some space");
        assert_eq!(of_postgres("40P01").kind, ErrorKind::Conflict);
        assert!(!of_postgres("28P01").retryable);
        assert!(of_postgres("57P01").uncertain);
        assert_eq!(of_mysql(1213).kind, ErrorKind::Conflict);
        assert_eq!(of_mysql(1153).kind, ErrorKind::TooLarge);
    }
}
