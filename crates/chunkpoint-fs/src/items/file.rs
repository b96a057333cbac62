//! The file of a namespace's items: its name, its header, and reading its frames.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::store_backend::Namespace;
use chunkpoint_core::types::MAX_ID_BYTES;
use chunkpoint_core::{Error, ErrorKind, Result, quote};

use crate::error::from_io;
use crate::frame::{Frame, MAX_PREFIX, Prefix, Salt};
use crate::log::{Identity, identity, open_file, read_at, write_all_at};
use crate::lru::Key;
use crate::stats::Counters;
use crate::store::hex;
use crate::wait::{self, Wait};
use crate::wire::Cursor;

const MAGIC: [u8; 8] = *b"CKPT-ITM";

/// The version of the format that this code writes.
const VERSION: u16 = 1;

/// Bytes of a header before the namespace.
const FIXED: usize = 76;

/// Read when a file is opened: most headers, and most small files whole.
const HEAD: usize = 4096;

/// Where a namespace's items are, or the catalog of namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The start of the BLAKE3 of the namespace; zeros for the catalog.
    pub(crate) key: Key,
    /// The namespace as bytes; empty for the catalog.
    pub(crate) label: Arc<[u8]>,
}

impl Place {
    /// Where the items of a namespace are.
    pub(crate) fn of(namespace: &Namespace) -> Self {
        Self::of_label(&namespace.to_bytes())
    }

    /// The same, of the namespace as bytes.
    pub(crate) fn of_label(label: &[u8]) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&blake3::hash(label).as_bytes()[..16]);
        Self {
            key,
            label: label.into(),
        }
    }

    /// Where the catalog of namespaces is.
    pub(crate) fn names() -> Self {
        Self {
            key: [0; 16],
            label: Arc::default(),
        }
    }

    pub(crate) fn is_names(&self) -> bool {
        self.label.is_empty()
    }

    /// The directory it is in.
    pub(crate) fn dir(&self) -> String {
        if self.is_names() {
            return "s".to_owned();
        }
        format!("s/{}", &hex(&self.key)[..2])
    }

    /// The file.
    pub(crate) fn items(&self) -> String {
        if self.is_names() {
            return "s/names.items".to_owned();
        }
        format!("{}/{}.items", self.dir(), hex(&self.key))
    }

    /// The file of the packs with this number.
    pub(crate) fn packs(&self, number: u64) -> String {
        format!("{}/{}.{number}.packs", self.dir(), hex(&self.key))
    }

    /// What is built aside.
    pub(crate) fn building(&self, what: &str) -> String {
        format!("trash/s-{}.{what}", hex(&self.key))
    }

    /// What it is called in messages.
    pub(crate) fn describe(&self) -> String {
        if self.is_names() {
            return "the catalog of namespaces".to_owned();
        }
        match Namespace::from_bytes(&self.label) {
            Ok(namespace) => format!("items of namespace {namespace}"),
            Err(_) => "items of a namespace".to_owned(),
        }
    }
}

/// The root of the sorted part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Root {
    pub(crate) offset: u64,
    /// Bytes of its frame; 0 if there is no sorted part.
    pub(crate) len: u32,
}

/// What the start of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// 1, and one more with each compaction.
    pub(crate) generation: u64,
    /// The number of the file that has the packs.
    pub(crate) packs: u64,
    /// Bytes of it that no entry of the sorted part uses.
    pub(crate) dead: u64,
    /// Where the sorted part ends and the tail starts.
    pub(crate) base_end: u64,
    pub(crate) root: Root,
    /// When anything in the sorted part is due.
    pub(crate) due: u64,
    /// What the catalog was told about when anything is due.
    pub(crate) announced: u64,
}

impl Header {
    /// That of a file with nothing in it.
    pub(crate) fn empty(place: &Place) -> Self {
        Self {
            generation: 1,
            packs: 1,
            dead: 0,
            base_end: Self::len_for(place),
            root: Root::default(),
            due: super::entry::NEVER,
            announced: super::entry::NEVER,
        }
    }

    /// Bytes of a header.
    pub(crate) fn len_for(place: &Place) -> u64 {
        (FIXED + place.label.len() + 4) as u64
    }

    pub(crate) fn salt(&self, place: &Place) -> Salt {
        let mut start = [0; 8];
        start.copy_from_slice(&place.key[..8]);
        Salt::new(start, self.generation)
    }

