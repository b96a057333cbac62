//! Reading and writing the integers and strings the format is made of.
//!
//! Unsigned integers are LEB128, signed ones zigzag before it; strings and
//! byte runs have their length before them. Every reader checks bounds, so
//! that no input makes it panic or allocate more than the input's own size.
//!
//! Public for the backends, which encode what they keep themselves in the same way.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};

/// Appends to a buffer.
pub trait Put {
    /// An unsigned integer.
    fn put_varint(&mut self, value: u64);
    /// A signed integer.
    fn put_signed(&mut self, value: i64);
    /// A length and the bytes.
    fn put_run(&mut self, bytes: &[u8]);
}

impl Put for Vec<u8> {
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn put_signed(&mut self, value: i64) {
        self.put_varint(((value << 1) ^ (value >> 63)) as u64);
    }

    fn put_run(&mut self, bytes: &[u8]) {
        self.put_varint(bytes.len() as u64);
        self.extend_from_slice(bytes);
    }
}

/// Takes from a buffer; byte runs share its memory.
#[derive(Debug)]
pub struct Reader {
    rest: Bytes,
}

impl Reader {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left, to look at.
    pub fn peek(&self) -> &[u8] {
        &self.rest
    }

    /// Fails unless everything was read.
    pub fn finish(self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::corrupt(format!(
                "{} bytes too many",
                self.rest.len()
            )))
        }
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned integer.
    pub fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::corrupt("an integer is longer than 64 bits"))
    }

    /// A signed integer.
    pub fn signed(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A varint that must fit in 32 bits.
    pub fn small(&mut self) -> Result<u32> {
        u32::try_from(self.varint()?).map_err(|_| Error::corrupt("a number is over 32 bits"))
    }

    /// A count of things that take at least one byte each.
    pub fn count(&mut self) -> Result<usize> {
        let count = self.varint()?;
        if count > self.rest.len() as u64 {
            return Err(Error::corrupt(format!(
                "a count of {count} in the last {} bytes",
                self.rest.len()
            )));
        }
        Ok(count as usize)
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<Bytes> {
        if len > self.rest.len() {
            return Err(Error::corrupt(format!(
                "{len} bytes expected, {} left",
                self.rest.len()
            )));
        }
        Ok(self.rest.split_to(len))
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(&self.take(N)?);
        Ok(out)
    }

    /// All that is left.
    pub fn rest(self) -> Bytes {
        self.rest
    }

    /// A length and so many bytes.
    pub fn run(&mut self) -> Result<Bytes> {
        let len = self.count()?;
        self.take(len)
    }

    /// A length and so many bytes of UTF-8.
    pub fn text(&mut self) -> Result<Arc<str>> {
        let run = self.run()?;
        std::str::from_utf8(&run)
            .map(Arc::from)
            .map_err(|e| Error::corrupt("a string is not UTF-8").source(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_come_back(a: u64, b: i64) {
            let mut out = Vec::new();
            out.put_varint(a);
            out.put_signed(b);
            let mut reader = Reader::new(out.into());
            prop_assert_eq!(reader.varint().unwrap(), a);
            prop_assert_eq!(reader.signed().unwrap(), b);
            reader.finish().unwrap();
        }

        #[test]
        fn no_input_panics(bytes: Vec<u8>) {
            let mut reader = Reader::new(bytes.into());
            while reader.text().is_ok() && reader.varint().is_ok() {}
        }
    }

    #[test]
    fn an_overlong_integer_is_refused() {
        assert!(Reader::new(vec![0xff; 11].into()).varint().is_err());
    }
}
