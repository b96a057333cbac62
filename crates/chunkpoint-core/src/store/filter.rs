//! The filter language of [`Search`](super::Search).

mod predicate;

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::error::{Error, Result, quote};
use crate::json::{compare_numbers, equal};

pub use predicate::{Comparison, Predicate, Scalar};

/// The operators of a field.
const OPERATORS: &[&str] = &[
    "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$not",
];

/// What joins filters.
const JOINTS: &[&str] = &["$and", "$or", "$not"];

/// Filters in filters, at most: deeper ones are a mistake or an attack.
const MOST_DEEP: usize = 32;

/// A condition on an item's value, read from JSON.
///
/// | filter | holds if |
/// |---|---|
/// | `{"color": "red"}` | the member `color` is `"red"` |
/// | `{"user": {"city": "Bonn"}}` | `user` is an object whose `city` is `"Bonn"`, whatever else it has |
/// | `{"user.city": "Bonn"}` | the same |
/// | `{"age": {"$gte": 18, "$lt": 65}}` | all of these hold |
/// | `{"tag": {"$in": ["a", "b"]}}` | it is one of them; `$nin`: it is none |
/// | `{"email": {"$exists": false}}` | there is no such member |
/// | `{"age": {"$not": {"$lt": 18}}}` | the inner condition does not hold |
/// | `{"$or": [{…}, {…}]}` | one of the filters holds; `$and`: all; `$not`: not this one |
///
/// * Several members of a filter must all hold; an empty filter always does.
/// * A path names members of objects, separated by full stops; a number also names an
///   element of a list. A full stop, a dollar sign at the start or a backslash that
///   belongs to a name has a backslash before it.
/// * Numbers are compared as numbers (1 is 1.0, and 10 is more than 9), text by its
///   UTF-8 bytes, `false` is less than `true`. A member that cannot be compared with what
///   the filter has, a missing one among them, is neither less nor greater. That is never
///   an error. `$gt` and the like with a list, an object or `null` are: no value could
///   fulfil them.
/// * A missing member equals nothing, not even `null`; `$ne` and `$nin` hold for it.
/// * Lists and what `$eq` is given are equal as a whole.
///
/// ```
/// use chunkpoint_core::store::Filter;
/// use serde_json::json;
///
/// let filter = Filter::parse(&json!({"age": {"$gte": 18}, "address.city": "Bonn"}))?;
/// let ada = json!({"age": 36.0, "address": {"city": "Bonn", "zip": "53111"}});
/// assert!(filter.matches(ada.as_object().unwrap()));
///
/// let error = Filter::parse(&json!({"age": {"$near": 18}})).unwrap_err();
/// assert!(error.to_string().contains("$near"));
/// # Ok::<(), chunkpoint_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Filter(Vec<Node>);

#[derive(Debug, Clone)]
enum Node {
    Field(Vec<String>, Test),
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Filter),
}

#[derive(Debug, Clone)]
enum Test {
    Equal(Value),
    Unequal(Value),
    /// Compared with the value, the member gives one of these.
    Compares(Value, &'static [Ordering]),
    In(Vec<Value>),
    NotIn(Vec<Value>),
    Exists(bool),
    /// It is an object with at least these.
    Subset(Filter),
    All(Vec<Test>),
    Not(Box<Test>),
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// `InvalidInput` that names what is wrong, and lists the known operators.
    pub fn parse(filter: &Value) -> Result<Self> {
        match filter {
            Value::Object(members) => Self::members(members, 0),
            other => Err(Error::invalid(format!(
                "a filter is a JSON object, not {}",
                kind(other)
            ))),
        }
    }

    fn members(members: &Map<String, Value>, depth: usize) -> Result<Self> {
        if depth > MOST_DEEP {
            return Err(Error::invalid(format!(
                "the filter is over {MOST_DEEP} levels deep"
            )));
        }
        let node = |(name, value): (&String, &Value)| match name.as_str() {
            "$and" => Ok(Node::And(Self::list(name, value, depth)?)),
            "$or" => Ok(Node::Or(Self::list(name, value, depth)?)),
            "$not" => match value {
                Value::Object(inner) => Ok(Node::Not(Self::members(inner, depth + 1)?)),
                other => Err(wants(name, "a filter", other)),
            },
            _ if name.starts_with('$') => Err(unknown(name, JOINTS)),
            _ => {
                let test = Test::parse(value, depth + 1);
                let at = |e: Error| e.context(format_args!("member {}", quote(name)));
                Ok(Node::Field(path(name)?, test.map_err(at)?))
            }
        };
        members.iter().map(node).collect::<Result<_>>().map(Self)
    }

    fn list(name: &str, value: &Value, depth: usize) -> Result<Vec<Self>> {
        let Value::Array(filters) = value else {
            return Err(wants(name, "a list of filters", value));
        };
        let parse = |filter: &Value| match filter {
            Value::Object(members) => Self::members(members, depth + 1),
            other => Err(wants(name, "a list of filters", other)),
        };
        filters.iter().map(parse).collect()
    }

    /// Whether `value` fulfils it.
    pub fn matches(&self, value: &Map<String, Value>) -> bool {
        self.0.iter().all(|node| match node {
            Node::Field(path, test) => test.holds(find(value, path)),
            Node::And(filters) => filters.iter().all(|filter| filter.matches(value)),
            Node::Or(filters) => filters.iter().any(|filter| filter.matches(value)),
            Node::Not(filter) => !filter.matches(value),
        })
    }
}

impl Test {
    fn parse(value: &Value, depth: usize) -> Result<Self> {
        if depth > MOST_DEEP {
            return Err(Error::invalid(format!(
                "the filter is over {MOST_DEEP} levels deep"
            )));
        }
        let Value::Object(members) = value else {
            return Ok(Self::Equal(value.clone()));
        };
        let operators = members.keys().filter(|name| name.starts_with('$')).count();
        if operators == 0 {
            // An empty object has no member to ask for: it equals only itself.
            return Ok(if members.is_empty() {
                Self::Equal(value.clone())
            } else {
                Self::Subset(Filter::members(members, depth + 1)?)
            });
        }
        if operators < members.len() {
            return Err(Error::invalid(
                "a condition has operators or members, not both; compare a whole object with $eq",
            ));
        }
        let mut tests = members
            .iter()
            .map(|(name, operand)| Self::operator(name, operand, depth))
            .collect::<Result<Vec<_>>>()?;
        Ok(match tests.len() {
            1 => tests.remove(0),
            _ => Self::All(tests),
        })
    }

