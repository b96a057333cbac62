//! Torn writes are cut, flipped bits are told, and neither takes more with it
//! than what it hit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use chunkpoint_core::ErrorKind;
use chunkpoint_core::backend::*;
use chunkpoint_fs::FsBackend;
use support::*;

/// Commits with a chunk each, one after the other; gives their locators too.
async fn fill(backend: &FsBackend, thread: &str, count: u64) -> Vec<(Commit, u64)> {
    let mut rng = Rng(count + 1);
    let mut stored = Vec::new();
    for n in 1..=count {
        let (body, chunk) = (rng.bytes(40), rng.bytes(60));
        let commit = root(thread, &uuid(n), body, vec![chunk]);
        let committed = backend.commit(commit.clone()).await.unwrap();
        stored.push((commit, committed.locator));
    }
    stored
}

/// Whether a commit is there as it was made; `None` if it cannot be read.
async fn is_there(dir: &Path, commit: &Commit, locator: u64) -> Option<bool> {
    let backend = open(dir);
    let row = match get(&backend, &commit.thread, &commit.key.id).await {
        Ok(row) => row,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.message().contains("offset"), "{error}");
            return None;
        }
    };
    let Some(row) = row else { return Some(false) };
    assert_eq!(row.body, commit.body);
    assert_eq!(row.record.pack, commit.pack);
    assert_eq!(row.index, commit.index);
    let names = names(commit, locator);
    match backend
        .chunks(&commit.thread, row.incarnation, &names)
        .await
    {
        Ok(chunks) => {
            let expected: Vec<_> = commit.chunks.iter().cloned().map(Some).collect();
            assert_eq!(chunks, expected, "a record without its chunks");
            Some(true)
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            None
        }
    }
}

#[tokio::test]
async fn a_write_torn_at_any_byte_is_cut_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let stored = fill(&open(dir.path()), "t", 4).await;
    let log = log_of(dir.path());
    let whole = fs::read(&log).unwrap();
    let last = stored[3].1 as usize;
    for len in last..whole.len() {
        fs::write(&log, &whole[..len]).unwrap();
        for (commit, locator) in &stored[..3] {
            assert_eq!(is_there(dir.path(), commit, *locator).await, Some(true));
        }
        let backend = open(dir.path());
        assert!(
            get(&backend, "t", &uuid(4)).await.unwrap().is_none(),
            "{len} bytes"
        );
        assert_eq!(
            fs::metadata(&log).unwrap().len(),
            len as u64,
            "readers cut nothing"
        );
        let next = root("t", &uuid(5), "next", vec![Bytes::from_static(b"chunk")]);
        let committed = backend.commit(next.clone()).await.unwrap();
        assert_eq!(committed.locator, last as u64);
        assert_eq!(
            is_there(dir.path(), &next, committed.locator).await,
            Some(true)
        );
        assert_eq!(ids(&open(dir.path()), "t").await, [5, 3, 2, 1].map(uuid));
    }
}

#[tokio::test]
async fn zeros_that_a_crash_left_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let stored = fill(&open(dir.path()), "t", 3).await;
    let log = log_of(dir.path());
    let mut bytes = fs::read(&log).unwrap();
    bytes.resize(bytes.len() + 10_000, 0);
    fs::write(&log, &bytes).unwrap();
    fill(&open(dir.path()), "other", 1).await;
    let next = root("t", &uuid(9), "next", vec![]);
    open(dir.path()).commit(next).await.unwrap();
    for (commit, locator) in &stored {
        assert_eq!(is_there(dir.path(), commit, *locator).await, Some(true));
    }
    assert!(fs::metadata(&log).unwrap().len() < bytes.len() as u64);
}

