//! Compactions that are stopped anywhere, and changes that come meanwhile.

use std::collections::BTreeMap;
use std::path::Path;

use chunkpoint_core::ErrorKind;
use chunkpoint_core::backend::{Durability, PackId};
use chunkpoint_core::store_backend::Namespace;

use super::*;
use crate::items::entry::{PackAt, Remembered, Row, condemned_key};
use crate::items::group::{append, writable};
use crate::{FsBackend, FsConfig};

const POINTS: [Point; 4] = [Point::Built, Point::Locked, Point::Moved, Point::Renamed];

fn open(dir: &Path) -> FsBackend {
    let config = FsConfig {
        durability: Durability::Process,
        ..FsConfig::new(dir)
    };
    FsBackend::from_config(config).unwrap()
}

fn place() -> Place {
    Place::of(&Namespace::new(["a", "b"]).unwrap())
}

fn row(n: u64, packs: Vec<PackAt>) -> Entry {
    let version = PackId((n << 8).to_be_bytes());
    Entry::Row(Row {
        version,
        created_ms: n,
        updated_ms: n,
        ttl_ms: None,
        expires_ms: n.is_multiple_of(5).then_some(n),
        packs,
        remembered: vec![Remembered {
            id: version,
            created_ms: n,
        }],
        body: Bytes::from(vec![n as u8; 100]),
    })
}

fn put(store: &Store, entries: Vec<(Vec<u8>, Entry)>) {
    let _lock = store.lock_place(&place()).unwrap();
    let space = writable(store, &place()).unwrap();
    append(store, &place(), space, entries).unwrap();
}

/// Rows, condemned packs and entries that are gone.
fn fill(store: &Store, count: u64) -> BTreeMap<Vec<u8>, Entry> {
    put(store, vec![(b"first".to_vec(), Entry::Gone { freed: 0 })]);
    let space = store.space(&place(), Wait::Yes).unwrap().unwrap();
    let name = store.dir.path(&place().packs(1));
    fs::File::create(name).unwrap();
    let packs = store.packs(&space, Wait::Yes).unwrap().unwrap();
    let (mut all, mut end) = (BTreeMap::new(), 0);
    for n in 0..count {
        let key = format!("key {n:05}").into_bytes();
        let mut listed = Vec::new();
        if n.is_multiple_of(7) {
            let id = PackId(n.to_be_bytes());
            let pack = packs
                .put(end, id, &[Bytes::from(vec![n as u8; 500])])
                .unwrap();
            // What a failed put left.
            end += pack.len + 100;
            if n.is_multiple_of(2) {
                listed.push(pack);
            } else {
                let entry = Entry::Condemned { at_ms: n, pack };
                all.insert(condemned_key(&key, id), entry);
            }
        }
        let entry = match n % 11 {
            0 => Entry::Gone { freed: 5 },
            1 => Entry::Deleted {
                at_ms: n,
                remembered: vec![],
            },
            _ => row(n, listed),
        };
        all.insert(key, entry);
    }
    put(store, all.clone().into_iter().collect());
    all.retain(|_, entry| !matches!(entry, Entry::Gone { .. }));
    all
}

/// All entries, and the chunk of each pack; where a pack lies does not count.
fn contents(store: &Store) -> BTreeMap<Vec<u8>, Entry> {
    let space = store.space(&place(), Wait::Yes).unwrap().unwrap();
    let mut entries = space.entries(&[], Wait::Yes).unwrap();
    let mut all = BTreeMap::new();
    while let Some((key, mut entry)) = entries.next().unwrap() {
        assert_eq!(space.get(&key, Wait::Yes).unwrap().as_ref(), Some(&entry));
        for pack in entry.packs_mut() {
            let packs = store.packs(&space, Wait::Yes).unwrap().unwrap();
            let chunks = packs.chunks(pack, &[0, 1], Wait::Yes).unwrap();
            let first = u64::from_be_bytes(pack.id.0) as u8;
            assert_eq!(chunks, [Some(Bytes::from(vec![first; 500])), None]);
            pack.offset = 0;
        }
        all.insert(key.to_vec(), entry);
    }
    all
}

fn without_places(mut all: BTreeMap<Vec<u8>, Entry>) -> BTreeMap<Vec<u8>, Entry> {
    for pack in all.values_mut().flat_map(Entry::packs_mut) {
        pack.offset = 0;
    }
    all
}

