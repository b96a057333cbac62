//! Opening: tables are made once, found again, and refused where they are not ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use chunkpoint_core::ErrorKind;
use chunkpoint_sql::{Dialect, Setup, SqlBackend, SqlBuilder, SqlConfig, schema_sql};
use support::{Place, each};

async fn open(place: &Place) -> chunkpoint_core::Result<SqlBackend> {
    SqlBackend::from_config(place.config()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_made_once() {
    for place in each() {
        let checked = SqlBuilder::new(place.config()).setup(Setup::Check).open();
        let error = checked.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{place:?}: {error}");
        assert!(error.message().contains("schema_sql"), "{error}");
        open(&place).await.unwrap();
        open(&place).await.unwrap();
        let checked = SqlBuilder::new(place.config()).setup(Setup::Check).open();
        checked.await.unwrap();
        place.drop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_open_at_once() {
    for place in each() {
        let opening = (0..10).map(|_| {
            let place = place.clone();
            tokio::spawn(async move { open(&place).await.map(drop) })
        });
        for opened in opening.collect::<Vec<_>>() {
            opened.await.unwrap().unwrap();
        }
        place.drop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_tables_are_refused() {
    for place in each() {
        open(&place).await.unwrap();
        place
            .execute("UPDATE {schema_version} SET version = version + 1")
            .await;
        let error = open(&place).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains("newer"), "{error}");
        place.drop().await;
    }
}

/// Tables of another program are neither used nor touched, whichever of ours is called so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_another_program_are_refused() {
    let names = [
        "threads",
        "ended",
        "checkpoints",
        "chunks",
        "writes",
        "history",
        "items",
        "item_packs",
        "item_chunks",
        "store",
        "schema_version",
    ];
    for place in each() {
        if let Place::Postgres { schema, .. } = &place {
            place.execute(&format!("CREATE SCHEMA {schema}")).await;
        } else if let Place::Sqlite(dir) = &place {
            std::fs::File::create(dir.path().join("test.db")).unwrap();
        }
        for name in names {
            let theirs = format!("CREATE TABLE {{{name}}} (post VARCHAR(10))");
            place.execute(&theirs).await;
            let error = open(&place).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{name}: {error}");
            assert!(
                error.message().contains("table_prefix"),
                "{name} on {place:?}: {error}"
            );
            assert!(!error.is_retryable());
            place
                .execute(&format!("INSERT INTO {{{name}}} VALUES ('still ours')"))
                .await;
            place.execute(&format!("DROP TABLE {{{name}}}")).await;
        }
        // Nothing of ours was left.
        if !matches!(place, Place::MySql { .. }) {
            for name in names {
                let free = format!("CREATE TABLE {{{name}}} (post VARCHAR(10))");
                place.execute(&free).await;
                place.execute(&format!("DROP TABLE {{{name}}}")).await;
            }
        }
        open(&place).await.unwrap();
        place.drop().await;
    }
}

/// Names of tables are the only part of a statement that a configuration has a say in: what
/// is no plain identifier is refused before anything is connected to.
#[tokio::test]
async fn nothing_but_identifiers_names_tables() {
    let evil = [
        "x; DROP TABLE y; --",
        "x\"; DROP TABLE y; --",
        "x'",
        "x`",
        "x\\",
        "x y",
        "x.y",
        "x\0y",
        "{threads}",
        "?",
        "$1",
        "X",
        "é",
        "",
        "1x",
    ];
    // No server answers there.
    let url = "postgres://127.0.0.1:1/db";
    for name in evil {
        let escaped: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for option in ["schema", "table_prefix"] {
            let error = SqlConfig::from_url(&format!("{url}?{option}={escaped}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}: {error}");
            assert!(error.message().contains(option), "{error}");
        }
        let builder = SqlBuilder::new(SqlConfig::new(url));
        for builder in [builder.clone().schema(name), builder.table_prefix(name)] {
            let error = builder.open().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}: {error}");
        }
        schema_sql(Dialect::Postgres, Some(name), "x").unwrap_err();
        schema_sql(Dialect::MySql, None, name).unwrap_err();
    }
}
