//! How a filter compares: JSON equality of top-level keys.

use serde_json::{Value as Json, json};

use super::support::*;

/// Which of these metadata values a filter by each finds. Values are equal if
/// they are in one group.
async fn groups(target: &Target, groups: &[&[Json]]) {
    let saver = target.saver();
    let mut number = 0;
    let mut all = Vec::new();
    for (group, values) in groups.iter().enumerate() {
        for value in *values {
            number += 1;
            let step = Step::new("t", &id(number)).meta("key", value.clone());
            step.put(&saver).await;
            all.push((group, id(number), value));
        }
    }
    for (group, _, value) in &all {
        let mut query = of_thread("t");
        query.filter = object(json!({"key": value}));
        let mut expected: Vec<_> = all
            .iter()
            .filter(|(other, ..)| other == group)
            .map(|(_, id, _)| id.clone())
            .collect();
        expected.reverse();
        assert_eq!(listed_ids(&saver, query).await, expected, "by {value}");
    }
}

/// Numbers are compared by value: 1 is 1.0, and large ones keep their digits.
pub async fn numbers_are_compared_by_value(target: &Target) {
    groups(
        target,
        &[
            &[json!(1), json!(1.0)],
            &[json!(-1), json!(-1.0)],
            &[json!(0), json!(0.0), json!(-0.0)],
            &[json!(1.5)],
            &[
                json!(9_007_199_254_740_992_i64),
                json!(9_007_199_254_740_992.0),
            ],
            &[json!(9_007_199_254_740_993_i64)],
            &[json!(u64::MAX)],
            &[json!(i64::MAX)],
            &[json!(i64::MIN)],
        ],
    )
    .await;
}

/// 1 is not true, 0 not false, "1" not 1, null none of them.
pub async fn types_are_told_apart(target: &Target) {
    groups(
        target,
        &[
            &[json!(1)],
            &[json!(true)],
            &[json!(0)],
            &[json!(false)],
            &[json!("1")],
            &[json!("true")],
            &[json!(null)],
            &[json!("null")],
            &[json!("")],
            &[json!([])],
            &[json!({})],
            &[json!([1])],
        ],
    )
    .await;
}

/// Nested values are equal as wholes: not contained, not in another order.
pub async fn nested_values_are_compared_as_wholes(target: &Target) {
    groups(
        target,
        &[
            &[json!({"a": 1}), json!({"a": 1.0})],
            &[json!({"a": 1, "b": 2}), json!({"b": 2, "a": 1})],
            &[json!({"a": {"b": [1, {"c": null}]}})],
            &[json!({"a": {"b": [1, {}]}})],
            &[json!([1, 2]), json!([1.0, 2.0])],
            &[json!([2, 1])],
            &[json!([1, 2, 2])],
        ],
    )
    .await;
}

/// A key that is missing is not null, nor anything else.
pub async fn a_missing_key_is_not_null(target: &Target) {
    let saver = target.saver();
    Step::new("t", "1").put(&saver).await;
    Step::new("t", "2")
        .meta("key", json!(null))
        .put(&saver)
        .await;
    for (filter, expected) in [
        (json!({"key": null}), vec!["2"]),
        (json!({"other": null}), vec![]),
        (json!({"key": {}}), vec![]),
        (json!({}), vec!["2", "1"]),
    ] {
        let mut query = of_thread("t");
        query.filter = object(filter);
        assert_eq!(listed_ids(&saver, query).await, expected);
    }
}

/// A key may hold any character; none of them is syntax.
pub async fn keys_are_no_syntax(target: &Target) {
    let saver = target.saver();
    let keys = [
        "",
        " ",
        "a.b",
        "$eq",
        "$where",
        "a'b",
        "a\"b",
        "a`b",
        "a;b--",
        "a/*b",
        "%",
        "_",
        "*",
        "[0]",
        "a\nb",
        "ключ",
        "😀",
        "a:b|c#d",
        "{}",
        "\\",
        "a,b",
        "?",
        "__proto__",
        "'); DROP TABLE t; --",
    ];
    for (n, key) in (1..).zip(keys) {
        Step::new("t", &id(n))
            .meta(key, json!(key))
            .put(&saver)
            .await;
    }
    // What a dot must not mean.
    Step::new("t", &id(99))
        .meta("a", json!({"b": "a.b"}))
        .put(&saver)
        .await;
    for (n, key) in (1..).zip(keys) {
        let mut query = of_thread("t");
        query.filter.insert(key.to_owned(), json!(key));
        assert_eq!(listed_ids(&saver, query).await, ids([n]), "{key:?}");
    }
}

/// Values are no syntax either.
pub async fn values_are_no_syntax(target: &Target) {
    groups(
        target,
        &[
            &[json!("' OR '1'='1")],
            &[json!("%")],
            &[json!("*")],
            &[json!({"$ne": null})],
            &[json!({"$gt": ""})],
            &[json!(".*")],
            &[json!("x' OR 1=1 --")],
            &[json!("a")],
            &[json!("A")],
            &[json!("a ")],
        ],
    )
    .await;
}
