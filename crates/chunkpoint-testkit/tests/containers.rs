//! Where there is no Docker, that is said, and soon.
#![cfg(feature = "testcontainers")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use chunkpoint_testkit::services::Image;

const CHILD: &str = "CHUNKPOINT_TEST_NO_DOCKER";

#[test]
fn a_child_without_docker() {
    // On its own this test has nothing to do: the next one runs it.
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    for image in [
        Image::Postgres,
        Image::MySql,
        Image::MariaDb,
        Image::Redis,
        Image::Mongo,
    ] {
        let since = Instant::now();
        let why = image.start().unwrap_err();
        println!("{image:?} after {:?}: {why}", since.elapsed());
        assert!(why.contains("Docker"), "{why}");
        assert!(!why.contains('\n'), "{why}");
        assert!(since.elapsed() < Duration::from_secs(10), "{why}");
    }
}

#[test]
fn a_missing_docker_is_named_at_once() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_without_docker", "--nocapture"])
        .env(CHILD, "1")
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    let error = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}{error}");
    println!("{said}");
}
