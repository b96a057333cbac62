//! Opening by URL: what works, and what is refused with what words.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use chunkpoint::{Error, ErrorKind, Settings};

async fn refused(url: &str) -> Error {
    let error = chunkpoint::open(url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    error
}

#[tokio::test]
async fn an_unknown_scheme_lists_the_known_ones() {
    let error = refused("cassandra://localhost/x").await;
    for scheme in chunkpoint::SCHEMES {
        assert!(error.message().contains(scheme), "{error}");
    }
}

/// Of a backend that is only not compiled in, its feature is named.
#[cfg(not(feature = "postgres"))]
#[tokio::test]
async fn a_scheme_that_this_build_lacks_names_its_feature() {
    for url in ["postgres://ada:secret@host/db", "postgresql://host/db"] {
        let error = refused(url).await;
        assert!(error.message().contains("feature postgres"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_url_lists_the_known_schemes() {
    assert!(
        refused("/var/lib/agents")
            .await
            .message()
            .contains("memory:")
    );
}

#[tokio::test]
async fn an_unknown_option_lists_the_known_ones() {
    let error = refused("memory:?max_histroy=3").await;
    for option in Settings::OPTIONS {
        assert!(error.message().contains(option), "{error}");
    }
    #[cfg(feature = "fs")]
    {
        let error = refused("file:///nowhere/at/all?durabilty=disk").await;
        assert!(error.message().contains("durability"), "{error}");
        assert!(error.message().contains("max_history"), "{error}");
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_says_what_does() {
    for (url, expected) in [
        ("memory:?max_history=many", "whole number"),
        ("memory:?max_history=0", "at least 1"),
        ("memory:?grace=soon", "seconds"),
        ("memory:?compression=gzip", "none, lz4, zstd"),
        ("memory:?background=maybe", "true or false"),
    ] {
        let error = refused(url).await;
        assert!(error.message().contains(expected), "{url}: {error}");
    }
}

#[tokio::test]
async fn options_reach_the_settings() {
    let memory =
        chunkpoint::open("memory:?max_history=7&max_age=1.5&cache_bytes=1024&compression=lz4")
            .await
            .unwrap();
    let settings = memory.settings();
    assert_eq!(settings.max_history, Some(7));
    assert_eq!(
        settings.max_age,
        Some(std::time::Duration::from_millis(1500))
    );
    assert_eq!(settings.cache_bytes, 1024);
    assert_eq!(settings.compression, chunkpoint::Compression::Lz4);
}

#[tokio::test]
async fn an_error_never_holds_the_url() {
    let error = refused("nosuch://user:hunter2@host/db?x=hunter2").await;
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

#[cfg(feature = "fs")]
#[tokio::test]
async fn a_directory_is_opened_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!(
        "file://{}/with%20space?durability=process&max_history=9",
        dir.path().display()
    );
    for expected in 1..3 {
        let memory = chunkpoint::open(&url).await.unwrap();
        let thread = memory.thread("t").unwrap();
        let mut draft = thread.draft().await.unwrap();
        draft.append("m", [chunkpoint::Item::text("x")]).unwrap();
        let snapshot = thread.commit(draft).await.unwrap();
        assert_eq!(snapshot.list("m").await.unwrap().len(), expected);
        memory.close().await.unwrap();
    }
    assert!(dir.path().join("with space").is_dir());
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn an_sqlite_file_is_opened_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agents.db");
    let url = format!(
        "sqlite://{}?durability=process&max_history=9",
        path.display()
    );
    for expected in 1..3 {
        let memory = chunkpoint::open(&url).await.unwrap();
        let thread = memory.thread("t").unwrap();
        let mut draft = thread.draft().await.unwrap();
        draft.append("m", [chunkpoint::Item::text("x")]).unwrap();
        let snapshot = thread.commit(draft).await.unwrap();
        assert_eq!(snapshot.list("m").await.unwrap().len(), expected);
        memory.close().await.unwrap();
    }
    let memory = chunkpoint::open("sqlite::memory:").await.unwrap();
    assert!(
        memory
            .thread("t")
            .unwrap()
            .latest()
            .await
            .unwrap()
            .is_none()
    );
    let error = refused("sqlite:///a.db?max_histroy=1").await;
    assert!(error.message().contains("durability"), "{error}");
    assert!(error.message().contains("max_history"), "{error}");
    let error = refused("sqlite://relative/a.db").await;
    assert!(error.message().contains("absolute"), "{error}");
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_server_that_cannot_be_reached_is_unavailable_and_keeps_the_secret() {
    let url = "postgres://user:hunter2@127.0.0.1:1/db?pool_timeout=1";
    let error = chunkpoint::open(url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn options_of_redis_are_known() {
    let error = refused("redis://localhost/?max_histroy=1").await;
    assert!(error.message().contains("thread_ttl"), "{error}");
    assert!(error.message().contains("max_history"), "{error}");
    let url = "redis://:hunter2@127.0.0.1:1/?timeout=1&max_history=3&prefix=a";
    let error = chunkpoint::open(url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error}");
}

#[cfg(feature = "mongodb")]
#[tokio::test]
async fn options_of_mongodb_are_known() {
    let error = refused("mongodb://a:1,b:2/?max_histroy=1").await;
    assert!(error.message().contains("prefix"), "{error}");
    assert!(error.message().contains("max_history"), "{error}");
    let url = "mongodb://me:hunter2@127.0.0.1:1/?timeout=1&max_history=3&prefix=a";
    let error = chunkpoint::open(url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error}");
}
