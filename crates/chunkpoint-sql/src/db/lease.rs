//! [`Leases`]: connections that stay checked out of the driver's pool between calls.
//!
//! The driver's pool sends a ping each time a connection comes back, which on a network
//! is a round trip more for every call. So connections that are known to be clean wait
//! here instead, and only those that are not go back.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::{Connection as _, Database, Executor, IntoArguments, Pool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::driver::{Driver, How};
use crate::config::SqlConfig;
use crate::error::is_lost;
use crate::value::Args;

/// A connection that has waited so long is asked whether it is still there.
const TRUSTED: Duration = Duration::from_secs(30);

/// The options of a pool of `connections`, which are not asked whether they are there
/// each time: [`Leases`] does so now and then.
pub(super) fn options<DB: Database>(config: &SqlConfig, connections: u32) -> PoolOptions<DB> {
    PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(config.pool_timeout())
        .test_before_acquire(false)
}

/// A pool, and its connections that wait for the next call.
pub(crate) struct Leases<DB: Database> {
    pool: Pool<DB>,
    waiting: Mutex<Vec<(PoolConnection<DB>, Instant)>>,
    /// As many as the pool has connections: who has one finds a connection waiting, or
    /// room in the pool.
    permits: Arc<Semaphore>,
    /// Half of that: who holds a connection while it waits for its caller, such as a
    /// listing, leaves the others to callers that will end by themselves.
    holds: Arc<Semaphore>,
    timeout: Duration,
    /// Whether the pool is ours alone. What others use too is given back at once.
    ours: bool,
    /// Reads that each new connection does once before it is used, so that it has them
    /// prepared. There are none until the tables are there.
    hot: OnceLock<Vec<(Arc<str>, Args)>>,
}

impl<DB: Database> Leases<DB> {
    pub(crate) fn new(pool: Pool<DB>, ours: bool) -> Arc<Self> {
        let options = pool.options();
        Arc::new(Self {
            waiting: Mutex::default(),
            permits: Arc::new(Semaphore::new(options.get_max_connections() as usize)),
            holds: Arc::new(Semaphore::new(
                options.get_max_connections().div_ceil(2) as usize
            )),
            timeout: options.get_acquire_timeout(),
            ours,
            hot: OnceLock::new(),
            pool,
        })
    }

    /// Most connections at once.
    pub(crate) fn size(&self) -> u32 {
        self.pool.options().get_max_connections()
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(PoolConnection<DB>, Instant)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connections that wait: one was lost, and they are likely to be as well.
    pub(super) fn forget(&self) {
        let lost = std::mem::take(&mut *self.waiting());
        for (connection, _) in lost {
            drop(connection.detach());
        }
    }

    /// Asks to hold a connection for as long as what this gives is kept.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(crate) async fn hold(&self) -> sqlx::Result<Hold> {
        let hold = tokio::time::timeout(self.timeout, self.holds.clone().acquire_owned()).await;
        let hold = hold.map_err(|_| sqlx::Error::PoolTimedOut)?;
        hold.map(Hold).map_err(|_| sqlx::Error::PoolClosed)
    }

    /// Closes all connections, once the calls that have one are done.
    pub(crate) async fn close(&self) {
        self.permits.close();
        self.holds.close();
        self.waiting().clear();
        self.pool.close().await;
    }
}

impl<DB> Leases<DB>
where
    DB: Driver,
    DB::Arguments: IntoArguments<DB> + 'static,
    for<'e> &'e mut DB::Connection: Executor<'e, Database = DB>,
{
    /// Takes a connection.
    ///
    /// # Errors
    /// `PoolTimedOut` if none is free in time, `PoolClosed` after `close`, and what
    /// connecting reports.
    pub(crate) async fn take(self: &Arc<Self>) -> sqlx::Result<Lease<DB>> {
        let permit = self.permits.clone().acquire_owned();
        let permit = tokio::time::timeout(self.timeout, permit).await;
        let permit = permit.map_err(|_| sqlx::Error::PoolTimedOut)?;
        let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
        let mut is_new = false;
        let connection = loop {
            // Not in the condition: the guard would be held across the ping.
            let next = self.waiting().pop();
            let Some((mut connection, since)) = next else {
                is_new = true;
                break self.pool.acquire().await?;
            };
            if since.elapsed() < TRUSTED || connection.ping().await.is_ok() {
                break connection;
            }
            drop(connection.detach());
        };
        let mut lease = Lease {
            connection: Some(connection),
            leases: self.clone(),
            _permit: permit,
        };
        // One that is not ours may have been used before, and is soon given back.
        if is_new && self.ours {
            lease.warm_up().await?;
        }
        Ok(lease)
    }

    /// Says which reads each connection does before it is used, and has one do them.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(super) async fn prepare(self: &Arc<Self>, hot: Vec<(Arc<str>, Args)>) -> sqlx::Result<()> {
        if self.ours && self.hot.set(hot).is_ok() {
            // The one that waits has set up the tables.
            let mut lease = self.take().await?;
            let warm = lease.warm_up().await;
            lease.give_back(warm)?;
        }
        Ok(())
    }
}

impl<DB> Lease<DB>
where
    DB: Driver,
    DB::Arguments: IntoArguments<DB> + 'static,
    for<'e> &'e mut DB::Connection: Executor<'e, Database = DB>,
{
    /// Does the reads that it should have prepared.
    async fn warm_up(&mut self) -> sqlx::Result<()> {
        let leases = self.leases.clone();
        for (text, args) in leases.hot.get().into_iter().flatten() {
            match self.rows(text, args.clone(), How::Prepared).await {
                Err(error) if is_lost(&error) => return Err(error),
                // Who does the read in earnest learns what is wrong with it.
                _ => {}
            }
        }
        Ok(())
    }
}

/// Leave to hold a connection; see [`Leases::hold`].
pub(crate) struct Hold(
    #[allow(dead_code, reason = "given back when dropped")] OwnedSemaphorePermit,
);

/// A connection for one call. Unless it is given back it is closed: nobody knows what
/// state it is in.
pub(crate) struct Lease<DB: Database> {
    connection: Option<PoolConnection<DB>>,
    leases: Arc<Leases<DB>>,
    _permit: OwnedSemaphorePermit,
}

impl<DB: Database> Lease<DB> {
    /// The connection.
    pub(crate) fn connection(&mut self) -> &mut DB::Connection {
        // It is there until the lease ends, in one of the two functions below.
        #[allow(clippy::expect_used, reason = "see above")]
        self.connection.as_mut().expect("a lease has a connection")
    }

    /// Ends the lease after a call that came to its end, and passes on its result.
    pub(crate) fn give_back<T>(mut self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        match &result {
            Err(error) if is_lost(error) => self.leases.forget(),
            // The server answered, if only with an error: the connection is in order.
            Ok(_) | Err(sqlx::Error::Database(_)) => {
                if let Some(connection) = self.connection.take()
                    && self.leases.ours
                    && !self.leases.permits.is_closed()
                {
                    self.leases.waiting().push((connection, Instant::now()));
                }
            }
            Err(_) => {}
        }
        result
    }
}

impl<DB: Database> Drop for Lease<DB> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}
