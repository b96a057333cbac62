//! Several tasks at the same moment.

use std::future::Future;
use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::Barrier;

/// Runs these at the same moment, each on a task of its own.
pub(crate) async fn at_once<T: Send + 'static>(
    futures: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let futures: Vec<_> = futures.into_iter().collect();
    let barrier = Arc::new(Barrier::new(futures.len()));
    let tasks = futures.into_iter().map(|future| {
        let barrier = barrier.clone();
        tokio::spawn(async move {
            barrier.wait().await;
            future.await
        })
    });
    let results = join_all(tasks).await.into_iter();
    results
        .map(|result| result.expect("a task panicked"))
        .collect()
}
