//! Items, values, and the rules for ids.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result, quote};

/// Most bytes of a thread id, namespace, channel, task, run or store key.
pub const MAX_ID_BYTES: usize = 16 * 1024;

/// Most bytes of a checkpoint id.
pub const MAX_CHECKPOINT_ID_BYTES: usize = 255;

/// Bytes with a type tag: what a serializer made, and its name for it.
///
/// The engine never looks inside. Tags are at most 255 bytes of UTF-8; `json`
/// is what the typed helpers use.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Item {
    /// The type tag.
    pub tag: Arc<str>,
    /// The bytes.
    pub bytes: Bytes,
}

impl Item {
    /// An item of these parts.
    pub fn new(tag: impl Into<Arc<str>>, bytes: impl Into<Bytes>) -> Self {
        Self {
            tag: tag.into(),
            bytes: bytes.into(),
        }
    }

    /// UTF-8 text, tagged `text`.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new("text", text.into().into_bytes())
    }

    /// The text of an item that holds UTF-8, whatever its tag.
    ///
    /// ```
    /// # use chunkpoint_core::Item;
    /// assert_eq!(Item::text("hello").as_text()?, "hello");
    /// # Ok::<(), chunkpoint_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if the bytes are not UTF-8.
    pub fn as_text(&self) -> Result<&str> {
        std::str::from_utf8(&self.bytes)
            .map_err(|e| Error::invalid("the item's bytes are not UTF-8 text").source(e))
    }

    /// A value as JSON, tagged `json`.
    ///
    /// # Errors
    /// `InvalidInput` if the value cannot be written as JSON.
    pub fn json(value: &impl Serialize) -> Result<Self> {
        let bytes = serde_json::to_vec(value)
            .map_err(|e| Error::invalid("value cannot be written as JSON").source(e))?;
        Ok(Self::new("json", bytes))
    }

    /// Reads an item that [`json`](Self::json) made.
    ///
    /// # Errors
    /// `InvalidInput` if the tag is not `json` or the bytes are not such a value.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        if &*self.tag != "json" {
            return Err(Error::invalid(format!(
                "item is tagged {}, not \"json\"",
                quote(&self.tag)
            )));
        }
        serde_json::from_slice(&self.bytes)
            .map_err(|e| Error::invalid("item is not the JSON of the type asked for").source(e))
    }
}

impl fmt::Debug for Item {
    // Contents stay out of logs: they are the user's conversations.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Item({}, {} bytes)", self.tag, self.bytes.len())
    }
}

/// What a channel holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// One item.
    Item(Item),
    /// A list of items, such as the messages of a conversation.
    List(Vec<Item>),
    /// Items by key, in the order of the keys' bytes.
    Map(BTreeMap<String, Item>),
}

/// What kind of value a channel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// One item.
    Item,
    /// A list of items.
    List,
    /// Items by key.
    Map,
}

impl Value {
    /// The kind.
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::Item(_) => ValueKind::Item,
            Self::List(_) => ValueKind::List,
            Self::Map(_) => ValueKind::Map,
        }
    }
}

impl From<Item> for Value {
    fn from(item: Item) -> Self {
        Self::Item(item)
    }
}

impl From<Vec<Item>> for Value {
    fn from(items: Vec<Item>) -> Self {
        Self::List(items)
    }
}

impl From<BTreeMap<String, Item>> for Value {
    fn from(map: BTreeMap<String, Item>) -> Self {
        Self::Map(map)
    }
}

/// Checks an id of the given `kind` (a word for the message): not over
/// [`MAX_ID_BYTES`], no NUL, and not empty unless `may_be_empty`.
pub(crate) fn check_id(kind: &str, id: &str, may_be_empty: bool) -> Result<()> {
    check_len(kind, id, may_be_empty, MAX_ID_BYTES)
}

/// Checks a checkpoint id: 1 to [`MAX_CHECKPOINT_ID_BYTES`] bytes, no NUL.
pub(crate) fn check_checkpoint_id(id: &str) -> Result<()> {
    check_len("checkpoint id", id, false, MAX_CHECKPOINT_ID_BYTES)
}

/// Checks a tag: at most 255 bytes.
pub(crate) fn check_item(item: &Item) -> Result<()> {
    if item.tag.len() > 255 {
        return Err(Error::invalid(format!(
            "type tag has {} bytes; at most 255 are accepted",
            item.tag.len()
        )));
    }
    if item.bytes.len() > MAX_ITEM_BYTES {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!(
                "item has {} bytes; at most {MAX_ITEM_BYTES} are accepted",
                item.bytes.len()
            ),
        ));
    }
    Ok(())
}

/// Most bytes of one item.
pub const MAX_ITEM_BYTES: usize = 1 << 30;

fn check_len(kind: &str, id: &str, may_be_empty: bool, most: usize) -> Result<()> {
    if id.is_empty() && !may_be_empty {
        return Err(Error::invalid(format!(
            "{kind} is empty; give at least one character"
        )));
    }
    if id.len() > most {
        return Err(Error::invalid(format!(
            "{kind} {} has {} bytes; at most {most} are accepted",
            quote(id),
            id.len()
        )));
    }
    if let Some(at) = id.find('\0') {
        return Err(Error::invalid(format!(
            "{kind} {} holds a NUL character at byte {at}; remove it",
            quote(id)
        )));
    }
    Ok(())
}
