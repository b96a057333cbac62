//! Removing, hiding and pinning.

use chunkpoint_core::Result;
use chunkpoint_core::backend::{Alter, Altered, Change};

use super::row::{digits, name, owned};
use crate::backend::Inner;
use crate::error::Doing;
use crate::reply::{array, bytes, unexpected};
use crate::script::ALTER;

/// Changes made by one script: others wait for no more than that.
const SLICE: usize = 64;

impl Inner {
    pub(crate) async fn alter(&self, alter: &Alter) -> Result<Vec<Altered>> {
        let thread = self.names.thread(&alter.thread);
        let mut altered = Vec::with_capacity(alter.changes.len());
        for changes in alter.changes.chunks(SLICE) {
            let mut call = self.on_thread(&ALTER, &thread);
            call.arg(owned(&alter.incarnation.0))
                .text(&digits(alter.time_ms));
            for (record, change) in changes {
                call.arg(name(&record.key))
                    .arg(owned(&record.pack.0))
                    .text(match change {
                        Change::Remove => "r",
                        Change::Hide => "h",
                        Change::Pin(true) => "p",
                        Change::Pin(false) => "u",
                    });
            }
            let answers = self.run(Doing::Changing, thread.lane, &call).await?;
            for answer in array(answers)? {
                altered.push(match &bytes(answer)?[..] {
                    b"done" => Altered::Done,
                    b"gone" => Altered::Gone,
                    b"pinned" => Altered::Pinned,
                    _ => return Err(unexpected()),
                });
            }
        }
        Ok(altered)
    }
}
