//! What was acknowledged: one line a commit.
//!
//! The write stage notes every checkpoint's id, so that a later process can ask
//! for it. A ledger goes to a file as it is made: the harness must not grow with
//! the run.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// One acknowledged commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Number of the conversation.
    pub thread: u32,
    /// Number of the message.
    pub step: usize,
    /// The checkpoint's id.
    pub id: String,
}

/// A ledger being written.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Ledger {
    /// The name of a ledger's file.
    const FILE: &str = "ledger.tsv";

    /// Starts a ledger in `directory`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn create(directory: &Path) -> Result<Self> {
        let path = directory.join(Self::FILE);
        let file = File::create(&path).map_err(|e| Error::io("create", &path, e))?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
        })
    }

    /// Notes a commit.
    ///
    /// # Errors
    /// I/O errors.
    pub fn note(&mut self, thread: u32, step: usize, id: &str) -> Result<()> {
        // The id comes last and takes the rest of the line. Ours have no newline.
        writeln!(self.file, "{thread}\t{step}\t{id}").map_err(|e| Error::io("write", &self.path, e))
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// I/O errors.
    pub fn finish(mut self) -> Result<()> {
        self.file
            .flush()
            .map_err(|e| Error::io("write", &self.path, e))
    }

    /// Reads the ledger in `directory`, line by line.
    ///
    /// # Errors
    /// I/O errors; in the iterator also a line that is no entry.
    pub fn read(directory: &Path) -> Result<impl Iterator<Item = Result<Entry>> + use<>> {
        let path = directory.join(Self::FILE);
        let file = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
        Ok(BufReader::new(file).lines().map(move |line| {
            let line = line.map_err(|e| Error::io("read", &path, e))?;
            parse(&line).ok_or_else(|| Error::Cell(format!("ledger has no entry in {line:?}")))
        }))
    }
}

fn parse(line: &str) -> Option<Entry> {
    let mut fields = line.splitn(3, '\t');
    Some(Entry {
        thread: fields.next()?.parse().ok()?,
        step: fields.next()?.parse().ok()?,
        id: fields.next()?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::create(dir.path()).unwrap();
        ledger.note(3, 7, "id with\ttab").unwrap();
        ledger.finish().unwrap();
        let read: Vec<_> = Ledger::read(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .collect();
        let expected = Entry {
            thread: 3,
            step: 7,
            id: "id with\ttab".into(),
        };
        assert_eq!(read, [expected]);

        std::fs::write(dir.path().join(Ledger::FILE), "x\n").unwrap();
        assert!(Ledger::read(dir.path()).unwrap().next().unwrap().is_err());
    }
}
