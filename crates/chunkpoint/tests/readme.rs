//! The README's examples, line for line: they compile, and the store's runs.
#![cfg(feature = "fs")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

/// Lines without what indents all of them.
fn lines(text: &str) -> Vec<&str> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let all = text.lines().filter(|line| !line.trim().is_empty());
    let least = all.map(indent).min().unwrap_or(0);
    text.lines()
        .map(|line| line.get(least..).unwrap_or_default())
        .collect()
}

/// What stands between each line `start` and the next line `end`.
fn between<'t>(text: &'t str, start: &str, end: &str) -> Vec<&'t str> {
    let (start, end) = (format!("{start}\n"), format!("\n{end}"));
    let after_each = text.split(&*start).skip(1);
    after_each
        .map(|rest| rest.split(&*end).next().unwrap())
        .collect()
}

#[test]
fn the_examples_here_are_the_readmes() {
    let readme = between(include_str!("../../../README.md"), "\n```rust", "```");
    let here = include_str!("readme.rs").replace("    // end", "// end");
    let here = between(&here, "    // README", "// end");
    assert_eq!(readme.len(), here.len());
    for (readme, here) in readme.into_iter().zip(here) {
        assert_eq!(lines(readme), lines(here));
    }
}

#[rustfmt::skip]
#[allow(dead_code, reason = "it writes to a directory of its own choice")]
mod in_two_minutes {
    // README
    use chunkpoint::{Item, Result};

    #[tokio::main]
    async fn main() -> Result<()> {
        let memory = chunkpoint::open("file:///tmp/agents?max_history=1000").await?;
        let thread = memory.thread("support-4711")?;

        // A step: take the latest state, say what changed, commit. Durable when it returns.
        let mut draft = thread.draft().await?;
        draft.append("messages", [Item::text("Where is my parcel?")])?;
        draft.set("customer", Item::text("Ada"))?;
        let asked = thread.commit(draft).await?;

        // Go on from a state you have: nothing is read.
        let mut draft = asked.draft()?;
        draft.append("messages", [Item::text("In Rotterdam since Tuesday.")])?;
        let answered = thread.commit(draft).await?;

        // Read what you need, when you need it.
        let messages = answered.list("messages").await?;
        let last = &messages.tail(1).await?[0];
        println!("{} messages, the last: {}", messages.len(), last.as_text()?);

        // Every earlier state is still there, and can be gone on from: a fork.
        let mut fork = thread.fork(asked.id()).await?;
        fork.append("messages", [Item::text("It has just been delivered.")])?;
        thread.commit(fork).await?;             // now the newest, and what latest() gives

        // Run it again, and the thread goes on.
        println!("threads: {:?}", memory.threads("", None, 100).await?);
        memory.close().await
    }
    // end
}

#[rustfmt::skip]
async fn the_store(memory: chunkpoint::Memory) -> chunkpoint::Result<()> {
    use serde_json::json;
    // README
    use chunkpoint::store::Search;     // and serde_json::json

    let store = memory.store()?;
    store.put(&["users", "ada"], "profile", json!({"city": "London", "age": 36})).await?;
    store.patch(&["users", "ada"], "profile", json!({"city": "Paris"})).await?;
    let profile = store.get(&["users", "ada"], "profile").await?;
    let grown_ups = Search::below(&["users"])?.filter(&json!({"age": {"$gte": 18}}))?.limit(20);
    for item in store.search(grown_ups).await? {
        println!("{} / {}: {:?}", item.namespace, item.key, item.value);
    }
    store.delete(&["users", "ada"], "profile").await?;
    // end
    assert!(profile.is_some());
    Ok(())
}

#[tokio::test]
async fn the_stores_example_runs() {
    let memory = chunkpoint::open("memory:").await.unwrap();
    the_store(memory.clone()).await.unwrap();
    let store = memory.store().unwrap();
    let item = store.get(&["users", "ada"], "profile").await.unwrap();
    assert_eq!(item, None);
}

#[rustfmt::skip]
#[allow(dead_code, reason = "it writes to a directory of its own choice")]
fn one_backend_alone() -> chunkpoint::Result<chunkpoint::Memory> {
    // README
    let backend = chunkpoint_fs::FsBackend::builder("/var/lib/agents").open()?;
    let memory = chunkpoint_core::Memory::new(backend)?;
    // end
    Ok(memory)
}
