//! The file of a log: its header, positioned reads and writes, and a reader
//! that turns many small reads into few.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::{Bytes, BytesMut};
use chunkpoint_core::backend::Incarnation;
use chunkpoint_core::{Error, ErrorKind, Result, quote};

use crate::error::from_io;
#[cfg(test)]
use crate::fault::Call;
use crate::frame::{Frame, MAX_PREFIX, Prefix};
use crate::state::Header;
use crate::stats::Counters;
use crate::wait::{self, Wait};
use crate::wire::Cursor;

/// The first bytes of a log.
const MAGIC: [u8; 8] = *b"CKPT-LOG";

/// The version of the format that this code writes.
pub(crate) const VERSION: u16 = 1;

/// Bytes of a header before the thread id.
const FIXED: usize = 40;

/// Read at once when a log is opened: a smaller one is read whole.
const SMALL: usize = 32 * 1024;

/// Read of a larger log when only its header is wanted.
const HEAD: usize = 512;

/// A block of the reader.
const BLOCK: u64 = 32 * 1024;

/// Device and inode: tells whether a path still leads to the file that is
/// open. Elsewhere than on Unix nothing does, and the header is compared.
pub(crate) type Identity = (u64, u64);

#[cfg(unix)]
pub(crate) fn identity(metadata: &std::fs::Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
pub(crate) fn identity(_: &std::fs::Metadata) -> Identity {
    (0, 0)
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED + self.thread.len() + 4);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.incarnation.0);
        out.extend_from_slice(&self.base_ms.to_le_bytes());
        out.extend_from_slice(&(self.thread.len() as u32).to_le_bytes());
        out.extend_from_slice(self.thread.as_bytes());
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Bytes of a header for a thread of this name.
    pub(crate) fn len_for(thread: &str) -> u64 {
        (FIXED + thread.len() + 4) as u64
    }
}

/// An open log.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    /// The path below the root, for messages.
    name: String,
    pub(crate) identity: Identity,
    pub(crate) header: Arc<Header>,
    counters: Arc<Counters>,
    /// Whether this process knows that the entry in its directory survives.
    pub(crate) settled: AtomicBool,
}

/// A log that was just opened, with what had to be read of it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) log: LogFile,
    /// Its length then.
    pub(crate) len: u64,
    /// Its first bytes; all of them if it is small.
    pub(crate) head: Bytes,
}

impl LogFile {
    /// Opens the log at `path`, for writing if the filesystem lets us. `None`
    /// if there is none.
    ///
    /// # Errors
    /// `Unsupported` if a newer version wrote it, `Corrupt` if its header is
    /// damaged or of another thread.
    pub(crate) fn open(
        path: &Path,
        name: &str,
        thread: Option<&str>,
        counters: &Arc<Counters>,
        wait: Wait,
    ) -> Result<Option<Opened>> {
        let Some(file) = open_file(path, name, wait)? else {
            return Ok(None);
        };
        let metadata = file.metadata().map_err(|error| from_io(name, error))?;
        let first = if metadata.len() <= SMALL as u64 {
            SMALL
        } else {
            HEAD
        };
        let mut head = read_at(&file, 0, first, name, counters, wait)?;
        let whole = header_len(&head);
        if whole > head.len() && whole as u64 <= metadata.len() {
            head = read_at(&file, 0, whole, name, counters, wait)?;
        }
        let header = parse_header(&head, name)?;
        if let Some(thread) = thread
            && *header.thread != *thread
        {
            return Err(Error::corrupt(format!(
                "{name} should be the log of thread {}, but is that of {}",
                quote(thread),
                quote(&header.thread)
            )));
        }
        let log = Self {
            file,
            name: name.to_owned(),
            identity: identity(&metadata),
            header: Arc::new(header),
            counters: counters.clone(),
            settled: AtomicBool::new(false),
        };
        let len = metadata.len();
        Ok(Some(Opened { log, len, head }))
    }

    /// Makes a log of an empty file: writes its header.
    pub(crate) fn create(
        file: File,
        name: &str,
        header: Header,
        counters: &Arc<Counters>,
    ) -> Result<Self> {
        let metadata = file
            .metadata()
            .map_err(|error| from_io(format_args!("creating {name}"), error))?;
        let log = Self {
            file,
            name: name.to_owned(),
            identity: identity(&metadata),
            header: Arc::new(header),
            counters: counters.clone(),
            settled: AtomicBool::new(false),
        };
        log.write_at(0, &log.header.encode())?;
        Ok(log)
    }

    /// Lets go of the lock that marked the file as being built.
    pub(crate) fn unlock(&self) {
        // It goes with the file's last handle anyway.
        let _ = self.file.unlock();
    }

