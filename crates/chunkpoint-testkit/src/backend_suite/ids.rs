//! Ids are data: whatever they hold, they work, and no two different ones meet.

use chunkpoint_core::backend::{Base, ListRecords};

use super::Fixture;
use super::support::*;

/// Ids that are syntax somewhere: paths, keys, patterns, URLs, SQL, shells.
fn awkward() -> Vec<String> {
    let mut ids: Vec<String> = [
        "../x",
        "..",
        ".",
        "/",
        "//",
        "/x",
        "x/",
        "x/../x",
        "\\",
        "..\\x",
        "C:\\x",
        "~",
        "a:b|c/d#e",
        "a",
        "a:",
        "a:b",
        ":",
        "::",
        "|",
        "#",
        "%",
        "%2F",
        "%2f",
        "%00",
        "{a}",
        "{",
        "}",
        "*",
        "?",
        "[a]",
        "'",
        "''",
        "\"",
        "';--",
        "$1",
        "$a.b",
        "a.b",
        "a$b",
        "\n",
        "a\nb",
        "a\r\nb",
        "\t",
        " ",
        "  ",
        "a ",
        " a",
        "A",
        "aa",
        "\u{1}",
        "\u{7f}",
        "\u{ffff}",
        "\u{200b}",
        "\u{202e}x",
        "🦀",
        "🦀🦀",
        "é",
        "e\u{301}",
        "ß",
        "ss",
        "SS",
        "İ",
        "i",
        "I",
        "ı",
        "ﬁ",
        "fi",
        "中文",
        "CON",
        "nul",
        "null",
        "None",
        "0",
        "00",
        "-1",
        "1e3",
        "true",
        "__proto__",
        "id",
        "_id",
        "thread",
        "chunks",
        "latest",
    ]
    .map(String::from)
    .to_vec();
    // Prefixes of each other, around the lengths of hashes and of path components.
    ids.extend([8, 16, 32, 63, 64, 65, 127, 128, 200, 254, 255].map(|len| "x".repeat(len)));
    // The hex of what another id may be hashed or encoded to.
    ids.extend(["2e2e2f78", "2E2E2F78", "612f62"].map(String::from));
    ids
}

/// A record under every awkward thread id, all kept apart.
pub async fn awkward_thread_ids_work(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut all = awkward();
    let mut stored = Vec::new();
    for thread in &all {
        stored.push(put(&backend, root(thread, "1")).await);
    }
    for stored in &stored {
        assert_intact(&backend, stored).await;
        assert_eq!(ids(&backend, listing(stored.thread())).await, ["1"]);
    }
    all.sort_unstable();
    assert_eq!(threads(&backend, "").await, all);
    for stored in stored.iter().step_by(2) {
        let deleted = backend
            .delete_thread(stored.thread(), stored.incarnation)
            .await;
        deleted.unwrap();
    }
    for (n, stored) in stored.iter().enumerate() {
        let found = latest(&backend, stored.thread(), "").await;
        assert_eq!(
            found,
            (n % 2 == 1).then(|| stored.row()),
            "{:?}",
            stored.thread()
        );
    }
}

/// A record under every awkward namespace and checkpoint id of one thread, in order.
pub async fn awkward_namespaces_and_ids_work(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let all = awkward();
    let mut stored = Vec::new();
    for (n, name) in all.iter().enumerate() {
        // Each name as a namespace, and as an id of its own and of the root namespace.
        stored.push(put(&backend, root_in("t", name, "1")).await);
        stored.push(put(&backend, root_in("t", name, name)).await);
        stored.push(put(&backend, root_in("t", "", &all[all.len() - 1 - n])).await);
    }
    for stored in &stored {
        let namespace = &stored.commit.key.namespace;
        // "1" may have been put twice in a namespace by now, never in the list above.
        assert_intact(&backend, stored).await;
        if !namespace.is_empty() {
            let query = ListRecords {
                namespace: Some(namespace.clone()),
                ..listing("t")
            };
            let mut expected = vec!["1", namespace];
            expected.sort_unstable_by(|a, b| b.cmp(a));
            assert_eq!(ids(&backend, query).await, expected);
        }
    }
    let mut expected = all;
    expected.sort_unstable_by(|a, b| b.cmp(a));
    let query = ListRecords {
        namespace: Some("".into()),
        ..listing("t")
    };
    assert_eq!(ids(&backend, query).await, expected);
}

