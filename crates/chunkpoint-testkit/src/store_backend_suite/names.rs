//! Labels and keys are data.

use std::collections::BTreeSet;

use chunkpoint_core::store_backend::ItemKey;

use super::Fixture;
use super::support::*;

/// Text that means something to some storage, or to whoever builds a path, a pattern
/// or a query from it.
const AWKWARD: &[&str] = &[
    " ",
    "  ",
    "\t",
    "\n",
    "a\n",
    "/",
    "//",
    "/etc/passwd",
    "..",
    "../x",
    "../../x",
    ".",
    "./x",
    "x/",
    "x/../y",
    "\\",
    "..\\x",
    "C:",
    "NUL",
    "con",
    "~",
    ":",
    "a:b",
    "|",
    "a|b",
    "#",
    "*",
    "**",
    "?",
    "[a-z]",
    "{a,b}",
    "{}",
    "$",
    "$where",
    "$gt",
    "${x}",
    "%",
    "%%",
    "%2F",
    "%00",
    "_",
    "a_b",
    "aXb",
    "'",
    "\"",
    "`",
    "''",
    "' OR '1'='1",
    "'; DROP TABLE items; --",
    ";",
    "--",
    "/*",
    "@",
    "-",
    "+",
    "=",
    "&",
    "<x>",
    "(",
    "null",
    "0",
    "00",
    "-1",
    "1e3",
    "true",
    "\u{1}",
    "\u{7f}",
    "\u{80}",
    "\u{feff}",
    "\u{200b}",
    "\u{202e}",
    "é",
    "e\u{301}",
    "ß",
    "ss",
    "İ",
    "i",
    "I",
    "日本語",
    "🦀",
    "\u{10ffff}",
];

/// What has a full stop is no label, but a key.
fn labels() -> impl Iterator<Item = &'static str> {
    AWKWARD.iter().copied().filter(|text| !text.contains('.'))
}

/// All of these exist beside each other, are found by name, in order, and go one by one.
async fn all_stand_apart(backend: &Backend, keys: Vec<ItemKey>) {
    let mut rows = Vec::new();
    for key in &keys {
        rows.push(put(backend, packed(key.clone(), None)).await);
    }
    for row in &rows {
        assert_intact(backend, row).await;
    }
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(scanned(backend, below(&[])).await, rows);
    let listed: BTreeSet<_> = rows.iter().map(|row| row.key.namespace.clone()).collect();
    let listed: Vec<_> = listed.into_iter().collect();
    assert_eq!(namespaces(backend, &[], None, NOW).await, listed);
    while let Some(row) = rows.pop() {
        remove(backend, row.key.clone()).await;
        let left = scanned_keys(backend, below(&[])).await;
        assert!(
            left.iter().eq(rows.iter().map(|row| &row.key)),
            "{}",
            row.key
        );
    }
}

/// Awkward keys work, each of them another item.
pub async fn awkward_keys_work(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let keys = AWKWARD.iter().map(|text| key_in(&["ns"], text));
    all_stand_apart(&backend, keys.collect()).await;
}

/// Awkward labels work, each of them another namespace.
pub async fn awkward_labels_work(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let keys = labels().map(|text| key_in(&[text], "k"));
    all_stand_apart(&backend, keys.collect()).await;
}

/// Awkward labels work below others and above others.
pub async fn awkward_labels_work_at_any_depth(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let deep = labels().map(|text| key_in(&["x", text, "y"], text));
    all_stand_apart(&backend, deep.collect()).await;
}

/// A label is not taken for a pattern when it is a prefix.
pub async fn awkward_prefixes_match_only_themselves(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let keys: Vec<_> = labels().map(|text| key_in(&[text, "x"], "k")).collect();
    put_all(&backend, keys.clone()).await;
    for text in labels() {
        let found = scanned_keys(&backend, below(&[text])).await;
        assert_eq!(found, [key_in(&[text, "x"], "k")]);
        let listed = namespaces(&backend, &[text], None, NOW).await;
        assert_eq!(listed, [namespace(&[text, "x"])]);
    }
}

/// Where a name is cut into labels and key matters.
pub async fn parts_of_a_name_are_kept_apart(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let mut keys = Vec::new();
    for between in ["/", ":", "|", "\u{1}", "\u{1f}", ",", "_", "-", "%2F", "\\"] {
        let join = |a: &str, b: &str| format!("{a}{between}{b}");
        keys.extend([
            key_in(&[&join("a", "b")], "c"),
            key_in(&["a"], &join("b", "c")),
            key_in(&[&join("a", "b"), "c"], "d"),
            key_in(&["a", &join("b", "c")], "d"),
            key_in(&["a", "b"], &join("c", "d")),
        ]);
    }
    keys.push(key_in(&["a", "b"], "c"));
    keys.push(key_in(&["a"], "b"));
    keys.push(key_in(&["a", "b", "c"], "d"));
    all_stand_apart(&backend, keys).await;
}

/// Names that differ at their very end only, and are as long as may be.
pub async fn long_names_work(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let mut keys = Vec::new();
    for len in [255, 256, 1024, 10 * 1024, 16 * 1024 - 1] {
        for end in ["a", "b"] {
            let long = "x".repeat(len - 1) + end;
            keys.push(key_in(&["ns"], &long));
            keys.push(key_in(&[&long], "k"));
            keys.push(key_in(&[&long], &long));
        }
        let wide = "🦀".repeat(len / 4);
        keys.push(key_in(&["ns"], &wide));
    }
    keys.push(key_in(&["ns"], &"x".repeat(16 * 1024)));
    all_stand_apart(&backend, keys).await;
}

/// Five hundred labels are a namespace like any other.
pub async fn deep_namespaces_work(fixture: &dyn Fixture) {
    let backend = open(fixture).await;
    let labels: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let keys = [1, 2, 100, 499, 500].map(|depth| key_in(&labels[..depth], "k"));
    all_stand_apart(&backend, keys.into()).await;
    let row = put(&backend, packed(key_in(&labels, "k"), None)).await;
    let found = scanned(&backend, below(&labels[..300])).await;
    assert_eq!(found, [row]);
}