    /// At most `len` bytes at `offset`: fewer only at the end of the file.
    pub(crate) fn read(&self, offset: u64, len: usize, wait: Wait) -> Result<Bytes> {
        read_at(&self.file, offset, len, &self.name, &self.counters, wait)
    }

    /// As [`read`](Self::read), into the memory of `block` if nobody else holds it.
    fn read_over(&self, block: Bytes, offset: u64, len: usize, wait: Wait) -> Result<Bytes> {
        let mut bytes = block.try_into_mut().unwrap_or_default();
        bytes.resize(len, 0);
        fill_at(&self.file, offset, bytes, &self.name, &self.counters, wait)
    }

    /// Writes all of `bytes` at `offset`.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.counters.wrote(bytes.len());
        let written = || {
            #[cfg(test)]
            if let Err(error) = self.counters.faults.check(Call::Write) {
                write_all_at(&self.file, offset, &bytes[..bytes.len() / 2])?;
                return Err(error);
            }
            write_all_at(&self.file, offset, bytes)
        };
        written().map_err(|error| from_io(format_args!("writing {}", self.name), error))
    }

    /// Makes what was written survive the loss of power.
    pub(crate) fn sync(&self) -> Result<()> {
        self.counters.synced();
        let synced = || {
            #[cfg(test)]
            self.counters.faults.check(Call::Sync)?;
            self.file.sync_data()
        };
        synced().map_err(|error| from_io(format_args!("syncing {}", self.name), error))
    }

    /// Cuts the file.
    pub(crate) fn truncate(&self, len: u64) -> Result<()> {
        let cut = || {
            #[cfg(test)]
            self.counters.faults.check(Call::Truncate)?;
            self.file.set_len(len)
        };
        cut().map_err(|error| from_io(format_args!("truncating {}", self.name), error))
    }

    /// Its length now.
    pub(crate) fn len(&self) -> Result<u64> {
        let metadata = self
            .file
            .metadata()
            .map_err(|error| from_io(&self.name, error))?;
        Ok(metadata.len())
    }

    /// When it was written to last, by the filesystem's clock.
    pub(crate) fn modified(&self) -> Option<std::time::SystemTime> {
        self.file.metadata().and_then(|there| there.modified()).ok()
    }

    /// The error for bytes that are not what was written.
    pub(crate) fn damaged(&self, what: &str, offset: u64) -> Error {
        Error::corrupt(format!(
            "log of thread {} ({}): {what} at offset {offset} is damaged",
            quote(&self.header.thread),
            self.name
        ))
    }
}

/// Opens the file of a log, for writing if the filesystem lets us.
pub(crate) fn open_file(path: &Path, name: &str, wait: Wait) -> Result<Option<File>> {
    if wait == Wait::No {
        return wait::open(path);
    }
    let open = |write| File::options().read(true).write(write).open(path);
    match open(true).or_else(|error| match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => open(false),
        _ => Err(error),
    }) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(from_io(format_args!("opening {name}"), error)),
    }
}

pub(crate) fn read_at(
    file: &File,
    offset: u64,
    len: usize,
    name: &str,
    counters: &Counters,
    wait: Wait,
) -> Result<Bytes> {
    let bytes = BytesMut::zeroed(len);
    fill_at(file, offset, bytes, name, counters, wait)
}

/// Reads over `bytes`, as many as there are; gives what was read.
fn fill_at(
    file: &File,
    offset: u64,
    mut bytes: BytesMut,
    name: &str,
    counters: &Counters,
    wait: Wait,
) -> Result<Bytes> {
    let len = bytes.len();
    let mut filled = 0;
    if wait == Wait::No {
        filled = wait::read_at(file, offset, &mut bytes)?;
    } else {
        while filled < len {
            match read_some_at(file, offset + filled as u64, &mut bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(from_io(format_args!("reading {name}"), error)),
            }
        }
    }
    counters.read(filled);
    bytes.truncate(filled);
    Ok(bytes.freeze())
}

#[cfg(unix)]
fn read_some_at(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_some_at(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, bytes, offset)
}

#[cfg(unix)]
pub(crate) fn write_all_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
pub(crate) fn write_all_at(file: &File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, offset)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
        }
    }
    Ok(())
}

/// How long the header at the start of `bytes` says it is.
fn header_len(bytes: &[u8]) -> usize {
    let len = bytes
        .get(FIXED - 4..FIXED)
        .and_then(|len| len.try_into().ok());
    FIXED + 4 + len.map_or(0, u32::from_le_bytes) as usize
}