#[tokio::test]
async fn a_flipped_bit_is_told_and_takes_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let stored = fill(&open(dir.path()), "t", 8).await;
    let log = log_of(dir.path());
    let other = fill(&open(dir.path()), "other", 2).await;
    let whole = fs::read(&log).unwrap();
    let start = stored[0].1 as usize;
    for (n, at) in (start..whole.len()).enumerate() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (n % 8);
        fs::write(&log, &bytes).unwrap();
        let hit = stored
            .iter()
            .rposition(|(_, locator)| *locator as usize <= at)
            .unwrap();
        for (nth, (commit, locator)) in stored.iter().enumerate() {
            let there = is_there(dir.path(), commit, *locator).await;
            if nth != hit {
                assert_eq!(there, Some(true), "record {nth}, byte {at} of record {hit}");
            } else {
                assert_eq!(there, None, "byte {at} of record {hit}");
            }
        }
        let (rows, errors) = rows(&open(dir.path()), listing("t")).await;
        assert!(rows.len() >= stored.len() - 1, "byte {at}");
        assert!(
            errors
                .iter()
                .all(|error| error.kind() == ErrorKind::Corrupt)
        );
        assert_eq!(rows.len() + errors.len(), 8, "byte {at}: {errors:?}");
    }
    for (commit, locator) in &other {
        assert_eq!(is_there(dir.path(), commit, *locator).await, Some(true));
    }
}

/// The newest frame may be the only one that was acknowledged since: whatever
/// bit of it changes, it is not taken for a write that was cut short.
#[tokio::test]
async fn no_flipped_bit_of_the_last_frame_is_taken_for_a_torn_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut stored = fill(&open(dir.path()), "t", 2).await;
    let mut rng = Rng(77);
    let log = log_of(dir.path());
    // Without and with a length of two bytes, and over several sectors.
    for (n, body, chunk) in [(3, 10, 30), (4, 300, 0), (5, 40, 1500)] {
        let chunks = (chunk > 0).then(|| rng.bytes(chunk)).into_iter().collect();
        let commit = root("t", &uuid(n), rng.bytes(body), chunks);
        let committed = open(dir.path()).commit(commit.clone()).await.unwrap();
        let (start, place) = (committed.locator as usize, committed.locator);
        let whole = fs::read(&log).unwrap();
        let bits = (whole.len() - start) * 8;
        let step = if n == 3 { 1 } else { 7 };
        for bit in (0..96).chain((96..bits).step_by(step)) {
            let mut bytes = whole.clone();
            bytes[start + bit / 8] ^= 1 << (bit % 8);
            fs::write(&log, &bytes).unwrap();
            assert_eq!(is_there(dir.path(), &commit, place).await, None, "{bit}");
            let (before, at) = stored.last().unwrap();
            assert_eq!(is_there(dir.path(), before, *at).await, Some(true));
            let backend = open(dir.path());
            match latest(&backend, "t").await {
                // Its chunk is damaged.
                Ok(row) => assert_eq!(&*row.unwrap().record.key.id, uuid(n)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                    let place = format!("offset {start}");
                    assert!(error.message().contains(&place), "{error}");
                    let mut next = root("t", &uuid(9), "", vec![]);
                    next.expect_latest = Some(Some(uuid(n - 1).into()));
                    let error = backend.commit(next).await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                }
            }
            let next = root("t", &uuid(9), "next", vec![]);
            let committed = backend.commit(next.clone()).await.unwrap();
            assert_eq!(committed.locator, whole.len() as u64, "nothing is cut");
            let there = latest(&open(dir.path()), "t").await.unwrap().unwrap();
            assert_eq!(there.record.pack, next.pack);
        }
        fs::write(&log, &whole).unwrap();
        stored.push((commit, place));
    }
}

#[tokio::test]
async fn writing_goes_on_behind_damage() {
    let dir = tempfile::tempdir().unwrap();
    let stored = fill(&open(dir.path()), "t", 6).await;
    let log = log_of(dir.path());
    let mut bytes = fs::read(&log).unwrap();
    bytes[stored[2].1 as usize + 40] ^= 4;
    fs::write(&log, &bytes).unwrap();
    let next = root("t", &uuid(7), "next", vec![]);
    open(dir.path()).commit(next).await.unwrap();
    let after = fs::read(&log).unwrap();
    assert_eq!(
        after[..bytes.len()],
        bytes[..],
        "what was acknowledged is not cut"
    );
    let (rows, errors) = rows(&open(dir.path()), listing("t")).await;
    let ids: Vec<_> = rows
        .iter()
        .map(|row| row.record.key.id.to_string())
        .collect();
    assert_eq!(ids, [7, 6, 5, 4, 2, 1].map(uuid));
    assert_eq!(errors.len(), 1);
}