    pub(crate) fn encode(&self, place: &Place) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED + place.label.len() + 4);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        for field in [
            self.generation,
            self.packs,
            self.dead,
            self.base_end,
            self.root.offset,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.root.len.to_le_bytes());
        out.extend_from_slice(&self.due.to_le_bytes());
        out.extend_from_slice(&self.announced.to_le_bytes());
        out.extend_from_slice(&(place.label.len() as u32).to_le_bytes());
        out.extend_from_slice(&place.label);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn parse(bytes: &[u8], place: &Place, name: &str) -> Result<Self> {
        let damaged = || {
            Error::corrupt(format!(
                "{} ({name}): the header at offset 0 is damaged",
                place.describe()
            ))
        };
        let len = header_len(bytes).ok_or_else(damaged)?;
        let whole = bytes.get(..len).ok_or_else(damaged)?;
        let (fields, crc) = whole.split_at(len - 4);
        if !bytes.starts_with(&MAGIC) || crc32c::crc32c(fields).to_le_bytes() != crc {
            return Err(damaged());
        }
        let parse = |mut cursor: Cursor<'_>| {
            let version = u16::from_le_bytes(cursor.array()?);
            cursor.take(2)?;
            let header = Self {
                generation: cursor.u64()?,
                packs: cursor.u64()?,
                dead: cursor.u64()?,
                base_end: cursor.u64()?,
                root: Root {
                    offset: cursor.u64()?,
                    len: cursor.u32()?,
                },
                due: cursor.u64()?,
                announced: cursor.u64()?,
            };
            cursor.u32()?;
            Some((version, header))
        };
        let (version, header) = parse(Cursor::new(&fields[8..])).ok_or_else(damaged)?;
        if version != VERSION {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{name} has format {version}, and this version reads {VERSION}: upgrade \
                     chunkpoint-fs"
                ),
            ));
        }
        if fields[FIXED..] != *place.label {
            return Err(Error::corrupt(format!(
                "{name} should have the {}, but has those of {}",
                place.describe(),
                quote(&String::from_utf8_lossy(&fields[FIXED..]))
            )));
        }
        Ok(header)
    }
}

/// How long the header at the start of `bytes` says it is.
fn header_len(bytes: &[u8]) -> Option<usize> {
    let len = bytes.get(FIXED - 4..FIXED)?.try_into().ok()?;
    Some(FIXED + 4 + u32::from_le_bytes(len) as usize)
}

/// The labels in the header of the file at `path`; `None` if there is no such file.
pub(crate) fn label_of(path: &Path, counters: &Counters) -> Result<Option<Bytes>> {
    let name = path.display().to_string();
    let Some(file) = open_file(path, &name, Wait::Yes)? else {
        return Ok(None);
    };
    let mut head = read_at(&file, 0, HEAD, &name, counters, Wait::Yes)?;
    let len = header_len(&head).unwrap_or(0);
    if len > head.len() && len <= FIXED + 4 + MAX_ID_BYTES {
        head = read_at(&file, 0, len, &name, counters, Wait::Yes)?;
    }
    let damaged = || Error::corrupt(format!("{name}: the header at offset 0 is damaged"));
    let whole = (len > 0).then(|| head.get(..len)).flatten();
    let (fields, crc) = whole.ok_or_else(damaged)?.split_at(len - 4);
    if !fields.starts_with(&MAGIC) || crc32c::crc32c(fields).to_le_bytes() != crc {
        return Err(damaged());
    }
    Ok(Some(head.slice(FIXED..len - 4)))
}

/// An open file.
#[derive(Debug)]
pub(crate) struct ItemsFile {
    file: File,
    pub(crate) place: Place,
    pub(crate) header: Header,
    pub(crate) salt: Salt,
    pub(crate) identity: Identity,
    name: String,
    counters: Arc<Counters>,
}

impl ItemsFile {
    /// Opens the file of `place`; gives its length and its first bytes too. `None` if
    /// there is none.
    ///
    /// # Errors
    /// `Unsupported` if a newer version wrote it, `Corrupt` if its header is damaged
    /// or of another namespace.
    pub(crate) fn open(
        path: &Path,
        place: &Place,
        counters: &Arc<Counters>,
        wait: Wait,
    ) -> Result<Option<(Self, u64, Bytes)>> {
        let name = place.items();
        let Some(file) = open_file(path, &name, wait)? else {
            return Ok(None);
        };
        let metadata = file.metadata().map_err(|error| from_io(&name, error))?;
        let mut head = read_at(&file, 0, HEAD, &name, counters, wait)?;
        let whole = header_len(&head).unwrap_or(0);
        if whole > head.len() && whole as u64 <= metadata.len() {
            head = read_at(&file, 0, whole, &name, counters, wait)?;
        }
        let header = Header::parse(&head, place, &name)?;
        let opened = Self {
            salt: header.salt(place),
            file,
            place: place.clone(),
            header,
            identity: identity(&metadata),
            name,
            counters: counters.clone(),
        };
        Ok(Some((opened, metadata.len(), head)))
    }

