//! The injections that peers were open to, attempted: every one is data, or a clear
//! error before anything is read.
//!
//! CVE-2025-8709, CVE-2025-64104 and CVE-2025-67644: SQL through filter keys and
//! operators. GHSA-98xf-r82g-9mhx: operators of MongoDB through filters.
//! GHSA-x3wm-3wx7-g6xm: patterns of Redis through names. langgraph#8356: wildcards of
//! LIKE through namespaces. CVE-2025-64439, CVE-2026-28277, GHSA-fjqc-hq36-qh5p: values
//! that make the reader build objects.

use chunkpoint_core::ErrorKind;
use chunkpoint_core::store::{NamespaceQuery, Search, Store};

use super::support::*;

const SQL: &[&str] = &[
    "' OR '1'='1",
    "x') = 1 OR 1=1 --",
    "a'), '1') OR 1=1; DROP TABLE store; --",
    "\" OR \"\"=\"",
    "key\") = 'x' OR (\"1\" = \"1",
    "1; ATTACH DATABASE '/tmp/x' AS x",
    "') UNION SELECT value FROM store --",
    "$.a') = 1 OR ('1",
    "value->>'x' OR true",
    "%' OR value LIKE '%",
    "'; SELECT load_extension('x'); --",
    "?1",
    "$1",
    ":name",
    "@p",
    "%s",
    "{0}",
    "\\'",
];

const REDIS: &[&str] = &[
    "*",
    "?",
    "[a-z]*",
    "a*",
    "{a}",
    "{a|b}",
    "@key:{*}",
    "*]=>[KNN 1 @v $q]",
    "\\*",
    "-@a:b",
    "a|b",
    "(a|b)",
    "%a%",
    "$q",
    "\r\nDEL a\r\n",
];

const PATTERNS: &[&str] = &[
    "%", "_", "a%", "a_", "_dmin", "%dmin", "adm_n", "[a]dmin", "*", "a*", "admi?",
];

async fn secrets(target: &Target) -> Store {
    let store = target.store();
    for user in ["admin", "adminX", "alice", "bob"] {
        let value = json!({"owner": user, "secret": true, "role": "user"});
        store
            .put(&[user, "private"], "secret", value)
            .await
            .unwrap();
    }
    store
}

/// A filter key is the name of a member, whatever is in it.
pub async fn filter_keys_are_names(target: &Target) {
    let store = secrets(target).await;
    for text in SQL.iter().chain(REDIS) {
        // As a path, a full stop and a backslash mean something: with a backslash before them not.
        let key = text.replace('\\', "\\\\").replace('.', "\\.");
        let key = match key.strip_prefix('$') {
            Some(rest) => format!("\\${rest}"),
            None => key,
        };
        for filter in [
            json!({&key: 1}),
            json!({&key: {"$gt": 0}}),
            json!({"owner": {&key: 1}}),
        ] {
            assert_eq!(matching(&store, filter).await, [""; 0], "{text}");
        }
        let not = json!({"$not": {&key: {"$exists": true}}});
        assert_eq!(matching(&store, not).await.len(), 4);
        store.put(&["mine"], text, json!({*text: 1})).await.unwrap();
        assert_eq!(matching(&store, json!({&key: 1})).await, [*text]);
        store.delete(&["mine"], text).await.unwrap();
    }
    assert_eq!(
        found(&store, below(&[])).await.len(),
        4,
        "nothing was dropped"
    );
}

/// A filter value is data, of the type it has.
pub async fn filter_values_are_data(target: &Target) {
    let store = secrets(target).await;
    for text in SQL.iter().chain(REDIS).chain(PATTERNS) {
        for filter in [
            json!({"owner": text}),
            json!({"owner": {"$eq": text}}),
            json!({"owner": {"$in": [text]}}),
            json!({"secret": text}),
            json!({"secret": {"$gt": text}}),
        ] {
            assert_eq!(matching(&store, filter).await, [""; 0], "{text}");
        }
        let value = json!({"owner": text, "secret": false});
        store.put(&["mine"], "k", value).await.unwrap();
        assert_eq!(matching(&store, json!({"owner": text})).await, ["k"]);
    }
    for filter in [
        json!({"secret": "true"}),
        json!({"secret": 1}),
        json!({"secret": "1 OR 1=1"}),
        json!({"secret": {"$gt": "0 OR 1=1"}}),
    ] {
        assert_eq!(matching(&store, filter).await, [""; 0]);
    }
}

