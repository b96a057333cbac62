//! Taking replies apart.

use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::{Error, Result};
use redis::Value;

/// The error for a reply that none of our scripts gives.
pub(crate) fn unexpected() -> Error {
    Error::corrupt(
        "the server's reply is not what the script gives; do keys of another version lie under this prefix?",
    )
}

/// The elements of an array.
pub(crate) fn array(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(unexpected()),
    }
}

/// The elements of an array of a known length.
pub(crate) fn fixed<const N: usize>(value: Value) -> Result<[Value; N]> {
    array(value)?.try_into().map_err(|_| unexpected())
}

/// Bytes that may be missing.
pub(crate) fn opt_bytes(value: Value) -> Result<Option<Bytes>> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes.into())),
        Value::SimpleString(text) => Ok(Some(text.into())),
        _ => Err(unexpected()),
    }
}

/// Bytes.
pub(crate) fn bytes(value: Value) -> Result<Bytes> {
    opt_bytes(value)?.ok_or_else(unexpected)
}

/// A whole number.
pub(crate) fn int(value: &Value) -> Result<i64> {
    match value {
        Value::Int(number) => Ok(*number),
        _ => Err(unexpected()),
    }
}

/// Eight bytes.
pub(crate) fn id8(bytes: &[u8]) -> Result<[u8; 8]> {
    bytes.try_into().map_err(|_| unexpected())
}

/// Text.
pub(crate) fn text(bytes: &[u8]) -> Result<Arc<str>> {
    std::str::from_utf8(bytes)
        .map(Arc::from)
        .map_err(|e| unexpected().source(e))
}
