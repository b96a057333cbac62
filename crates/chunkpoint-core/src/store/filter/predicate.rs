//! [`Predicate`]: as much of a filter as a database can look for by itself.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::{Filter, Node, Test, find};
use crate::json::{compare_numbers, equal};

/// Where integers end that every storage compares exactly, also as floats.
const MOST_EXACT: i64 = 1 << 53;

/// What every value fulfils that fulfils a [`Filter`], in terms that databases with JSON
/// have: so an item whose value does not is none that a search wants.
///
/// It says less than the filter, which decides: a backend may leave out a row whose
/// value certainly does not fulfil it, and may give any other. So what a backend cannot
/// look for, or a kind of comparison that it knows only roughly, it takes as fulfilled.
///
/// * A path leads through members of objects, never into a list. Its names are not empty,
///   and have no quotation mark, backslash or control character; none but the first reads
///   as a number.
/// * An integer is at most 2^53 away from 0. A text has no NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Predicate {
    /// All of these.
    All(Vec<Predicate>),
    /// One of these, at least; of none, no value does.
    Any(Vec<Predicate>),
    /// The member at this path is equal to this. 1 is 1.0.
    Equals(Vec<String>, Scalar),
    /// The member at this path is of the same kind as this, and so compared to it:
    /// integers with all numbers, texts by their UTF-8 bytes.
    Compares(Vec<String>, Comparison, Scalar),
    /// There is a member at this path (`true`), or there is none.
    Exists(Vec<String>, bool),
}

/// What a member is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// `null`; a member that is not there is none.
    Null,
    /// A truth value; not a number.
    Bool(bool),
    /// A number.
    Integer(i64),
    /// Text.
    Text(String),
}

/// How a member compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// It is less.
    Less,
    /// It is less or equal.
    AtMost,
    /// It is greater or equal.
    AtLeast,
    /// It is greater.
    Greater,
}

impl Predicate {
    /// Whether `value` fulfils it: what its terms mean.
    pub fn holds(&self, value: &Map<String, Value>) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.holds(value)),
            Self::Any(any) => any.iter().any(|one| one.holds(value)),
            Self::Equals(path, scalar) => {
                find(value, path).is_some_and(|member| equal(member, &scalar.value()))
            }
            Self::Compares(path, comparison, scalar) => find(value, path)
                .and_then(|member| scalar.compared(member))
                .is_some_and(|ordering| comparison.takes(ordering)),
            Self::Exists(path, wanted) => find(value, path).is_some() == *wanted,
        }
    }

    /// Several that must hold.
    fn all(mut all: Vec<Self>) -> Option<Self> {
        match all.len() {
            0 | 1 => all.pop(),
            _ => Some(Self::All(all)),
        }
    }
}

impl Scalar {
    /// `None` for a list, an object, and a number that is no exact integer.
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Number(value) => {
                let integer = rounded(value, f64::floor)?;
                let same = compare_numbers(value, &integer.into()) == Some(Ordering::Equal);
                same.then_some(Self::Integer(integer))
            }
            Value::String(value) if value.contains('\0') => None,
            Value::String(value) => Some(Self::Text(value.clone())),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Integer(value) => (*value).into(),
            Self::Text(value) => value.as_str().into(),
        }
    }

    /// How `member` compares to it.
    fn compared(&self, member: &Value) -> Option<Ordering> {
        match (member, self) {
            (Value::Number(member), Self::Integer(value)) => {
                compare_numbers(member, &Number::from(*value))
            }
            (Value::String(member), Self::Text(value)) => {
                Some(member.as_bytes().cmp(value.as_bytes()))
            }
            _ => None,
        }
    }
}

impl Comparison {
    fn takes(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering == Ordering::Less,
            Self::AtMost => ordering != Ordering::Greater,
            Self::AtLeast => ordering != Ordering::Less,
            Self::Greater => ordering == Ordering::Greater,
        }
    }
}

/// An integer beside a number, on the side that `round` says.
fn rounded(number: &Number, round: fn(f64) -> f64) -> Option<i64> {
    let integer = match number.as_i64() {
        Some(integer) => integer,
        None => {
            let float = round(number.as_f64()?);
            (float.abs() <= MOST_EXACT as f64).then_some(float as i64)?
        }
    };
    (integer.unsigned_abs() <= MOST_EXACT.unsigned_abs()).then_some(integer)
}

