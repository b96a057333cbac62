//! Catalogs that are torn, damaged, raced for, and full of what is gone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use chunkpoint_core::backend::Durability;

use super::*;

fn open(path: &std::path::Path) -> Dir {
    Dir::open(path, Durability::Process, Arc::default()).unwrap()
}

fn all(dir: &Dir) -> Vec<String> {
    let page = Page {
        prefix: "",
        after: None,
        limit: 1000,
    };
    let ids = Catalog::default().page(dir, &page).unwrap();
    ids.iter().map(|id| id.to_string()).collect()
}

#[test]
fn entries_end_whole_or_are_told() {
    let mut bytes = encode("a");
    bytes.extend(encode("../ü"));
    let mut ids = Vec::new();
    let end = read_entries(&bytes[..], |id| ids.push(id.to_owned())).unwrap();
    assert_eq!(end, End::Whole(bytes.len() as u64));
    assert_eq!(ids, ["a", "../ü"]);
    for len in (1..bytes.len()).filter(|len| *len != 9) {
        let end = read_entries(&bytes[..len], |_| {}).unwrap();
        let last = if len < 9 { 0 } else { 9 };
        assert_eq!(end, End::Torn(last), "{len}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let end = read_entries(&bytes[..], |_| {}).unwrap();
        let last = if bit < 72 { 0 } else { 9 };
        assert_eq!(end, End::Damaged(last), "bit {bit}");
    }
    bytes.extend([0; 5000]);
    let end = read_entries(&bytes[..], |_| {}).unwrap();
    assert_eq!(end, End::Torn(bytes.len() as u64 - 5000));
}

#[test]
fn what_is_torn_is_passed_over_and_cut() {
    let temp = tempfile::tempdir().unwrap();
    let dir = open(temp.path());
    let catalog = Catalog::default();
    catalog.add(&dir, "a").unwrap();
    let path = temp.path().join(NAME);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend(&encode("torn")[..7]);
    fs::write(&path, &bytes).unwrap();
    // As a reader meets it who comes in the middle of an append: no log is
    // opened for it.
    let before = dir.counters.snapshot();
    fs::create_dir(temp.path().join("t/00")).unwrap();
    fs::write(temp.path().join("t/00/0.log"), b"not to be read").unwrap();
    assert_eq!(all(&dir), ["a"]);
    assert_eq!(dir.counters.snapshot().reads, before.reads);
    for catalog in [catalog, Catalog::default()] {
        catalog.add(&dir, "b").unwrap();
    }
    assert_eq!(all(&dir), ["a", "b"]);
    let entries = fs::read(&path).unwrap();
    assert!(entries.starts_with(&[encode("a"), encode("b")].concat()));
}

/// Its log may be about to take its place.
#[test]
fn a_rebuild_keeps_threads_that_have_no_log_yet() {
    let temp = tempfile::tempdir().unwrap();
    let dir = open(temp.path());
    for id in ["one", "two", "three"] {
        Catalog::default().add(&dir, id).unwrap();
    }
    let path = temp.path().join(NAME);
    let whole = fs::read(&path).unwrap();
    // The id and the length of the second.
    for at in [16, 11, 13] {
        let mut bytes = whole.clone();
        bytes[at] ^= 2;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(all(&dir), ["one", "three"]);
        Catalog::default().add(&dir, "four").unwrap();
        assert_eq!(all(&dir), ["four", "one", "three"]);
        assert_eq!(fs::read_dir(temp.path().join("trash")).unwrap().count(), 0);
    }
}

#[test]
fn threads_that_are_gone_leave_the_catalog() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, other) = (open(temp.path()), open(temp.path()));
    let (catalog, second) = (Catalog::default(), Catalog::default());
    let log = |id: &str| {
        let (shard, log) = log_names(&key_of(id));
        (temp.path().join(shard), temp.path().join(log))
    };
    for n in 0..20 {
        let id = format!("t{n}");
        catalog.add(&dir, &id).unwrap();
        // Created anew, it is there already.
        catalog.add(&dir, &id).unwrap();
        if n % 3 == 0 {
            fs::create_dir_all(log(&id).0).unwrap();
            fs::write(log(&id).1, b"").unwrap();
        }
    }
    let len = |id: &str| encode(id).len() as u64;
    let size = || fs::metadata(temp.path().join(NAME)).unwrap().len();
    assert_eq!(size(), (0..20).map(|n| len(&format!("t{n}"))).sum::<u64>());
    second.add(&other, "t1").unwrap();
    // One is being built.
    let building = temp
        .path()
        .join(format!("trash/{}.new", hex(&key_of("t2"))));
    fs::write(&building, b"").unwrap();
    assert!(catalog.rewrite(&dir).unwrap());
    let mut expected = ["t0", "t12", "t15", "t18", "t2", "t3", "t6", "t9"].map(str::to_owned);
    expected.sort();
    assert_eq!(all(&dir), expected);
    assert!(!catalog.rewrite(&dir).unwrap(), "all have a log");
    // Nobody takes what was known of the old one for true.
    second.add(&other, "t1").unwrap();
    catalog.add(&dir, "t4").unwrap();
    assert_eq!(all(&dir).len(), expected.len() + 2);
}
