//! Reading without waiting for the device.
//!
//! What is in the system's page cache is read in less time than it takes to hand
//! a closure to another thread and to be woken by it. So small reads are tried
//! where the caller runs, in a way that never waits (Linux: `RWF_NOWAIT`,
//! `RESOLVE_CACHED`); only what would wait is done again by a blocking task.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use chunkpoint_core::{Error, ErrorKind, Result};

/// Whether a read may wait for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It runs where it may block.
    Yes,
    /// It fails with what [`is_would_wait`] recognizes.
    No,
}

/// Bytes that one operation reads without waiting: copying and decoding more
/// would keep the runtime's thread from other work.
pub(crate) const MOST: u64 = 512 * 1024;

/// The source of the error that says so.
#[derive(Debug)]
struct WouldWait;

impl fmt::Display for WouldWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes are not in memory")
    }
}

impl std::error::Error for WouldWait {}

pub(crate) fn would_wait() -> Error {
    Error::new(ErrorKind::Unavailable, "reading would wait").source(WouldWait)
}

/// Whether an operation failed only because it was not to wait.
pub(crate) fn is_would_wait(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<WouldWait>())
}

/// Opens a file for reading and writing if that takes no waiting.
///
/// # Errors
/// That of [`is_would_wait`], also for whatever a blocking task shall judge.
pub(crate) fn open(path: &Path) -> Result<Option<File>> {
    match cached::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(_) => Err(would_wait()),
    }
}

/// Fills `bytes` as far as the file goes, if that takes no waiting.
///
/// # Errors
/// As [`open`].
pub(crate) fn read_at(file: &File, offset: u64, bytes: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match cached::read_at(file, offset + filled as u64, &mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(_) => return Err(would_wait()),
        }
    }
    Ok(filled)
}

#[cfg(target_os = "linux")]
mod cached {
    use std::fs::File;
    use std::io::{self, IoSliceMut};
    use std::path::Path;

    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::{ReadWriteFlags, preadv2};

    pub(super) fn open(path: &Path) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        Ok(openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)?.into())
    }

    pub(super) fn read_at(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut slices = [IoSliceMut::new(bytes)];
        Ok(preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod cached {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub(super) fn open(_: &Path) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn read_at(_: &File, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_cached_is_read_and_the_rest_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert!(open(&path).map_or_else(|error| is_would_wait(&error), |file| file.is_none()));
        let mut file = File::options()
            .create_new(true)
            .write(true)
            .read(true)
            .open(&path)
            .unwrap();
        file.write_all(b"hello").unwrap();
        let mut bytes = [0; 8];
        match read_at(&file, 1, &mut bytes) {
            Ok(read) => assert_eq!(&bytes[..read], b"ello"),
            // Not every file system knows the flag.
            Err(error) => assert!(is_would_wait(&error)),
        }
        assert!(is_would_wait(&would_wait()));
        assert!(!is_would_wait(&Error::invalid("something else")));
    }
}
