//! The lines, as JSON has them. `docs/export.md` says what each field means.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map as JsonMap, Value as Json};

use crate::error::{Error, Result, quote};
use crate::record::Version;
use crate::types::{Item, check_item};

/// The version of the export's lines that this program writes, and the newest it reads.
pub(super) const VERSION: u64 = 1;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) chunkpoint: String,
    pub(super) version: u64,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub(super) end: bool,
    /// Lines before this one.
    pub(super) lines: u64,
    pub(super) checkpoints: u64,
    pub(super) items: u64,
    /// Of all lines before this one, each with its line feed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) blake3: Option<String>,
}

/// A piece of a line that was too long.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub(super) part: String,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) last: bool,
}

/// A checkpoint, or as much of it as fits a line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckpointLine<'a> {
    pub(super) checkpoint: String,
    pub(super) thread: String,
    #[serde(default)]
    pub(super) namespace: String,
    pub(super) time_ms: u64,
    pub(super) parent: Option<String>,
    pub(super) base: Option<String>,
    #[serde(default)]
    pub(super) pinned: bool,
    #[serde(default)]
    pub(super) hidden: bool,
    #[serde(default)]
    pub(super) v: u64,
    #[serde(default)]
    pub(super) ts: String,
    pub(super) updated_channels: Option<Vec<String>>,
    #[serde(default)]
    pub(super) metadata: JsonMap<String, Json>,
    #[serde(default)]
    pub(super) versions_seen: JsonMap<String, Json>,
    #[serde(default, borrow)]
    pub(super) writes: Vec<WriteLine<'a>>,
    #[serde(default)]
    pub(super) gone: Vec<String>,
    #[serde(default, borrow)]
    pub(super) channels: BTreeMap<String, ChannelLine<'a>>,
    #[serde(default)]
    pub(super) more: bool,
}

/// More of the checkpoint before.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MoreLine<'a> {
    pub(super) continues: String,
    pub(super) channel: Option<String>,
    #[serde(default, borrow)]
    pub(super) items: Vec<WireItem<'a>>,
    #[serde(default, borrow)]
    pub(super) entries: Vec<Entry<'a>>,
    #[serde(default, borrow)]
    pub(super) channels: BTreeMap<String, ChannelLine<'a>>,
    /// The checkpoint was removed while it was written: it does not count.
    #[serde(default)]
    pub(super) withdrawn: bool,
    #[serde(default)]
    pub(super) more: bool,
}

/// A channel: its version, and exactly one of the others.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelLine<'a> {
    pub(super) version: Option<WireVersion>,
    #[serde(default)]
    pub(super) none: bool,
    #[serde(default)]
    pub(super) same: bool,
    #[serde(borrow)]
    pub(super) item: Option<WireItem<'a>>,
    #[serde(borrow)]
    pub(super) list: Option<Vec<WireItem<'a>>>,
    #[serde(borrow)]
    pub(super) append: Option<Vec<WireItem<'a>>>,
    #[serde(borrow)]
    pub(super) splice: Option<(u64, u64, Vec<WireItem<'a>>)>,
    #[serde(borrow)]
    pub(super) map: Option<Vec<Entry<'a>>>,
    #[serde(borrow)]
    pub(super) entries: Option<(Vec<String>, Vec<Entry<'a>>)>,
}

/// An entry of a map: key and item.
pub(super) type Entry<'a> = (String, WireItem<'a>);

/// A pending write.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteLine<'a> {
    pub(super) task: String,
    #[serde(default)]
    pub(super) path: String,
    pub(super) idx: i32,
    pub(super) channel: String,
    #[serde(borrow)]
    pub(super) value: WireItem<'a>,
}

/// An item of the long-term store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ItemLine {
    pub(super) item: String,
    pub(super) namespace: Vec<String>,
    pub(super) created_ms: u64,
    pub(super) updated_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ttl_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_ms: Option<u64>,
    pub(super) value: JsonMap<String, Json>,
}

/// Bytes with a tag, readable where they are JSON or text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireItem<'a> {
    #[serde(default, borrow, deserialize_with = "some_raw")]
    json: Option<&'a RawValue>,
    text: Option<String>,
    base64: Option<String>,
    tag: Option<String>,
}

/// A value that is `null` counts as one.
fn some_raw<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl WireItem<'_> {
    /// The item it stands for.
    pub(super) fn item(self) -> Result<Item> {
        let (tag, bytes) = match (self.json, self.text, self.base64) {
            (Some(json), None, None) => ("json", json.get().as_bytes().to_vec()),
            (None, Some(text), None) => ("text", text.into_bytes()),
            (None, None, Some(text)) => {
                let bytes = STANDARD
                    .decode(&text)
                    .map_err(|e| Error::invalid("the base64 of an item is wrong").source(e))?;
                ("", bytes)
            }
            _ => {
                return Err(Error::invalid(
                    "an item has exactly one of json, text and base64",
                ));
            }
        };
        let tag = match &self.tag {
            Some(given) => given.as_str(),
            None if tag.is_empty() => {
                return Err(Error::invalid(
                    "an item in base64 has no tag; give it one, an empty one too",
                ));
            }
            None => tag,
        };
        let item = Item::new(tag, bytes);
        check_item(&item)?;
        Ok(item)
    }
}

