//! The command from end to end: exit codes, messages, files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use chunkpoint::{Item, Memory, Settings};
use chunkpoint_testkit::copying::fill;
use chunkpoint_testkit::deterministic::ManualClock;

fn chunkpoint(args: &[&str]) -> Output {
    with_input(args, b"")
}

fn with_input(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_chunkpoint"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input).ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Asserts how a command ended; gives what it said on standard error.
fn ended(output: &Output, code: i32) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

fn url(dir: &Path) -> String {
    format!("file://{}?durability=process", dir.display())
}

/// A memory in a directory, with everything there is.
async fn filled(dir: &Path, seed: u64) {
    let clock = Arc::new(ManualClock::default());
    let backend = chunkpoint_fs::FsBackend::open(dir).unwrap();
    let memory = Memory::builder(Arc::new(backend))
        .settings(Settings {
            background: false,
            ..Settings::default()
        })
        .clock(clock.clone())
        .build()
        .unwrap();
    fill(&memory, &clock, seed, 40).await;
    memory.close().await.unwrap();
}

#[tokio::test]
async fn a_memory_goes_out_and_in_and_is_the_same() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    filled(&at("a"), 1).await;
    let (a, b, c) = (url(&at("a")), url(&at("b")), url(&at("c")));
    let file = at("a.jsonl");
    let name = file.to_str().unwrap();

    let said = ended(&chunkpoint(&["export", &a, name]), 0);
    assert!(said.contains("exported"), "{said}");
    let whole = std::fs::read(&file).unwrap();
    // Standard output has the same, and nothing else.
    let out = chunkpoint(&["export", &a]);
    ended(&out, 0);
    assert!(out.stdout == whole);

    let said = ended(&chunkpoint(&["import", &b, name]), 0);
    assert!(said.contains("imported"), "{said}");
    let said = ended(&with_input(&["import", &b, "-"], &whole), 0);
    assert!(said.contains("there already"), "{said}");
    let said = ended(&chunkpoint(&["verify", &a, &b]), 0);
    assert!(said.contains("both hold the same"), "{said}");

    let said = ended(&chunkpoint(&["copy", &a, &c]), 0);
    assert!(
        said.contains("copied") && said.contains("both hold the same"),
        "{said}"
    );
    assert!(chunkpoint(&["export", &c]).stdout == whole);
    let quiet = chunkpoint(&["copy", "--quiet", &a, &c]);
    assert_eq!(ended(&quiet, 0), "");
    assert!(quiet.stdout.is_empty());
}

#[tokio::test]
async fn differences_and_conflicts_have_their_exit_codes() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    for (name, word) in [("a", "one"), ("b", "two")] {
        let memory = chunkpoint::open(&url(&at(name))).await.unwrap();
        let thread = memory.thread("t").unwrap();
        let mut draft = thread.draft().await.unwrap();
        draft
            .set_id("1")
            .unwrap()
            .append("messages", [Item::text(word)])
            .unwrap();
        thread.commit(draft).await.unwrap();
        memory.close().await.unwrap();
    }
    let (a, b) = (url(&at("a")), url(&at("b")));
    let output = chunkpoint(&["verify", &a, &b]);
    assert!(ended(&output, 3).contains("1 difference "));
    assert!(text(&output.stdout).contains("\"messages\""));
    let said = ended(&chunkpoint(&["copy", &a, &b]), 5);
    assert!(said.contains("there already"), "{said}");
    ended(&chunkpoint(&["verify", "--threads", "other", &a, &b]), 0);
    ended(&chunkpoint(&["verify", "--store-only", &a, &b]), 0);
}

#[tokio::test]
async fn files_are_whole_or_not_there() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    filled(&at("a"), 2).await;
    let a = url(&at("a"));
    let file = at("a.jsonl");
    let name = file.to_str().unwrap();
    std::fs::write(&file, "mine").unwrap();
    let said = ended(&chunkpoint(&["export", &a, name]), 1);
    assert!(said.contains("--force"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    ended(&chunkpoint(&["export", "--force", &a, name]), 0);
    let whole = std::fs::read(&file).unwrap();
    let files = std::fs::read_dir(scratch.path()).unwrap();
    assert_eq!(files.count(), 2, "something unfinished was left");

    // A file that was cut says so, and the whole one goes on from there.
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let b = url(&at("b"));
    let said = ended(&chunkpoint(&["import", &b, name]), 4);
    assert!(said.contains("was cut") && said.contains(name), "{said}");
    std::fs::write(&file, &whole).unwrap();
    let said = ended(&chunkpoint(&["import", &b, name]), 0);
    assert!(said.contains("there already"), "{said}");
    ended(&chunkpoint(&["verify", &a, &b]), 0);
    let said = ended(&with_input(&["import", &b], b"name,age\nada,36\n"), 4);
    assert!(
        said.contains("line 1") && said.contains("standard input"),
        "{said}"
    );
}

#[test]
fn wrong_usage_says_what_is_right() {
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&[], 2, &["Usage", "export", "verify"]),
        (&["move", "a"], 2, &["move", "--help"]),
        (&["export", "non@sense"], 2, &["not a URL", "file:///dir"]),
        (
            &["export", "some/agents"],
            2,
            &["some/agents is not a URL", "file:///", "/some/agents ("],
        ),
        (&["copy", "memory:", "/srv/a b"], 2, &["file:///srv/a%20b"]),
        (
            &["export", "ftp://ada:secret@host/x"],
            2,
            &["ftp", "memory:", "ada:***@host"],
        ),
        (
            &["export", "file:///no/such/place?durability=x"],
            1,
            &["/no/such/place", "no such"],
        ),
        (
            &["export", "memory:?durabilty=disk"],
            2,
            &["durabilty", "known"],
        ),
        (&["copy", "file:///x", "file:///x"], 2, &["itself"]),
        (
            &["import", "memory:", "/no/such/file"],
            1,
            &["/no/such/file"],
        ),
        (
            &["verify", "memory:", "memory:", "redis://:secret@host"],
            2,
            &["redis://:***@host"],
        ),
        (
            &["export", "memory:", "--namespace", "a..b"],
            2,
            &["--namespace", "label"],
        ),
        (
            &["export", "memory:", "--store-only", "--threads", "x"],
            2,
            &["--store-only"],
        ),
    ];
    for (args, code, parts) in cases {
        let output = chunkpoint(args);
        let said = ended(&output, *code);
        for part in *parts {
            assert!(said.contains(part), "{args:?}: {said}\nhas no {part}");
        }
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn help_teaches() {
    for (args, parts) in [
        (
            &["--help"][..],
            &["file:///", "Exit codes", "3 the two", "verify"][..],
        ),
        (&["export", "--help"], &["Examples", "--force", "--threads"]),
        (&["import", "--help"], &["Examples", "interrupted", "zstd"]),
        (&["copy", "--help"], &["Examples", "--no-verify"]),
        (&["verify", "--help"], &["Examples", "exit code is 3"]),
    ] {
        let output = chunkpoint(args);
        ended(&output, 0);
        let said = text(&output.stdout);
        for part in parts {
            assert!(said.contains(part), "{args:?}: {said}\nhas no {part}");
        }
    }
}
