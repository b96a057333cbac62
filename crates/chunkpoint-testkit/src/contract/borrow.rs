//! Channels whose versions are not new: where their values come from.

use chunkpoint_core::{Config, ErrorKind};

use super::support::*;

/// A channel carried over comes from an ancestor any number of steps back.
pub async fn channels_come_from_an_ancestor(target: &Target) {
    let saver = target.saver();
    Step::new("t", &id(1))
        .set("old", 1, text("kept"))
        .put(&saver)
        .await;
    for n in 2..=20 {
        let step = Step::new("t", &id(n)).parent(&id(n - 1)).carry("old", 1);
        let name = format!("{n}");
        step.set("now", n as i64, text(&name)).put(&saver).await;
    }
    let saver = target.saver();
    let by_id = values(&saver, &Config::new("t").with_id(id(20))).await;
    let latest = values(&saver, &Config::new("t")).await;
    assert_eq!(
        by_id,
        expected([("old", text("kept")), ("now", text("20"))])
    );
    assert_eq!(latest, by_id);
}

/// The parent's value counts, not that of a newer checkpoint beside it.
pub async fn the_parent_comes_first(target: &Target) {
    let saver = target.saver();
    Step::new("t", "1")
        .set("a", 1, text("parent's"))
        .put(&saver)
        .await;
    Step::new("t", "2")
        .set("a", 1, text("other's"))
        .put(&saver)
        .await;
    let fork = Step::new("t", "3")
        .parent("1")
        .carry("a", 1)
        .put(&saver)
        .await;
    assert_eq!(
        values(&saver, &fork).await,
        expected([("a", text("parent's"))])
    );
}

/// What the parent has at another version comes from the newest checkpoint of
/// the namespace that has it at this one.
pub async fn then_the_newest_that_has_the_version(target: &Target) {
    let saver = target.saver();
    Step::new("t", "1")
        .set("a", 2, text("older"))
        .put(&saver)
        .await;
    Step::new("t", "2")
        .set("a", 2, text("newer"))
        .put(&saver)
        .await;
    Step::new("t", "3")
        .set("a", 3, text("later"))
        .put(&saver)
        .await;
    Step::new("t", "9")
        .ns("other")
        .set("a", 2, text("elsewhere"))
        .put(&saver)
        .await;
    Step::new("t", "4")
        .set("a", 1, text("parent's"))
        .put(&saver)
        .await;
    let found = Step::new("t", "5")
        .parent("4")
        .carry("a", 2)
        .put(&saver)
        .await;
    assert_eq!(
        values(&saver, &found).await,
        expected([("a", text("newer"))])
    );
}

/// A checkpoint without a parent borrows as well.
pub async fn a_root_may_borrow(target: &Target) {
    let saver = target.saver();
    Step::new("t", "1").set("a", 1, text("x")).put(&saver).await;
    let found = Step::new("t", "2").carry("a", 1).put(&saver).await;
    assert_eq!(values(&saver, &found).await, expected([("a", text("x"))]));
    assert_eq!(get(&saver, &found).await.parent_config, None);
}

/// One checkpoint borrows from several.
pub async fn several_may_give(target: &Target) {
    let saver = target.saver();
    let long = "a long value, which has a chunk of its own. ".repeat(100);
    for (n, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let step = Step::new("t", &id(n + 1)).set(name, 1, text(&format!("{name} {long}")));
        step.put(&saver).await;
    }
    let mut step = Step::new("t", &id(9)).parent(&id(1));
    for name in ["a", "b", "c", "d"] {
        step = step.carry(name, 1);
    }
    let found = values(&target.saver(), &step.put(&saver).await).await;
    for name in ["a", "b", "c", "d"] {
        assert_eq!(found[name], text(&format!("{name} {long}")));
    }
}

/// A version that nobody has is a channel without a value.
pub async fn what_nobody_has_is_absent(target: &Target) {
    let saver = target.saver();
    Step::new("t", "1").set("a", 1, text("x")).put(&saver).await;
    let step = Step::new("t", "2").parent("1").carry("a", 7).carry("b", 1);
    let found = checkpoint(&saver, &step.put(&saver).await).await;
    assert_eq!(found.channel_values, expected([]));
    assert_eq!(found.channel_versions, step.checkpoint.channel_versions);
}

