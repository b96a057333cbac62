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

    /// Goes on with the ledger in `directory`; starts one if there is none. A last line
    /// that a killed process left half written is cut off: what it was about was not
    /// acknowledged.
    ///
    /// # Errors
    /// I/O errors.
    pub fn resume(directory: &Path) -> Result<Self> {
        let path = directory.join(Self::FILE);
        let failed = |what| {
            let path = path.clone();
            move |e| Error::io(what, &path, e)
        };
        if path.exists() {
            let text = std::fs::read(&path).map_err(failed("read"))?;
            let whole = text.iter().rposition(|byte| *byte == b'\n');
            let len = whole.map_or(0, |at| at + 1);
            let file = File::options().write(true).open(&path);
            file.and_then(|file| file.set_len(len as u64))
                .map_err(failed("cut"))?;
        }
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(failed("open"))?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
        })
    }

    /// Hands what was noted to the system, so that it outlives this process.
    ///
    /// # Errors
    /// I/O errors.
    pub fn flush(&mut self) -> Result<()> {
        self.file
            .flush()
            .map_err(|e| Error::io("write", &self.path, e))
    }

    /// Bytes of the ledger in `directory`; 0 if there is none.
    pub fn bytes(directory: &Path) -> u64 {
        std::fs::metadata(directory.join(Self::FILE)).map_or(0, |of| of.len())
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
        self.flush()
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

        let file = dir.path().join(Ledger::FILE);
        let torn = [std::fs::read(&file).unwrap(), b"3\t8\ti".to_vec()].concat();
        std::fs::write(&file, torn).unwrap();
        let mut ledger = Ledger::resume(dir.path()).unwrap();
        ledger.note(3, 9, "next").unwrap();
        ledger.finish().unwrap();
        let steps: Vec<_> = Ledger::read(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().step)
            .collect();
        assert_eq!(steps, [7, 9]);

        std::fs::write(dir.path().join(Ledger::FILE), "x\n").unwrap();
        assert!(Ledger::read(dir.path()).unwrap().next().unwrap().is_err());
    }
}
