//! The store and the model side by side.

use std::collections::BTreeMap;
use std::time::Duration;

use chunkpoint_core::backend::PackId;
use chunkpoint_core::store::{
    Delete, Get, NamespaceQuery, Order, Patch, Put, Search, Store, StoreAnswer, StoreItem, StoreOp,
    Ttl, Written, item_key,
};
use chunkpoint_core::store_backend::{Expect, ItemKey, Namespace};
use chunkpoint_core::{Clock, Error, ErrorKind, Result};
use serde_json::{Map, Value as Json, json};

use super::op::{Finds, KEYS, Op, Place, SPACES, Wants};
use crate::target::Target;

/// Nothing, or what differs.
pub(super) type Outcome<T = ()> = std::result::Result<T, String>;

pub(super) fn text(error: Error) -> String {
    format!("unexpected error: {error}")
}

/// An item as the model has it.
#[derive(Debug, Clone)]
struct Item {
    value: Map<String, Json>,
    version: PackId,
    before: Option<PackId>,
    created: u64,
    updated: u64,
    ttl: Option<u64>,
    expires: Option<u64>,
}

pub(super) struct World<'a> {
    first: &'a Target,
    /// The target as it was opened last, if it was again.
    opened: &'a mut Option<Target>,
    store: Store,
    root: String,
    items: BTreeMap<ItemKey, Item>,
}

impl<'a> World<'a> {
    /// A world of its own below the label `root`.
    pub(super) fn new(first: &'a Target, opened: &'a mut Option<Target>, root: String) -> Self {
        let store = opened.as_ref().unwrap_or(first).store();
        let items = BTreeMap::new();
        Self {
            first,
            opened,
            store,
            root,
            items,
        }
    }

    fn target(&self) -> &Target {
        self.opened.as_ref().unwrap_or(self.first)
    }

    fn now(&self) -> u64 {
        self.target().clock().now_ms()
    }

    fn labels(&self, space: Option<usize>) -> Vec<&str> {
        let below = space.map_or(&[][..], |space| SPACES[space]);
        std::iter::once(self.root.as_str())
            .chain(below.iter().copied())
            .collect()
    }

    fn name(&self, at: Place) -> ItemKey {
        item_key(&self.labels(Some(at.space)), KEYS[at.key]).expect("the names are good ones")
    }

    fn there(&self, key: &ItemKey) -> Option<&Item> {
        let now = self.now();
        let item = self.items.get(key)?;
        item.expires.is_none_or(|at| at > now).then_some(item)
    }

    /// What to expect, and whether it holds.
    fn expectation(&self, key: &ItemKey, wants: Wants) -> (Expect, bool) {
        let there = self.there(key);
        let other = PackId([7; 8]);
        match wants {
            Wants::Anything => (Expect::Any, true),
            Wants::Nothing => (Expect::Absent, there.is_none()),
            Wants::ThisVersion => match there {
                Some(item) => (Expect::Version(item.version), true),
                None => (Expect::Version(other), false),
            },
            Wants::AnEarlierVersion => {
                let before = there.and_then(|item| item.before);
                (Expect::Version(before.unwrap_or(other)), false)
            }
        }
    }