impl Filter {
    /// What a value must fulfil to fulfil this filter, as far as a database can look for
    /// it; `None` if that is nothing.
    pub fn predicate(&self) -> Option<Predicate> {
        self.below(&[])
    }

    /// The same of the object at a path.
    fn below(&self, parent: &[String]) -> Option<Predicate> {
        let all = self.0.iter().filter_map(|node| match node {
            Node::Field(path, test) => test.predicate(&[parent, path].concat()),
            Node::And(filters) => {
                Predicate::all(filters.iter().filter_map(|one| one.below(parent)).collect())
            }
            Node::Or(filters) => {
                let any: Option<_> = filters.iter().map(|one| one.below(parent)).collect();
                any.map(Predicate::Any)
            }
            // Less than all of what is within may be known here.
            Node::Not(_) => None,
        });
        Predicate::all(all.collect())
    }
}

impl Test {
    fn predicate(&self, path: &[String]) -> Option<Predicate> {
        if !is_plain(path) {
            return None;
        }
        let there = || Some(Predicate::Exists(path.to_vec(), true));
        let equals = |value| Some(Predicate::Equals(path.to_vec(), Scalar::of(value)?));
        match self {
            Self::Equal(value) => equals(value).or_else(there),
            Self::In(values) => {
                let any: Option<Vec<_>> = values.iter().map(equals).collect();
                any.map(Predicate::Any).or_else(there)
            }
            Self::Compares(with, wanted) => comparison(with, wanted)
                .map(|(how, with)| Predicate::Compares(path.to_vec(), how, with))
                .or_else(there),
            Self::Exists(wanted) => Some(Predicate::Exists(path.to_vec(), *wanted)),
            Self::Subset(filter) => filter.below(path).or_else(there),
            Self::All(tests) => {
                Predicate::all(tests.iter().filter_map(|one| one.predicate(path)).collect())
            }
            Self::Unequal(_) | Self::NotIn(_) | Self::Not(_) => None,
        }
    }
}

/// As wide as it takes for a number with a fraction: what is more than 9.5 is more than 9.
fn comparison(with: &Value, wanted: &[Ordering]) -> Option<(Comparison, Scalar)> {
    let (up, down) = (
        wanted.contains(&Ordering::Greater),
        wanted.contains(&Ordering::Less),
    );
    let exact = Scalar::of(with);
    let equal = wanted.contains(&Ordering::Equal);
    let how = match (up, equal) {
        (true, true) => Comparison::AtLeast,
        (true, false) => Comparison::Greater,
        (false, true) => Comparison::AtMost,
        (false, false) => Comparison::Less,
    };
    debug_assert!(up != down, "an operator compares one way");
    match (exact, with) {
        (Some(scalar @ (Scalar::Integer(_) | Scalar::Text(_))), _) => Some((how, scalar)),
        (None, Value::Number(number)) => {
            let round = if up { f64::floor } else { f64::ceil };
            Some((how, Scalar::Integer(rounded(number, round)?)))
        }
        _ => None,
    }
}