/// Over many state frames, so that damage hits those as well.
#[tokio::test]
async fn damage_anywhere_in_a_long_log_hides_at_most_what_it_hit() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let mut rng = Rng(5);
    let mut stored = Vec::new();
    for n in 1..=600 {
        let commit = root("t", &uuid(n), rng.bytes(300), vec![]);
        let committed = backend.commit(commit.clone()).await.unwrap();
        stored.push((commit, committed.locator));
    }
    let log = log_of(dir.path());
    let whole = fs::read(&log).unwrap();
    for _ in 0..60 {
        let start = stored[0].1;
        let at = (start + rng.below(whole.len() as u64 - start)) as usize;
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << rng.below(8);
        fs::write(&log, &bytes).unwrap();
        let hit = stored
            .iter()
            .rposition(|(_, locator)| *locator as usize <= at)
            .unwrap();
        for _ in 0..12 {
            let nth = rng.below(600) as usize;
            let (commit, locator) = &stored[nth];
            if nth != hit {
                let there = is_there(dir.path(), commit, *locator).await;
                assert_eq!(there, Some(true), "record {nth}, byte {at} of record {hit}");
            }
        }
        let (rows, errors) = rows(&open(dir.path()), listing("t")).await;
        assert!(
            rows.len() >= 599 && errors.len() <= 1,
            "byte {at}: {errors:?}"
        );
    }
}

#[tokio::test]
async fn a_damaged_header_is_told_and_others_are_read() {
    let dir = tempfile::tempdir().unwrap();
    fill(&open(dir.path()), "t", 2).await;
    let log = log_of(dir.path());
    let other = fill(&open(dir.path()), "other", 1).await;
    let whole = fs::read(&log).unwrap();
    for at in 0..40 {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&log, &bytes).unwrap();
        let backend = open(dir.path());
        let kind = latest(&backend, "t").await.unwrap_err().kind();
        assert!(
            matches!(kind, ErrorKind::Corrupt | ErrorKind::Unsupported),
            "byte {at}"
        );
        let query = ListThreads {
            limit: 10,
            ..ListThreads::default()
        };
        assert!(
            backend
                .threads(query)
                .await
                .unwrap()
                .contains(&"other".into())
        );
        assert_eq!(
            is_there(dir.path(), &other[0].0, other[0].1).await,
            Some(true)
        );
    }
}

#[tokio::test]
async fn a_damaged_catalog_is_rebuilt_from_the_logs() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    for thread in ["a", "b", "c"] {
        fill(&backend, thread, 1).await;
    }
    let catalog = dir.path().join("threads.log");
    let mut bytes = fs::read(&catalog).unwrap();
    bytes[5] ^= 1;
    fs::write(&catalog, &bytes).unwrap();
    let query = ListThreads {
        limit: 10,
        ..ListThreads::default()
    };
    let expected: Vec<std::sync::Arc<str>> = ["a", "b", "c"].map(Into::into).to_vec();
    assert_eq!(backend.threads(query.clone()).await.unwrap(), expected);
    let backend = open(dir.path());
    fill(&backend, "d", 1).await;
    assert_eq!(backend.threads(query).await.unwrap().len(), 4);
    assert_eq!(fs::read(&catalog).unwrap().len(), 4 * 9);
}

