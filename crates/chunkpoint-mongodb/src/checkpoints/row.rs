//! The document of a record: what is written, and what is read.

use bytes::Bytes;
use chunkpoint_core::Result;
use chunkpoint_core::backend::{
    Commit, Detail, Incarnation, PackId, RecordIndex, RecordKey, RecordRef, RecordRow,
};
use mongodb::bson::raw::{RawArrayBuf, cstr};
use mongodb::bson::{Document, RawBsonRef, RawDocumentBuf, doc};

use crate::doc::{Doc, int, raw_binary};
use crate::metadata;
use crate::names::{ThreadNames, in_life, is_record, of_life};
use crate::parts::Stored;

/// Where a pipeline says that a record has pending writes.
pub(crate) const PENDING: &str = "pending";

/// What a pack is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// A record's, which is seen by all.
    Visible = 0,
    /// A record's, which only the delta walk sees.
    Hidden = 1,
    /// Of a record no more.
    Condemned = 2,
}

/// A document of the collection of records, or of it what was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// The document's key.
    pub(crate) id: String,
    pub(crate) life: Incarnation,
    pub(crate) pack: PackId,
    pub(crate) key: RecordKey,
    pub(crate) state: State,
    pub(crate) pinned: bool,
    /// Packs that it borrows from, of which it is not known that they were there.
    pub(crate) from: Vec<PackId>,
    /// Of a condemned pack: the children that were there when it was found to be that.
    pub(crate) children: Option<Vec<PackId>>,
    /// Whether it waits for the record to have another pack.
    pub(crate) prepared: bool,
    /// When it was condemned.
    pub(crate) condemned_ms: u64,
    /// Which call removed it.
    pub(crate) removed_by: Option<[u8; 8]>,
    /// Ordinals of chunks that were reclaimed.
    pub(crate) gone: Vec<u32>,
    /// Ordinals that its documents of chunks begin with; empty if they are in this one.
    pub(crate) parts: Vec<u32>,
    pub(crate) lengths: Bytes,
    /// Whether it has pending writes, if that was asked for.
    pub(crate) pending: bool,
    index: RecordIndex,
    body: Bytes,
}

impl Record {
    pub(crate) fn read(raw: RawDocumentBuf) -> Result<Self> {
        Self::of(&Doc::new("checkpoints", raw))
    }

    pub(crate) fn of(doc: &Doc) -> Result<Self> {
        let (life, pack) = of_life(&doc.bytes("pack")?)?;
        let state = match doc.number("state")? {
            0 => State::Visible,
            1 => State::Hidden,
            2 => State::Condemned,
            _ => return Err(doc.foreign("state")),
        };
        let pack_of = |value: RawBsonRef<'_>| match value {
            RawBsonRef::Binary(binary) => of_life(binary.bytes).ok().map(|(_, pack)| pack),
            _ => None,
        };
        let number = |value: RawBsonRef<'_>| {
            let number = value.as_i64().or_else(|| value.as_i32().map(i64::from));
            number.and_then(|number| u32::try_from(number).ok())
        };
        let children = doc.flag("settled")?;
        Ok(Self {
            id: doc.text("_id")?.to_owned(),
            life,
            pack,
            key: RecordKey {
                namespace: doc.shared("ns")?,
                id: doc.shared("id")?,
            },
            state,
            pinned: doc.flag("pinned")?,
            from: doc.array("from", pack_of)?,
            children: match children {
                true => Some(doc.array("children", pack_of)?),
                false => None,
            },
            prepared: doc.flag("prepared")?,
            condemned_ms: doc.opt_number("condemned_ms")?.unwrap_or(0),
            removed_by: doc.opt_id8("removed_by")?,
            gone: doc.array("gone", number)?,
            parts: doc.array("parts", number)?,
            lengths: doc.opt_bytes("lengths")?.unwrap_or_default(),
            pending: !doc.array(PENDING, |_| Some(()))?.is_empty(),
            index: RecordIndex {
                parent: doc.opt_shared("parent")?,
                time_ms: doc.number("time_ms")?,
                run_id: doc.opt_shared("run_id")?,
                delta: doc.flag("delta")?,
                pack_bytes: doc.number("bytes")?,
            },
            body: doc.opt_bytes("body")?.unwrap_or_default(),
        })
    }

    /// Whether it is a record, visible or hidden.
    pub(crate) fn is_there(&self) -> bool {
        self.state != State::Condemned
    }

    /// Whether the key is that of a record, and not of a pack that it had before.
    pub(crate) fn is_own(&self) -> bool {
        is_record(&self.id)
    }

    /// The row of a record. Its locator tells whether the pack has documents of its own.
    pub(crate) fn row(self, detail: Detail) -> RecordRow {
        RecordRow {
            incarnation: self.life,
            record: RecordRef {
                key: self.key,
                pack: self.pack,
            },
            locator: locator(!self.parts.is_empty()),
            hidden: self.state == State::Hidden,
            pinned: self.pinned,
            index: self.index,
            body: match detail {
                Detail::Keys => Bytes::new(),
                Detail::Bodies | Detail::Writes => self.body,
            },
            writes: Vec::new(),
        }
    }
}

