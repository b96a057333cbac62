//! Rows as they are read, without holding a connection for longer than it takes.

use std::sync::Arc;

use chunkpoint_core::{Error, ErrorKind, Result};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc;

use super::{Db, with_leases};
use crate::error::{Stage, from_sqlx};
use crate::value::{Args, Row};

/// Rows that wait to be taken. A reader that is slower than this many rows holds a
/// connection; one that stops for good frees it by dropping the stream.
const WAITING: usize = 4096;

/// Rows, or why there are no more.
pub(crate) type RowStream = BoxStream<'static, Result<Row>>;

/// Runs a statement and gives its rows. A task reads ahead, so that a reader who asks
/// for something else between two rows needs no second connection while the first is
/// held: most listings are read at once, and their connection is free again.
pub(super) fn rows(db: Db, text: Arc<str>, args: Args) -> RowStream {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let dialect = db.dialect();
        let failed = |error| from_sqlx(dialect, Stage::Before, error);
        if let Err(error) = read(&db, &text, args, &sender).await {
            // Nobody may be listening any more.
            sender.send(Err(failed(error))).await.ok();
        } else {
            sender.send(Ok(None)).await.ok();
        }
    });
    let rows = stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Ok(Some(row))) => Some((Ok(row), Some(receiver))),
            Some(Ok(None)) => None,
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Err(stopped()), None)),
        }
    });
    rows.boxed()
}

async fn read(
    db: &Db,
    text: &Arc<str>,
    args: Args,
    sender: &mpsc::Sender<Result<Option<Row>>>,
) -> sqlx::Result<()> {
    with_leases!(&db.pools, readers, leases => {
        let mut lease = leases.take().await?;
        if leases.size() == 1 {
            // Held, it would be missing for everything else; closed, an SQLite database in
            // memory would be gone.
            let rows = lease.rows(text, args, db.how).await;
            for row in lease.give_back(rows)? {
                if sender.send(Ok(Some(row))).await.is_err() {
                    break;
                }
            }
            return Ok(());
        }
        let mut rows = lease.stream(text, args, db.how)?;
        while let Some(row) = rows.next().await {
            if sender.send(Ok(Some(row?))).await.is_err() {
                // The reader has gone. What is left of the rows goes with the connection.
                return Ok(());
            }
        }
        drop(rows);
        lease.give_back(Ok(()))
    })
}

fn stopped() -> Error {
    Error::new(ErrorKind::Other, "the listing was stopped before its end")
}
