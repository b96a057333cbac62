//! What the store is asked, and what it answers.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Filter, item_key, object};
use crate::backend::PackId;
use crate::error::Result;
use crate::store_backend::{Expect, ItemKey, Namespace};

/// An item as it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreItem {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its key.
    pub key: Arc<str>,
    /// Its value.
    pub value: Map<String, Value>,
    /// Changes with every put and patch; to be given to [`Expect::Version`].
    pub version: PackId,
    /// When it was first put, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it was put or patched last.
    pub updated_ms: u64,
    /// When it expires; `None`: never.
    pub expires_ms: Option<u64>,
}

impl StoreItem {
    /// Its whole name: to read, change or remove it, or to search on
    /// [`after`](Search::after) it.
    pub fn item_key(&self) -> ItemKey {
        ItemKey {
            namespace: self.namespace.clone(),
            key: self.key.clone(),
        }
    }
}

/// How long an item lives.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Ttl {
    /// As [`Settings::store_ttl`](crate::Settings::store_ttl) says.
    #[default]
    Default,
    /// For ever.
    Never,
    /// So many minutes after it was put, patched, or read with renewal.
    Minutes(f64),
}

/// Reads an item.
#[derive(Debug, Clone)]
pub struct Get {
    /// Which.
    pub item: ItemKey,
    /// Whether reading it renews its life; `None`: as
    /// [`Settings::store_refresh`](crate::Settings::store_refresh) says.
    pub refresh_ttl: Option<bool>,
}

impl Get {
    /// Of this item, and with what the settings say of renewal.
    ///
    /// # Errors
    /// `InvalidInput` for labels or a key that cannot be.
    pub fn new<L: AsRef<str>>(namespace: &[L], key: &str) -> Result<Self> {
        Ok(Self {
            item: item_key(namespace, key)?,
            refresh_ttl: None,
        })
    }

    /// Renews its life, or does not.
    #[must_use]
    pub fn refresh_ttl(mut self, refresh: bool) -> Self {
        self.refresh_ttl = Some(refresh);
        self
    }
}

/// Puts an item.
#[derive(Debug, Clone)]
pub struct Put {
    /// Which.
    pub item: ItemKey,
    /// Its value.
    pub value: Map<String, Value>,
    /// How long it lives.
    pub ttl: Ttl,
    /// What must hold, else `Conflict`.
    pub expect: Expect,
}

impl Put {
    /// A put of a JSON object, whatever is there, for as long as the settings say.
    ///
    /// # Errors
    /// `InvalidInput` for labels or a key that cannot be, or a value that is no object.
    pub fn new<L: AsRef<str>>(namespace: &[L], key: &str, value: Value) -> Result<Self> {
        Ok(Self {
            item: item_key(namespace, key)?,
            value: object("a value", value)?,
            ttl: Ttl::Default,
            expect: Expect::Any,
        })
    }

    /// It lives so long.
    #[must_use]
    pub fn ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = ttl;
        self
    }

    /// Only if this holds, else `Conflict`.
    #[must_use]
    pub fn expect(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }
}

/// Changes members of an item's value, by RFC 7396: members of the patch replace
/// those of the value, objects are merged, and `null` removes. An item that is not
/// there counts as one without members.
#[derive(Debug, Clone)]
pub struct Patch {
    /// Which.
    pub item: ItemKey,
    /// The patch.
    pub patch: Map<String, Value>,
    /// What must hold, else `Conflict`.
    pub expect: Expect,
}

impl Patch {
    /// A patch, which is a JSON object, whatever is there.
    ///
    /// # Errors
    /// `InvalidInput` for labels or a key that cannot be, or a patch that is no object.
    pub fn new<L: AsRef<str>>(namespace: &[L], key: &str, patch: Value) -> Result<Self> {
        Ok(Self {
            item: item_key(namespace, key)?,
            patch: object("a patch", patch)?,
            expect: Expect::Any,
        })
    }

    /// Only if this holds, else `Conflict`.
    #[must_use]
    pub fn expect(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }
}

/// Removes an item.
#[derive(Debug, Clone)]
pub struct Delete {
    /// Which.
    pub item: ItemKey,
    /// What must hold, else `Conflict`.
    pub expect: Expect,
}

impl Delete {
    /// The removal of an item, whatever is there.
    ///
    /// # Errors
    /// `InvalidInput` for labels or a key that cannot be.
    pub fn new<L: AsRef<str>>(namespace: &[L], key: &str) -> Result<Self> {
        Ok(Self {
            item: item_key(namespace, key)?,
            expect: Expect::Any,
        })
    }

    /// Only if this holds, else `Conflict`.
    #[must_use]
    pub fn expect(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }
}

/// The order of what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// By namespace, then key, ascending. Reads no more than it gives.
    #[default]
    Key,
    /// What was put or patched last comes first; then as `Key`. Reads all that is
    /// below the prefix.
    Updated,
    /// What was created last comes first; then as `Key`. Reads all that is below the
    /// prefix.
    Created,
}

/// Looks for items below a namespace.
///
/// ```
/// use chunkpoint_core::store::Search;
/// use serde_json::json;
/// let search = Search::below(&["users"])?.filter(&json!({"age": {"$gte": 18}}))?.limit(20);
/// # Ok::<(), chunkpoint_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Search {
    /// In this namespace and those below it.
    pub prefix: Namespace,
    /// What its value fulfils.
    pub filter: Filter,
    /// At most so many; 10 unless said.
    pub limit: usize,
    /// Without so many before.
    pub offset: usize,
    /// In this order.
    pub order: Order,
    /// After this item: the way to go through many pages without reading those before.
    /// Only in the order [`Order::Key`]; with another the search is `InvalidInput`.
    pub after: Option<ItemKey>,
    /// As [`Get::refresh_ttl`], for the items found.
    pub refresh_ttl: Option<bool>,
}