    fn operator(name: &str, operand: &Value, depth: usize) -> Result<Self> {
        let operand = || operand.clone();
        Ok(match name {
            "$eq" => Self::Equal(operand()),
            "$ne" => Self::Unequal(operand()),
            "$gt" => Self::Compares(ordered(name, operand())?, &[Ordering::Greater]),
            "$gte" => Self::Compares(
                ordered(name, operand())?,
                &[Ordering::Greater, Ordering::Equal],
            ),
            "$lt" => Self::Compares(ordered(name, operand())?, &[Ordering::Less]),
            "$lte" => Self::Compares(
                ordered(name, operand())?,
                &[Ordering::Less, Ordering::Equal],
            ),
            "$in" | "$nin" => match operand() {
                Value::Array(values) if name == "$in" => Self::In(values),
                Value::Array(values) => Self::NotIn(values),
                other => return Err(wants(name, "a list", &other)),
            },
            "$exists" => match operand() {
                Value::Bool(wanted) => Self::Exists(wanted),
                other => return Err(wants(name, "true or false", &other)),
            },
            "$not" => match operand() {
                inner @ Value::Object(_) => Self::Not(Box::new(Self::parse(&inner, depth + 1)?)),
                other => return Err(wants(name, "a condition", &other)),
            },
            _ => return Err(unknown(name, OPERATORS)),
        })
    }

    fn holds(&self, value: Option<&Value>) -> bool {
        match self {
            Self::Equal(wanted) => value.is_some_and(|value| equal(value, wanted)),
            Self::Unequal(wanted) => !value.is_some_and(|value| equal(value, wanted)),
            Self::Compares(with, wanted) => value
                .and_then(|value| compare(value, with))
                .is_some_and(|ordering| wanted.contains(&ordering)),
            Self::In(values) => {
                value.is_some_and(|value| values.iter().any(|wanted| equal(value, wanted)))
            }
            Self::NotIn(values) => {
                !value.is_some_and(|value| values.iter().any(|wanted| equal(value, wanted)))
            }
            Self::Exists(wanted) => value.is_some() == *wanted,
            Self::Subset(filter) => value
                .and_then(Value::as_object)
                .is_some_and(|value| filter.matches(value)),
            Self::All(tests) => tests.iter().all(|test| test.holds(value)),
            Self::Not(test) => !test.holds(value),
        }
    }
}

/// What something can be more or less than: with anything else no value would match, which
/// is not what was meant.
fn ordered(name: &str, operand: Value) -> Result<Value> {
    match operand {
        Value::Number(_) | Value::String(_) | Value::Bool(_) => Ok(operand),
        other => Err(wants(name, "a number, text or a truth value", &other)),
    }
}

/// The order of two values that have one.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b),
        (Value::String(a), Value::String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn find<'a>(members: &'a Map<String, Value>, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter()
        .try_fold(members.get(first)?, |value, step| match value {
            Value::Object(members) => members.get(step),
            Value::Array(elements) => elements.get(step.parse::<usize>().ok()?),
            _ => None,
        })
}

/// Cuts a path at its full stops, but for those after a backslash.
fn path(text: &str) -> Result<Vec<String>> {
    let mut steps = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '.' => steps.push(String::new()),
            '\\' => match characters.next() {
                Some(escaped @ ('.' | '$' | '\\')) => last(&mut steps).push(escaped),
                _ => {
                    return Err(Error::invalid(format!(
                        "in the path {}, a backslash stands before something else than a full \
                         stop, a dollar sign or a backslash",
                        quote(text)
                    )));
                }
            },
            other => last(&mut steps).push(other),
        }
    }
    Ok(steps)
}