fn parse_header(bytes: &[u8], name: &str) -> Result<Header> {
    let damaged = || Error::corrupt(format!("{name}: the header at offset 0 is damaged"));
    let mut cursor = Cursor::new(bytes);
    if cursor.array() != Some(MAGIC) {
        return Err(damaged());
    }
    let version = u16::from_le_bytes(cursor.array().ok_or_else(damaged)?);
    let len = header_len(bytes);
    let whole = bytes.get(..len).ok_or_else(damaged)?;
    let (fields, crc) = whole.split_at(len - 4);
    if crc32c::crc32c(fields).to_le_bytes() != crc {
        return Err(damaged());
    }
    if version != VERSION {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "{name} has format {version}, and this version reads {VERSION}: upgrade \
                 chunkpoint-fs"
            ),
        ));
    }
    let parse = |mut cursor: Cursor<'_>| {
        cursor.take(2)?;
        let generation = cursor.u64()?;
        let incarnation = Incarnation(cursor.array()?);
        let base_ms = cursor.u64()?;
        let thread_len = cursor.u32()?;
        let thread = cursor.text(u64::from(thread_len))?;
        Some(Header {
            generation,
            incarnation,
            base_ms,
            thread,
            start: len as u64,
        })
    };
    parse(cursor).ok_or_else(damaged)
}

/// Which way a reader is going, and so what to read along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Going {
    /// Towards the end.
    Forward,
    /// Towards the start.
    Backward,
    /// To one place.
    Only,
}

/// Reads frames of a log through one block of memory.
#[derive(Debug)]
pub(crate) struct Reader {
    log: Arc<LogFile>,
    /// Nothing is read at or behind this.
    end: u64,
    wait: Wait,
    /// Bytes read so far.
    read: u64,
    start: u64,
    block: Bytes,
}

impl Reader {
    /// A reader of the first `end` bytes.
    pub(crate) fn new(log: Arc<LogFile>, end: u64) -> Self {
        Self {
            log,
            end,
            wait: Wait::Yes,
            read: 0,
            start: 0,
            block: Bytes::new(),
        }
    }

    /// Says whether it may wait for the device; else it may.
    pub(crate) fn waiting(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Gives it what was read already.
    pub(crate) fn with_block(mut self, start: u64, block: Bytes) -> Self {
        self.start = start;
        self.block = block;
        self
    }

    /// What it read last, and where that lies.
    pub(crate) fn into_block(self) -> (u64, Bytes) {
        (self.start, self.block)
    }

    /// The log it reads.
    pub(crate) fn log(&self) -> &Arc<LogFile> {
        &self.log
    }

    /// Lets it read further: the log was appended to.
    pub(crate) fn extend(&mut self, end: u64) {
        self.end = end;
    }

    /// Where it stops.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// At most `len` bytes at `offset`, and the block stays what it is.
    pub(crate) fn aside(&mut self, offset: u64, len: usize) -> Result<Bytes> {
        self.count(len)?;
        self.log.read(offset, len, self.wait)
    }

    fn count(&mut self, len: usize) -> Result<()> {
        self.read += len as u64;
        if self.wait == Wait::No && self.read > wait::MOST {
            return Err(wait::would_wait());
        }
        Ok(())
    }

    /// At least `len` bytes at `offset`, as far as there are any.
    pub(crate) fn bytes(&mut self, offset: u64, len: u64, going: Going) -> Result<Bytes> {
        let len = len.min(self.end.saturating_sub(offset));
        let have = self.start + self.block.len() as u64;
        if offset < self.start || offset + len > have {
            let (from, to) = match going {
                Going::Forward => (offset, offset + BLOCK.max(len)),
                Going::Only => (offset, offset + len.max(4096)),
                // What is before the frame is wanted next; of the frame itself
                // 4 KiB are a guess, read again if it is longer.
                Going::Backward => {
                    let to = offset + len.max(4096);
                    (to.saturating_sub(BLOCK).min(offset), to)
                }
            };
            let to = to.min(self.end);
            let len = (to - from) as usize;
            self.count(len)?;
            // Fresh memory for each block would cost as much as reading it: the system
            // hands out pages one by one, cleared.
            let before = std::mem::take(&mut self.block);
            self.block = self.log.read_over(before, from, len, self.wait)?;
            self.start = from;
        }
        let at = ((offset - self.start) as usize).min(self.block.len());
        Ok(self.block.slice(at..))
    }

    /// The frame at `offset`; `None` if there is no whole one.
    pub(crate) fn frame(&mut self, offset: u64, going: Going) -> Result<Option<Frame>> {
        let salt = self.log.header.salt();
        let bytes = self.bytes(offset, MAX_PREFIX as u64, going)?;
        let Some(prefix) = Prefix::parse(salt, offset, &bytes) else {
            return Ok(None);
        };
        let Some(len) = prefix.envelope_len() else {
            return Ok(None);
        };
        if len > self.end.saturating_sub(offset) {
            return Ok(None);
        }
        let bytes = self.bytes(offset, len, going)?;
        Ok(Frame::parse(salt, offset, &bytes))
    }
}