fn run(store: &Store, packs: bool, stop: impl Fn(Point) -> Result<()>) -> Result<bool> {
    let space = store.space(&place(), Wait::Yes)?.unwrap();
    compact(store, &place(), &space, packs, stop)
}

#[test]
fn stopped_anywhere_it_changes_nothing() {
    for (packs, point) in POINTS.iter().flat_map(|p| [(false, *p), (true, *p)]) {
        let dir = tempfile::tempdir().unwrap();
        let backend = open(dir.path());
        let expected = without_places(fill(backend.store(), 600));
        let stop = |at| match at == point {
            true => Err(Error::new(ErrorKind::Other, "stopped")),
            false => Ok(()),
        };
        run(backend.store(), packs, stop).unwrap_err();
        assert_eq!(contents(backend.store()), expected, "{point:?}");
        let backend = open(dir.path());
        assert_eq!(contents(backend.store()), expected, "{point:?}");
        assert!(run(backend.store(), true, |_| Ok(())).unwrap());
        assert_eq!(contents(backend.store()), expected, "{point:?}");
        // Nothing is left over but one file of packs.
        let left = fs::read_dir(dir.path().join("trash")).unwrap().count();
        let files = fs::read_dir(dir.path().join(place().dir()))
            .unwrap()
            .count();
        assert_eq!((left, files), (0, 2), "{point:?}");
    }
}

#[test]
fn what_comes_meanwhile_is_there_afterwards() {
    for packs in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (open(dir.path()), open(dir.path()));
        let mut expected = fill(one.store(), 3000);
        let meanwhile: Vec<_> = (0..4000u64)
            .map(|n| {
                let key = format!("key {:05}", n * 2).into_bytes();
                let entry = match n % 3 {
                    0 => Entry::Gone { freed: 0 },
                    _ => row(n + 10_000, vec![]),
                };
                (key, entry)
            })
            .collect();
        let stop = |at| {
            // More than is caught up with under the lock.
            if at == Point::Built {
                put(other.store(), meanwhile.clone());
            }
            Ok(())
        };
        assert!(run(one.store(), packs, stop).unwrap());
        expected.extend(meanwhile.clone());
        expected.retain(|_, entry| !matches!(entry, Entry::Gone { .. }));
        let expected = without_places(expected);
        assert_eq!(contents(one.store()), expected);
        assert_eq!(contents(other.store()), expected);
        assert!(run(other.store(), packs, |_| Ok(())).unwrap());
        assert_eq!(contents(one.store()), expected);
    }
}

#[test]
fn only_one_compacts() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (open(dir.path()), open(dir.path()));
    let expected = without_places(fill(one.store(), 600));
    let stop = |at| {
        if at == Point::Built {
            assert!(!run(other.store(), false, |_| Ok(())).unwrap());
        }
        Ok(())
    };
    assert!(run(one.store(), false, stop).unwrap());
    assert_eq!(contents(other.store()), expected);
}

#[test]
fn what_is_due_is_found_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let store = backend.store();
    let all = fill(store, 2000);
    for round in 0..2 {
        let space = store.space(&place(), Wait::Yes).unwrap().unwrap();
        for before in [0, 1, 500, 5000] {
            let mut expected: Vec<_> = all
                .iter()
                .filter(|(_, entry)| entry.due() <= before)
                .map(|(key, _)| key.clone())
                .collect();
            let found = super::super::due::due(&space, &[], before, 10_000).unwrap();
            let next = all.values().map(Entry::due).filter(|due| *due > before);
            assert_eq!(
                (found.more, found.next),
                (false, next.min().or(Some(u64::MAX)))
            );
            let mut keys = found.keys;
            keys.sort();
            assert_eq!(keys, expected);
            // A few at a time.
            let mut few = Vec::new();
            let mut from = Vec::new();
            loop {
                let found = super::super::due::due(&space, &from, before, 7).unwrap();
                assert!(found.keys.len() <= 7);
                few.extend(found.keys);
                match found.resume {
                    Some(resume) => from = resume,
                    None => break,
                }
            }
            if round == 1 {
                expected.sort();
                assert_eq!(few, expected);
            }
        }
        assert!(run(store, false, |_| Ok(())).unwrap());
    }
}
