//! Names in the database: of tables, which are configuration, and of threads and
//! namespaces, which are data.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::{Error, Result, quote};

use crate::value::Value;

/// Characters of an id that go into an index. 128 characters are at most 512 bytes:
/// every index entry stays below the 2,704 bytes of PostgreSQL and the 3,072 of InnoDB.
const HEAD_CHARS: usize = 128;

/// An id of up to 16 KiB, cut so that it can be indexed and its order is kept.
///
/// The first 128 characters are the `head`. The `rest`, empty for nearly every id, is
/// stored beside it, and its BLAKE3 takes its place in the index. Ordering by head, then
/// rest, is ordering by the bytes of the whole: where two heads differ, that decides,
/// and one head is a prefix of another only where it has less than 128 characters, thus
/// is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// The first 128 characters.
    pub(crate) head: Arc<str>,
    /// What follows.
    pub(crate) rest: Arc<str>,
    /// BLAKE3 of `rest`; empty if that is.
    pub(crate) hash: Bytes,
}

impl Key {
    pub(crate) fn new(id: &str) -> Self {
        let cut = id
            .char_indices()
            .nth(HEAD_CHARS)
            .map_or(id.len(), |(at, _)| at);
        let (head, rest) = id.split_at(cut);
        let hash = if rest.is_empty() {
            Bytes::new()
        } else {
            Bytes::copy_from_slice(blake3::hash(rest.as_bytes()).as_bytes())
        };
        Self {
            head: head.into(),
            rest: rest.into(),
            hash,
        }
    }

    /// The id, of its two parts as they are read.
    pub(crate) fn join(mut head: String, rest: &str) -> Arc<str> {
        head.push_str(rest);
        head.into()
    }

    /// What the index has: head and hash.
    pub(crate) fn indexed(&self) -> [Value; 2] {
        [self.head.clone().into(), self.hash.clone().into()]
    }
}

/// Where the tables are: an optional schema and a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    schema: Option<String>,
    prefix: String,
}

impl Place {
    /// Checks a schema and a prefix, the only parts of a statement that are not fixed.
    ///
    /// # Errors
    /// `InvalidInput` unless they are lower-case letters, digits and underscores, of at
    /// most 40 bytes, that do not start with a digit.
    pub(crate) fn new(schema: Option<&str>, prefix: &str) -> Result<Self> {
        if let Some(schema) = schema {
            check("schema", schema)?;
        }
        check("table_prefix", prefix)?;
        Ok(Self {
            schema: schema.map(Into::into),
            prefix: prefix.into(),
        })
    }

    /// The schema, if one was given.
    pub(crate) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// What table names start with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Puts the tables' names where a template has `{name}`.
    pub(crate) fn fill(&self, template: &str) -> String {
        let schema = self
            .schema
            .as_deref()
            .map_or(String::new(), |schema| format!("{schema}."));
        let mut out = String::with_capacity(template.len() + 64);
        let mut left = template;
        while let Some(at) = left.find('{') {
            out.push_str(&left[..at]);
            left = &left[at + 1..];
            let end = left.find('}').unwrap_or(left.len());
            let name = &left[..end];
            left = left.get(end + 1..).unwrap_or_default();
            match name {
                "schema" => out.push_str(self.schema.as_deref().unwrap_or_default()),
                // Indexes lie where their table does, and have no schema of their own.
                _ if name.starts_with('#') => {
                    out.push_str(&self.prefix);
                    out.push_str(&name[1..]);
                }
                _ => {
                    out.push_str(&schema);
                    out.push_str(&self.prefix);
                    out.push_str(name);
                }
            }
        }
        out.push_str(left);
        out
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        write!(f, "{}*", self.prefix)
    }
}

fn check(option: &str, name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if starts && name.len() <= 40 && name.chars().all(allowed) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{option} cannot be {}; it has lower-case letters, digits and underscores, 1 to 40 of \
         them, and does not start with a digit",
        quote(name)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_the_order() {
        let long = |end: &str| format!("{}{end}", "é".repeat(127));
        let mut ids: Vec<String> = ["", "a", "ab", "é", "🦀"].map(String::from).to_vec();
        ids.extend(["", "a", "é", "🦀", "🦀a", "éa", "éé", "aa", "a\u{ffff}"].map(long));
        ids.sort();
        let mut keys: Vec<Key> = ids.iter().map(|id| Key::new(id)).collect();
        keys.sort_by(|a, b| (&a.head, &a.rest).cmp(&(&b.head, &b.rest)));
        let joined = keys
            .iter()
            .map(|key| Key::join(key.head.to_string(), &key.rest));
        assert!(joined.map(|id| id.to_string()).eq(ids));
        assert!(keys.iter().all(|key| key.head.len() <= 512));
        assert!(
            keys.iter()
                .all(|key| key.rest.is_empty() == key.hash.is_empty())
        );
    }

    #[test]
    fn only_identifiers_name_tables() {
        for bad in ["", "1a", "A", "a;b", "a b", "a\"", &"a".repeat(41)] {
            assert!(Place::new(None, bad).is_err(), "{bad}");
            assert!(Place::new(Some(bad), "a").is_err(), "{bad}");
        }
        let place = Place::new(Some("agents"), "cp_").unwrap();
        let filled = place.fill("CREATE INDEX {#x} ON {threads} (a)");
        assert_eq!(filled, "CREATE INDEX cp_x ON agents.cp_threads (a)");
        assert_eq!(place.fill("{schema}"), "agents");
    }
}
