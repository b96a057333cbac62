//! What [`get`] and [`list`] promise.
//!
//! [`get`]: chunkpoint_core::backend::CheckpointBackend::get
//! [`list`]: chunkpoint_core::backend::CheckpointBackend::list

use std::collections::BTreeSet;

use bytes::Bytes;
use chunkpoint_core::backend::{Change, Detail, ListRecords, Pick, RecordRow};
use futures::StreamExt;

use super::Fixture;
use super::support::*;

/// One entry for each pick, in their order, `None` for what is not there.
pub async fn get_answers_each_pick_in_order(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let one = put(&backend, root("t", "1")).await;
    let two = put(&backend, root("t", "2")).await;
    let ns = put(&backend, root_in("t", "ns", "1")).await;
    let latest = |namespace: &str| Pick::Latest {
        namespace: namespace.into(),
    };
    let picks = [
        Pick::At(key("", "2")),
        Pick::At(key("", "nothing")),
        latest(""),
        Pick::At(key("ns", "1")),
        latest("no namespace"),
        Pick::At(key("", "1")),
        latest("ns"),
        Pick::At(key("", "2")),
    ];
    let rows = backend.get("t", &picks, Detail::Bodies).await.unwrap();
    let expected = [
        Some(two.row()),
        None,
        Some(two.row()),
        Some(ns.row()),
        None,
        Some(one.row()),
        Some(ns.row()),
        Some(two.row()),
    ];
    assert_eq!(rows, expected);
    let nothing = backend.get("t", &[], Detail::Writes).await.unwrap();
    assert!(nothing.is_empty());
}

/// A thread that does not exist gives all `None`.
pub async fn get_of_no_thread_gives_nothing(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    put(&backend, root("another", "1")).await;
    let namespace = "".into();
    let picks = [Pick::Latest { namespace }, Pick::At(key("", "1"))];
    let rows = backend.get("t", &picks, Detail::Keys).await.unwrap();
    assert_eq!(rows, [None, None]);
}

/// `Latest` is the greatest id by bytes, whatever was committed last.
pub async fn latest_is_the_greatest_id(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    for (id, latest) in [
        ("5", "5"),
        ("3", "5"),
        ("50", "50"),
        ("10", "50"),
        ("a", "a"),
        ("Z", "a"),
    ] {
        put(&backend, root("t", id)).await;
        assert_eq!(latest_id(&backend, "t").await.as_deref(), Some(latest));
    }
}

/// `Latest` never gives a hidden record; `At` does.
pub async fn latest_skips_hidden_records(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let one = put(&backend, root("t", "1")).await;
    let two = put(&backend, root("t", "2")).await;
    let three = put(&backend, root("t", "3")).await;
    hide(&backend, &three).await;
    hide(&backend, &two).await;
    assert_eq!(latest(&backend, "t", "").await, Some(one.row()));
    let row = at(&backend, "t", &key("", "3")).await.unwrap();
    assert!(row.hidden);
    hide(&backend, &one).await;
    assert_eq!(latest(&backend, "t", "").await, None);
}

/// The detail says what comes: keys, bodies, writes.
pub async fn detail_says_how_much_is_read(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    let writes = vec![write("task", 0, "value", false)];
    backend.put_writes(writing("t", "1", writes)).await.unwrap();
    let with_body = stored.row();
    let mut keys = with_body.clone();
    keys.body = Bytes::new();
    for (detail, expected) in [(Detail::Keys, keys), (Detail::Bodies, with_body)] {
        let picks = [Pick::At(key("", "1"))];
        let got = backend.get("t", &picks, detail).await.unwrap();
        assert_eq!(got, [Some(expected.clone())], "{detail:?}");
        let listed = rows(
            &backend,
            ListRecords {
                detail,
                ..listing("t")
            },
        )
        .await;
        assert_eq!(listed, [expected], "{detail:?}");
    }
    let detail = Detail::Writes;
    let listed = rows(
        &backend,
        ListRecords {
            detail,
            ..listing("t")
        },
    )
    .await;
    assert_eq!(listed[0].body, stored.commit.body);
    assert_eq!(values(&listed[0]), expected_values(&[("task", 0, "value")]));
}