/// The loss of power may keep the end of a write and lose its middle. What is
/// whole behind such a hole was never acknowledged, and may build on what was
/// lost, so it goes as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_with_a_hole_is_cut_at_the_hole() {
    let (dir, group) = loop {
        let dir = tempfile::tempdir().unwrap();
        let backend = open(dir.path());
        backend
            .commit(root("t", &uuid(0), "", vec![]))
            .await
            .unwrap();
        // Many at once share a write, unless the first is too quick. There are
        // too few of them for a state frame, which would vouch for them.
        let mut calls = Vec::new();
        for n in 0..9 {
            let chunk = Bytes::from(vec![1 + n as u8; 1200]);
            let commit = root("t", &uuid(100 + n), vec![7; 1030], vec![chunk]);
            let backend = backend.clone();
            calls.push(tokio::spawn(async move {
                backend.commit(commit).await.unwrap().locator
            }));
        }
        let mut locators = Vec::new();
        for call in calls {
            locators.push(call.await.unwrap());
        }
        locators.sort_unstable();
        let bytes = fs::read(log_of(dir.path())).unwrap();
        let is_first = |locator: &u64| bytes[*locator as usize] & 0x80 != 0;
        let start = locators.iter().rposition(is_first).unwrap();
        if locators.len() - start >= 4 {
            break (dir, locators[start..].to_vec());
        }
    };
    let log = log_of(dir.path());
    let whole = fs::read(&log).unwrap();
    let before = ids(&open(dir.path()), "t").await.len() - group.len();
    // In a record's body and in its chunk: the same.
    for place in [70, 1110] {
        let mut bytes = whole.clone();
        let from = (group[1] as usize + place).next_multiple_of(512);
        bytes[from..from + 512].fill(0);
        fs::write(&log, &bytes).unwrap();
        let backend = open(dir.path());
        assert_eq!(ids(&backend, "t").await.len(), before + 1);
        let next = root("t", &uuid(999), "next", vec![]);
        assert_eq!(backend.commit(next).await.unwrap().locator, group[1]);
        // The same damage in a write that another followed is told, not cut.
        let mut bytes = fs::read(&log).unwrap();
        bytes.truncate(group[1] as usize);
        bytes.extend_from_slice(&whole[group[1] as usize..]);
        fs::write(&log, &bytes).unwrap();
        let backend = open(dir.path());
        backend
            .commit(root("t", &uuid(998), "after", vec![]))
            .await
            .unwrap();
        let mut bytes = fs::read(&log).unwrap();
        bytes[from..from + 512].fill(0);
        fs::write(&log, &bytes).unwrap();
        let (rows, errors) = rows(&open(dir.path()), listing("t")).await;
        let lost = usize::from(place == 70);
        assert_eq!(
            (rows.len(), errors.len()),
            (before + group.len() + 1 - lost, lost)
        );
        fs::write(&log, &whole).unwrap();
    }
}

/// Stores a write of one call for a checkpoint that is not there.
async fn put_orphan(backend: &FsBackend, fresh: Incarnation, idx: i32, time_ms: u64) {
    let write = PendingWrite {
        task_id: "task".into(),
        task_path: "".into(),
        idx,
        channel: "c".into(),
        value: Bytes::from_static(b"value"),
        replace: false,
    };
    let put = PutWrites {
        thread: "t".into(),
        key: key("", &uuid(2)),
        write_id: PackId(unique()),
        fresh,
        time_ms,
        writes: vec![write],
    };
    backend.put_writes(put).await.unwrap();
}

/// Wherever the write of a reclaim is cut short, what had not expired is there;
/// once it is whole, what had is not.
#[tokio::test]
async fn a_crash_in_a_reclaim_keeps_young_writes() {
    // The last of them at 3000, so many of them expired.
    for (times, old) in [
        (&[1000, 3000][..], 1),
        (&[1000, 3000, 2900, 1500], 2),
        (&[3000, 3000], 0),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let backend = open(dir.path());
        backend
            .commit(root("t", &uuid(1), "", vec![]))
            .await
            .unwrap();
        let incarnation = backend.incarnation("t").await.unwrap().unwrap();
        for (idx, time_ms) in (0..).zip(times) {
            put_orphan(&backend, incarnation, idx, *time_ms).await;
        }
        let log = log_of(dir.path());
        let before = fs::read(&log).unwrap();
        let reclaim = Reclaim {
            thread: "t".into(),
            incarnation,
            before_ms: 2000,
            dead: Vec::new(),
        };
        backend.reclaim(reclaim).await.unwrap();
        let whole = fs::read(&log).unwrap();
        // What is not appended to is another file, and there as a whole.
        let is_appended = whole.starts_with(&before);
        let from = if is_appended {
            before.len()
        } else {
            whole.len()
        };
        for len in from..=whole.len() {
            fs::write(&log, &whole[..len]).unwrap();
            let backend = open(dir.path());
            backend
                .commit(root("t", &uuid(2), "", vec![]))
                .await
                .unwrap();
            let row = get(&backend, "t", &uuid(2)).await.unwrap().unwrap();
            let has = |idx| row.writes.iter().any(|write| write.idx == idx);
            for (idx, time_ms) in (0..).zip(times) {
                assert!(has(idx) || *time_ms < 2000, "{times:?}, cut at {len}");
            }
            if len == whole.len() {
                assert_eq!(row.writes.len(), times.len() - old, "{times:?}");
            }
        }
    }
}
