//! What goes into statements and comes out of them: one vocabulary for three drivers.

use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::{Error, Result};
use sqlx::Row as _;
#[cfg(feature = "mysql")]
use sqlx::mysql::MySqlRow;
#[cfg(feature = "postgres")]
use sqlx::postgres::PgRow;
#[cfg(feature = "sqlite")]
use sqlx::sqlite::SqliteRow;

/// A parameter. Ids, keys and bytes reach a database in no other way.
#[derive(Clone)]
pub(crate) enum Value {
    /// A whole number, or NULL.
    Int(Option<i64>),
    /// A truth value.
    Bool(bool),
    /// Text, or NULL.
    Text(Option<Arc<str>>),
    /// Bytes, or NULL.
    Bytes(Option<Bytes>),
    /// An array of numbers; PostgreSQL only, as the other arrays.
    Ints(Vec<i64>),
    /// An array of texts.
    Texts(Vec<Arc<str>>),
    /// An array of bytes.
    Blobs(Vec<Bytes>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.into()))
    }
}

impl From<Arc<str>> for Value {
    fn from(value: Arc<str>) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<Arc<str>>> for Value {
    fn from(value: Option<Arc<str>>) -> Self {
        Self::Text(value)
    }
}

impl From<Bytes> for Value {
    fn from(value: Bytes) -> Self {
        Self::Bytes(Some(value))
    }
}

impl From<[u8; 8]> for Value {
    fn from(value: [u8; 8]) -> Self {
        Self::Bytes(Some(Bytes::copy_from_slice(&value)))
    }
}

impl Value {
    /// About how many bytes it has.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Int(_) | Self::Bool(_) => 8,
            Self::Text(text) => text.as_ref().map_or(0, |text| text.len()),
            Self::Bytes(bytes) => bytes.as_ref().map_or(0, Bytes::len),
            Self::Ints(values) => 8 * values.len(),
            Self::Texts(values) => values.iter().map(|text| text.len()).sum(),
            Self::Blobs(values) => values.iter().map(Bytes::len).sum(),
        }
    }
}

/// The parameters of one statement, in the order of its question marks.
pub(crate) type Args = Vec<Value>;

/// Makes [`Args`] of whatever turns into a [`Value`].
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::value::Value::from($value)),*]
    };
}
pub(crate) use args;

/// A row of any of the databases. Columns are asked for by position.
pub(crate) enum Row {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(PgRow),
    #[cfg(feature = "mysql")]
    MySql(MySqlRow),
}

fn undecodable(column: usize, error: sqlx::Error) -> Error {
    Error::corrupt(format!(
        "column {column} of a row is not what the schema says"
    ))
    .source(error)
}

fn null(column: usize) -> Error {
    Error::corrupt(format!(
        "column {column} of a row is NULL, which the schema rules out"
    ))
}

impl Row {
    /// A number that may be NULL.
    pub(crate) fn opt_int(&self, column: usize) -> Result<Option<i64>> {
        let value = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(row) => row.try_get_unchecked(column),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => row.try_get(column).or_else(|_| {
                // INTEGER is another type than BIGINT there.
                let value: Option<i32> = row.try_get(column)?;
                Ok(value.map(i64::from))
            }),
            #[cfg(feature = "mysql")]
            Self::MySql(row) => row.try_get_unchecked(column),
        };
        value.map_err(|error| undecodable(column, error))
    }

    /// A number.
    pub(crate) fn int(&self, column: usize) -> Result<i64> {
        self.opt_int(column)?.ok_or_else(|| null(column))
    }

    /// A number that is never negative, such as a time or a length.
    pub(crate) fn unsigned(&self, column: usize) -> Result<u64> {
        let value = self.int(column)?;
        u64::try_from(value)
            .map_err(|e| Error::corrupt(format!("column {column} of a row is negative")).source(e))
    }

    /// A truth value.
    pub(crate) fn bool(&self, column: usize) -> Result<bool> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => row
                .try_get(column)
                .map_err(|error| undecodable(column, error)),
            #[cfg(any(feature = "sqlite", feature = "mysql"))]
            _ => Ok(self.int(column)? != 0),
        }
    }

    /// Bytes that may be NULL.
    pub(crate) fn opt_bytes(&self, column: usize) -> Result<Option<Bytes>> {
        let value: sqlx::Result<Option<Vec<u8>>> = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(row) => row.try_get_unchecked(column),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => row.try_get(column),
            #[cfg(feature = "mysql")]
            Self::MySql(row) => row.try_get_unchecked(column),
        };
        let value = value.map_err(|error| undecodable(column, error))?;
        Ok(value.map(Bytes::from))
    }

    /// Bytes.
    pub(crate) fn bytes(&self, column: usize) -> Result<Bytes> {
        self.opt_bytes(column)?.ok_or_else(|| null(column))
    }

    /// The eight bytes of a pack id or an incarnation.
    pub(crate) fn id8(&self, column: usize) -> Result<[u8; 8]> {
        let bytes = self.bytes(column)?;
        <[u8; 8]>::try_from(&bytes[..])
            .map_err(|e| Error::corrupt(format!("column {column} has not 8 bytes")).source(e))
    }

    /// Text that may be NULL.
    pub(crate) fn opt_text(&self, column: usize) -> Result<Option<String>> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => row
                .try_get(column)
                .map_err(|error| undecodable(column, error)),
            // Text is bytes in MySQL, so that no collation compares it.
            #[cfg(any(feature = "sqlite", feature = "mysql"))]
            _ => {
                let bytes = self.opt_bytes(column)?;
                let text = bytes.map(|bytes| String::from_utf8(bytes.into()));
                text.transpose()
                    .map_err(|e| Error::corrupt(format!("column {column} is not UTF-8")).source(e))
            }
        }
    }

    /// Text.
    pub(crate) fn text(&self, column: usize) -> Result<String> {
        self.opt_text(column)?.ok_or_else(|| null(column))
    }

    /// An array of bytes. SQLite and MySQL have none: theirs comes as hexadecimal
    /// numbers with commas between; see [`Dialect::blobs`](crate::dialect::Dialect).
    pub(crate) fn blobs(&self, column: usize) -> Result<Vec<Bytes>> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => {
                let blobs: Option<Vec<Vec<u8>>> = row
                    .try_get(column)
                    .map_err(|error| undecodable(column, error))?;
                Ok(blobs
                    .unwrap_or_default()
                    .into_iter()
                    .map(Bytes::from)
                    .collect())
            }
            #[cfg(any(feature = "sqlite", feature = "mysql"))]
            _ => match self.opt_text(column)? {
                None => Ok(Vec::new()),
                Some(text) => text.split(',').map(|hex| unhex(column, hex)).collect(),
            },
        }
    }
}

#[cfg(any(feature = "sqlite", feature = "mysql"))]
fn unhex(column: usize, hex: &str) -> Result<Bytes> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(byte).collect();
    let bytes = bytes.ok_or_else(|| {
        Error::corrupt(format!("column {column} of a row is no hexadecimal number"))
    })?;
    Ok(bytes.into())
}