/// Ids descend by their bytes.
pub async fn list_descends_by_the_bytes_of_ids(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut expected = vec![
        "1", "10", "2", "A", "Z", "a", "a b", "ab", "b", "z", "é", "中", "🦀",
    ];
    expected.sort_unstable();
    for id in expected
        .iter()
        .rev()
        .skip(1)
        .step_by(2)
        .chain(expected.iter().rev().step_by(2))
    {
        put(&backend, root("t", id)).await;
    }
    expected.reverse();
    assert_eq!(ids(&backend, listing("t")).await, expected);
    let namespace = Some("".into());
    let only = ListRecords {
        namespace,
        ..listing("t")
    };
    assert_eq!(ids(&backend, only).await, expected);
}

/// Over all namespaces, equal ids ascend by namespace; one namespace can be asked for.
pub async fn list_over_namespaces_orders_by_id_then_namespace(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    for (namespace, id) in [
        ("b", "1"),
        ("", "2"),
        ("a", "2"),
        ("b", "2"),
        ("a|x", "2"),
        ("a", "3"),
    ] {
        put(&backend, root_in("t", namespace, id)).await;
    }
    let found = rows(&backend, listing("t")).await;
    let found: Vec<_> = found
        .iter()
        .map(|row| (&*row.record.key.namespace, &*row.record.key.id))
        .collect();
    let expected = [
        ("a", "3"),
        ("", "2"),
        ("a", "2"),
        ("a|x", "2"),
        ("b", "2"),
        ("b", "1"),
    ];
    assert_eq!(found, expected);
    for (namespace, expected) in [
        ("a", &["3", "2"][..]),
        ("", &["2"]),
        ("none", &[]),
        ("a|", &[]),
    ] {
        let namespace = Some(namespace.into());
        let only = ListRecords {
            namespace,
            ..listing("t")
        };
        assert_eq!(ids(&backend, only).await, expected);
    }
}

/// `before` is exclusive, need not exist, and works with a limit.
pub async fn list_before_and_limit(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    for id in ["1", "2", "3", "4", "5"] {
        put(&backend, root("t", id)).await;
        put(&backend, root_in("t", "ns", id)).await;
    }
    let query = |before: Option<&str>, limit, namespace: Option<&str>| ListRecords {
        before: before.map(Into::into),
        namespace: namespace.map(Into::into),
        limit,
        ..listing("t")
    };
    let root = Some("");
    for (before, limit, expected) in [
        (Some("3"), None, &["2", "1"][..]),
        (Some("3"), Some(1), &["2"]),
        (Some("35"), Some(2), &["3", "2"]),
        (Some("1"), None, &[]),
        (Some("0"), None, &[]),
        (Some("9"), Some(9), &["5", "4", "3", "2", "1"]),
        (None, Some(0), &[]),
        (None, Some(2), &["5", "4"]),
    ] {
        let found = ids(&backend, query(before, limit, root)).await;
        assert_eq!(found, expected, "before {before:?}, limit {limit:?}");
    }
    let found = ids(&backend, query(Some("3"), Some(3), None)).await;
    assert_eq!(found, ["2", "2", "1"]);
    let found = ids(&backend, query(None, Some(0), None)).await;
    assert!(found.is_empty());
}

/// Hidden records are listed only where the query asks for them, and do not use up a limit.
pub async fn list_gives_hidden_records_only_if_asked(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    for id in ["1", "2", "3", "4"] {
        let stored = put(&backend, root("t", id)).await;
        if ["2", "4"].contains(&id) {
            hide(&backend, &stored).await;
        }
    }
    assert_eq!(ids(&backend, listing("t")).await, ["3", "1"]);
    let query = ListRecords {
        limit: Some(2),
        ..listing("t")
    };
    assert_eq!(ids(&backend, query).await, ["3", "1"]);
    let query = ListRecords {
        hidden: true,
        detail: Detail::Bodies,
        ..listing("t")
    };
    let found = rows(&backend, query).await;
    let flags: Vec<_> = found
        .iter()
        .map(|row| (&*row.record.key.id, row.hidden))
        .collect();
    assert_eq!(
        flags,
        [("4", true), ("3", false), ("2", true), ("1", false)]
    );
}