/// The locator of a pack: whether its chunks lie in documents of their own.
pub(crate) fn locator(parts: bool) -> u64 {
    u64::from(parts)
}

/// What is read of a document for a row.
pub(crate) fn fields(detail: Detail) -> Document {
    let mut fields = doc! { "chunks": 0, "lengths": 0, "metadata": 0 };
    if detail == Detail::Keys {
        fields.insert("body", 0);
    }
    fields
}

/// The document of a record that is new. `from`: what it borrows from and nobody has looked
/// at yet.
pub(crate) fn document(
    names: &ThreadNames,
    life: Incarnation,
    commit: &Commit,
    stored: &Stored,
    from: &[PackId],
    fence: Option<&str>,
) -> RawDocumentBuf {
    let mut new = RawDocumentBuf::new();
    let id = names.record(&commit.key, life);
    new.append(cstr!("_id"), id.as_str());
    new.append(cstr!("thread"), names.thread.as_str());
    new.append(cstr!("ns"), &*commit.key.namespace);
    new.append(cstr!("id"), &*commit.key.id);
    if let Some(parent) = &commit.index.parent {
        new.append(cstr!("parent"), &**parent);
    }
    content(&mut new, life, commit, stored);
    if !from.is_empty() {
        let packs = from.iter().map(|pack| in_life(life, pack.0));
        let packs: Vec<_> = packs.collect();
        let mut array = RawArrayBuf::new();
        for pack in &packs {
            array.push(raw_binary(pack));
        }
        new.append(cstr!("from"), array);
    }
    if let Some(fence) = fence {
        new.append(cstr!("fence"), fence);
    }
    new
}

/// What of a record's document comes with a pack.
pub(crate) fn content(
    new: &mut RawDocumentBuf,
    life: Incarnation,
    commit: &Commit,
    stored: &Stored,
) {
    new.append(cstr!("pack"), raw_binary(&in_life(life, commit.pack.0)));
    new.append(cstr!("state"), State::Visible as i32);
    new.append(cstr!("time_ms"), int(commit.index.time_ms));
    if let Some(run) = &commit.index.run_id {
        new.append(cstr!("run_id"), &**run);
    }
    if commit.index.delta {
        new.append(cstr!("delta"), true);
    }
    new.append(cstr!("bytes"), int(commit.index.pack_bytes));
    if let Some(metadata) = metadata::document(&commit.metadata) {
        new.append(cstr!("metadata"), &metadata);
    }
    new.append(cstr!("body"), raw_binary(&commit.body));
    if !stored.lengths.is_empty() {
        new.append(cstr!("lengths"), raw_binary(&stored.lengths));
    }
    if let Some(chunks) = &stored.inline {
        new.append(cstr!("chunks"), chunks);
    }
    if !stored.firsts.is_empty() {
        let mut array = RawArrayBuf::new();
        for first in &stored.firsts {
            array.push(i64::from(*first));
        }
        new.append(cstr!("parts"), array);
    }
}

/// The fields that come and go with a pack, besides those that every pack has.
pub(crate) const OPTIONAL: &[&str] = &[
    "run_id", "delta", "metadata", "lengths", "chunks", "parts", "from", "gone", "freed",
];