impl Search {
    /// Everything at and below these labels, ten items at most.
    ///
    /// # Errors
    /// `InvalidInput` for labels that no namespace has.
    pub fn below<L: AsRef<str>>(prefix: &[L]) -> Result<Self> {
        Ok(Self {
            prefix: Namespace::new(prefix)?,
            filter: Filter::default(),
            limit: 10,
            offset: 0,
            order: Order::default(),
            after: None,
            refresh_ttl: None,
        })
    }

    /// Only items that fulfil `filter`; see [`Filter`].
    ///
    /// # Errors
    /// `InvalidInput` if it is none.
    pub fn filter(mut self, filter: &Value) -> Result<Self> {
        self.filter = Filter::parse(filter)?;
        Ok(self)
    }

    /// At most so many.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Leaves out so many at the start.
    #[must_use]
    pub fn offset(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    /// In this order.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Only what comes after this item, by namespace and key; see [`Search::after`].
    #[must_use]
    pub fn after(mut self, item: ItemKey) -> Self {
        self.after = Some(item);
        self
    }

    /// Renews the lives of what is found, or does not.
    #[must_use]
    pub fn refresh_ttl(mut self, refresh: bool) -> Self {
        self.refresh_ttl = Some(refresh);
        self
    }
}

/// A label that a namespace must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelMatch {
    /// Any one label.
    Any,
    /// This one.
    Is(Arc<str>),
}

/// Lists namespaces that have items: all of them, unless it says which.
///
/// ```
/// use chunkpoint_core::store::NamespaceQuery;
/// let query = NamespaceQuery::default().prefix(&["users", "*"])?.suffix(&["notes"])?.limit(20);
/// # Ok::<(), chunkpoint_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct NamespaceQuery {
    /// They start with labels like these.
    pub prefix: Vec<LabelMatch>,
    /// They end with labels like these.
    pub suffix: Vec<LabelMatch>,
    /// They are cut to so many labels, and then each is listed once.
    pub max_depth: Option<usize>,
    /// At most so many; `None`: 100.
    pub limit: Option<usize>,
    /// Without so many before.
    pub offset: usize,
}

impl NamespaceQuery {
    /// Only namespaces that start with these labels, where `*` stands for any one label.
    ///
    /// # Errors
    /// `InvalidInput` for what is no label.
    pub fn prefix<L: AsRef<str>>(mut self, labels: &[L]) -> Result<Self> {
        self.prefix = Self::labels(labels)?;
        Ok(self)
    }

    /// Only namespaces that end with these labels, where `*` stands for any one label.
    ///
    /// # Errors
    /// `InvalidInput` for what is no label.
    pub fn suffix<L: AsRef<str>>(mut self, labels: &[L]) -> Result<Self> {
        self.suffix = Self::labels(labels)?;
        Ok(self)
    }

    /// Cuts them to so many labels, and lists what is then equal once.
    #[must_use]
    pub fn max_depth(mut self, labels: usize) -> Self {
        self.max_depth = Some(labels);
        self
    }

    /// At most so many.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Leaves out so many at the start.
    #[must_use]
    pub fn offset(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    /// Labels to match, where `*` stands for any one label.
    ///
    /// # Errors
    /// `InvalidInput` for what is no label.
    pub fn labels<L: AsRef<str>>(labels: &[L]) -> Result<Vec<LabelMatch>> {
        let matches = |label: &Arc<str>| match &**label {
            "*" => LabelMatch::Any,
            _ => LabelMatch::Is(label.clone()),
        };
        Ok(Namespace::new(labels)?
            .labels()
            .iter()
            .map(matches)
            .collect())
    }
}

/// One operation of a [`batch`](super::Store::batch).
#[derive(Debug, Clone)]
pub enum StoreOp {
    /// Reads an item.
    Get(Get),
    /// Looks for items.
    Search(Search),
    /// Lists namespaces.
    ListNamespaces(NamespaceQuery),
    /// Puts an item.
    Put(Put),
    /// Patches an item.
    Patch(Patch),
    /// Removes an item.
    Delete(Delete),
}

macro_rules! operations {
    ($($request:ident => $operation:ident),*) => {$(
        impl From<$request> for StoreOp {
            fn from(request: $request) -> Self {
                Self::$operation(request)
            }
        }
    )*};
}

operations!(
    Get => Get, Search => Search, NamespaceQuery => ListNamespaces,
    Put => Put, Patch => Patch, Delete => Delete
);

/// What an operation of a batch answers.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreAnswer {
    /// To a get.
    Item(Option<StoreItem>),
    /// To a search.
    Items(Vec<StoreItem>),
    /// To a listing of namespaces.
    Namespaces(Vec<Namespace>),
    /// To a put or patch; `None` if a later operation of the batch came in its place.
    Written(Option<Written>),
    /// To a removal.
    Deleted,
}

/// What a put or patch did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The item's version now.
    pub version: PackId,
    /// When it was first put, in milliseconds since 1970.
    pub created_ms: u64,
    /// Bytes handed to the storage: body and chunks. 0 if the patch changed nothing.
    pub bytes_written: u64,
    /// Bytes read for it.
    pub bytes_read: u64,
    /// Pages of a large value that were written, and those that stayed. Both 0 of one that
    /// lies in its row.
    pub pages: (u64, u64),
}
