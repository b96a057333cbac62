//! The plans of the statements that run all the time: none of them reads a whole table.
//!
//! Each statement is one that the backend has just run, explained on a filled database.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use chunkpoint_core::backend::*;
use chunkpoint_core::store_backend::*;
use chunkpoint_testkit::services;
use futures::TryStreamExt;

use crate::SqlBackend;
use crate::config::SqlConfig;
use crate::db::{Statement, literal};
use crate::dialect::Dialect;
use crate::value::{Row, Value};

/// Threads, checkpoints of each, and items: enough that an index pays.
const THREADS: usize = 60;
const STEPS: usize = 60;
const OTHERS: usize = 1500;
const ITEMS: usize = 3000;

fn unique() -> [u8; 8] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

fn commit(step: usize, parent: Option<(&Commit, Incarnation)>) -> Commit {
    let base = match parent {
        None => Base::Root {
            fresh: Incarnation(unique()),
        },
        Some((parent, incarnation)) => Base::Borrow {
            incarnation,
            from: vec![RecordRef {
                key: parent.key.clone(),
                pack: parent.pack,
            }],
        },
    };
    // Every tenth has its chunks in rows of their own.
    let bytes = if step % 10 == 9 { 20_000 } else { 400 };
    Commit {
        thread: "thread 0".into(),
        key: RecordKey {
            namespace: if step % 5 == 4 { "child" } else { "" }.into(),
            id: format!("{step:04}").into(),
        },
        pack: PackId(unique()),
        base,
        expect_latest: None,
        index: RecordIndex::default(),
        body: vec![1; 300].into(),
        chunks: vec![vec![step as u8; bytes].into(); 2],
        metadata: Arc::default(),
    }
}

fn item(n: usize) -> ItemKey {
    ItemKey {
        namespace: Namespace::new(["users", &format!("u{:02}", n % 30)]).unwrap(),
        key: format!("{n:05}").into(),
    }
}

fn put(n: usize, packed: bool) -> ItemChange {
    let version = PackId(unique());
    let value = serde_json::json!({"n": n, "kind": "usual"});
    ItemChange::Put(Box::new(PutItem {
        row: ItemRow {
            key: item(n),
            version,
            created_ms: 1,
            updated_ms: 1,
            ttl_ms: Some(1000),
            expires_ms: Some(1_000_000 + n as u64),
            packs: if packed { vec![version] } else { Vec::new() },
            body: vec![2; 300].into(),
        },
        expect: Expect::Any,
        chunks: if packed {
            vec![vec![3; 3000].into(); 3]
        } else {
            Vec::new()
        },
        value: value.as_object().map(|value| Arc::new(value.clone())),
    }))
}

/// What is in the database, as the calls below need it.
struct Filled {
    incarnation: Incarnation,
    commits: Vec<Commit>,
    locators: Vec<u64>,
    packed: ItemChange,
}

async fn fill(backend: &SqlBackend, store: &dyn StoreBackend) -> Filled {
    let mut commits: Vec<Commit> = Vec::new();
    let mut locators = Vec::new();
    let mut incarnation = Incarnation([0; 8]);
    for step in 0..STEPS {
        let next = commit(step, commits.last().map(|last| (last, incarnation)));
        let committed = backend.commit(next.clone()).await.unwrap();
        incarnation = committed.incarnation;
        locators.push(committed.locator);
        commits.push(next);
    }
    for commit in &commits {
        let writes = PutWrites {
            thread: "thread 0".into(),
            key: commit.key.clone(),
            write_id: PackId(unique()),
            fresh: incarnation,
            time_ms: 1,
            writes: Vec::new(),
        };
        backend.put_writes(writes).await.unwrap();
    }
    // Others, which nobody lists.
    for n in 0..OTHERS {
        let writes = PutWrites {
            thread: format!("other {n}").into(),
            key: commits[0].key.clone(),
            write_id: PackId(unique()),
            fresh: Incarnation(unique()),
            time_ms: 1,
            writes: Vec::new(),
        };
        backend.put_writes(writes).await.unwrap();
    }
    for n in 1..THREADS {
        let fresh = Incarnation(unique());
        backend
            .copy_thread("thread 0", &format!("thread {n}"), fresh)
            .await
            .unwrap();
    }
    for n in (0..ITEMS).step_by(60) {
        let changes = (n..n + 60).map(|n| put(n, false)).collect();
        for changed in store.change_items(changes).await.unwrap() {
            changed.unwrap();
        }
    }
    let packed = put(7, true);
    let more: Vec<_> = (8..800)
        .map(|n| put(n, true))
        .chain([packed.clone()])
        .collect();
    for changes in more.chunks(60) {
        store.change_items(changes.to_vec()).await.unwrap();
    }
    Filled {
        incarnation,
        commits,
        locators,
        packed,
    }
}

