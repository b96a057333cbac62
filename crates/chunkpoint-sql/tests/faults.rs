//! Servers that are killed, connections that are cut, pools that are exhausted: nothing
//! acknowledged is lost, nothing is there by half, and errors tell the truth.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use chunkpoint_core::ErrorKind;
use chunkpoint_core::backend::*;
use chunkpoint_sql::{Dialect, Setup, SqlBackend, SqlBuilder, SqlConfig, schema_sql};
use chunkpoint_testkit::faults::{commit, through, until};
use chunkpoint_testkit::services::{MariaDb, Postgres, Safety};
use futures::TryStreamExt;
use support::Place;

/// As [`through`], with the server killed and started again.
async fn killed(url: String, kill: impl FnOnce()) {
    let config = SqlConfig {
        pool_timeout_ms: 5_000,
        ..SqlConfig::new(url)
    };
    let backend = Arc::new(SqlBackend::from_config(config).await.unwrap());
    through(backend, async |done| {
        until(done, 60).await;
        kill();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_killed_loses_nothing() {
    if Place::postgres().is_none() {
        return;
    }
    let mut server = Postgres::start(Safety::Durable).unwrap();
    killed(server.url(), || {
        server.kill();
        server.restart().unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mariadb_that_is_killed_loses_nothing() {
    if Place::mysql().is_none() {
        return;
    }
    let mut server = MariaDb::start(Safety::Durable).unwrap();
    killed(server.url(), || {
        server.kill();
        server.restart().unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_lose_nothing() {
    let Some(place) = Place::postgres() else {
        return;
    };
    let mut config = place.config();
    config.url.push_str("?application_name=to_be_cut");
    let backend = Arc::new(SqlBackend::from_config(config).await.unwrap());
    through(backend, async |done| {
        for n in 1..8 {
            until(done, 20 * n).await;
            place
                .execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE application_name = 'to_be_cut'",
                )
                .await;
        }
    })
    .await;
    place.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_pool_says_so() {
    let Some(place) = Place::postgres() else {
        return;
    };
    let config = SqlConfig {
        pool: 2,
        pool_timeout_ms: 200,
        ..place.config()
    };
    let backend = Arc::new(SqlBackend::from_config(config).await.unwrap());
    let blocked = place.clone();
    let blocking = tokio::spawn(async move {
        let block = "BEGIN; LOCK TABLE {checkpoints} IN ACCESS EXCLUSIVE MODE; \
             SELECT pg_sleep(2); COMMIT";
        blocked.execute(block).await;
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let commits = (0..6).map(|task| {
        let backend = backend.clone();
        tokio::spawn(async move {
            let commit = commit(task, 0, None);
            let result = backend.commit(commit.clone()).await;
            (commit, result)
        })
    });
    let (mut stored, mut refused) = (0, Vec::new());
    for committed in commits.collect::<Vec<_>>() {
        let (commit, result) = committed.await.unwrap();
        match result {
            Ok(_) => stored += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(error.is_retryable() && error.is_certainly_not_applied());
                assert!(error.message().contains("pool"), "{error}");
                refused.push(commit.thread);
            }
        }
    }
    assert_eq!(stored, 2);
    blocking.await.unwrap();
    for thread in refused {
        assert_eq!(backend.incarnation(&thread).await.unwrap(), None);
    }
    place.drop().await;
}

/// Listings hold connections; those that read meanwhile still find one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_leave_connections_to_others() {
    for place in support::each() {
        let config = SqlConfig {
            pool: 4,
            ..place.config()
        };
        let backend = Arc::new(SqlBackend::from_config(config).await.unwrap());
        let mut last = None;
        for step in 0..400 {
            let next = commit(
                0,
                step,
                last.as_ref().map(|(c, d): &(Commit, Committed)| (c, *d)),
            );
            let committed = backend.commit(next.clone()).await.unwrap();
            last = Some((next, committed));
        }
        let readers = (0..12).map(|_| {
            let backend = backend.clone();
            tokio::spawn(async move {
                let query = ListRecords {
                    thread: "thread 0".into(),
                    namespace: None,
                    before: None,
                    limit: None,
                    hidden: true,
                    detail: Detail::Keys,
                };
                let mut rows = backend.list(query).await.unwrap();
                let mut count = 0;
                while let Some(row) = rows.try_next().await.unwrap() {
                    let picks = [Pick::At(row.record.key)];
                    backend
                        .get("thread 0", &picks, Detail::Bodies)
                        .await
                        .unwrap();
                    count += 1;
                }
                count
            })
        });
        for reader in readers.collect::<Vec<_>>() {
            assert_eq!(reader.await.unwrap(), 400);
        }
        backend.close().await.unwrap();
        place.drop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_not_create_tables_works_on_those_of_another() {
    let Some(place) = Place::postgres() else {
        return;
    };
    let Place::Postgres { url, schema, .. } = &place else {
        unreachable!("it was asked for PostgreSQL");
    };
    let sql = schema_sql(Dialect::Postgres, Some(schema), "chunkpoint_").unwrap();
    let role = format!("role_{schema}");
    place
        .execute(&format!(
            "{sql}; CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role}; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}; \
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {role};"
        ))
        .await;
    let config = SqlConfig {
        url: url.replace("postgres@", &format!("{role}@")),
        ..place.config()
    };
    let backend = SqlBuilder::new(config)
        .setup(Setup::Check)
        .open()
        .await
        .unwrap();
    let first = commit(0, 0, None);
    let committed = backend.commit(first.clone()).await.unwrap();
    let alter = Alter {
        thread: first.thread.clone(),
        incarnation: committed.incarnation,
        time_ms: 1,
        changes: vec![(
            RecordRef {
                key: first.key.clone(),
                pack: first.pack,
            },
            Change::Remove,
        )],
    };
    assert_eq!(backend.alter(alter).await.unwrap(), [Altered::Done]);
    backend.close().await.unwrap();
    place
        .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
    place.drop().await;
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let mut wrong = vec![(
        SqlConfig::new("sqlite:///no/such/directory/a.db"),
        "directory",
    )];
    if let Some(Place::Postgres { url, .. }) = Place::postgres() {
        wrong.push((SqlConfig::new(url + "_nowhere"), "no such database"));
    }
    if let Some(Place::MySql { url, .. }) = Place::mysql() {
        let user = url.replace("root@", "root:hunter2@");
        wrong.push((SqlConfig::new(user), "user or the password"));
        wrong.push((
            SqlConfig::new(url.replace("/test", "/nowhere")),
            "no such database",
        ));
    }
    let mut unreachable = SqlConfig::new("postgres://me:hunter2@127.0.0.1:1/db");
    unreachable.pool_timeout_ms = 500;
    wrong.push((unreachable, "no connection was free"));
    for (config, expected) in wrong {
        let error = SqlBackend::from_config(config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.is_certainly_not_applied());
        assert!(error.message().contains(expected), "{error}");
        assert!(!format!("{error:?}{error}").contains("hunter2"), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("a.db"),
        "no database at all, but text ".repeat(100),
    )
    .unwrap();
    let url = format!("sqlite://{}/a.db", dir.path().display());
    let error = SqlBackend::from_config(SqlConfig::new(url))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}