/// Writes an item so that its bytes come back exactly.
pub(super) fn put_item(item: &Item, out: &mut Vec<u8>) -> Result<()> {
    let text = std::str::from_utf8(&item.bytes).ok();
    match text {
        Some(text) if &*item.tag == "json" && is_plain_json(text) => {
            out.extend_from_slice(b"{\"json\":");
            out.extend_from_slice(text.as_bytes());
        }
        Some(text) if matches!(&*item.tag, "json" | "text") => {
            out.push(b'{');
            if &*item.tag == "json" {
                out.extend_from_slice(b"\"tag\":\"json\",");
            }
            out.extend_from_slice(b"\"text\":");
            put_json(text, out)?;
        }
        _ => {
            out.extend_from_slice(b"{\"tag\":");
            put_json(&*item.tag, out)?;
            out.extend_from_slice(b",\"base64\":\"");
            let from = out.len();
            let len = base64::encoded_len(item.bytes.len(), true)
                .ok_or_else(|| Error::invalid("an item is too large for a line"))?;
            out.resize(from + len, 0);
            STANDARD
                .encode_slice(&item.bytes, &mut out[from..])
                .map_err(|e| Error::invalid("an item cannot be written as base64").source(e))?;
            out.push(b'"');
        }
    }
    out.push(b'}');
    Ok(())
}

/// Whether it is JSON that can stand in a line as it is.
fn is_plain_json(text: &str) -> bool {
    !text.contains(['\n', '\r'])
        && serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get().len() == text.len())
}

/// Writes a value as JSON.
pub(super) fn put_json(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(out, value)
        .map_err(|e| Error::invalid("a value cannot be written as JSON").source(e))
}

/// A channel's version; a number that JSON has not is written by its bits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum WireVersion {
    Plain(Version),
    Bits { bits: String },
}

impl WireVersion {
    pub(super) fn new(version: &Version) -> Self {
        match version {
            Version::Float(float) if !float.is_finite() => Self::Bits {
                bits: format!("{:016x}", float.to_bits()),
            },
            _ => Self::Plain(version.clone()),
        }
    }

    pub(super) fn version(self) -> Result<Version> {
        match self {
            Self::Plain(version) => Ok(version),
            Self::Bits { bits } => u64::from_str_radix(&bits, 16)
                .map(|bits| Version::Float(f64::from_bits(bits)))
                .map_err(|e| {
                    Error::invalid(format!("the bits of a version are {}", quote(&bits))).source(e)
                }),
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn back(item: &Item) -> Item {
        let mut out = Vec::new();
        put_item(item, &mut out).unwrap();
        assert!(!out.contains(&b'\n'));
        let wire: WireItem<'_> = serde_json::from_slice(&out).unwrap();
        wire.item().unwrap()
    }

    proptest! {
        #[test]
        fn every_item_comes_back(tag in "json|text|bytes|[ -~äß]{0,20}", bytes: Vec<u8>) {
            let item = Item::new(tag, bytes);
            prop_assert_eq!(back(&item), item);
        }

        #[test]
        fn every_text_comes_back(tag in "json|text|msgpack", text in "\\PC*|[ \\n\\t{}\\[\\]\",:0-9a-z\\\\]*") {
            let item = Item::new(tag, text.into_bytes());
            prop_assert_eq!(back(&item), item);
        }
    }

    #[test]
    fn json_comes_back_byte_for_byte() {
        for text in [
            "null",
            " null",
            "1.0",
            "1e5",
            "{\"a\": 1,\n\"a\":2}",
            "{\"a\": 1, \"a\":2}",
            "\"\\u00e4\"",
            "[1,2,",
            "",
            "123456789012345678901234567890",
            "\"\\ud800\"",
        ] {
            let item = Item::new("json", text.as_bytes().to_vec());
            assert_eq!(back(&item), item, "{text}");
        }
        let deep = Item::new("json", "[".repeat(5000) + &"]".repeat(5000));
        assert_eq!(back(&deep), deep);
    }

    #[test]
    fn versions_come_back() {
        for version in [
            Version::Int(-3),
            Version::Float(1.0),
            Version::Float(f64::INFINITY),
            Version::Float(0.1 + 0.2),
            Version::Text("1".into()),
        ] {
            let mut out = Vec::new();
            put_json(&WireVersion::new(&version), &mut out).unwrap();
            let read: WireVersion = serde_json::from_slice(&out).unwrap();
            assert_eq!(read.version().unwrap(), version);
        }
    }
}
