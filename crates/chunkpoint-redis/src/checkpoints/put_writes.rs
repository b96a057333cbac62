//! Pending writes: a field for each call.

use chunkpoint_core::backend::PutWrites;
use chunkpoint_core::pending::encode;
use chunkpoint_core::{Error, ErrorKind, Result};

use super::commit::refused;
use super::row::{digits, owned};
use crate::backend::Inner;
use crate::error::Doing;
use crate::reply::{bytes, unexpected};
use crate::script::PUT_WRITES;

impl Inner {
    pub(crate) async fn put_writes(&self, put: &PutWrites) -> Result<()> {
        let writes = encode(&put.writes);
        let most = self.capabilities().max_value_bytes;
        if writes.len() as u64 > most {
            let message = format!(
                "the writes have {} bytes; at most {most} are accepted",
                writes.len()
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let thread = self.names.thread(&put.thread);
        let mut indexed = false;
        loop {
            let mut call = self.on_thread(&PUT_WRITES, &thread);
            call.text(&put.key.namespace)
                .text(&put.key.id)
                .arg(owned(&put.write_id.0))
                .arg(owned(&put.fresh.0))
                .text(&digits(put.time_ms))
                .number(indexed.into())
                .arg(writes.clone());
            let answer = self.run(Doing::Changing, thread.lane, &call).await?;
            match &bytes(answer)?[..] {
                b"done" => return Ok(()),
                b"index" => self.index(&put.thread, put.fresh).await?,
                b"refused" => return Err(refused()),
                _ => return Err(unexpected()),
            }
            indexed = true;
        }
    }
}
