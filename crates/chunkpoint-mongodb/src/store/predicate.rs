//! [`Predicate`]s as filters.
//!
//! A filter may hold for more than the predicate, and never for less. What the server would
//! judge by other rules than ours is left out, or made wider. Values are values, and names
//! stand where the server takes nothing else for them: no operator can come in.

use chunkpoint_core::store_backend::{Comparison, Predicate, Scalar};
use mongodb::bson::{Bson, Document, doc};

use crate::metadata::is_plain;

/// The filter that an item's value may fulfil a predicate. One without a value beside its
/// body may. `None` if nothing can be said.
pub(super) fn may_hold(predicate: &Predicate) -> Option<Document> {
    let filter = write(predicate)?;
    Some(doc! { "$or": [{ "value": { "$exists": false } }, filter] })
}

fn write(predicate: &Predicate) -> Option<Document> {
    match predicate {
        Predicate::All(all) => {
            let all: Vec<Document> = all.iter().filter_map(write).collect();
            (!all.is_empty()).then(|| doc! { "$and": all })
        }
        Predicate::Any(any) if any.is_empty() => Some(doc! { "_id": { "$in": [] } }),
        Predicate::Any(any) => {
            let any: Vec<Document> = any.iter().map(write).collect::<Option<_>>()?;
            Some(doc! { "$or": any })
        }
        // In a list, the server looks at each element: that is more, and never less.
        Predicate::Equals(path, scalar) => {
            let test = doc! { "$eq": value(scalar) };
            field(path, test)
        }
        Predicate::Compares(path, how, scalar) => {
            let operator = match how {
                Comparison::Less => "$lt",
                Comparison::AtMost => "$lte",
                Comparison::AtLeast => "$gte",
                Comparison::Greater => "$gt",
            };
            let mut test = Document::new();
            test.insert(operator, value(scalar));
            field(path, test)
        }
        Predicate::Exists(path, true) => field(path, doc! { "$exists": true }),
        // Below a list, the server finds what to us is not there.
        Predicate::Exists(path, false) if path.len() == 1 => field(path, doc! { "$exists": false }),
        // A kind that this version does not know rules nothing out.
        _ => None,
    }
}

fn field(path: &[String], test: Document) -> Option<Document> {
    // Values with other names are not kept, so an item that has one is not ruled out.
    if !path.iter().all(|name| is_plain(name)) {
        return None;
    }
    let mut filter = Document::new();
    filter.insert(format!("value.{}", path.join(".")), test);
    Some(filter)
}

fn value(scalar: &Scalar) -> Bson {
    match scalar {
        Scalar::Null => Bson::Null,
        Scalar::Bool(value) => Bson::from(*value),
        Scalar::Integer(value) => Bson::from(*value),
        Scalar::Text(value) => Bson::from(value.as_str()),
    }
}
