//! [`Timeout`]: an operation that takes too long fails.

use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tokio::time::timeout;

use super::{Answer, Call, Layer, Method, Operation, Rows};
use crate::error::{Applied, Error, ErrorKind, Result};

/// Bounds the time of each operation; of a listing, the time of its opening
/// and of each row.
///
/// What has not answered in time is dropped and fails with
/// [`ErrorKind::Timeout`], which is retryable. A mutation may have happened
/// all the same, so its error says *unknown*; a read's says *not applied*.
///
/// It belongs inside [`Retry`](super::Retry): then each attempt has this long,
/// and the retry policy bounds the whole.
#[derive(Debug, Clone)]
pub struct Timeout {
    each: Duration,
}

impl Timeout {
    /// Gives each operation `each`.
    pub fn new(each: Duration) -> Self {
        Self { each }
    }
}

impl Layer for Timeout {
    async fn around<'a, T: Answer + 'a>(
        &'a self,
        operation: Operation,
        call: Call<'a, T>,
    ) -> Result<T> {
        match timeout(self.each, call()).await {
            Ok(answer) => answer,
            Err(_) => Err(late(operation.method, self.each)),
        }
    }

    fn rows<T: Answer + 'static>(&self, method: Method, rows: Rows<T>) -> Rows<T> {
        let each = self.each;
        // A stream is not polled again after it was late: where it stands is unknown.
        let rows = stream::unfold(Some(rows), move |rows| async move {
            let mut rows = rows?;
            match timeout(each, rows.next()).await {
                Ok(row) => Some((row?, Some(rows))),
                Err(_) => Some((Err(late(method, each)), None)),
            }
        });
        rows.boxed()
    }
}

fn late(method: Method, each: Duration) -> Error {
    let applied = if method.mutates() {
        Applied::Unknown
    } else {
        Applied::No
    };
    Error::new(ErrorKind::Timeout, format!("no answer within {each:?}"))
        .applied(applied)
        .operation(method.name())
}