    pub(super) async fn run(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Put { .. } | Op::Patch { .. } | Op::Delete { .. } => self.write(op).await?,
            Op::Get { at, refresh } => self.get(*at, *refresh).await?,
            Op::Search { .. } => self.search(op).await?,
            Op::Batch(ops) => self.batch(ops).await?,
            Op::Advance { seconds } => {
                let seconds = Duration::from_secs(*seconds);
                self.target().clock().advance(seconds);
            }
            Op::Sweep => drop(self.store.sweep().await.map_err(text)?),
            Op::Forget => self.store = self.target().store(),
            Op::Reopen => {
                if self.target().capabilities().persistent {
                    *self.opened = self.target().reopened().await;
                }
                self.store = self.target().store();
            }
        }
        self.compare().await
    }

    async fn write(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Put { at, wants, .. } => {
                let (put, holds) = self.putting(op, *at, *wants);
                let result = self.store.put_with(put).await;
                if self.agreed(holds, result.as_ref().err())? {
                    self.did_put(op, &result.map_err(text)?);
                }
            }
            Op::Patch { at, patch, wants } => {
                let item = self.name(*at);
                let (expect, holds) = self.expectation(&item, *wants);
                let patch = patch.0.clone();
                let result = self
                    .store
                    .patch_with(Patch {
                        item,
                        patch,
                        expect,
                    })
                    .await;
                if self.agreed(holds, result.as_ref().err())? {
                    self.did_patch(op, &result.map_err(text)?)?;
                }
            }
            Op::Delete { at, wants } => {
                let item = self.name(*at);
                let (expect, holds) = self.expectation(&item, *wants);
                let delete = Delete {
                    item: item.clone(),
                    expect,
                };
                let result = self.store.delete_with(delete).await;
                if self.agreed(holds, result.as_ref().err())? {
                    self.items.remove(&item);
                }
            }
            other => return Err(format!("{other:?} is no write")),
        }
        Ok(())
    }

    /// Whether it was done, which it was if and only if what it expected held.
    fn agreed(&self, holds: bool, error: Option<&Error>) -> Outcome<bool> {
        match (holds, error) {
            (true, None) => Ok(true),
            (false, Some(error)) if error.kind() == ErrorKind::Conflict => Ok(false),
            (holds, error) => Err(format!("the expectation holds: {holds}; it gave {error:?}")),
        }
    }

    fn putting(&self, op: &Op, at: Place, wants: Wants) -> (Put, bool) {
        let item = self.name(at);
        let (expect, holds) = self.expectation(&item, wants);
        let (value, ttl) = match op {
            Op::Put { value, seconds, .. } => {
                let minutes = |seconds: &u64| Ttl::Minutes(*seconds as f64 / 60.0);
                (
                    value.0.clone(),
                    seconds.as_ref().map_or(Ttl::Never, minutes),
                )
            }
            _ => (Map::new(), Ttl::Default),
        };
        let put = Put {
            item,
            value,
            ttl,
            expect,
        };
        (put, holds)
    }

    fn did_put(&mut self, op: &Op, written: &Written) {
        let Op::Put {
            at, value, seconds, ..
        } = op
        else {
            return;
        };
        let (key, now) = (self.name(*at), self.now());
        let before = self.there(&key).cloned();
        let ttl = seconds.map(|seconds| (seconds as f64 / 60.0 * 60_000.0) as u64);
        let item = Item {
            value: value.0.clone(),
            version: written.version,
            before: before.as_ref().map(|item| item.version),
            created: before.map_or(now, |item| item.created),
            updated: now,
            ttl,
            expires: ttl.map(|ttl| now + ttl),
        };
        self.items.insert(key, item);
    }

    fn did_patch(&mut self, op: &Op, written: &Written) -> Outcome {
        let Op::Patch { at, patch, .. } = op else {
            return Ok(());
        };
        let (key, now) = (self.name(*at), self.now());
        let there = self.there(&key).cloned();
        let is_new = there.is_none();
        let mut item = there.unwrap_or(Item {
            value: Map::new(),
            version: written.version,
            before: None,
            created: now,
            updated: now,
            ttl: None,
            expires: None,
        });
        let before = item.value.clone();
        merge(&mut item.value, &patch.0);
        if item.value == before && !is_new {
            if written.version != item.version || written.bytes_written != 0 {
                return Err("a patch that changes nothing wrote something".to_owned());
            }
            renew(&mut item, now);
        } else {
            if !is_new {
                item.before = Some(item.version);
            }
            item.version = written.version;
            item.updated = now;
            item.expires = item.ttl.map(|ttl| now + ttl);
        }
        self.items.insert(key, item);
        Ok(())
    }

    async fn get(&mut self, at: Place, refresh: bool) -> Outcome {
        let (key, now) = (self.name(at), self.now());
        let get = Get {
            item: key.clone(),
            refresh_ttl: Some(refresh),
        };
        let found = self.store.get_with(get).await.map_err(text)?;
        if refresh
            && self.there(&key).is_some()
            && let Some(item) = self.items.get_mut(&key)
        {
            renew(item, now);
        }
        let expected = self.there(&key).map(|item| made(&key, item));
        same("the item", &found, &expected)
    }

    async fn search(&mut self, op: &Op) -> Outcome {
        let Op::Search {
            space,
            finds,
            newest_first,
            offset,
            limit,
            refresh,
        } = op
        else {
            return Ok(());
        };
        let now = self.now();
        let filter = match finds {
            Finds::All => json!({}),
            Finds::NumberAbove(n) => json!({"n": {"$gt": n}}),
            Finds::HasA => json!({"a": {"$exists": true}}),
            Finds::NestedN(n) => json!({"$or": [{"a": {"n": n}}, {"b.n": {"$lte": n}}]}),
        };
        let labels = self.labels(*space);
        let prefix = Namespace::new(&labels).map_err(text)?;
        let order = match newest_first {
            true => Order::Updated,
            false => Order::Key,
        };
        let mut search = Search::below(&labels)
            .and_then(|search| search.filter(&filter))
            .map_err(text)?
            .order(order)
            .offset(*offset)
            .limit(*limit);
        search.refresh_ttl = Some(*refresh);
        let found = self.store.search(search).await.map_err(text)?;
        let living = self.items.iter_mut().filter(|(key, item)| {
            key.namespace.starts_with(&prefix)
                && item.expires.is_none_or(|at| at > now)
                && holds(*finds, &item.value)
        });
        let mut living: Vec<_> = living.collect();
        if *newest_first {
            living.sort_by_key(|(_, item)| std::cmp::Reverse(item.updated));
        }
        let page = living.into_iter().skip(*offset).take(*limit);
        let mut expected = Vec::new();
        for (key, item) in page {
            if *refresh {
                renew(item, now);
            }
            expected.push(made(key, item));
        }
        same("what is found", &found, &expected)
    }

    async fn batch(&mut self, ops: &[Op]) -> Outcome {
        let (mut store_ops, mut hold) = (Vec::new(), Vec::new());
        for op in ops {
            let (op, holds) = match op {
                Op::Put { at, wants, .. } => {
                    let (put, holds) = self.putting(op, *at, *wants);
                    (StoreOp::Put(put), holds)
                }
                Op::Patch { at, patch, wants } => {
                    let item = self.name(*at);
                    let (expect, holds) = self.expectation(&item, *wants);
                    let patch = patch.0.clone();
                    let patch = Patch {
                        item,
                        patch,
                        expect,
                    };
                    (StoreOp::Patch(patch), holds)
                }
                Op::Delete { at, .. } => {
                    let (item, expect) = (self.name(*at), Expect::Any);
                    (StoreOp::Delete(Delete { item, expect }), true)
                }
                other => return Err(format!("{other:?} is not for a batch")),
            };
            store_ops.push(op);
            hold.push(holds);
        }
        let answers: Vec<Result<StoreAnswer>> = self.store.batch(store_ops).await.map_err(text)?;
        // Only the last write of an item counts, for the times of the item as well.
        let before = self.items.clone();
        for ((op, holds), answer) in ops.iter().zip(hold).zip(answers) {
            if !self.agreed(holds, answer.as_ref().err())? {
                continue;
            }
            match (op, answer.map_err(text)?) {
                (Op::Put { at, .. }, StoreAnswer::Written(Some(written))) => {
                    let key = self.name(*at);
                    match before.get(&key) {
                        Some(item) => drop(self.items.insert(key, item.clone())),
                        None => drop(self.items.remove(&key)),
                    }
                    self.did_put(op, &written);
                }
                (Op::Put { .. }, StoreAnswer::Written(None)) => {}
                (Op::Patch { .. }, StoreAnswer::Written(Some(written))) => {
                    self.did_patch(op, &written)?;
                }
                (Op::Delete { at, .. }, StoreAnswer::Deleted) => {
                    let key = self.name(*at);
                    self.items.remove(&key);
                }
                (op, answer) => return Err(format!("{op:?} was answered {answer:?}")),
            }
        }
        Ok(())
    }

    /// Everything, as the store and the model have it.
    async fn compare(&self) -> Outcome {
        let labels = self.labels(None);
        let mut search = Search::below(&labels).map_err(text)?.limit(1000);
        search.refresh_ttl = Some(false);
        let found = self.store.search(search).await.map_err(text)?;
        let living = self
            .items
            .iter()
            .filter(|(key, _)| self.there(key).is_some());
        let expected: Vec<StoreItem> = living.map(|(key, item)| made(key, item)).collect();
        same("everything", &found, &expected)?;
        let query = NamespaceQuery {
            prefix: NamespaceQuery::labels(&labels).map_err(text)?,
            ..NamespaceQuery::default()
        };
        let listed = self.store.list_namespaces(query).await.map_err(text)?;
        let mut spaces: Vec<Namespace> = expected.into_iter().map(|item| item.namespace).collect();
        spaces.dedup();
        if listed != spaces {
            return Err(format!("namespaces {listed:?}, not {spaces:?}"));
        }
        Ok(())
    }
}