/// An operator that is not known is refused: no text of it reaches a query.
pub async fn operators_are_known_or_refused(target: &Target) {
    drop(secrets(target).await);
    for operator in [
        "$gt' OR 1=1 --",
        "$eq) OR (1=1",
        "$where",
        "$expr",
        "$function",
        "$regex",
        "$text",
        "$accumulator",
        "$jsonSchema",
        "$mod",
        "$elemMatch",
        "$size",
        "$type",
        "$options",
        "$GT",
        "$ gt",
        "$",
        "$$",
        "$gt ",
        "$ne\0",
        "$lookup",
        "$out",
        "$merge",
    ] {
        for filter in [
            json!({"secret": {operator: 1}}),
            json!({operator: "this.secret == true"}),
            json!({operator: [{"secret": true}]}),
            json!({"$or": [{"secret": {operator: 1}}]}),
            json!({"owner": {"$not": {operator: 1}}}),
            json!({"a": {"b": {operator: {}}}}),
        ] {
            let refused = Search::below(&["mine"]).unwrap().filter(&filter);
            assert_eq!(kind(refused), ErrorKind::InvalidInput, "{filter}");
        }
    }
}

/// What looks like an operator inside a value to compare with is part of that value.
pub async fn operators_in_values_are_data(target: &Target) {
    let store = secrets(target).await;
    for filter in [
        json!({"owner": {"$eq": {"$ne": null}}}),
        json!({"owner": {"$in": [{"$gt": ""}, {"$regex": ".*"}]}}),
        json!({"owner": [{"$ne": 1}]}),
    ] {
        assert_eq!(matching(&store, filter).await, [""; 0]);
    }
    let stored = json!({"owner": {"$ne": null}, "$where": "1", "$set": {"owner": "x"}});
    store.put(&["mine"], "k", stored.clone()).await.unwrap();
    let equal = json!({"owner": {"$eq": {"$ne": null}}});
    assert_eq!(matching(&store, equal).await, ["k"]);
    let patch = json!({"$unset": {"owner": 1}, "$set": {"owner": "y"}});
    store.patch(&["mine"], "k", patch).await.unwrap();
    let item = item_in(&store, &["mine"], "k").await.expect("it is there");
    assert_eq!(item.value["owner"], json!({"$ne": null}));
    assert_eq!(item.value["$set"], json!({"owner": "y"}));
}

/// Wildcards of LIKE, GLOB and of Redis in labels match themselves only: no search or
/// listing sees the items of others.
pub async fn wildcards_in_namespaces_are_labels(target: &Target) {
    let store = secrets(target).await;
    for text in PATTERNS.iter().chain(SQL).chain(REDIS) {
        if text.contains('.') {
            continue;
        }
        assert_eq!(found(&store, below(&[text])).await, [""; 0], "{text}");
        assert_eq!(found(&store, below(&["admin", text])).await, [""; 0]);
        store.put(&[text, "own"], "k", json!({})).await.unwrap();
        assert_eq!(found(&store, below(&[text])).await, ["k"]);
        if *text != "*" {
            for (prefix, suffix) in [(vec![*text], vec![]), (vec![], vec![*text, "own"])] {
                let query = NamespaceQuery {
                    prefix: NamespaceQuery::labels(&prefix).unwrap(),
                    suffix: NamespaceQuery::labels(&suffix).unwrap(),
                    ..NamespaceQuery::default()
                };
                let listed = store.list_namespaces(query).await.unwrap();
                assert_eq!(listed, spaces(&[&[text, "own"]]));
            }
        }
        store.delete(&[text, "own"], "k").await.unwrap();
    }
    assert_eq!(found(&store, below(&[])).await.len(), 4);
}

