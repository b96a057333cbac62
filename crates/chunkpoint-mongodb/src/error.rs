//! What the driver's and the server's errors mean to a caller: one function.

use chunkpoint_core::{Applied, Error, ErrorKind};
use mongodb::error::{Error as Driver, ErrorKind as Kind, WriteFailure};

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Nothing that changes anything.
    Reading,
    /// Something that changes documents.
    Changing,
}

/// Kind, whether trying again may help, whether it may have happened, and advice.
type Meaning = (ErrorKind, bool, bool, &'static str);

/// The server's code for a unique index that has the key already.
pub(crate) const DUPLICATE: i32 = 11_000;

/// Turns an error of the driver into one of ours.
pub(crate) fn from_mongo(doing: Doing, error: &Driver) -> Error {
    let (kind, retryable, uncertain, advice) = meaning(error);
    let applied = if doing == Doing::Changing && uncertain {
        Applied::Unknown
    } else {
        Applied::No
    };
    Error::new(kind, advice)
        .retryable(retryable)
        .applied(applied)
        .source(said(error))
}

/// What was said. The server repeats the values of a document only in errors about
/// indexes and validation, of which the code is enough.
fn said(error: &Driver) -> String {
    match code(error) {
        Some(code @ (DUPLICATE | 121)) => format!("error {code}"),
        _ => match &*error.kind {
            Kind::Command(command) => command.to_string(),
            Kind::Write(WriteFailure::WriteError(write)) => {
                format!("error {}: {}", write.code, write.message)
            }
            Kind::Write(WriteFailure::WriteConcernError(concern)) => {
                format!("error {}: {}", concern.code, concern.message)
            }
            Kind::InsertMany(_) | Kind::BulkWrite(_) => "a write of several failed".into(),
            kind => kind.to_string(),
        },
    }
}

/// The server's code, wherever the driver has put it.
pub(crate) fn code(error: &Driver) -> Option<i32> {
    match &*error.kind {
        Kind::Command(command) => Some(command.code),
        Kind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        Kind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        Kind::InsertMany(many) => many
            .write_concern_error
            .as_ref()
            .map(|concern| concern.code)
            .or_else(|| Some(many.write_errors.as_ref()?.first()?.code)),
        _ => None,
    }
}

/// Whether nothing was stored because a unique index has the key.
pub(crate) fn is_duplicate(error: &Driver) -> bool {
    code(error) == Some(DUPLICATE)
}

fn meaning(error: &Driver) -> Meaning {
    use ErrorKind::{InvalidInput, Other, TooLarge, Unavailable};
    match &*error.kind {
        Kind::Authentication { .. } => (
            Unavailable,
            false,
            false,
            "the server refused the user or the password",
        ),
        Kind::ServerSelection { message, .. } if message.contains("uthentication failed") => (
            Unavailable,
            false,
            false,
            "the server refused the user or the password",
        ),
        Kind::ServerSelection { message, .. } if is_tls(message) => TLS,
        Kind::ServerSelection { .. } => (
            Unavailable,
            true,
            false,
            "no server that takes writes can be reached",
        ),
        Kind::DnsResolve { .. } => (Unavailable, true, false, "the host's name has no address"),
        Kind::Io(io) if is_tls(&io.to_string()) => TLS,
        Kind::Io(_) | Kind::ConnectionPoolCleared { .. } => (
            Unavailable,
            true,
            true,
            "the connection to the server was lost",
        ),
        Kind::InvalidTlsConfig { .. } | Kind::InvalidArgument { .. } => (
            InvalidInput,
            false,
            false,
            "the connection is not configured right",
        ),
        Kind::IncompatibleServer { .. } => (
            ErrorKind::Unsupported,
            false,
            false,
            "the server is too old, or too new for the driver",
        ),
        Kind::Shutdown => (Unavailable, false, false, "the backend was closed"),
        Kind::Bson(_) => (
            TooLarge,
            false,
            false,
            "a document could not be made or read",
        ),
        Kind::Write(WriteFailure::WriteConcernError(_)) => (
            ErrorKind::Timeout,
            true,
            true,
            "it is written, but not yet as safely as was asked",
        ),
        _ => match code(error) {
            Some(code) => of_code(code),
            None => (Other, false, true, "the driver failed"),
        },
    }
}

const TLS: Meaning = (
    ErrorKind::Unavailable,
    false,
    false,
    "no encrypted connection could be made; does the server speak TLS on this port, with a certificate that is trusted here?",
);

fn is_tls(text: &str) -> bool {
    let text = text.to_lowercase();
    ["tls", "certificate", "handshake failure", "corrupt message"]
        .iter()
        .any(|word| text.contains(word))
}

/// By the server's code.
fn of_code(code: i32) -> Meaning {
    use ErrorKind::{Other, TooLarge, Unavailable, Unsupported};
    match code {
        18 => (
            Unavailable,
            false,
            false,
            "the server refused the user or the password",
        ),
        13 | 8000 => (
            Unavailable,
            false,
            false,
            "permission denied; what a user needs is in docs/mongodb.md",
        ),
        // Not the primary, or about to be none; shutting down; elections.
        91 | 189 | 10_107 | 11_600 | 11_602 | 13_435 | 13_436 => (
            Unavailable,
            true,
            true,
            "the server is no primary now; another one is being chosen",
        ),
        6 | 7 | 89 | 9_001 => (
            Unavailable,
            true,
            true,
            "the server lost a connection of its own",
        ),
        50 | 262 => (ErrorKind::Timeout, true, true, "the server took too long"),
        64 | 75 | 100 => (
            ErrorKind::Timeout,
            true,
            true,
            "too few servers have it, or can have it",
        ),
        112 => (Unavailable, true, false, "two writes met"),
        10_334 | 17_419 | 17_420 | 17_280 => (
            TooLarge,
            false,
            false,
            "a document is over the server's limit",
        ),
        59 | 115 | 40_324 => (
            Unsupported,
            false,
            false,
            "the server does not know a command that is needed",
        ),
        14_031 | 39 => (Unavailable, false, false, "the server's disk is full"),
        DUPLICATE => (
            ErrorKind::Conflict,
            false,
            false,
            "a document with this key is there already",
        ),
        _ => (Other, false, true, "the server refused a command"),
    }
}

/// An error of a mutation that takes several commands: what failed may have been one that
/// only reads, after one that writes.
pub(crate) fn uncertain(error: Error) -> Error {
    if error.is_retryable() || error.kind() == ErrorKind::Other {
        return error.applied(Applied::Unknown);
    }
    error
}

/// The error of every call after `close`.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the backend was closed").retryable(false)
}
