//! Names of documents: keys that order as their ids do, and never meet.

use chunkpoint_core::backend::{Incarnation, PackId, RecordKey};
use chunkpoint_core::{Error, Result};

/// Most bytes of an id that a key has as it is. Longer ones stand in it as their hash.
const LITERAL: usize = 256;

/// What a hash begins with in a key; no id that stands as it is does.
const HASHED: char = '\u{1}';

/// An id as part of a key: itself, or its hash.
fn part(id: &str) -> String {
    if id.len() <= LITERAL && !id.starts_with(HASHED) {
        id.to_owned()
    } else {
        format!("{HASHED}{}", blake3::hash(id.as_bytes()).to_hex())
    }
}

/// The ends of a range of strings: those that begin with `head`, where what follows
/// begins with a NUL or is nothing but text without a byte below 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    /// Inclusive.
    pub(crate) from: String,
    /// Exclusive.
    pub(crate) to: String,
}

/// The names of a thread's documents.
#[derive(Debug, Clone)]
pub(crate) struct ThreadNames {
    /// The thread's part of every key.
    pub(crate) thread: String,
}

impl ThreadNames {
    pub(crate) fn new(thread: &str) -> Self {
        Self {
            thread: part(thread),
        }
    }

    /// What all keys of a namespace begin with; after it come ids.
    fn namespace(&self, namespace: &str) -> String {
        format!("{}\0{}\0", self.thread, part(namespace))
    }

    /// The key of a record's document in a life.
    pub(crate) fn record(&self, key: &RecordKey, life: Incarnation) -> String {
        format!("{}{}\0{life}~", self.namespace(&key.namespace), key.id)
    }

    /// The key of a pack that a record had before. It sorts right before that of the record:
    /// who reads downwards and finds the record with another pack finds this one next.
    pub(crate) fn former(&self, key: &RecordKey, life: Incarnation, pack: PackId) -> String {
        format!(
            "{}{}\0{life}-{pack}",
            self.namespace(&key.namespace),
            key.id
        )
    }

    /// A record's keys, in whichever life.
    pub(crate) fn any_life(&self, key: &RecordKey) -> Range {
        let head = format!("{}{}", self.namespace(&key.namespace), key.id);
        between(&head)
    }

    /// All keys of a namespace, or those of ids before one.
    pub(crate) fn in_namespace(&self, namespace: &str, before: Option<&str>) -> Range {
        let head = self.namespace(namespace);
        let mut range = between(head.strip_suffix('\0').unwrap_or(&head));
        if let Some(before) = before {
            // A key goes on with a NUL after its id. A bound that has one itself means the
            // id before that, and all before.
            range.to = match before.split_once('\0') {
                Some((id, _)) => format!("{head}{id}\u{1}"),
                None => format!("{head}{before}"),
            };
        }
        range
    }

    /// All keys of the thread.
    pub(crate) fn all(&self) -> Range {
        between(&self.thread)
    }
}

/// What begins with `head` and a NUL.
fn between(head: &str) -> Range {
    Range {
        from: format!("{head}\0"),
        to: format!("{head}\u{1}"),
    }
}

/// Whether a key is that of a record, and not of a pack that it had before.
pub(crate) fn is_record(key: &str) -> bool {
    key.ends_with('~')
}

/// A life and eight bytes in it, as sixteen: binaries of one length order by their bytes.
pub(crate) fn in_life(life: Incarnation, of: [u8; 8]) -> [u8; 16] {
    let mut both = [0; 16];
    both[..8].copy_from_slice(&life.0);
    both[8..].copy_from_slice(&of);
    both
}

/// Takes [`in_life`] apart.
pub(crate) fn of_life(bytes: &[u8]) -> Result<(Incarnation, PackId)> {
    let both: [u8; 16] = bytes
        .try_into()
        .map_err(|_| Error::corrupt("a pack's name in a document has not 16 bytes"))?;
    let (mut life, mut pack) = ([0; 8], [0; 8]);
    life.copy_from_slice(&both[..8]);
    pack.copy_from_slice(&both[8..]);
    Ok((Incarnation(life), PackId(pack)))
}

/// The name of a document with chunks of a pack, from this ordinal on.
pub(crate) fn of_part(owner: &[u8], pack: PackId, first: u32) -> Vec<u8> {
    [owner, &pack.0, &first.to_be_bytes()].concat()
}

/// The name of a document with chunks of one copy of an item's pack. Copies of a pack lie
/// side by side.
pub(crate) fn of_copy(owner: &[u8], pack: PackId, first: u32, copy: [u8; 8]) -> Vec<u8> {
    let mut name = of_part(owner, pack, first);
    name.extend(copy);
    name
}

/// Checks what a collection's name may begin with.
pub(crate) fn check_prefix(prefix: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let starts = prefix.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let system = prefix.starts_with("system.");
    if !starts || system || prefix.len() > 64 || !prefix.chars().all(fits) {
        return Err(Error::invalid(
            "prefix has to be 1 to 64 letters, digits, full stops, hyphens and underscores, \
             beginning with a letter or an underscore, and not with system.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, id: &str) -> RecordKey {
        RecordKey {
            namespace: namespace.into(),
            id: id.into(),
        }
    }

    #[test]
    fn keys_order_as_ids_and_never_meet() {
        let life = Incarnation([7; 8]);
        let thread = ThreadNames::new("t");
        let mut ids = ["a", "a\u{1}", "a b", "ab", "b", "$where", "a.b", "ü"];
        ids.sort_unstable();
        let keys: Vec<_> = ids
            .iter()
            .map(|id| thread.record(&key("n", id), life))
            .collect();
        assert!(keys.is_sorted());
        let range = thread.in_namespace("n", None);
        assert!(
            keys.iter()
                .all(|key| (&range.from..&range.to).contains(&key))
        );
        let other = thread.record(&key("n\u{1}", "a"), life);
        assert!(!(&range.from..&range.to).contains(&&other));
        let before = thread.in_namespace("n", Some("b"));
        let found = keys.iter().filter(|key| **key < before.to).count();
        assert_eq!(found, ids.iter().filter(|id| **id < "b").count());
        // The bound that means an id and all before it.
        let with = thread.in_namespace("n", Some("b\0"));
        assert_eq!(keys.iter().filter(|key| **key < with.to).count(), found + 1);

        let record = thread.record(&key("n", "a"), life);
        let former = thread.former(&key("n", "a"), life, PackId([255; 8]));
        assert!(former < record && is_record(&record) && !is_record(&former));
        let any = thread.any_life(&key("n", "a"));
        assert!((&any.from..&any.to).contains(&&record));
        assert!((&any.from..&any.to).contains(&&former));
        assert!(
            !(&any.from..&any.to).contains(&&keys[ids.iter().position(|i| *i == "ab").unwrap()])
        );
    }

    #[test]
    fn long_ids_are_hashed() {
        let long = "x".repeat(LITERAL + 1);
        let hashed = ThreadNames::new(&long);
        assert_eq!(hashed.thread.len(), 65);
        // What looks like a hash is hashed itself.
        assert_ne!(ThreadNames::new(&hashed.thread).thread, hashed.thread);
        assert_eq!(ThreadNames::new("$a.b").thread, "$a.b");
    }

    #[test]
    fn prefixes_are_checked() {
        for good in ["chunkpoint", "_a.b-c"] {
            check_prefix(good).unwrap();
        }
        for bad in ["", "a$", "system.", "system.x", ".a", "a b", "a\0"] {
            assert!(check_prefix(bad).is_err(), "{bad:?}");
        }
    }
}
