//! Reads recorded conversations: JSON lines, plain or zstd.
//!
//! One line is one conversation: `{"id", "meta": {"compact_at"?: [..]},
//! "messages": [..]}`; other fields are ignored. A message is taken as the bytes
//! it has in the file, whatever it holds.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Conversation, Cut};
use crate::error::{Error, Result};

/// The first bytes of a zstd frame.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// An iterator over the conversations of a trace file.
pub struct Trace {
    path: PathBuf,
    lines: Box<dyn BufRead + Send>,
    line: String,
    number: usize,
}

#[derive(Deserialize)]
struct Line<'a> {
    id: String,
    #[serde(default)]
    meta: Meta,
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Meta {
    #[serde(default)]
    compact_at: Vec<usize>,
}

impl Trace {
    /// Opens a file; zstd is recognised by its first bytes, not by its name.
    ///
    /// # Errors
    /// I/O errors.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |e| Error::io("open trace", path, e);
        let mut file = File::open(path).map_err(failed)?;
        let mut magic = Vec::new();
        file.by_ref()
            .take(4)
            .read_to_end(&mut magic)
            .map_err(failed)?;
        let zstd = magic == ZSTD_MAGIC;
        let whole = std::io::Cursor::new(magic).chain(file);
        let lines: Box<dyn BufRead + Send> = if zstd {
            Box::new(BufReader::new(zstd::Decoder::new(whole).map_err(failed)?))
        } else {
            Box::new(BufReader::new(whole))
        };
        Ok(Self {
            path: path.to_path_buf(),
            lines,
            line: String::new(),
            number: 0,
        })
    }

    fn parse(&self) -> Result<Conversation> {
        let line: Line<'_> = serde_json::from_str(&self.line).map_err(|e| {
            Error::Input(format!(
                "{}, line {}: no conversation: {e}; expected {{\"id\", \"messages\": [..]}}",
                self.path.display(),
                self.number
            ))
        })?;
        let messages: Vec<_> = line
            .messages
            .iter()
            .map(|raw| Bytes::copy_from_slice(raw.get().as_bytes()))
            .collect();
        // Position 0 has no history to replace.
        let mut cuts = line.meta.compact_at;
        cuts.retain(|&cut| cut > 0 && cut < messages.len());
        cuts.sort_unstable();
        cuts.dedup();
        Ok(Conversation::held(line.id, messages, Cut::At(cuts)))
    }
}

impl Iterator for Trace {
    type Item = Result<Conversation>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.line.clear();
            self.number += 1;
            match self.lines.read_line(&mut self.line) {
                Ok(0) => return None,
                Ok(_) if self.line.trim().is_empty() => {}
                Ok(_) => return Some(self.parse()),
                Err(e) => return Some(Err(Error::io("read trace", &self.path, e))),
            }
        }
    }
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trace")
            .field("path", &self.path)
            .field("line", &self.number)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = concat!(
        r#"{"id":"a","source":"x","meta":{"compact_at":[0,2,99]},"messages":[{"role":"user"},{"b":1},{"c":2}]}"#,
        "\n\n",
        r#"{"id":"b","messages":[]}"#,
        "\n"
    );

    fn read(bytes: &[u8]) -> Vec<Result<Conversation>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace");
        std::fs::write(&path, bytes).unwrap();
        Trace::open(&path).unwrap().collect()
    }

    #[test]
    fn plain_and_compressed_lines_are_read() {
        let compressed = zstd::encode_all(LINES.as_bytes(), 3).unwrap();
        for bytes in [LINES.as_bytes(), &compressed] {
            let read: Vec<_> = read(bytes).into_iter().map(|line| line.unwrap()).collect();
            assert_eq!((read.len(), read[0].len(), read[1].len()), (2, 3, 0));
            assert_eq!(&read[0].message(0)[..], br#"{"role":"user"}"#);
            assert_eq!(
                read[0].state(2),
                2..3,
                "cut at 2 is honoured, 0 and 99 are not"
            );
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let read = read(b"{\"id\":\"a\",\"messages\":[]}\n{\"id\":7}\n");
        let message = read[1].as_ref().unwrap_err().to_string();
        assert!(message.contains("line 2"), "{message}");
    }
}