/// Does what is done all the time; gives the statements of each call.
async fn run(
    backend: &SqlBackend,
    store: &dyn StoreBackend,
    filled: &Filled,
) -> Vec<(&'static str, Vec<Statement>)> {
    let db = &backend.inner().db;
    let mut seen = Vec::new();
    db.seen();
    let mut note = |what| seen.push((what, db.seen()));
    let Filled {
        incarnation,
        commits,
        locators,
        packed,
    } = filled;
    let last = commits.last().expect("it was filled");
    let next = commit(STEPS, Some((last, *incarnation)));
    backend.commit(next.clone()).await.unwrap();
    note("commit");
    let mut again = next.clone();
    again.pack = PackId(unique());
    again.expect_latest = Some(Some(next.key.id.clone()));
    backend.commit(again.clone()).await.unwrap();
    note("re-put");
    let picks = [
        Pick::Latest {
            namespace: "".into(),
        },
        Pick::Latest {
            namespace: "child".into(),
        },
        Pick::At(last.key.clone()),
    ];
    backend
        .get("thread 0", &picks, Detail::Writes)
        .await
        .unwrap();
    note("get");
    for limit in [Some(20), None] {
        let query = ListRecords {
            thread: "thread 0".into(),
            namespace: Some("".into()),
            before: Some("0050".into()),
            limit,
            hidden: false,
            detail: Detail::Writes,
        };
        let rows: Vec<_> = backend
            .list(query)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        assert!(rows.len() >= 20);
    }
    note("list");
    let located = commits.iter().zip(locators);
    let mut names: Vec<ChunkName> = located
        .map(|(commit, locator)| ChunkName {
            pack: commit.pack,
            ordinal: 1,
            locator: *locator,
            len: 0,
        })
        .collect();
    // One that is wrong costs time.
    names[20].locator += 7;
    let found = backend
        .chunks("thread 0", *incarnation, &names)
        .await
        .unwrap();
    assert!(found.iter().all(Option::is_some));
    note("chunks");
    let query = ListThreads {
        prefix: "thread".into(),
        limit: 10,
        ..ListThreads::default()
    };
    assert_eq!(backend.threads(query).await.unwrap().len(), 10);
    note("threads");
    let removed = RecordRef {
        key: commits[4].key.clone(),
        pack: commits[4].pack,
    };
    let alter = Alter {
        thread: "thread 0".into(),
        incarnation: *incarnation,
        time_ms: 1,
        changes: vec![(removed, Change::Remove)],
    };
    backend.alter(alter).await.unwrap();
    note("alter");
    let query = ListCondemned {
        thread: "thread 0".into(),
        before_ms: 2,
        after: None,
        limit: 10,
    };
    backend.condemned(query).await.unwrap();
    note("condemned");
    let writes = PutWrites {
        thread: "thread 0".into(),
        key: last.key.clone(),
        write_id: PackId(unique()),
        fresh: Incarnation(unique()),
        time_ms: 1,
        writes: Vec::new(),
    };
    backend.put_writes(writes).await.unwrap();
    note("put_writes");
    store.items(&[item(1), item(99)]).await.unwrap();
    note("items");
    store
        .change_items(vec![put(5, false)])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    note("put");
    let ItemChange::Put(put) = packed else {
        unreachable!("it is a put")
    };
    let names: Vec<ChunkName> = (0..2)
        .map(|ordinal| ChunkName {
            pack: put.row.version,
            ordinal,
            locator: 0,
            len: 0,
        })
        .collect();
    let found = store.item_chunks(&put.row.key, &names).await.unwrap();
    assert!(found.iter().all(Option::is_some));
    note("item_chunks");
    let scan = ScanItems {
        prefix: Namespace::new(["users", "u03"]).unwrap(),
        likely: Some(20),
        matching: Some(Arc::new(Predicate::Equals(
            vec!["kind".into()],
            Scalar::Text("usual".into()),
        ))),
        ..ScanItems::default()
    };
    let rows: Vec<_> = store.scan(scan).await.unwrap().try_collect().await.unwrap();
    assert_eq!(rows.len(), ITEMS / 30);
    note("scan");
    let query = ListNamespaces {
        prefix: Namespace::new(["users"]).unwrap(),
        after: None,
        now_ms: 1,
    };
    let rows: Vec<_> = store
        .namespaces(query)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(rows.len(), 30);
    note("namespaces");
    store
        .sweep(SweepItems {
            before_ms: 1_000_003,
            limit: 10,
        })
        .await
        .unwrap();
    note("sweep");
    seen
}