/// Namespace, id and thread are never run together into one name.
pub async fn parts_of_a_name_are_kept_apart(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut stored = Vec::new();
    for sep in ["", "/", ":", "|", "#", "\n", "%2F", "--"] {
        let (a, ab) = (format!("a{sep}"), format!("a{sep}b{sep}"));
        for (thread, namespace, id) in [
            (ab.as_str(), "c", "d"),
            (a.as_str(), &format!("b{sep}c"), "d"),
            (a.as_str(), "b", &format!("c{sep}d")),
            (a.as_str(), &format!("b{sep}"), &format!("c{sep}d")),
            (a.as_str(), "", &format!("b{sep}c{sep}d")),
        ] {
            stored.push(put(&backend, root_in(thread, namespace, id)).await);
        }
    }
    // Some of the above are the same name twice where the separator is empty.
    let mut last = std::collections::BTreeMap::new();
    for stored in &stored {
        last.insert(
            (stored.commit.thread.clone(), stored.commit.key.clone()),
            stored,
        );
    }
    for stored in last.into_values() {
        let row = at(&backend, stored.thread(), &stored.commit.key).await;
        assert_eq!(row, Some(stored.row()));
    }
}

/// Long ids: 10 KB threads, 16 KiB namespaces, 255-byte checkpoint ids, that differ late.
pub async fn long_ids_work(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let long = |len: usize, end: &str| format!("{}{end}", "é".repeat((len - end.len()) / 2));
    let mut stored = Vec::new();
    for end in ["aa", "ab", "Aa", "a ", "/a", "🦀"] {
        stored.push(put(&backend, root(&long(10_000, end), "1")).await);
        stored.push(put(&backend, root_in("t", &long(16_384, end), "1")).await);
        stored.push(put(&backend, root(&long(16_384, end), &"x".repeat(255))).await);
        stored.push(put(&backend, root("t", &long(254, end))).await);
    }
    for stored in &stored {
        assert_intact(&backend, stored).await;
        let query = ListRecords {
            namespace: Some(stored.commit.key.namespace.clone()),
            limit: Some(1),
            ..listing(stored.thread())
        };
        assert_eq!(rows(&backend, query).await.len(), 1);
    }
    let all = threads(&backend, "").await;
    assert_eq!(all.len(), 13);
    assert!(all.is_sorted());
    let prefix = long(9_000, "");
    assert_eq!(threads(&backend, &prefix).await.len(), 12);
    let (source, target) = (long(10_000, "aa"), long(10_000, "copy"));
    backend
        .copy_thread(&source, &target, fresh())
        .await
        .unwrap();
    assert_eq!(ids(&backend, listing(&target)).await, ["1"]);
}

/// Awkward and long names of tasks, paths and channels in pending writes.
pub async fn awkward_names_in_writes_work(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut names = awkward();
    names.push("n".repeat(16_384));
    for id in ["1", "a:b|c/d#e"] {
        put(&backend, root("t", id)).await;
        let writes = names.iter().map(|name| {
            let mut write = write(name, 0, name, false);
            write.task_path = name.as_str().into();
            write.channel = name.as_str().into();
            write
        });
        let writes: Vec<_> = writes.collect();
        backend
            .put_writes(writing("t", id, writes.clone()))
            .await
            .unwrap();
        let row = at(&backend, "t", &key("", id)).await.unwrap();
        let mut found = row.writes;
        found.sort_by(|a, b| a.task_id.cmp(&b.task_id));
        let mut expected = writes;
        expected.sort_by(|a, b| a.task_id.cmp(&b.task_id));
        assert_eq!(found, expected);
    }
}

/// Pack ids of zeros, of ones, and that look alike as text or as signed numbers.
pub async fn any_pack_id_works(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    let mut packs = vec![
        [0; 8],
        [0xff; 8],
        *b"/../../x",
        *b"%00%00\n'",
        [0x80, 0, 0, 0, 0, 0, 0, 0],
    ];
    packs.push([0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    packs.push([0, 0, 0, 0, 0, 0, 0, 1]);
    let mut stored = Vec::new();
    for (n, pack) in packs.iter().enumerate() {
        let mut commit = root("t", &format!("{n}"));
        commit.pack.0 = *pack;
        if let Base::Root { fresh } = &mut commit.base {
            fresh.0 = *pack;
        }
        stored.push(put(&backend, commit).await);
    }
    for stored in &stored {
        assert_intact(&backend, stored).await;
        remove(&backend, stored).await;
    }
    packs.sort_unstable();
    let found: Vec<_> = condemned(&backend, "t")
        .await
        .into_keys()
        .map(|pack| pack.0)
        .collect();
    assert_eq!(found, packs);
}

/// Any text in the fields beside the body: run ids, parents, metadata keys.
pub async fn awkward_text_beside_the_body_works(fixture: &dyn Fixture) {
    let backend = fixture.open().await;
    for (n, text) in awkward().iter().enumerate() {
        let mut commit = root("t", &format!("{n:03}"));
        commit.index.run_id = Some(text.as_str().into());
        commit.index.parent = Some(text.as_str().into());
        let mut metadata = serde_json::Map::new();
        metadata.insert(text.clone(), text.as_str().into());
        metadata.insert(
            "nested".into(),
            serde_json::json!({text: [text, 1e300, -1, true]}),
        );
        metadata.insert("nul".into(), "a\0b".into());
        commit.metadata = metadata.into();
        let stored = put(&backend, commit).await;
        assert_intact(&backend, &stored).await;
    }
}
