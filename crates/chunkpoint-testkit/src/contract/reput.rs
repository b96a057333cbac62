//! Putting a checkpoint of an id that exists.

use serde_json::json;

use super::support::*;

/// Content and metadata are the new ones, for readers with a cache too.
pub async fn a_reput_replaces_content_and_metadata(target: &Target) {
    let saver = target.saver();
    let first = Step::new("t", "1")
        .set("a", 1, text("old"))
        .set("b", 1, text("old"))
        .meta("old", json!(true));
    let config = first.put(&saver).await;
    assert_eq!(checkpoint(&saver, &config).await, first.checkpoint);
    let second = Step::new("t", "1")
        .set("a", 1, text("new"))
        .meta("new", json!(true));
    assert_eq!(second.put(&saver).await, config);
    for saver in [saver, target.saver()] {
        let found = get(&saver, &config).await;
        assert_eq!(found.metadata, second.metadata);
        assert_eq!(found.checkpoint().await.unwrap(), second.checkpoint);
        assert_eq!(listed(&saver, of_thread("t")).await.len(), 1);
    }
}

/// Pending writes that came for the first stay.
pub async fn a_reput_keeps_the_pending_writes(target: &Target) {
    let saver = target.saver();
    let config = Step::new("t", "1").put(&saver).await;
    write(&saver, &config, "task", &[("a", "x"), ("b", "y")]).await;
    Step::new("t", "1")
        .set("a", 1, text("new"))
        .put(&saver)
        .await;
    let expected = told_as(&[("task", "a", "x"), ("task", "b", "y")]);
    assert_eq!(pending(&saver, &config).await, expected);
}

/// The parent is the one of the first put, whatever a later one says.
pub async fn a_reput_keeps_the_first_parent(target: &Target) {
    let saver = target.saver();
    let first = Step::new("t", "1")
        .set("a", 1, text("one"))
        .put(&saver)
        .await;
    Step::new("t", "2")
        .set("a", 2, text("two"))
        .put(&saver)
        .await;
    let config = Step::new("t", "3").parent("1").put(&saver).await;
    for reput in [
        Step::new("t", "3").parent("2").carry("a", 2),
        Step::new("t", "3").carry("a", 2),
    ] {
        reput.put(&saver).await;
        let found = get(&saver, &config).await;
        assert_eq!(found.parent_config.as_ref(), Some(&first));
        // What it borrows is from the parent it named all the same.
        let found = found.checkpoint().await.unwrap().channel_values;
        assert_eq!(found, expected([("a", text("two"))]));
    }
}

/// A first put without a parent has none afterwards either.
pub async fn a_reput_does_not_gain_a_parent(target: &Target) {
    let saver = target.saver();
    Step::new("t", "1").put(&saver).await;
    let config = Step::new("t", "2").put(&saver).await;
    Step::new("t", "2").parent("1").put(&saver).await;
    assert_eq!(get(&saver, &config).await.parent_config, None);
}

/// A reput may borrow from the version that it replaces.
pub async fn a_reput_may_borrow_from_itself(target: &Target) {
    let saver = target.saver();
    let long = "long enough for a chunk of its own. ".repeat(100);
    let config = Step::new("t", "1")
        .set("a", 1, text(&long))
        .put(&saver)
        .await;
    for n in 0..5 {
        let note = format!("{n}");
        let step = Step::new("t", "1").carry("a", 1).set("n", n, text(&note));
        step.put(&saver).await;
        target.clock().advance(std::time::Duration::from_secs(3600));
        target.memory().maintain().await.unwrap();
        let found = values(&target.saver(), &config).await;
        assert_eq!(found, expected([("a", text(&long)), ("n", text(&note))]));
    }
}

/// The same put twice is as good as once.
pub async fn putting_the_same_again_changes_nothing(target: &Target) {
    let saver = target.saver();
    chain(&saver, "t", "", 3).await;
    let before = checkpoint(&saver, &link("t", "", 2).names()).await;
    link("t", "", 2).put(&saver).await;
    assert_eq!(checkpoint(&saver, &link("t", "", 2).names()).await, before);
    assert_eq!(listed_ids(&saver, of_thread("t")).await, ids([3, 2, 1]));
}

/// Children of the replaced checkpoint keep what they have, and their parent.
pub async fn children_survive_a_reput(target: &Target) {
    let saver = target.saver();
    chain(&saver, "t", "", 3).await;
    let before = checkpoint(&saver, &link("t", "", 3).names()).await;
    let reput = Step::new("t", &id(2)).set("other", 1, text("x"));
    let parent = reput.put(&saver).await;
    let child = get(&target.saver(), &link("t", "", 3).names()).await;
    assert_eq!(child.parent_config, Some(parent));
    assert_eq!(child.checkpoint().await.unwrap(), before);
}
