//! The one public error type.

use std::fmt;
use std::sync::Arc;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the few kinds a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The thread, checkpoint or chunk is not there; for a snapshot: it was pruned.
    NotFound,
    /// An expectation did not hold: another writer came first, or the target exists.
    Conflict,
    /// The checkpoint to build on was removed, replaced, or never existed.
    ParentGone,
    /// The caller's input cannot be accepted; the message says what to change.
    InvalidInput,
    /// Stored bytes are not what was written.
    Corrupt,
    /// The input is valid but over a limit of the backend.
    TooLarge,
    /// The storage cannot be reached, or refuses to serve now.
    Unavailable,
    /// The operation took longer than it may.
    Timeout,
    /// The backend cannot give what was asked.
    Unsupported,
    /// Anything else; the source tells.
    Other,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::ParentGone => "parent gone",
            Self::InvalidInput => "invalid input",
            Self::Corrupt => "corrupt",
            Self::TooLarge => "too large",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Unsupported => "unsupported",
            Self::Other => "other",
        })
    }
}

/// Whether a failed mutation may have changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Applied {
    /// Certainly nothing was changed.
    No,
    /// The change may or may not have happened. Every mutation carries a write
    /// id, so repeating it is safe.
    Unknown,
}

/// An error: its kind, whether trying again may help, whether anything may
/// have been applied, the operation, a message, and the source.
///
/// Messages never hold values or secrets; ids in them are quoted and shortened.
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    applied: Applied,
    retryable: bool,
    operation: &'static str,
    message: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind`. `Unavailable` and `Timeout` are retryable until
    /// [`retryable`](Self::retryable) says otherwise. It counts as *not
    /// applied*, except `Timeout` and `Other`, whose outcome is unknown.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let applied = match kind {
            ErrorKind::Timeout | ErrorKind::Other => Applied::Unknown,
            _ => Applied::No,
        };
        let retryable = matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout);
        Self {
            inner: Box::new(Inner {
                kind,
                applied,
                retryable,
                operation: "",
                message: message.into(),
                source: None,
            }),
        }
    }

    /// Shorthand for [`ErrorKind::InvalidInput`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// Shorthand for [`ErrorKind::Corrupt`].
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// Names the operation, unless one is named already: the innermost knows best.
    #[must_use]
    pub fn operation(mut self, operation: &'static str) -> Self {
        if self.inner.operation.is_empty() {
            self.inner.operation = operation;
        }
        self
    }

    /// Puts `context` and a colon before the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.inner.message = format!("{context}: {}", self.inner.message);
        self
    }

    /// Attaches what caused it.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into().into());
        self
    }

    /// States whether trying the same again may help.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.inner.retryable = retryable;
        self
    }

    /// States whether the change may have happened.
    #[must_use]
    pub fn applied(mut self, applied: Applied) -> Self {
        self.inner.applied = applied;
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Whether trying the same again may help.
    pub fn is_retryable(&self) -> bool {
        self.inner.retryable
    }

    /// Whether it is certain that nothing was changed.
    pub fn is_certainly_not_applied(&self) -> bool {
        self.inner.applied == Applied::No
    }

    /// The operation that failed, or an empty string.
    pub fn operation_name(&self) -> &'static str {
        self.inner.operation
    }

    /// The message without operation, kind and source.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The same error once more, for others that the failure concerns.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.inner.operation.is_empty() {
            write!(f, "{}: ", self.inner.operation)?;
        }
        write!(f, "{}: {}", self.inner.kind, self.inner.message)?;
        if let Some(source) = &self.inner.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.inner.kind)
            .field("applied", &self.inner.applied)
            .field("retryable", &self.inner.retryable)
            .field("operation", &self.inner.operation)
            .field("message", &self.inner.message)
            .field("source", &self.inner.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}

/// Quotes an id for a message: escaped, and cut after 64 characters.
pub fn quote(id: &str) -> String {
    let mut out = String::from("\"");
    for (n, c) in id.chars().enumerate() {
        if n == 64 {
            out.push('…');
            break;
        }
        out.extend(c.escape_debug());
    }
    out.push('"');
    out
}