/// A key with a pattern in it reads and removes itself only.
pub async fn patterns_in_keys_are_keys(target: &Target) {
    let store = target.store();
    for key in ["a", "ab", "abc", "admin"] {
        put(&store, key, json!({"secret": true})).await;
    }
    for key in REDIS.iter().chain(SQL).chain(PATTERNS) {
        if ["a", "ab", "abc", "admin"].contains(key) {
            continue;
        }
        assert_eq!(value(&store, key).await, None, "{key}");
        put(&store, key, json!({"mine": key})).await;
        assert_eq!(value(&store, key).await, Some(json!({"mine": key})));
        store.delete(NS, key).await.unwrap();
        assert_eq!(found(&store, below(NS)).await, ["a", "ab", "abc", "admin"]);
    }
}

/// Names that mean a place in a file system or a URL stay within the store.
pub async fn paths_in_names_lead_nowhere(target: &Target) {
    let store = secrets(target).await;
    for text in [
        "..",
        "../secret",
        "../../alice/private/secret",
        "/etc/passwd",
        "./secret",
        "secret/",
        "%2e%2e%2fsecret",
        "..\\secret",
        "secret\u{202e}",
        "C:\\x",
        "~root",
    ] {
        assert_eq!(
            item_in(&store, &["bob", "private"], text).await,
            None,
            "{text}"
        );
        store
            .put(&["bob", "private"], text, json!({"mine": 1}))
            .await
            .unwrap();
        let item = item_in(&store, &["alice", "private"], "secret").await;
        assert_eq!(item.expect("it is there").value["owner"], "alice");
        store.delete(&["bob", "private"], text).await.unwrap();
    }
    assert_eq!(found(&store, below(&[])).await.len(), 4);
}

/// A path of a filter reaches members of the value, and nothing of the store itself.
pub async fn paths_of_filters_stay_in_the_value(target: &Target) {
    let store = secrets(target).await;
    for path in [
        "__proto__",
        "constructor",
        "__class__",
        "value.owner",
        "value",
        "$.owner",
        "key",
        "namespace",
        "_id",
        "expires_at",
        "owner.length",
        "owner.0",
        "secret.true",
        "..",
        ".",
        "owner.",
        ".owner",
        "a[0]",
        "owner[0]",
        "*",
        "**",
        "owner.*",
    ] {
        let filter = json!({path: {"$exists": true}});
        match Search::below(&["alice"]).unwrap().filter(&filter) {
            Ok(search) => assert_eq!(found(&store, search).await, [""; 0], "{path}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput),
        }
    }
}

/// Values that other serializers would turn into objects or calls are inert.
pub async fn values_that_ask_to_be_built_are_inert(target: &Target) {
    let store = target.store();
    for value_of in [
        json!({"lc": 2, "type": "constructor", "id": ["os", "system"], "kwargs": {"a": "id"}}),
        json!({"lc": 1, "type": "secret", "id": ["API_KEY"]}),
        json!({"py/object": "os.system", "py/reduce": ["id"]}),
        json!({"__proto__": {"admin": true}, "constructor": {"prototype": {"x": 1}}}),
        json!({"$oid": "000000000000000000000000", "$date": 0, "$binary": "x", "$code": "1"}),
        json!({"$serde_json::private::RawValue": "[1]"}),
        json!({"$serde_json::private::Number": "1"}),
    ] {
        put(&store, "a", value_of.clone()).await;
        assert_eq!(value(&target.store(), "a").await, Some(value_of.clone()));
        put(
            &store,
            "b",
            json!({"in": value_of, "long": text(1, 20_000)}),
        )
        .await;
        let found = value(&target.store(), "b").await.expect("it is there");
        assert_eq!(found["in"], value_of);
    }
}

/// A filter that is nested without end is refused, not run.
pub async fn endless_filters_are_refused(target: &Target) {
    drop(secrets(target).await);
    for name in ["$not", "a"] {
        let deep = (0..400).fold(json!({"x": 1}), |inner, _| json!({name: inner}));
        let refused = Search::below(&["mine"]).unwrap().filter(&deep);
        assert_eq!(kind(refused), ErrorKind::InvalidInput);
    }
    for name in ["$and", "$or"] {
        let deep = (0..400).fold(json!({"x": 1}), |inner, _| json!({name: [inner]}));
        let refused = Search::below(&["mine"]).unwrap().filter(&deep);
        assert_eq!(kind(refused), ErrorKind::InvalidInput);
    }
}
