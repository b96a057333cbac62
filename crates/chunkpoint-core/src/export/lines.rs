//! Lines out and in: numbered, hashed, and long ones in parts.

use bytes::{Bytes, BytesMut};
use futures::channel::mpsc::Sender;
use futures::stream::BoxStream;
use futures::{SinkExt, StreamExt};

use super::line::{Part, put_json};
use super::{Count, Progress};
use crate::error::{Error, ErrorKind, Result};

/// A line over this many bytes is written in parts of about so many.
pub(super) const LONG: usize = 1 << 20;

/// No line is longer. What a part stands for may be.
const MOST: usize = 256 << 20;

/// Where an export's lines go.
pub(super) struct Out {
    to: Sender<Result<Bytes>>,
    hasher: blake3::Hasher,
    pub(super) count: Count,
    progress: Progress,
}

impl Out {
    pub(super) fn new(to: Sender<Result<Bytes>>, progress: Progress) -> Self {
        Self {
            to,
            hasher: blake3::Hasher::new(),
            count: Count::default(),
            progress,
        }
    }

    /// The hash of all lines so far.
    pub(super) fn hash(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }

    /// Sends a line, which comes without its line feed; in parts, if it is long.
    pub(super) async fn line(&mut self, line: Vec<u8>) -> Result<()> {
        if line.len() <= LONG {
            return self.send(line).await;
        }
        let text = String::from_utf8(line)
            .map_err(|e| Error::new(ErrorKind::Other, "a line is not UTF-8").source(e))?;
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let mut at = rest.len().min(LONG);
            while !rest.is_char_boundary(at) {
                at -= 1;
            }
            let (part, after) = rest.split_at(at);
            rest = after;
            let part = Part {
                part: part.to_owned(),
                last: rest.is_empty(),
            };
            let mut line = Vec::with_capacity(LONG + LONG / 8);
            put_json(&part, &mut line)?;
            self.send(line).await?;
        }
        Ok(())
    }

    async fn send(&mut self, mut line: Vec<u8>) -> Result<()> {
        line.push(b'\n');
        self.hasher.update(&line);
        self.count.lines += 1;
        self.count.bytes += line.len() as u64;
        self.progress.show(&self.count);
        let gone = |_| Error::new(ErrorKind::Other, "the export was dropped");
        self.to.send(Ok(line.into())).await.map_err(gone)
    }
}

/// One line as it was written, its parts put together.
pub(super) struct Line {
    /// Where it begins, counted from 1.
    pub(super) number: u64,
    pub(super) json: Vec<u8>,
}

impl Line {
    /// Says where an error is.
    pub(super) fn at(&self, error: Error) -> Error {
        at(self.number, error)
    }
}

pub(super) fn at(number: u64, error: Error) -> Error {
    error.context(format_args!("line {number}"))
}

/// Reads lines from pieces of a file.
pub(super) struct Lines {
    from: BoxStream<'static, Result<Bytes>>,
    buffer: BytesMut,
    /// How much of the buffer has no line feed.
    searched: usize,
    ended: bool,
    hasher: blake3::Hasher,
    /// Bytes and lines taken.
    pub(super) bytes: u64,
    pub(super) number: u64,
}

impl Lines {
    pub(super) fn new(from: BoxStream<'static, Result<Bytes>>) -> Self {
        Self {
            from,
            buffer: BytesMut::new(),
            searched: 0,
            ended: false,
            hasher: blake3::Hasher::new(),
            bytes: 0,
            number: 0,
        }
    }

    /// The hash of the lines that were taken, but not of one read with `hash` off.
    pub(super) fn hash(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }

    /// Counts a line into the hash.
    fn cover(&mut self, line: &[u8]) {
        self.hasher.update(line);
        self.hasher.update(b"\n");
    }

    /// One line of the file, without its line feed.
    async fn raw(&mut self) -> Result<Option<BytesMut>> {
        loop {
            let fresh = &self.buffer[self.searched..];
            if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                self.number += 1;
                self.bytes += line.len() as u64;
                line.truncate(line.len() - 1);
                if line.last() == Some(&b'\r') {
                    line.truncate(line.len() - 1);
                }
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > MOST {
                return Err(at(
                    self.number + 1,
                    Error::invalid(format!(
                        "it has over {MOST} bytes; no line of an export has: this is another file"
                    )),
                ));
            }
            match self.from.next().await.transpose()? {
                Some(piece) if !self.ended => self.buffer.extend_from_slice(&piece),
                _ if self.buffer.is_empty() => return Ok(None),
                // An editor may have taken the last line feed: nothing is missing.
                _ if self.buffer.starts_with(b"{\"end\"") && self.buffer.ends_with(b"}") => {
                    self.ended = true;
                    self.searched = 0;
                    self.number += 1;
                    return Ok(Some(self.buffer.split()));
                }
                _ => {
                    self.ended = true;
                    return Err(at(
                        self.number + 1,
                        Error::corrupt(format!(
                            "the file ends within this line: it was cut; {CUT_ADVICE}"
                        )),
                    ));
                }
            }
        }
    }

    /// The next line; `None` at the end of the file. Lines in parts are put together.
    pub(super) async fn next(&mut self) -> Result<Option<Line>> {
        let Some(first) = self.raw().await? else {
            return Ok(None);
        };
        let number = self.number;
        if !first.starts_with(b"{\"part\"") {
            // The last line has the hash of those before: it is not counted in.
            if !first.starts_with(b"{\"end\"") {
                self.cover(&first);
            }
            return Ok(Some(Line {
                number,
                json: first.into(),
            }));
        }
        let mut json = Vec::new();
        let mut line = first;
        loop {
            self.cover(&line);
            let part: Part = serde_json::from_slice(&line).map_err(|e| {
                at(
                    self.number,
                    Error::invalid("not a part of a line").source(e),
                )
            })?;
            json.extend_from_slice(part.part.as_bytes());
            if part.last {
                return Ok(Some(Line { number, json }));
            }
            line = self.raw().await?.ok_or_else(cut)?;
        }
    }
}

const CUT_ADVICE: &str = "what came before it is kept; get the whole file and import it again";

/// The file ends before its last line.
pub(super) fn cut() -> Error {
    Error::corrupt(format!(
        "the file has no last line (\"end\"): it was cut; {CUT_ADVICE}"
    ))
}