    /// Takes an empty file; its header is written by whoever fills it.
    pub(crate) fn create(
        file: File,
        place: &Place,
        header: Header,
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        let name = place.items();
        let metadata = file.metadata().map_err(|error| from_io(&name, error))?;
        Ok(Self {
            salt: header.salt(place),
            file,
            place: place.clone(),
            header,
            identity: identity(&metadata),
            name,
            counters: counters.clone(),
        })
    }

    /// At most `len` bytes at `offset`: fewer only at the end of the file.
    pub(crate) fn read(&self, offset: u64, len: usize, wait: Wait) -> Result<Bytes> {
        if wait == Wait::No && len as u64 > wait::MOST {
            return Err(wait::would_wait());
        }
        read_at(&self.file, offset, len, &self.name, &self.counters, wait)
    }

    /// The frame of `len` bytes at `offset`.
    ///
    /// # Errors
    /// `Corrupt` if it is not what was written there.
    pub(crate) fn frame(&self, offset: u64, len: u32, wait: Wait) -> Result<Frame> {
        let bytes = self.read(offset, len as usize, wait)?;
        Frame::parse(self.salt, offset, &bytes)
            .filter(|frame| frame.tail == offset + u64::from(len))
            .ok_or_else(|| self.damaged("a frame", offset))
    }

    /// Writes all of `bytes` at `offset`.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.counters.wrote(bytes.len());
        write_all_at(&self.file, offset, bytes)
            .map_err(|error| from_io(format_args!("writing {}", self.name), error))
    }

    /// Makes what was written survive the loss of power.
    pub(crate) fn sync(&self) -> Result<()> {
        self.counters.synced();
        self.file
            .sync_data()
            .map_err(|error| from_io(format_args!("syncing {}", self.name), error))
    }

    /// Cuts the file.
    pub(crate) fn truncate(&self, len: u64) -> Result<()> {
        self.file
            .set_len(len)
            .map_err(|error| from_io(format_args!("truncating {}", self.name), error))
    }

    /// Its length now.
    pub(crate) fn len(&self) -> Result<u64> {
        let metadata: io::Result<_> = self.file.metadata();
        Ok(metadata.map_err(|error| from_io(&self.name, error))?.len())
    }

    /// Lets go of the lock that marked it as being built.
    pub(crate) fn unlock(&self) {
        // It goes with the file's last handle anyway.
        let _ = self.file.unlock();
    }

    /// The error for bytes that are not what was written.
    pub(crate) fn damaged(&self, what: &str, offset: u64) -> Error {
        Error::corrupt(format!(
            "{} ({}): {what} at offset {offset} is damaged",
            self.place.describe(),
            self.name
        ))
    }
}

/// Reads frames one after the other, through a block of memory.
#[derive(Debug)]
pub(crate) struct Frames {
    block: Bytes,
    start: u64,
    /// Read at once.
    ahead: usize,
    /// Nothing is read at or behind this.
    pub(crate) end: u64,
    wait: Wait,
    read: u64,
}

impl Frames {
    /// A reader of what is before `end`.
    pub(crate) fn new(end: u64, ahead: usize, wait: Wait) -> Self {
        Self {
            block: Bytes::new(),
            start: 0,
            ahead,
            end,
            wait,
            read: 0,
        }
    }

    /// Gives it the start of the file, which was read already.
    pub(crate) fn with_head(mut self, mut head: Bytes) -> Self {
        head.truncate(self.end.try_into().unwrap_or(usize::MAX));
        self.block = head;
        self
    }

    /// At least `len` bytes at `offset`, as far as there are any.
    pub(crate) fn bytes(&mut self, file: &ItemsFile, offset: u64, len: u64) -> Result<Bytes> {
        let len = len.min(self.end.saturating_sub(offset));
        let have = self.start + self.block.len() as u64;
        if offset < self.start || offset + len > have {
            let most = (self.end - offset).min(len.max(self.ahead as u64));
            self.read += most;
            if self.wait == Wait::No && self.read > wait::MOST {
                return Err(wait::would_wait());
            }
            self.block = file.read(offset, most as usize, self.wait)?;
            self.start = offset;
        }
        let at = ((offset - self.start) as usize).min(self.block.len());
        Ok(self.block.slice(at..))
    }

    /// The frame at `offset`; `None` if there is no whole one.
    pub(crate) fn frame(&mut self, file: &ItemsFile, offset: u64) -> Result<Option<Frame>> {
        let bytes = self.bytes(file, offset, MAX_PREFIX as u64)?;
        let Some(len) = Prefix::parse(file.salt, offset, &bytes).and_then(|p| p.envelope_len())
        else {
            return Ok(None);
        };
        if len > self.end.saturating_sub(offset) {
            return Ok(None);
        }
        let bytes = self.bytes(file, offset, len)?;
        Ok(Frame::parse(file.salt, offset, &bytes))
    }
}
