//! An item's name as one run of bytes, which is what the table of items is sorted by.

use bytes::Bytes;
use chunkpoint_core::store_backend::{ItemKey, Namespace};

/// Bytes of a path that go into the index; every index entry stays far below the 2,704
/// bytes of PostgreSQL and the 3,072 of InnoDB.
const HEAD: usize = 512;

/// More than any byte of UTF-8.
const END: u8 = 0xff;

/// The path of an item: each label of its namespace and a NUL, one more NUL, its key.
/// No label is empty, and none has a NUL, nor has the key: so paths differ where names
/// do, their order is that of items, and what lies below a namespace begins with its
/// labels.
///
/// Of a path of over 512 bytes the `rest` is stored beside its `head`, and its BLAKE3
/// takes its place in the index. Heads alone are in order, therefore, but for those
/// paths that have the same 512 bytes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Path {
    /// The first 512 bytes.
    pub(super) head: Bytes,
    /// What follows.
    pub(super) rest: Bytes,
    /// BLAKE3 of `rest`; empty if that is.
    pub(super) hash: Bytes,
}

impl Path {
    pub(super) fn new(key: &ItemKey) -> Self {
        let mut head = Bytes::from(bytes(key));
        let rest = head.split_off(head.len().min(HEAD));
        let hash = if rest.is_empty() {
            Bytes::new()
        } else {
            Bytes::copy_from_slice(blake3::hash(&rest).as_bytes())
        };
        Self { head, rest, hash }
    }

    /// Whether it is longer than the index.
    pub(super) fn is_long(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Sixteen bytes that name the item where its packs are.
    pub(super) fn item(&self) -> Bytes {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.head).update(&self.rest);
        Bytes::copy_from_slice(&hasher.finalize().as_bytes()[..16])
    }
}

/// A walk through items in order: the paths that are left, as those from one run of
/// bytes up to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Walk {
    from: Vec<u8>,
    /// The first that is not wanted.
    end: Vec<u8>,
}

/// What to read next on a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Heads that are `from` or greater, and less than `end`. Of paths that have the
    /// same one, only the first is in order.
    Heads { from: Bytes, end: Bytes },
    /// Long paths of this head, whose rests are `from` or greater and less than `end`.
    Within {
        head: Bytes,
        from: Bytes,
        end: Bytes,
    },
}

impl Walk {
    /// Through all items below a namespace.
    pub(super) fn below(prefix: &Namespace) -> Self {
        let from = prefix.to_bytes();
        let mut end = from.clone();
        match end.last_mut() {
            Some(nul) => *nul += 1,
            None => end.push(END),
        }
        Self { from, end }
    }

    /// What to read now; `None` at the end.
    pub(super) fn step(&self) -> Option<Step> {
        if self.from >= self.end {
            return None;
        }
        // A head is less than `from` or `end` exactly where its path is, if those are no
        // longer than a head; and `end` is longer only if `from` is.
        let Some((head, from)) = self
            .from
            .split_at_checked(HEAD)
            .filter(|two| !two.1.is_empty())
        else {
            return Some(Step::Heads {
                from: Bytes::copy_from_slice(&self.from),
                end: Bytes::copy_from_slice(&self.end),
            });
        };
        let end = match self.end.split_at_checked(HEAD) {
            Some((of, end)) if of == head && !end.is_empty() => end,
            _ => &[END],
        };
        Some(Step::Within {
            head: Bytes::copy_from_slice(head),
            from: Bytes::copy_from_slice(from),
            end: Bytes::copy_from_slice(end),
        })
    }

    fn from(&mut self, from: Vec<u8>) {
        if from > self.from {
            self.from = from;
        }
    }

    /// Goes on after an item.
    pub(super) fn after(&mut self, key: &ItemKey) {
        let mut path = bytes(key);
        path.push(0);
        self.from(path);
    }

    /// Goes on after all items of a namespace, with those below it.
    pub(super) fn after_namespace(&mut self, namespace: &Namespace) {
        // Its own items go on with a NUL, and no label begins with one.
        let mut from = namespace.to_bytes();
        from.push(1);
        self.from(from);
    }

    /// Goes on with the long paths of a head.
    pub(super) fn within(&mut self, head: &[u8]) {
        let mut from = head.to_vec();
        from.push(0);
        self.from(from);
    }

