//! Statements with their parameters in the text.
//!
//! PgBouncer in transaction mode may give every statement another server connection,
//! and the driver prepares a statement in one round trip and runs it in the next. So
//! through it, statements go as text. Several statements in one round trip are text as
//! well, on PostgreSQL and MySQL. Nothing of a parameter stands in that text but decimal and
//! hexadecimal digits, which end no literal, whatever the ids hold.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::dialect::Dialect;
use crate::value::{Args, Value};

/// Puts the parameters where the text has them: at `?` in MySQL, at `$1`, `$2`, … in
/// PostgreSQL. SQLite has no use for it.
pub(crate) fn fill(dialect: Dialect, text: &Arc<str>, args: &Args) -> String {
    match dialect {
        Dialect::MySql => fill_in_order(text, args),
        Dialect::Postgres | Dialect::Sqlite => fill_by_number(text, args),
    }
}

fn fill_in_order(text: &str, args: &Args) -> String {
    let mut out = String::with_capacity(text.len() + 64 * args.len());
    let mut args = args.iter();
    for (n, part) in text.split('?').enumerate() {
        if n > 0 {
            match args.next() {
                Some(value) => literal_of_mysql(&mut out, value),
                None => out.push('?'),
            }
        }
        out.push_str(part);
    }
    out
}

fn literal_of_mysql(out: &mut String, value: &Value) {
    match value {
        // Where a number of rows is meant, a number in brackets is none.
        Value::Int(Some(value @ 0..)) => push(out, format_args!("{value}")),
        Value::Int(Some(value)) => push(out, format_args!("({value})")),
        Value::Bool(value) => push(out, format_args!("{value}")),
        Value::Text(Some(value)) => quoted(out, "X'", value.as_bytes(), "'"),
        Value::Bytes(Some(value)) => quoted(out, "X'", value, "'"),
        // There are no arrays, as where parameters are bound.
        _ => out.push_str("NULL"),
    }
}

fn fill_by_number(text: &str, args: &Args) -> String {
    let mut parts = text.split('$');
    let mut out = String::with_capacity(text.len() + 64 * args.len());
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits);
        let value = number
            .parse::<usize>()
            .ok()
            .and_then(|n| args.get(n.checked_sub(1)?));
        match value {
            Some(value) => literal(&mut out, value),
            None => {
                out.push('$');
                out.push_str(number);
            }
        }
        out.push_str(rest);
    }
    out
}

fn literal(out: &mut String, value: &Value) {
    match value {
        Value::Int(Some(value)) => push(out, format_args!("({value})::bigint")),
        Value::Int(None) => out.push_str("NULL::bigint"),
        Value::Bool(value) => push(out, format_args!("{value}")),
        Value::Text(Some(value)) => text(out, value),
        Value::Text(None) => out.push_str("NULL::text"),
        Value::Bytes(Some(value)) => bytes(out, value),
        Value::Bytes(None) => out.push_str("NULL::bytea"),
        Value::Ints(values) => array(out, "bigint", values, |out, value| {
            push(out, format_args!("{value}"));
        }),
        Value::Texts(values) => array(out, "text", values, |out, value| text(out, value)),
        Value::Blobs(values) => array(out, "bytea", values, |out, value| bytes(out, value)),
    }
}

fn push(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(what);
}

fn text(out: &mut String, value: &str) {
    out.push_str("convert_from(");
    bytes(out, value.as_bytes());
    out.push_str(",'UTF8')");
}

fn bytes(out: &mut String, value: &[u8]) {
    quoted(out, "decode('", value, "','hex')");
}

/// Bytes as hexadecimal digits.
fn quoted(out: &mut String, before: &str, value: &[u8], after: &str) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 * value.len() + before.len() + after.len());
    out.push_str(before);
    for byte in value {
        out.push(DIGITS[usize::from(byte >> 4)] as char);
        out.push(DIGITS[usize::from(byte & 15)] as char);
    }
    out.push_str(after);
}

fn array<T>(out: &mut String, of: &str, values: &[T], one: impl Fn(&mut String, &T)) {
    out.push_str("ARRAY[");
    for (n, value) in values.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        one(out, value);
    }
    push(out, format_args!("]::{of}[]"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::args;

    #[test]
    fn nothing_of_a_parameter_is_syntax() {
        let evil = "');DROP TABLE x;--$1\\";
        let mut args = args![evil, -7_i64, Option::<i64>::None];
        args.push(Value::Texts(vec![evil.into()]));
        let text = "SELECT ?, ?, ?, ?".into();
        let filled = fill(Dialect::MySql, &text, &args[..3].to_vec());
        assert_eq!(
            filled,
            "SELECT X'27293b44524f50205441424c4520783b2d2d24315c', (-7), NULL, ?"
        );
        let text = "SELECT $1, $2, $3, $4, $9".into();
        let filled = fill(Dialect::Postgres, &text, &args);
        assert!(
            !filled.contains("DROP") && !filled.contains('\\'),
            "{filled}"
        );
        assert!(
            filled.contains("(-7)::bigint, NULL::bigint, ARRAY["),
            "{filled}"
        );
        assert!(filled.ends_with("]::text[], $9"), "{filled}");
        assert_eq!(
            fill(
                Dialect::Postgres,
                &"$1".into(),
                &args![[0xab_u8, 0, 1, 2, 3, 4, 5, 6]]
            ),
            "decode('ab00010203040506','hex')"
        );
    }
}