/// The type of a parameter, as PostgreSQL says it.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Int(_) => "bigint",
        Value::Bool(_) => "boolean",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytea",
        Value::Ints(_) => "bigint[]",
        Value::Texts(_) => "text[]",
        Value::Blobs(_) => "bytea[]",
    }
}

/// The plan of a statement, a line for each step.
async fn explain(backend: &SqlBackend, (template, args): &Statement) -> Vec<String> {
    let db = &backend.inner().db;
    let text = db.sql().text(template);
    let joined = |row: &Row, columns: std::ops::Range<usize>| -> String {
        let column = |n| row.opt_text(n).ok().flatten().unwrap_or_default();
        columns.map(column).collect::<Vec<_>>().join(" ")
    };
    match db.dialect() {
        Dialect::Sqlite => {
            let rows = db
                .rows(&format!("EXPLAIN QUERY PLAN {template}"), args.clone())
                .await;
            rows.unwrap().iter().map(|row| joined(row, 3..4)).collect()
        }
        Dialect::Postgres => {
            // As it is planned for whatever the parameters will be.
            let types: Vec<_> = args.iter().map(type_of).collect();
            let places: Vec<_> = (1..=args.len()).map(|n| format!("${n}")).collect();
            let execute: Arc<str> = format!("EXPLAIN EXECUTE p ({})", places.join(", ")).into();
            let execute = literal::fill(Dialect::Postgres, &execute, args);
            let list = |what: &[String]| {
                if what.is_empty() {
                    String::new()
                } else {
                    format!("({})", what.join(", "))
                }
            };
            let types: Vec<String> = types.iter().map(ToString::to_string).collect();
            let execute = if args.is_empty() {
                "EXPLAIN EXECUTE p".to_owned()
            } else {
                execute
            };
            let script = format!(
                "SET LOCAL plan_cache_mode = force_generic_plan; PREPARE p {} AS {text}; {execute}; DEALLOCATE p",
                list(&types)
            );
            let mut tx = db.begin().await.unwrap();
            let rows = tx.script_rows(script).await.unwrap();
            tx.rollback().await;
            rows.iter().map(|row| joined(row, 0..1)).collect()
        }
        Dialect::MySql => {
            let text = literal::fill(Dialect::MySql, &text, args);
            // What is set for the statement is no part of what is explained.
            let text = match text.split_once("FOR */ ") {
                Some((_, text)) => text.to_owned(),
                None => text,
            };
            let mut tx = db.begin().await.unwrap();
            let rows = tx.script_rows(format!("EXPLAIN {text}")).await.unwrap();
            tx.rollback().await;
            // Its table, the kind of access (with the partitions before it in MySQL), and so on.
            let step = |row: &Row| joined(row, 2..10);
            rows.iter().map(step).collect()
        }
    }
}

