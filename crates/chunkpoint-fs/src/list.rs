//! Listing records, newest first, over one namespace or all of them.

use std::sync::Arc;

use chunkpoint_core::Result;
use chunkpoint_core::backend::{ListRecords, RecordRow};

use crate::log::{Going, Reader};
use crate::merge::Merge;
use crate::row::read_row;
use crate::state::State;

/// Rows given at once.
const BATCH: usize = 64;

/// Bytes of bodies and writes given at once, a little more at most.
const BATCH_BYTES: usize = 256 * 1024;

/// A listing under way: what it sees is the thread as it was at the start.
#[derive(Debug)]
pub(crate) struct Listing {
    reader: Reader,
    state: Arc<State>,
    query: ListRecords,
    merge: Option<Merge>,
    left: usize,
}

impl Listing {
    pub(crate) fn new(reader: Reader, state: Arc<State>, query: ListRecords) -> Self {
        let left = query.limit.unwrap_or(usize::MAX);
        Self {
            reader,
            state,
            query,
            merge: None,
            left,
        }
    }

    /// The next rows; none at the end. What cannot be read is an error among
    /// them, and the listing goes on behind it.
    pub(crate) fn batch(&mut self) -> Vec<Result<RecordRow>> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        while rows.len() < BATCH && bytes < BATCH_BYTES && self.left > 0 {
            let (reader, state) = (&mut self.reader, &self.state);
            let merge = self.merge.get_or_insert_with(|| {
                let query = &self.query;
                Merge::new(
                    reader,
                    state,
                    query.namespace.as_deref(),
                    query.before.as_ref(),
                )
            });
            match merge.next(reader, state) {
                None => break,
                Some(Err(error)) => rows.push(Err(error)),
                Some(Ok((ns, found))) if self.query.hidden || !found.hidden => {
                    let row = read_row(
                        reader,
                        state,
                        ns,
                        &found,
                        self.query.detail,
                        Going::Backward,
                    );
                    if let Ok(row) = &row {
                        bytes += row.body.len();
                        bytes += row
                            .writes
                            .iter()
                            .map(|write| write.value.len())
                            .sum::<usize>();
                    }
                    rows.push(row);
                    self.left -= 1;
                }
                Some(Ok(_)) => {}
            }
        }
        rows
    }
}
