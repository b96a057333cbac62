//! [`Predicate`]s as conditions on the column of values.
//!
//! A condition may hold for more than the predicate, and never for less. What a database
//! would compare by other rules than ours is left out, or made wider. Names and values are
//! parameters.

use chunkpoint_core::store_backend::{Comparison, Predicate, Scalar};

use crate::dialect::Dialect;
use crate::value::{Args, Value, args};

/// The condition that a row, called `i`, may fulfil a predicate. A row without a value
/// beside its body may. `None` if nothing can be said.
pub(super) fn may_hold(dialect: Dialect, predicate: &Predicate) -> Option<(String, Args)> {
    let mut writer = Writer {
        dialect,
        args: Vec::new(),
    };
    let condition = writer.write(predicate)?;
    Some((format!("(i.value IS NULL OR {condition})"), writer.args))
}

struct Writer {
    dialect: Dialect,
    args: Args,
}

impl Writer {
    fn write(&mut self, predicate: &Predicate) -> Option<String> {
        match predicate {
            Predicate::Equals(path, _)
            | Predicate::Compares(path, ..)
            | Predicate::Exists(path, _)
                if !self.reaches(path) =>
            {
                None
            }
            Predicate::All(all) => {
                let all: Vec<_> = all.iter().filter_map(|one| self.write(one)).collect();
                (!all.is_empty()).then(|| format!("({})", all.join(" AND ")))
            }
            Predicate::Any(any) if any.is_empty() => Some("1 = 0".into()),
            Predicate::Any(any) => {
                let before = self.args.len();
                let all: Option<Vec<_>> = any.iter().map(|one| self.write(one)).collect();
                if all.is_none() {
                    self.args.truncate(before);
                }
                all.map(|all| format!("({})", all.join(" OR ")))
            }
            Predicate::Equals(path, scalar) => Some(self.equals(path, scalar)),
            Predicate::Compares(path, how, scalar) => self.compares(path, *how, scalar),
            Predicate::Exists(path, there) => Some(self.exists(path, *there)),
            // A kind that this version does not know rules nothing out.
            _ => None,
        }
    }

    /// Whether the database finds the member at a path.
    fn reaches(&self, path: &[String]) -> bool {
        // MariaDB takes a name for something else that begins so, even in quotes.
        self.dialect != Dialect::MySql || !path.iter().any(|name| name.starts_with('-'))
    }

    fn equals(&mut self, path: &[String], scalar: &Scalar) -> String {
        match self.dialect {
            Dialect::Sqlite => {
                self.args.push(dollar(path));
                let value = match scalar {
                    Scalar::Null => return "json_type(i.value, ?) = 'null'".into(),
                    // 1 and 0 there, as numbers are.
                    Scalar::Bool(value) => Value::from(i64::from(*value)),
                    Scalar::Integer(value) => Value::from(*value),
                    Scalar::Text(value) => Value::from(value.as_str()),
                };
                self.args.push(value);
                "json_extract(i.value, ?) = ?".into()
            }
            Dialect::Postgres => {
                // A document, so that a GIN index of jsonb_path_ops serves it.
                let value = path.iter().rev().fold(json(scalar), |inner, name| {
                    let mut object = serde_json::Map::new();
                    object.insert(name.clone(), inner);
                    object.into()
                });
                self.args.push(Value::from(&*value.to_string()));
                "i.value @> ?::jsonb".into()
            }
            Dialect::MySql => {
                if let Scalar::Integer(value) = scalar {
                    // MySQL documents that JSON_CONTAINS takes 1 and 1.0 for different ones.
                    return self.number_of_mysql(path, "=", *value);
                }
                self.args.push(Value::from(&*json(scalar).to_string()));
                self.args.push(dollar(path));
                "JSON_CONTAINS(i.value, CONVERT(? USING utf8mb4), CONVERT(? USING utf8mb4))".into()
            }
        }
    }

    fn compares(&mut self, path: &[String], how: Comparison, scalar: &Scalar) -> Option<String> {
        let exact = match how {
            Comparison::Less => "<",
            Comparison::AtMost => "<=",
            Comparison::AtLeast => ">=",
            Comparison::Greater => ">",
        };
        let condition = match (self.dialect, scalar) {
            (Dialect::Sqlite, Scalar::Integer(value)) => {
                self.args.extend(args![dollar(path), *value]);
                format!("json_extract(i.value, ?) {exact} ?")
            }
            (Dialect::Sqlite, Scalar::Text(value)) => {
                self.args.extend(args![dollar(path), value.as_str()]);
                format!("json_extract(i.value, ?) {exact} ?")
            }
            (Dialect::Postgres, Scalar::Integer(value)) => {
                // All numbers lie between all truth values and all texts: what is no
                // number may be among them, and a number is compared as one.
                self.args.push(steps(path));
                self.args.push(Value::from(&*value.to_string()));
                format!("i.value #> ? {exact} ?::jsonb")
            }
            (Dialect::Postgres, Scalar::Text(value)) => {
                self.args.push(steps(path));
                self.args.push(Value::from(value.as_str()));
                format!("(i.value #>> ?) COLLATE \"C\" {exact} ?")
            }
            (Dialect::MySql, Scalar::Integer(value)) => {
                // As floats: what is beyond 2^53 may meet it, and nothing else.
                let compared = match how {
                    _ if value.unsigned_abs() < 1 << 53 => exact,
                    Comparison::Less | Comparison::AtMost => "<=",
                    Comparison::AtLeast | Comparison::Greater => ">=",
                };
                self.number_of_mysql(path, compared, *value)
            }
            // Texts have a collation there, truth values and null no order worth asking for.
            _ => return None,
        };
        Some(condition)
    }

    /// A comparison as floats: a text that is a number, and a truth value, may fulfil it.
    fn number_of_mysql(&mut self, path: &[String], how: &str, value: i64) -> String {
        self.args.extend(args![dollar(path), value]);
        format!("JSON_EXTRACT(i.value, CONVERT(? USING utf8mb4)) + 0e0 {how} ?")
    }

    fn exists(&mut self, path: &[String], there: bool) -> String {
        let not = if there { "NOT " } else { "" };
        match self.dialect {
            Dialect::Sqlite => {
                self.args.push(dollar(path));
                format!("json_type(i.value, ?) IS {not}NULL")
            }
            Dialect::Postgres => {
                self.args.push(steps(path));
                format!("i.value #> ? IS {not}NULL")
            }
            Dialect::MySql => {
                self.args.push(dollar(path));
                let found = i32::from(there);
                format!("JSON_CONTAINS_PATH(i.value, 'one', CONVERT(? USING utf8mb4)) = {found}")
            }
        }
    }
}

fn json(scalar: &Scalar) -> serde_json::Value {
    match scalar {
        Scalar::Null => serde_json::Value::Null,
        Scalar::Bool(value) => (*value).into(),
        Scalar::Integer(value) => (*value).into(),
        Scalar::Text(value) => value.as_str().into(),
    }
}

/// A path as PostgreSQL takes it.
fn steps(path: &[String]) -> Value {
    Value::Texts(path.iter().map(|name| name.as_str().into()).collect())
}

/// A path as the others take it: `$."users"."ada"`. A predicate's names have nothing that
/// would have to be escaped.
fn dollar(path: &[String]) -> Value {
    let mut text = String::from("$");
    for name in path {
        text.push_str(".\"");
        text.push_str(name);
        text.push('"');
    }
    Value::from(&*text)
}
