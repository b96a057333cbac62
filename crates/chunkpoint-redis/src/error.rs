//! What the driver's and the server's errors mean to a caller: one function.

use chunkpoint_core::{Applied, Error, ErrorKind};
use redis::{ErrorKind as Driver, RedisError, ServerErrorKind as Server};

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Nothing that changes anything.
    Reading,
    /// A script that changes something, as a whole: if the connection is lost now, it may
    /// have run.
    Changing,
}

/// Kind, whether trying again may help, whether it may have happened, and advice.
type Meaning = (ErrorKind, bool, bool, &'static str);

/// Turns an error of the driver into one of ours.
pub(crate) fn from_redis(doing: Doing, error: &RedisError) -> Error {
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

/// What was said, by the server or by the system. Neither repeats arguments.
fn said(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

fn meaning(error: &RedisError) -> Meaning {
    use ErrorKind::{InvalidInput, Other, Timeout, Unavailable};
    if error.is_timeout() {
        return (Timeout, true, true, "the server did not answer in time");
    }
    if error.is_connection_refusal() {
        return (Unavailable, true, false, "the server cannot be reached");
    }
    match error.kind() {
        Driver::Io if is_tls(error) => (
            Unavailable,
            false,
            false,
            "no encrypted connection could be made; does the server speak TLS on this port, with a certificate that is trusted here (option ca), and does it ask for one (cert and key)?",
        ),
        Driver::Io => (
            Unavailable,
            true,
            true,
            "the connection to the server was lost",
        ),
        Driver::ClusterConnectionNotFound => (
            Unavailable,
            true,
            true,
            "no node of the cluster could be reached that has the key",
        ),
        Driver::AuthenticationFailed => (
            Unavailable,
            false,
            false,
            "the server refused the user or the password",
        ),
        Driver::InvalidClientConfig => (
            InvalidInput,
            false,
            false,
            "the connection is not configured right",
        ),
        Driver::Parse => (
            Unavailable,
            false,
            true,
            "the server does not speak Redis's protocol here; is it a port for TLS, and the URL redis: instead of rediss:?",
        ),
        Driver::Server(kind) => of_server(kind),
        _ => match error.code() {
            Some(code) => of_code(code),
            None => (Other, false, true, "the driver failed"),
        },
    }
}

fn is_tls(error: &RedisError) -> bool {
    let text = error.to_string().to_lowercase();
    [
        "tls",
        "certificate",
        "handshake",
        "corrupt message",
        "fatal alert",
    ]
    .iter()
    .any(|word| text.contains(word))
}

fn of_server(kind: Server) -> Meaning {
    use ErrorKind::{Other, Unavailable};
    match kind {
        Server::BusyLoading => (Unavailable, true, false, "the server is loading its data"),
        Server::ReadOnly => (
            Unavailable,
            true,
            false,
            "the server is a read-only replica; give the address of the primary",
        ),
        Server::ClusterDown | Server::MasterDown | Server::TryAgain => (
            Unavailable,
            true,
            false,
            "the cluster does not serve this slot now",
        ),
        Server::NoPerm => (
            Unavailable,
            false,
            false,
            "permission denied; what a user needs is in docs/format-redis.md",
        ),
        Server::Moved | Server::Ask | Server::CrossSlot => {
            (Unavailable, true, false, "the cluster's slots have moved")
        }
        _ => (Other, false, true, "the server refused a command"),
    }
}

/// By the first word of what the server says.
fn of_code(code: &str) -> Meaning {
    use ErrorKind::{Other, Unavailable};
    match code {
        "OOM" => (
            Unavailable,
            false,
            false,
            "the server is out of memory; raise its maxmemory, or remove something",
        ),
        "NOAUTH" | "WRONGPASS" => (
            Unavailable,
            false,
            false,
            "the server refused the user or the password",
        ),
        "MISCONF" => (
            Unavailable,
            false,
            false,
            "the server cannot write to its disk, and takes no writes",
        ),
        "NOREPLICAS" => (
            Unavailable,
            true,
            false,
            "the server has fewer replicas than it is told to need",
        ),
        "BUSY" => (Unavailable, true, false, "the server is busy with a script"),
        "WRONGTYPE" | "CHUNKPOINT_TYPE" => (
            Unavailable,
            false,
            false,
            "a key is not ours; remove it, or choose another prefix",
        ),
        "CHUNKPOINT_ID" => (ErrorKind::Corrupt, false, false, OTHER_THREAD),
        _ => (Other, false, true, "the server refused a command"),
    }
}

const OTHER_THREAD: &str = "a key has the hash of one thread and the data of another";

/// The error for a key that is of another thread than its name says.
pub(crate) fn other_thread() -> Error {
    Error::corrupt(OTHER_THREAD)
}

/// The error of every call after `close`.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the backend was closed").retryable(false)
}