fn last(steps: &mut Vec<String>) -> &mut String {
    if steps.is_empty() {
        steps.push(String::new());
    }
    let at = steps.len() - 1;
    &mut steps[at]
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wants(name: &str, wanted: &str, got: &Value) -> Error {
    Error::invalid(format!("{name} takes {wanted}, not {}", kind(got)))
}

fn unknown(name: &str, known: &[&str]) -> Error {
    Error::invalid(format!(
        "unknown operator {}; known here are {}. A name that starts with a dollar sign has a \
         backslash before it",
        quote(name),
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(filter: &Value, value: &Value) -> bool {
        Filter::parse(filter)
            .unwrap()
            .matches(value.as_object().unwrap())
    }

    #[test]
    fn conditions_hold_as_documented() {
        let value = json!({
            "n": 10, "f": 9.5, "s": "10", "t": true, "null": null, "list": [1, "x"],
            "o": {"a": 1, "b": {"c": "deep"}}, "a.b": "dotted", "$d": "dollar", "": "empty",
            "big": 9007199254740993_u64, "e": {}
        });
        for (filter, expected) in [
            (json!({}), true),
            (json!({"n": 10.0}), true),
            (json!({"n": "10"}), false),
            (json!({"n": {"$gt": 9.5}}), true),
            (json!({"n": {"$gt": 10}}), false),
            (json!({"n": {"$gte": 10, "$lt": 11}}), true),
            (json!({"n": {"$gte": 10, "$lt": 10}}), false),
            (json!({"n": {"$gt": "9"}}), false),
            (json!({"s": {"$lt": "9"}}), true),
            (json!({"missing": {"$gt": 1}}), false),
            (json!({"null": {"$lte": 1}}), false),
            (json!({"null": null}), true),
            (json!({"missing": null}), false),
            (json!({"missing": {"$ne": 1}}), true),
            (json!({"n": {"$ne": 10}}), false),
            (json!({"t": 1}), false),
            (json!({"t": {"$gt": false}}), true),
            (json!({"n": {"$in": [1, 10]}}), true),
            (json!({"n": {"$nin": [1, 10]}}), false),
            (json!({"missing": {"$nin": [1]}}), true),
            (json!({"missing": {"$in": [null]}}), false),
            (json!({"missing": {"$exists": false}}), true),
            (json!({"null": {"$exists": true}}), true),
            (json!({"o": {"a": 1}}), true),
            (json!({"o": {"$eq": {"a": 1}}}), false),
            (json!({"o.b.c": "deep"}), true),
            (json!({"o": {"b": {"c": {"$in": ["deep"]}}}}), true),
            (json!({"list": [1.0, "x"]}), true),
            (json!({"list": [1]}), false),
            (json!({"list.1": "x"}), true),
            (json!({"list.x": 1}), false),
            (json!({"a.b": "dotted"}), false),
            (json!({"a\\.b": "dotted"}), true),
            (json!({"\\$d": "dollar"}), true),
            (json!({"": "empty"}), true),
            (json!({"e": {}}), true),
            (json!({"o": {}}), false),
            (json!({"big": {"$gt": 9007199254740992_u64}}), true),
            (json!({"n": {"$not": {"$lt": 10}}}), true),
            (json!({"$not": {"n": 10}}), false),
            (json!({"$or": [{"n": 1}, {"s": "10"}]}), true),
            (json!({"$or": []}), false),
            (json!({"$and": [{"n": 10}, {"s": "x"}]}), false),
            (json!({"$and": []}), true),
        ] {
            assert_eq!(check(&filter, &value), expected, "{filter}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_with_advice() {
        let mut deep = json!({"a": 1});
        for _ in 0..40 {
            deep = json!({"$not": deep});
        }
        for (filter, word) in [
            (json!([]), "JSON object"),
            (json!({"$where": "1"}), "$where"),
            (json!({"n": {"$regex": ".*"}}), "$regex"),
            (json!({"n": {"$gt": 1, "a": 2}}), "$eq"),
            (
                json!({"n": {"$in": 1}}),
                "member \"n\": $in takes a list, not a number",
            ),
            (
                json!({"$or": [{"a": {"b.c": {"$like": 1}}}]}),
                "member \"a\": member \"b.c\": unknown operator \"$like\"",
            ),
            (json!({"n": {"$exists": 1}}), "true or false"),
            (
                json!({"n": {"$gte": [1]}}),
                "$gte takes a number, text or a truth value, not a list",
            ),
            (json!({"n": {"$lt": {"a": 1}}}), "an object"),
            (json!({"n": {"$not": {"$lte": null}}}), "null"),
            (json!({"$or": {"n": 1}}), "list of filters"),
            (json!({"$and": [1]}), "list of filters"),
            (json!({"$not": 1}), "a filter"),
            (json!({"a\\b": 1}), "backslash"),
            (deep, "deep"),
        ] {
            let error = Filter::parse(&filter).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