    /// Goes on after all paths of a head.
    pub(super) fn after_head(&mut self, head: &[u8]) {
        let mut from = head.to_vec();
        if let Some(last) = from.last_mut() {
            // UTF-8 has no byte of 0xff.
            *last += 1;
        }
        self.from(from);
    }

    /// Ends.
    pub(super) fn end(&mut self) {
        self.from.clone_from(&self.end);
    }
}

fn bytes(key: &ItemKey) -> Vec<u8> {
    let mut path = key.namespace.to_bytes();
    path.push(0);
    path.extend_from_slice(key.key.as_bytes());
    path
}

/// The bytes of the namespace of a path that begins so; `None` if they are longer.
pub(super) fn namespace_in(head: &[u8]) -> Option<&[u8]> {
    let end = head.windows(2).position(|two| two == [0, 0])?;
    Some(&head[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(labels: &[&str], key: &str) -> ItemKey {
        ItemKey {
            namespace: Namespace::new(labels).unwrap(),
            key: key.into(),
        }
    }

    fn names() -> Vec<ItemKey> {
        let long = "x".repeat(600);
        let exact = "y".repeat(HEAD - 3);
        let mut names = vec![
            key(&["a"], "b"),
            key(&["a"], "ba"),
            key(&["a", "b"], "c"),
            key(&["a\u{1}"], "b"),
            key(&["a"], &exact),
            key(&["a"], &format!("{exact}y")),
            key(&["a"], &format!("{exact}yé")),
            key(&["a"], &long),
            key(&["a"], &format!("{long}x")),
            key(&[&long], "b"),
            key(&[&long, "b"], "b"),
            key(&[&long, "b"], "c"),
        ];
        names.sort();
        names
    }

    #[test]
    fn paths_keep_the_order_and_fit_the_index() {
        let names = names();
        let paths: Vec<Path> = names.iter().map(Path::new).collect();
        let whole = |path: &Path| [&path.head[..], &path.rest[..]].concat();
        assert!(paths.iter().map(whole).is_sorted());
        for (path, name) in paths.iter().zip(&names) {
            assert!(path.head.len() <= HEAD);
            assert_eq!(path.is_long(), path.hash.len() == 32);
            if let Some(namespace) = namespace_in(&path.head) {
                assert_eq!(namespace, name.namespace.to_bytes());
            }
        }
    }

    /// The paths that a step selects, as the statements do.
    fn selected<'a>(paths: &'a [Path], step: &Step) -> Vec<&'a Path> {
        let mut found: Vec<&Path> = paths
            .iter()
            .filter(|path| match step {
                Step::Heads { from, end } => path.head >= *from && path.head < *end,
                Step::Within { head, from, end } => {
                    path.is_long() && path.head == *head && path.rest >= *from && path.rest < *end
                }
            })
            .collect();
        match step {
            Step::Heads { .. } => found.sort_by_key(|path| (&path.head, &path.hash)),
            Step::Within { .. } => found.sort_by_key(|path| &path.rest),
        }
        found
    }

    fn walked(mut walk: Walk, names: &[ItemKey]) -> Vec<ItemKey> {
        let paths: Vec<Path> = names.iter().map(Path::new).collect();
        let name = |path: &Path| names[paths.iter().position(|one| one == path).unwrap()].clone();
        let mut found = Vec::new();
        while let Some(step) = walk.step() {
            // A page of one.
            match (selected(&paths, &step).first(), &step) {
                (Some(path), Step::Heads { .. }) if path.is_long() => walk.within(&path.head),
                (Some(path), _) => {
                    found.push(name(path));
                    walk.after(&name(path));
                }
                (None, Step::Heads { .. }) => walk.end(),
                (None, Step::Within { head, .. }) => walk.after_head(head),
            }
        }
        found
    }

    #[test]
    fn a_walk_meets_everything_once_in_order() {
        let names = names();
        let mut prefixes: Vec<Namespace> = names.iter().map(|key| key.namespace.clone()).collect();
        prefixes.push(Namespace::default());
        for prefix in prefixes {
            for after in std::iter::once(None).chain(names.iter().map(Some)) {
                let mut walk = Walk::below(&prefix);
                if let Some(after) = after {
                    walk.after(after);
                }
                let wanted = |key: &&ItemKey| {
                    key.namespace.starts_with(&prefix) && after.is_none_or(|after| *key > after)
                };
                let expected: Vec<ItemKey> = names.iter().filter(wanted).cloned().collect();
                assert_eq!(walked(walk, &names), expected, "{prefix} after {after:?}");
            }
        }
    }
}
