//! Names of keys: of a prefix, which is configuration, and of threads, which are data.

use std::fmt::Write;

use bytes::Bytes;
use chunkpoint_core::store_backend::Namespace;
use chunkpoint_core::{Error, Result, quote};

/// Shards of an index; in a cluster they are on all nodes.
pub(crate) const SHARDS: usize = 16;

/// Most bytes of an escaped id that stands in a key whole.
const WHOLE: usize = 128;

/// Bytes of a longer one that do, so that people see what it is.
const HEAD: usize = 48;

/// The prefix of all keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    prefix: String,
}

/// The keys of one thread.
#[derive(Debug, Clone)]
pub(crate) struct ThreadKeys {
    /// In the order of the scripts' `KEYS`.
    pub(crate) keys: Vec<Bytes>,
    /// The id, if the keys have only a hash of it; else empty.
    pub(crate) id: Bytes,
    /// A number by which the thread's connection is chosen.
    pub(crate) lane: u64,
}

/// The keys of one namespace of the long-term store.
#[derive(Debug, Clone)]
pub(crate) struct SpaceKeys {
    /// In the order of the scripts' `KEYS`.
    pub(crate) keys: Vec<Bytes>,
    /// A number by which the namespace's connection is chosen.
    pub(crate) lane: u64,
}

/// What a namespace's keys end with.
const SPACE_KEYS: [&str; 6] = ["", ":items", ":order", ":expiring", ":garbage", ":packs"];

/// Places of some of a thread's keys among [`THREAD_KEYS`].
pub(crate) const HEAD_KEY: usize = 0;
pub(crate) const PACKS_KEY: usize = 3;

/// What a thread's keys end with, and the types they have.
pub(crate) const THREAD_KEYS: [(&str, &str); 7] = [
    ("", "hash"),
    (":order", "zset"),
    (":hidden", "zset"),
    (":packs", "hash"),
    (":condemned", "zset"),
    (":writes", "hash"),
    (":pins", "set"),
];

/// An id as the part of a key by which a cluster chooses the slot. Letters, digits and some
/// punctuation stand for themselves, every other byte is escaped as in a URL. What would be
/// long ends with a hash, after a character that is escaped otherwise.
fn tag(id: &[u8]) -> (String, bool) {
    let mut tag = String::new();
    for &byte in id {
        let piece_starts = tag.len();
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => tag.push(byte as char),
            b'-' | b'_' | b'.' | b':' | b'/' | b'@' | b'+' | b'=' | b',' => tag.push(byte as char),
            _ => {
                // Writing to a string does not fail.
                let _ = write!(tag, "%{byte:02X}");
            }
        }
        if tag.len() > WHOLE {
            tag.truncate(piece_starts);
            let mut cut = HEAD;
            // Not in the middle of an escape.
            while tag.as_bytes()[cut - 2..cut].contains(&b'%') {
                cut -= 1;
            }
            tag.truncate(cut);
            let _ = write!(tag, "~{}", blake3::hash(id).to_hex());
            return (tag, true);
        }
    }
    (tag, false)
}

/// A number that spreads ids, the same in every process.
fn spread(id: &[u8]) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&blake3::hash(id).as_bytes()[..8]);
    u64::from_le_bytes(eight)
}

impl Names {
    /// Checks a prefix.
    ///
    /// # Errors
    /// `InvalidInput` unless it is 1 to 64 letters, digits, and `_ . : -`.
    pub(crate) fn new(prefix: &str) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        if prefix.is_empty() || prefix.len() > 64 || !prefix.chars().all(allowed) {
            return Err(Error::invalid(format!(
                "prefix cannot be {}; it has 1 to 64 letters, digits, and _ . : -",
                quote(prefix)
            )));
        }
        Ok(Self {
            prefix: prefix.into(),
        })
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The keys of a thread.
    pub(crate) fn thread(&self, id: &str) -> ThreadKeys {
        let (tag, is_hash) = tag(id.as_bytes());
        let key = |(end, _): (&str, &str)| format!("{}:{{{tag}}}{end}", self.prefix).into();
        ThreadKeys {
            keys: THREAD_KEYS.into_iter().map(key).collect(),
            id: if is_hash {
                Bytes::copy_from_slice(id.as_bytes())
            } else {
                Bytes::new()
            },
            lane: spread(id.as_bytes()),
        }
    }

    /// The keys of a namespace of the long-term store. No label has a full stop.
    pub(crate) fn space(&self, namespace: &Namespace) -> SpaceKeys {
        let name = namespace.labels().join(".");
        let (tag, _) = tag(name.as_bytes());
        let key = |end: &str| format!("{}:store:{{{tag}}}{end}", self.prefix).into();
        SpaceKeys {
            keys: SPACE_KEYS.into_iter().map(key).collect(),
            lane: spread(name.as_bytes()),
        }
    }

    /// A shard of an index.
    pub(crate) fn shard(&self, index: &str, shard: usize) -> Bytes {
        format!("{}:{index}:{shard:x}", self.prefix).into()
    }

    /// The number of the shard that has a name.
    pub(crate) fn shard_of(name: &[u8]) -> usize {
        spread(name) as usize % SHARDS
    }
}

impl ThreadKeys {
    /// Keys of a copy that is not published yet: below the same tag, so that renaming them
    /// stays in the slot.
    pub(crate) fn staged(&self, incarnation: &impl std::fmt::Display) -> Vec<Bytes> {
        let head = String::from_utf8_lossy(&self.keys[0]);
        let staged =
            THREAD_KEYS.map(|(end, _)| Bytes::from(format!("{head}:copy:{incarnation}{end}")));
        staged[1..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_differ_have_keys_that_differ() {
        let long = "x".repeat(500);
        let longer = "x".repeat(501);
        let umlauts = "ü".repeat(60);
        let ids = [
            "a", "A", "a b", "a%20b", "{a}", "a}", "~", "a:order", "", &long, &longer, &umlauts,
        ];
        let names = Names::new("p").unwrap();
        let heads: std::collections::BTreeSet<Bytes> = ids
            .iter()
            .map(|id| names.thread(id).keys[0].clone())
            .collect();
        assert_eq!(heads.len(), ids.len());
        for head in heads {
            let text = std::str::from_utf8(&head).unwrap();
            assert!(text.len() < 160 && text.is_ascii());
            assert_eq!(text.matches(['{', '}']).count(), 2, "{text}");
        }
        assert_eq!(
            names.thread("user/4711:a ü").keys[1],
            "p:{user/4711:a%20%C3%BC}:order"
        );
        assert_eq!(names.thread(&long).id, long);
        for bad in ["", "a{b}", "a b", &long] {
            assert!(Names::new(bad).is_err());
        }
    }
}