fn made(key: &ItemKey, item: &Item) -> StoreItem {
    StoreItem {
        namespace: key.namespace.clone(),
        key: key.key.clone(),
        value: item.value.clone(),
        version: item.version,
        created_ms: item.created,
        updated_ms: item.updated,
        expires_ms: item.expires,
    }
}

/// A read renews a life, unless less than a hundredth of it has passed.
fn renew(item: &mut Item, now: u64) {
    if let (Some(ttl), Some(expires)) = (item.ttl, item.expires)
        && (now + ttl).saturating_sub(expires) > ttl / 100
    {
        item.expires = Some(now + ttl);
    }
}

fn holds(finds: Finds, value: &Map<String, Json>) -> bool {
    let number = |value: Option<&Json>| value.and_then(Json::as_f64);
    match finds {
        Finds::All => true,
        Finds::NumberAbove(n) => number(value.get("n")).is_some_and(|found| found > n as f64),
        Finds::HasA => value.contains_key("a"),
        Finds::NestedN(n) => {
            let of = |name: &str| number(value.get(name).and_then(|inner| inner.get("n")));
            of("a") == Some(n as f64) || of("b").is_some_and(|found| found <= n as f64)
        }
    }
}

/// RFC 7396, in the plainest way.
fn merge(target: &mut Map<String, Json>, patch: &Map<String, Json>) {
    for (name, value) in patch {
        match value {
            Json::Null => drop(target.remove(name)),
            Json::Object(inner) => {
                let mut member = match target.remove(name) {
                    Some(Json::Object(member)) => member,
                    _ => Map::new(),
                };
                merge(&mut member, inner);
                target.insert(name.clone(), Json::Object(member));
            }
            other => drop(target.insert(name.clone(), other.clone())),
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    // Long texts, each of one letter, would hide the difference.
    let cut = |value: &T| {
        let (mut shown, mut run) = (String::new(), (' ', 0));
        for letter in format!("{value:?}").chars() {
            run = (letter, if run.0 == letter { run.1 + 1 } else { 1 });
            match run.1 {
                1..=4 => shown.push(letter),
                5 => shown.push('…'),
                _ => {}
            }
        }
        shown
    };
    Err(format!(
        "{what} differs:\n  found    {}\n  expected {}",
        cut(found),
        cut(expected)
    ))
}
