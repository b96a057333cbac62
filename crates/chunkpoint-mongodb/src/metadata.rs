//! What of metadata is kept for people who query the database. The body has all of it, and
//! is the truth.

use mongodb::bson::raw::CString;
use mongodb::bson::{RawArrayBuf, RawBsonRef, RawDocumentBuf};
use serde_json::{Map, Value};

/// Most bytes of it. Larger metadata is usually the same from step to step, and would be
/// written again each time: only its small members are kept then.
const MOST: usize = 4096;

/// Levels of nesting that are kept; the server stops at 100.
const DEEPEST: usize = 30;

/// The document, unless there is nothing to keep. Names that the server reads as syntax, or
/// cannot keep, are left out, at whatever depth.
pub(crate) fn document(metadata: &Map<String, Value>) -> Option<RawDocumentBuf> {
    let kept = members(metadata, MOST, DEEPEST);
    kept.filter(|kept| !kept.is_empty())
}

/// A value as a document, if it can be kept exactly as queries need it: every name means
/// itself, and it has at most so many bytes.
pub(crate) fn exact(value: &Map<String, Value>, most: usize) -> Option<RawDocumentBuf> {
    if !value.values().all(|value| is_exact(value, DEEPEST)) || !value.keys().all(|k| is_plain(k)) {
        return None;
    }
    let document = members(value, most, DEEPEST)?;
    // Nothing was too large for it.
    (document.iter().count() == value.len() && document.as_bytes().len() <= most)
        .then_some(document)
}

fn is_exact(value: &Value, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(2) else {
        return false;
    };
    match value {
        Value::Object(map) => map
            .iter()
            .all(|(name, value)| is_plain(name) && is_exact(value, depth)),
        Value::Array(values) => values.iter().all(|value| is_exact(value, depth)),
        _ => true,
    }
}

/// Whether a name means itself, and nothing else, in documents and in queries.
pub(crate) fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('$') && !name.contains(['.', '\0'])
}

fn members(map: &Map<String, Value>, most: usize, depth: usize) -> Option<RawDocumentBuf> {
    let depth = depth.checked_sub(1)?;
    let mut document = RawDocumentBuf::new();
    let mut room = most;
    for (name, value) in map {
        let Ok(key) = CString::try_from(name.as_str()) else {
            continue;
        };
        if !is_plain(name) {
            continue;
        }
        let before = document.as_bytes().len();
        let mut with = document.clone();
        if !append(&mut with, &key, value, room, depth) {
            continue;
        }
        let took = with.as_bytes().len() - before;
        if took <= room {
            room -= took;
            document = with;
        }
    }
    Some(document)
}

fn append(
    document: &mut RawDocumentBuf,
    key: &CString,
    value: &Value,
    room: usize,
    depth: usize,
) -> bool {
    match value {
        Value::Object(map) => match members(map, room, depth) {
            Some(inner) => document.append(key, &inner),
            None => return false,
        },
        Value::Array(values) => {
            let Some(depth) = depth.checked_sub(1) else {
                return false;
            };
            let mut array = RawArrayBuf::new();
            for value in values {
                // A document of one member is taken apart again.
                let mut one = RawDocumentBuf::new();
                let name = CString::default_name();
                if !append(&mut one, &name, value, room, depth) || one.as_bytes().len() > room {
                    return false;
                }
                match one.iter().next() {
                    Some(Ok((_, value))) => array.push(value),
                    _ => return false,
                }
            }
            document.append(key, &array);
        }
        Value::String(text) => document.append(key, text.as_str()),
        Value::Bool(flag) => document.append(key, *flag),
        Value::Null => document.append(key, RawBsonRef::Null),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => document.append(key, whole),
            (None, Some(float)) => document.append(key, float),
            (None, None) => return false,
        },
    }
    true
}

trait DefaultName {
    fn default_name() -> CString;
}

impl DefaultName for CString {
    fn default_name() -> CString {
        mongodb::bson::raw::cstr!("v").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::{Document, doc};
    use serde_json::json;

    fn kept(value: &Value) -> Option<Document> {
        let document = document(value.as_object().unwrap())?;
        Some(Document::try_from(document).unwrap())
    }

    #[test]
    fn names_that_are_syntax_are_left_out() {
        let value = json!({
            "source": "loop", "step": 3, "$where": "1", "a.b": 1, "": 2, "n\u{0}": 3,
            "deep": { "$gt": 1, "ok": [1, 2.5, null, { "x.y": 1, "z": true }] },
        });
        let expected = doc! {
            "deep": { "ok": [1_i64, 2.5, null, { "z": true }] },
            "source": "loop", "step": 3_i64,
        };
        assert_eq!(kept(&value), Some(expected));
        assert_eq!(kept(&json!({ "$a": 1 })), None);
    }

    #[test]
    fn of_large_metadata_small_members_are_kept() {
        let long = "x".repeat(MOST);
        let value = json!({ "a": long, "b": 1, "c": { "d": long } });
        assert_eq!(kept(&value), Some(doc! { "b": 1_i64, "c": {} }));
        let mut deep = json!(1);
        for _ in 0..200 {
            deep = json!({ "a": deep });
        }
        kept(&deep);
    }
}