/// A listing says which records are pinned.
pub async fn list_shows_pins(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let stored = put(&backend, root("t", "1")).await;
    put(&backend, root("t", "2")).await;
    alter(&backend, &stored, Change::Pin(true)).await;
    let pins = |rows: &[RecordRow]| rows.iter().map(|row| row.pinned).collect::<Vec<_>>();
    assert_eq!(pins(&rows(&backend, listing("t")).await), [false, true]);
    alter(&backend, &stored, Change::Pin(false)).await;
    assert_eq!(pins(&rows(&backend, listing("t")).await), [false, false]);
}

/// A thread that does not exist, or was deleted, lists nothing.
pub async fn list_of_no_thread_gives_nothing(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    assert!(ids(&backend, listing("t")).await.is_empty());
    let stored = put(&backend, root("t", "1")).await;
    let deleted = backend.delete_thread("t", stored.incarnation).await;
    deleted.unwrap();
    assert!(ids(&backend, listing("t")).await.is_empty());
}

/// Records that stay are listed exactly once while others come and go.
pub async fn list_gives_what_stays_exactly_once(fixture: &dyn Fixture) {
    const RECORDS: usize = 1_200;
    let backend = fixture.open().await;
    let mut stored = Vec::with_capacity(RECORDS);
    for n in 0..RECORDS {
        let mut commit = root("t", &format!("{n:05}"));
        commit.chunks.clear();
        stored.push(put(&backend, commit).await);
    }
    let mut listed = backend.list(listing("t")).await.unwrap();
    let mut seen = Vec::new();
    while let Some(row) = listed.next().await {
        let id = row.unwrap().record.key.id;
        // Something comes and something goes at every hundredth row: odd ids
        // go, new ids lie between the old ones.
        if seen.len() % 100 == 0 {
            let at: usize = id.parse().unwrap_or(0);
            for n in [at | 1, (at / 2) | 1, 1 + seen.len() % RECORDS / 2 * 2] {
                alter(&backend, &stored[n], Change::Remove).await;
                let mut commit = root("t", &format!("{n:05}+"));
                commit.chunks.clear();
                put(&backend, commit).await;
            }
        }
        seen.push(id);
    }
    let unique: BTreeSet<_> = seen.iter().collect();
    assert_eq!(unique.len(), seen.len(), "a record was listed twice");
    assert!(
        seen.windows(2).all(|pair| pair[0] > pair[1]),
        "out of order"
    );
    for stored in stored.iter().step_by(2) {
        assert!(
            unique.contains(&stored.commit.key.id),
            "a record was left out"
        );
    }
}

/// A listing covers one moment: of a record that goes and a child of it that
/// comes meanwhile, one at least is listed.
pub async fn a_listing_covers_one_moment(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut stored = Vec::new();
    for n in 0..600 {
        stored.push(put(&backend, root("t", &format!("{n:05}"))).await);
    }
    let query = ListRecords {
        hidden: true,
        ..listing("t")
    };
    let mut listed = backend.list(query).await.unwrap();
    let (mut seen, mut pairs) = (BTreeSet::new(), Vec::new());
    while let Some(row) = listed.next().await {
        if seen.len() % 100 == 0 && pairs.len() < 6 {
            // The child's turn has been before the first, the parent's would come last.
            let parent = &stored[pairs.len()];
            let child = put(
                &backend,
                child(&format!("{:05}", 600 + pairs.len()), &[parent]),
            );
            pairs.push((parent.commit.pack, child.await.commit.pack));
            remove(&backend, parent).await;
        }
        seen.insert(row.unwrap().record.pack);
    }
    for (parent, child) in pairs {
        assert!(
            seen.contains(&parent) || seen.contains(&child),
            "neither the parent nor the child was listed"
        );
    }
}

/// A listing that is dropped half-way leaves nothing locked.
pub async fn a_dropped_listing_locks_nothing(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    for id in ["1", "2", "3"] {
        put(&backend, root("t", id)).await;
    }
    let mut listed = backend.list(listing("t")).await.unwrap();
    assert!(listed.next().await.is_some());
    put(&backend, root("t", "4")).await;
    drop(listed);
    put(&backend, root("t", "5")).await;
    assert_eq!(ids(&backend, listing("t")).await.len(), 5);
}
