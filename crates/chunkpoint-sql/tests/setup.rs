//! Opening: tables are made once, found again, and refused where they are not ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use chunkpoint_core::ErrorKind;
use chunkpoint_sql::{Setup, SqlBackend, SqlBuilder};
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