/// Whether a step of the plan of a statement reads a whole table of ours.
fn reads_all(dialect: Dialect, template: &str, step: &str, prefix: &str) -> bool {
    match dialect {
        Dialect::Sqlite => {
            let scanned = step.trim().strip_prefix("SCAN ");
            // What is called so in the statement; else it is made by the statement itself.
            let name = scanned
                .and_then(|name| name.split(' ').next())
                .unwrap_or_default();
            let ours = [format!("}} {name}"), format!("}} AS {name}")];
            scanned.is_some()
                && (ours.iter().any(|one| template.contains(one)) || name.starts_with(prefix))
        }
        Dialect::Postgres => step.contains("Seq Scan") && step.contains(prefix),
        Dialect::MySql => {
            let mut words = step.split(' ').filter(|word| !word.is_empty());
            let table = words.next().unwrap_or_default();
            let kind = words.next().unwrap_or_default();
            let made = table.starts_with('<') || step.contains("json_table");
            ["ALL", "index"].contains(&kind) && !made
        }
    }
}

async fn plans_of(config: SqlConfig) {
    let prefix = config.table_prefix.clone();
    let backend = Arc::new(SqlBackend::from_config(config).await.unwrap());
    let store = backend.clone().store().expect("it has one");
    let filled = fill(&backend, &*store).await;
    let db = &backend.inner().db;
    let dialect = db.dialect();
    let mut tx = db.begin().await.unwrap();
    let tables =
        "{threads}, {checkpoints}, {chunks}, {writes}, {items}, {item_packs}, {item_chunks}";
    let analyze = dialect.pick("ANALYZE", "ANALYZE {}", "ANALYZE TABLE {}");
    let analyze = db.sql().place().fill(&analyze.replace("{}", tables));
    tx.script_rows(analyze).await.unwrap();
    tx.commit().await.unwrap();
    let mut plans: BTreeMap<String, (&str, String, Vec<String>)> = BTreeMap::new();
    for (what, statements) in run(&backend, &*store, &filled).await {
        assert!(!statements.is_empty(), "{what} runs nothing");
        for statement in statements {
            let text = db.sql().text(&statement.0).to_string();
            // A row that is added is found by no plan.
            let adds = text.starts_with("INSERT") && !text.contains("SELECT");
            if !adds && !plans.contains_key(&text) {
                let plan = explain(&backend, &statement).await;
                plans.insert(text, (what, statement.0, plan));
            }
        }
    }
    let mut wrong = Vec::new();
    for (text, (what, template, plan)) in &plans {
        println!("-- {what}: {text}\n   {}", plan.join("\n   "));
        if plan
            .iter()
            .any(|step| reads_all(dialect, template, step, &prefix))
        {
            wrong.push(format!("{what}: {text}\n{}", plan.join("\n")));
        }
    }
    assert!(
        wrong.is_empty(),
        "read a whole table: {}",
        wrong.join("\n\n")
    );
    let mut tx = db.begin().await.unwrap();
    let drop = match dialect {
        Dialect::Sqlite => String::new(),
        Dialect::Postgres => "DROP SCHEMA {schema} CASCADE".into(),
        Dialect::MySql => format!(
            "DROP VIEW {{history}}, {{store}}; DROP TABLE {tables}, {{ended}}, {{schema_version}}"
        ),
    };
    tx.script(&db.sql().place().fill(&drop)).await.unwrap();
    tx.commit().await.unwrap();
    backend.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_reads_no_whole_table() {
    let dir = tempfile::tempdir().unwrap();
    plans_of(SqlConfig::new(format!(
        "sqlite://{}/a.db",
        dir.path().display()
    )))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_reads_no_whole_table() {
    if let Some(service) = services::postgres() {
        let mut config = SqlConfig::new(service.url());
        config.durability = Durability::Process;
        config.schema = Some(format!("plans_{}", std::process::id()));
        plans_of(config).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_reads_no_whole_table() {
    if let Some(service) = services::mysql() {
        let mut config = SqlConfig::new(service.url());
        config.durability = Durability::Process;
        config.table_prefix = format!("plans_{}_", std::process::id());
        plans_of(config).await;
    }
}