/// A value given for a version that is not new is not stored, even where the
/// one that is borrowed differs.
pub async fn values_of_old_versions_are_not_taken(target: &Target) {
    let saver = target.saver();
    Step::new("t", "1")
        .set("a", 1, text("stored"))
        .put(&saver)
        .await;
    let step = Step::new("t", "2").parent("1").keep("a", 1, text("given"));
    let found = values(&saver, &step.put(&saver).await).await;
    assert_eq!(found, expected([("a", text("stored"))]));
}

/// Version 1 is version 1.0, but not "1".
pub async fn versions_are_equal_by_value(target: &Target) {
    let saver = target.saver();
    Step::new("t", "1").set("a", 1, text("x")).put(&saver).await;
    let number = Step::new("t", "2")
        .parent("1")
        .carry("a", 1.0)
        .put(&saver)
        .await;
    assert_eq!(values(&saver, &number).await, expected([("a", text("x"))]));
    let letters = Step::new("t", "3")
        .parent("1")
        .carry("a", "1")
        .put(&saver)
        .await;
    assert_eq!(values(&saver, &letters).await, expected([]));
}

/// A parent that is not there, from which nothing is borrowed, is stored as
/// it was given.
pub async fn a_missing_parent_may_be_named(target: &Target) {
    let saver = target.saver();
    let step = Step::new("t", "2").parent("1").set("a", 1, text("x"));
    let config = step.put(&saver).await;
    let found = get(&saver, &config).await;
    assert_eq!(found.parent_config, Some(Config::new("t").with_id("1")));
    assert_eq!(values(&saver, &config).await, expected([("a", text("x"))]));
    // The parent may come later.
    let parent = Step::new("t", "1").put(&saver).await;
    assert_eq!(get(&saver, &config).await.parent_config, Some(parent));
}

/// Borrowing from a parent that is not there is `ParentGone`, and stores nothing.
pub async fn a_missing_parent_gives_nothing(target: &Target) {
    let saver = target.saver();
    for other in [false, true] {
        if other {
            // Another checkpoint could give the value; it was not the one named.
            Step::new("t", "5").set("a", 1, text("x")).put(&saver).await;
        }
        let step = Step::new("t", "2").parent("1").carry("a", 1);
        let step = step.set("b", 1, text("y"));
        assert_eq!(kind(step.try_put(&saver).await), ErrorKind::ParentGone);
        assert!(find(&saver, &step.names()).await.is_none());
    }
    assert_eq!(listed_ids(&saver, of_thread("t")).await, ["5"]);
}

/// The parent is looked for in the checkpoint's own namespace and thread.
pub async fn parents_are_of_the_same_namespace(target: &Target) {
    let saver = target.saver();
    Step::new("t", "1").set("a", 1, text("x")).put(&saver).await;
    for step in [
        Step::new("t", "2").ns("child").parent("1").carry("a", 1),
        Step::new("u", "2").parent("1").carry("a", 1),
    ] {
        assert_eq!(kind(step.try_put(&saver).await), ErrorKind::ParentGone);
    }
}

/// A child keeps what it borrowed when parent and donor are replaced.
pub async fn what_was_borrowed_stays(target: &Target) {
    let saver = target.saver();
    let long = "long enough for a chunk of its own. ".repeat(100);
    Step::new("t", "1")
        .set("a", 1, text(&long))
        .put(&saver)
        .await;
    let child = Step::new("t", "2")
        .parent("1")
        .carry("a", 1)
        .put(&saver)
        .await;
    Step::new("t", "1")
        .set("a", 1, text("replaced"))
        .put(&saver)
        .await;
    target.clock().advance(std::time::Duration::from_secs(3600));
    target.memory().maintain().await.unwrap();
    let found = values(&target.saver(), &child).await;
    assert_eq!(found, expected([("a", text(&long))]));
}
