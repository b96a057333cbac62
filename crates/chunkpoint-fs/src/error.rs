//! What the operating system's errors mean to a caller.

use std::fmt;
use std::io;

use chunkpoint_core::{Applied, Error, ErrorKind};

/// Turns an I/O error into one of ours. It counts as *not applied*: a caller
/// that cannot be sure says so with [`Error::applied`].
pub(crate) fn from_io(context: impl fmt::Display, error: io::Error) -> Error {
    let (kind, retryable, advice) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (ErrorKind::Unavailable, false, "disk full; free some space")
        }
        io::ErrorKind::FileTooLarge => (ErrorKind::TooLarge, false, "file too large"),
        io::ErrorKind::ReadOnlyFilesystem => {
            (ErrorKind::Unavailable, false, "the filesystem is read-only")
        }
        io::ErrorKind::PermissionDenied => (ErrorKind::Unavailable, false, "permission denied"),
        io::ErrorKind::NotFound => (
            ErrorKind::Unavailable,
            true,
            "it is gone; was the directory removed?",
        ),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => {
            (ErrorKind::Unavailable, true, "interrupted")
        }
        _ if is_out_of_files(&error) => (
            ErrorKind::Unavailable,
            true,
            "too many open files; lower open_files or raise ulimit",
        ),
        _ => (ErrorKind::Other, false, "the filesystem failed"),
    };
    Error::new(kind, format!("{context}: {advice}"))
        .retryable(retryable)
        .applied(Applied::No)
        .source(error)
}

/// `EMFILE` and `ENFILE` have no `io::ErrorKind` of their own.
fn is_out_of_files(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

/// The error of every call after `close`.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the backend was closed").retryable(false)
}