/// Whether every storage reads a path the same way.
fn is_plain(path: &[String]) -> bool {
    let plain = |step: &String| {
        !step.is_empty() && !step.contains(|c: char| c.is_control() || c == '"' || c == '\\')
    };
    // In a list, what reads as a number is the place of an element.
    let position = |step: &String| {
        step.starts_with(|c: char| c.is_ascii_digit() || c.is_whitespace() || "+-".contains(c))
    };
    path.iter().all(plain) && !path.iter().skip(1).any(position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn predicate(filter: &Value) -> Option<Predicate> {
        Filter::parse(filter).unwrap().predicate()
    }

    fn path(steps: &[&str]) -> Vec<String> {
        steps.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_can_be_looked_for_is_said() {
        let equals = |steps: &[&str], scalar| Predicate::Equals(path(steps), scalar);
        let text = |text: &str| Scalar::Text(text.into());
        for (filter, expected) in [
            (json!({"a": "x"}), equals(&["a"], text("x"))),
            (json!({"a": 7.0}), equals(&["a"], Scalar::Integer(7))),
            (json!({"a": null}), equals(&["a"], Scalar::Null)),
            (
                json!({"a": {"b": true}}),
                equals(&["a", "b"], Scalar::Bool(true)),
            ),
            (
                json!({"a.b": {"$eq": false}}),
                equals(&["a", "b"], Scalar::Bool(false)),
            ),
            (json!({"a": [1]}), Predicate::Exists(path(&["a"]), true)),
            (json!({"a": 1.5}), Predicate::Exists(path(&["a"]), true)),
            (
                json!({"a": u64::MAX}),
                Predicate::Exists(path(&["a"]), true),
            ),
            (
                json!({"a": {"$exists": false}}),
                Predicate::Exists(path(&["a"]), false),
            ),
            (
                json!({"a": {"$gt": 9.5}}),
                Predicate::Compares(path(&["a"]), Comparison::Greater, Scalar::Integer(9)),
            ),
            (
                json!({"a": {"$lte": 9.5}}),
                Predicate::Compares(path(&["a"]), Comparison::AtMost, Scalar::Integer(10)),
            ),
            (json!({"$or": []}), Predicate::Any(vec![])),
            (
                json!({"a": {"$in": ["x", 1]}}),
                Predicate::Any(vec![
                    equals(&["a"], text("x")),
                    equals(&["a"], Scalar::Integer(1)),
                ]),
            ),
        ] {
            assert_eq!(predicate(&filter), Some(expected), "{filter}");
        }
    }

    #[test]
    fn what_cannot_be_looked_for_rules_nothing_out() {
        for filter in [
            json!({}),
            json!({"a": {"$ne": 1}}),
            json!({"a": {"$nin": [1]}}),
            json!({"a": {"$not": {"$lt": 1}}}),
            json!({"$not": {"a": 1}}),
            json!({"$or": [{"a": 1}, {"b": {"$ne": 1}}]}),
            json!({"a.0": 1}),
            json!({"a.-1": 1}),
            json!({"": 1}),
            json!({"a\"": 1}),
            json!({"\u{1}": 1}),
        ] {
            assert_eq!(predicate(&filter), None, "{filter}");
        }
    }

    fn scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3i64..3).prop_map(Value::from),
            (-6i32..6).prop_map(|n| Value::from(f64::from(n) / 2.0)),
            prop_oneof![Just(MOST_EXACT), Just(MOST_EXACT + 1), Just(i64::MIN)]
                .prop_map(Value::from),
            "[ab]{0,2}".prop_map(Value::from),
        ]
    }

    fn ordered() -> impl Strategy<Value = Value> {
        scalar().prop_filter("it has no order", |value| !value.is_null())
    }

    fn value() -> impl Strategy<Value = Value> {
        scalar().prop_recursive(3, 24, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                proptest::collection::btree_map("[ab0]", inner, 0..3)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn condition() -> impl Strategy<Value = Value> {
        const EQUALITY: &[&str] = &["$eq", "$ne"];
        const ORDER: &[&str] = &["$gt", "$gte", "$lt", "$lte"];
        prop_oneof![
            value(),
            (proptest::sample::select(EQUALITY), value())
                .prop_map(|(name, value)| json!({ name: value })),
            (proptest::sample::select(ORDER), ordered())
                .prop_map(|(name, value)| json!({ name: value })),
            proptest::collection::vec(scalar(), 0..3).prop_map(|list| json!({ "$in": list })),
            proptest::collection::vec(scalar(), 0..3).prop_map(|list| json!({ "$nin": list })),
            any::<bool>().prop_map(|there| json!({ "$exists": there })),
            (ordered(), ordered()).prop_map(|(a, b)| json!({ "$gte": a, "$lt": b })),
            ordered().prop_map(|value| json!({ "$not": { "$gt": value } })),
        ]
    }

    fn filter() -> impl Strategy<Value = Value> {
        let field = ("[ab](\\.[ab0])?", condition()).prop_map(|(path, test)| json!({ path: test }));
        field.prop_recursive(2, 8, 3, |inner| {
            const JOINTS: &[&str] = &["$and", "$or"];
            let joint = proptest::sample::select(JOINTS);
            prop_oneof![
                (joint, proptest::collection::vec(inner.clone(), 0..3))
                    .prop_map(|(name, list)| json!({ name: list })),
                inner.prop_map(|inner| json!({ "$not": inner })),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn what_fulfils_the_filter_fulfils_the_predicate(filter in filter(), value in value()) {
            // A filter may meet what looks like an operator, and be none.
            let Ok(filter) = Filter::parse(&filter) else { return Ok(()) };
            let Value::Object(value) = value else { return Ok(()) };
            if let Some(predicate) = filter.predicate() && filter.matches(&value) {
                prop_assert!(predicate.holds(&value), "{predicate:?}");
            }
        }
    }
}
