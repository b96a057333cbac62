//! What of a checkpoint's metadata is kept for people who query the database. The body
//! has all of it, and is the truth.

use std::sync::Arc;

use serde_json::{Map, Value};

/// Most bytes of metadata in the column. Larger metadata is usually the same from step to
/// step, and would be written again each time: only its small members are kept then.
const MOST: usize = 4096;

/// Bytes up to which a member of large metadata is small.
const SMALL: usize = 256;

/// Levels of nesting that every database's JSON takes; MariaDB stops at 32.
const DEEPEST: usize = 30;

/// The columns that are made of metadata.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Columns {
    /// The JSON, unless there is none to keep.
    pub(crate) json: Option<Arc<str>>,
    /// `source`, where it is a string that a column takes.
    pub(crate) source: Option<Arc<str>>,
    /// `step`, where it is a whole number.
    pub(crate) step: Option<i64>,
}

/// Makes the columns.
pub(crate) fn columns(metadata: &Map<String, Value>) -> Columns {
    let source = metadata.get("source").and_then(Value::as_str);
    Columns {
        json: json(metadata),
        source: source
            .filter(|source| source.len() <= 255 && !source.contains('\0'))
            .map(Arc::from),
        step: metadata.get("step").and_then(Value::as_i64),
    }
}

fn json(metadata: &Map<String, Value>) -> Option<Arc<str>> {
    let members = metadata.iter().filter(|(_, value)| depth(value) < DEEPEST);
    let encoded = members.filter_map(|(key, value)| {
        let key = serde_json::to_string(key).ok()?;
        let value = serde_json::to_string(value).ok()?;
        Some(without_nul(format!("{key}:{value}")))
    });
    let mut encoded: Vec<String> = encoded.collect();
    if encoded.iter().map(|member| member.len() + 1).sum::<usize>() > MOST {
        let mut room = MOST;
        encoded.retain(|member| {
            let fits = member.len() <= SMALL && member.len() < room;
            if fits {
                room -= member.len() + 1;
            }
            fits
        });
    }
    (!encoded.is_empty()).then(|| format!("{{{}}}", encoded.join(",")).into())
}

/// No database's text takes a NUL, nor PostgreSQL's JSON its escape: U+FFFD stands for it.
fn without_nul(json: String) -> String {
    if !json.contains("\\u0000") {
        return json;
    }
    let mut out = String::with_capacity(json.len());
    let mut chars = json.as_str();
    while let Some(at) = chars.find('\\') {
        out.push_str(&chars[..at]);
        chars = &chars[at..];
        if let Some(rest) = chars.strip_prefix("\\u0000") {
            out.push('\u{fffd}');
            chars = rest;
        } else {
            // An escape of a backslash is taken whole, lest its second half begin another.
            let len = 1 + chars[1..].chars().next().map_or(0, char::len_utf8);
            out.push_str(&chars[..len]);
            chars = &chars[len..];
        }
    }
    out.push_str(chars);
    out
}

fn depth(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(value: Value) -> Columns {
        let Value::Object(map) = value else {
            panic!("metadata is an object");
        };
        columns(&map)
    }

    #[test]
    fn columns_are_taken_from_metadata() {
        let columns = of(json!({"source": "loop", "step": -1, "a": [1.5]}));
        assert_eq!(columns.source.as_deref(), Some("loop"));
        assert_eq!(columns.step, Some(-1));
        let back: Value = serde_json::from_str(&columns.json.unwrap()).unwrap();
        assert_eq!(back, json!({"source": "loop", "step": -1, "a": [1.5]}));
        assert_eq!(of(json!({})), Columns::default());
        assert_eq!(of(json!({"step": "1", "source": 2})).step, None);
    }

    #[test]
    fn what_databases_do_not_take_is_left_out() {
        let columns = of(json!({"a\0": "\\u0000 \0 \\\\u0000", "source": "\0"}));
        assert_eq!(columns.source, None);
        let back: Value = serde_json::from_str(&columns.json.unwrap()).unwrap();
        assert_eq!(back["a\u{fffd}"], "\\u0000 \u{fffd} \\\\u0000");
        let mut deep = json!(1);
        for _ in 0..40 {
            deep = json!([deep]);
        }
        let columns = of(json!({"deep": deep, "flat": 1}));
        assert_eq!(columns.json.as_deref(), Some(r#"{"flat":1}"#));
    }

    #[test]
    fn large_metadata_keeps_its_small_members() {
        let columns = of(json!({"large": "x".repeat(5000), "small": 1}));
        assert_eq!(columns.json.as_deref(), Some(r#"{"small":1}"#));
        let many: Map<String, Value> = (0..1000).map(|n| (format!("k{n}"), json!(n))).collect();
        assert!(columns_len(&many) <= MOST + 2);
    }

    fn columns_len(map: &Map<String, Value>) -> usize {
        columns(map).json.map_or(0, |json| json.len())
    }
}
