//! Equality and order of JSON as filters mean them.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

/// Whether `metadata` has every key of `filter`, with an equal value.
pub(crate) fn matches(filter: &Map<String, Value>, metadata: &Map<String, Value>) -> bool {
    filter.iter().all(|(key, expected)| {
        metadata
            .get(key)
            .is_some_and(|value| equal(value, expected))
    })
}

/// JSON equality: numbers by value (1 is 1.0), everything else by type and content.
pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => equal_numbers(a, b),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && matches(a, b),
        _ => a == b,
    }
}

fn equal_numbers(a: &Number, b: &Number) -> bool {
    compare_numbers(a, b) == Some(Ordering::Equal)
}

/// The order of two numbers, exact: integers beyond 2^53 are compared as integers,
/// because as floats, neighbours meet.
pub(crate) fn compare_numbers(a: &Number, b: &Number) -> Option<Ordering> {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        // What is no integer here has a fraction or is beyond all integers of 64 bits:
        // the float nearest to an integer decides.
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

fn integer(n: &Number) -> Option<i128> {
    if let Some(n) = n.as_i64() {
        return Some(n.into());
    }
    if let Some(n) = n.as_u64() {
        return Some(n.into());
    }
    let float = n.as_f64()?;
    (float.fract() == 0.0 && float.abs() < 1e30).then_some(float as i128)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equality_is_that_of_json() {
        for (a, b, expected) in [
            (json!(1), json!(1.0), true),
            (json!(1), json!(true), false),
            (json!(0), json!(false), false),
            (json!(null), json!(0), false),
            (json!("1"), json!(1), false),
            (
                json!(9007199254740993_i64),
                json!(9007199254740992.0),
                false,
            ),
            (json!(u64::MAX), json!(u64::MAX), true),
            (
                json!({"a": 1, "b": [1.0]}),
                json!({"b": [1], "a": 1.0}),
                true,
            ),
            (json!({"a": 1, "b": 2}), json!({"a": 1}), false),
        ] {
            assert_eq!(equal(&a, &b), expected, "{a} and {b}");
        }
    }

    #[test]
    fn a_missing_key_is_not_null() {
        let object = |v: Value| v.as_object().unwrap().clone();
        assert!(!matches(&object(json!({"x": null})), &object(json!({}))));
        assert!(matches(
            &object(json!({"x": null})),
            &object(json!({"x": null}))
        ));
        assert!(matches(&object(json!({})), &object(json!({"x": 1}))));
        assert!(matches(
            &object(json!({"a.b $c'": 1})),
            &object(json!({"a.b $c'": 1}))
        ));
    }
}
