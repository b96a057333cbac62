//! Taking documents apart, and values that queries are made of.

use std::sync::Arc;

use bytes::Bytes;
use chunkpoint_core::backend::{Incarnation, PackId};
use chunkpoint_core::{Error, Result, quote};
use mongodb::bson::raw::{CString, RawBsonRef, cstr};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, RawBinaryRef, RawDocument, RawDocumentBuf, doc};

use crate::names::{Range, in_life};

/// A document that was read, whose binaries are given out without copying them.
#[derive(Debug, Clone)]
pub(crate) struct Doc {
    bytes: Bytes,
    /// Which collection it is of, for errors.
    of: &'static str,
}

impl Doc {
    pub(crate) fn new(of: &'static str, raw: RawDocumentBuf) -> Self {
        Self {
            bytes: raw.into_bytes().into(),
            of,
        }
    }

    fn raw(&self) -> Result<&RawDocument> {
        RawDocument::from_bytes(&self.bytes).map_err(|e| self.foreign("itself").source(e))
    }

    fn get(&self, field: &str) -> Result<Option<RawBsonRef<'_>>> {
        let found = self.raw()?.get(field);
        found.map_err(|e| self.foreign(field).source(e))
    }

    /// The error for a document that none of ours is like.
    pub(crate) fn foreign(&self, field: &str) -> Error {
        let id = self.bytes.as_ref();
        let id = RawDocument::from_bytes(id)
            .ok()
            .and_then(|raw| raw.get_str("_id").ok())
            .map_or_else(String::new, |id| format!(" {}", quote(id)));
        Error::corrupt(format!(
            "document{id} in collection {} is not as this version writes them: {field}; is it \
             another program's? Choose another prefix",
            self.of
        ))
    }

    pub(crate) fn opt_text(&self, field: &str) -> Result<Option<&str>> {
        match self.get(field)? {
            None | Some(RawBsonRef::Null) => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| self.foreign(field)),
        }
    }

    pub(crate) fn text(&self, field: &str) -> Result<&str> {
        self.opt_text(field)?.ok_or_else(|| self.foreign(field))
    }

    pub(crate) fn opt_bytes(&self, field: &str) -> Result<Option<Bytes>> {
        match self.get(field)? {
            None | Some(RawBsonRef::Null) => Ok(None),
            Some(RawBsonRef::Binary(binary)) => Ok(Some(self.slice(binary.bytes))),
            Some(_) => Err(self.foreign(field)),
        }
    }

    pub(crate) fn bytes(&self, field: &str) -> Result<Bytes> {
        self.opt_bytes(field)?.ok_or_else(|| self.foreign(field))
    }

    pub(crate) fn flag(&self, field: &str) -> Result<bool> {
        Ok(self.get(field)?.and_then(|v| v.as_bool()).unwrap_or(false))
    }

    /// A whole number that is not negative.
    pub(crate) fn opt_number(&self, field: &str) -> Result<Option<u64>> {
        let value = match self.get(field)? {
            None | Some(RawBsonRef::Null) => return Ok(None),
            Some(value) => value,
        };
        let number = value.as_i64().or_else(|| value.as_i32().map(i64::from));
        let number = number.or_else(|| {
            // A server may give the sum of whole numbers as a float.
            let float = value.as_f64()?;
            (0.0..9.0e15).contains(&float).then_some(float as i64)
        });
        let number = number.and_then(|number| u64::try_from(number).ok());
        number.map(Some).ok_or_else(|| self.foreign(field))
    }

    pub(crate) fn number(&self, field: &str) -> Result<u64> {
        self.opt_number(field)?.ok_or_else(|| self.foreign(field))
    }

    pub(crate) fn signed(&self, field: &str) -> Result<i32> {
        let number = self.get(field)?.and_then(|value| value.as_i32());
        number.ok_or_else(|| self.foreign(field))
    }

    /// The elements of an array; none where there is no array.
    pub(crate) fn array<T>(
        &self,
        field: &str,
        mut read: impl FnMut(RawBsonRef<'_>) -> Option<T>,
    ) -> Result<Vec<T>> {
        let Some(array) = self.get(field)? else {
            return Ok(Vec::new());
        };
        let array = array.as_array().ok_or_else(|| self.foreign(field))?;
        let elements = array.into_iter().map(|element| {
            let element = element.map_err(|e| self.foreign(field).source(e))?;
            read(element).ok_or_else(|| self.foreign(field))
        });
        elements.collect()
    }

    /// The members of a document that are binaries, by names that are numbers.
    pub(crate) fn numbered(&self, field: &str) -> Result<Vec<(u32, Bytes)>> {
        let Some(value) = self.get(field)? else {
            return Ok(Vec::new());
        };
        let members = value.as_document().ok_or_else(|| self.foreign(field))?;
        let members = members.into_iter().map(|member| {
            let (name, value) = member.map_err(|e| self.foreign(field).source(e))?;
            let number = name.as_str().parse().ok();
            match (number, value) {
                (Some(number), RawBsonRef::Binary(binary)) => {
                    Ok((number, self.slice(binary.bytes)))
                }
                _ => Err(self.foreign(field)),
            }
        });
        members.collect()
    }

    /// Documents in an array.
    pub(crate) fn documents(&self, field: &str) -> Result<Vec<Self>> {
        self.array(field, |element| {
            let document = element.as_document()?;
            Some(Self {
                bytes: self.slice(document.as_bytes()),
                of: self.of,
            })
        })
    }

    pub(crate) fn shared(&self, field: &str) -> Result<Arc<str>> {
        self.text(field).map(Arc::from)
    }

    pub(crate) fn opt_shared(&self, field: &str) -> Result<Option<Arc<str>>> {
        Ok(self.opt_text(field)?.map(Arc::from))
    }

    /// Eight bytes.
    pub(crate) fn opt_id8(&self, field: &str) -> Result<Option<[u8; 8]>> {
        let Some(bytes) = self.opt_bytes(field)? else {
            return Ok(None);
        };
        let id = bytes[..].try_into();
        id.map(Some).map_err(|_| self.foreign(field))
    }

    /// Part of this document's bytes, which stay as long as it does.
    fn slice(&self, part: &[u8]) -> Bytes {
        // What is empty may lie nowhere.
        if part.is_empty() {
            return Bytes::new();
        }
        self.bytes.slice_ref(part)
    }
}

/// A binary as part of a query.
pub(crate) fn binary(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    })
}

/// A binary as part of a document that is written: it is copied once, into that.
pub(crate) fn raw_binary(bytes: &[u8]) -> RawBinaryRef<'_> {
    RawBinaryRef {
        subtype: BinarySubtype::Generic,
        bytes,
    }
}

/// A life and a pack as part of a query.
pub(crate) fn pack_in(life: Incarnation, pack: PackId) -> Bson {
    binary(&in_life(life, pack.0))
}

/// What lies in a life, by sixteen bytes that begin with it.
pub(crate) fn all_in(life: Incarnation) -> Document {
    doc! { "$gte": binary(&in_life(life, [0; 8])), "$lte": binary(&in_life(life, [255; 8])) }
}

/// What lies in a range of strings.
pub(crate) fn within(range: &Range) -> Document {
    doc! { "$gte": &range.from, "$lt": &range.to }
}

/// A number as the server keeps numbers. Times are below 2⁵³, sizes far below that.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A name that is a number.
pub(crate) fn ordinal(number: u32) -> CString {
    // Digits have no NUL.
    CString::try_from(number.to_string()).unwrap_or_else(|_| cstr!("").into())
}
