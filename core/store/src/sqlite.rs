//! Connections to a yard's SQLite file: a pool, and one idle connection outside of it.
//!
//! Acquiring a connection from the pool and releasing it takes two more round trips to the
//! connection's thread than a small statement needs, and a second request that arrives before the
//! release opens another connection.

use std::sync::{Arc, Mutex, MutexGuard};

use sqlx::pool::PoolConnection;
use sqlx::{Executor as _, Sqlite, SqliteConnection, SqlitePool};

type Result<T> = std::result::Result<T, sqlx::Error>;

/// The file's connections. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct SqliteFile {
    pub(crate) pool: SqlitePool,
    cached: Arc<CachedConnection>,
}

#[derive(Debug, Default)]
struct CachedConnection(Mutex<Cache>);

#[derive(Debug, Default)]
struct Cache {
    /// `None` while the connection is in use.
    connection: Option<PoolConnection<Sqlite>>,
    /// Number of callers that wait for the pool.
    waiting: usize,
}

/// A caller that waits for the pool.
struct Waiting<'a>(&'a CachedConnection);

impl CachedConnection {
    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }

    fn take(&self) -> Option<PoolConnection<Sqlite>> {
        self.lock().connection.take()
    }

    /// Caches the connection. It is returned to the pool instead if another one is cached already,
    /// if a caller waits for the pool, or if the pool is closing and waits for its connections.
    fn keep(&self, connection: PoolConnection<Sqlite>, pool: &SqlitePool) {
        let mut cache = self.lock();
        if cache.connection.is_none() && cache.waiting == 0 && !pool.is_closed() {
            cache.connection = Some(connection);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl Drop for CachedConnection {
    fn drop(&mut self) {
        // Returning a connection to the pool spawns a task, which needs a runtime. Without one, the
        // connection is closed.
        if let Some(connection) = self.take()
            && tokio::runtime::Handle::try_current().is_err()
        {
            drop(connection.detach());
        }
    }
}

impl SqliteFile {
    /// Wraps a pool and one of its connections.
    pub(crate) fn new(pool: SqlitePool, connection: PoolConnection<Sqlite>) -> Self {
        Self {
            pool,
            cached: Arc::new(CachedConnection(Mutex::new(Cache { connection: Some(connection), waiting: 0 }))),
        }
    }

    /// Runs `work` with a connection. If the future is dropped, the connection is returned to the
    /// pool, which checks that it is still usable.
    pub(crate) async fn with<T>(&self, work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        let mut connection = self.connection().await?;
        let done = work(&mut connection).await;
        // An error from the database itself concerns the statement, so the connection is still
        // usable.
        if done.as_ref().err().is_none_or(|error| error.as_database_error().is_some()) {
            self.cached.keep(connection, &self.pool);
        }
        done
    }

    /// Begins a write transaction, which takes the write lock immediately.
    pub(crate) async fn begin(&self) -> Result<SqliteTransaction> {
        let mut transaction = SqliteTransaction { connection: Some(self.connection().await?), file: self.clone() };
        transaction.connection().execute("BEGIN IMMEDIATE").await?;
        Ok(transaction)
    }

    async fn connection(&self) -> Result<PoolConnection<Sqlite>> {
        let _waiting = {
            let mut cache = self.cached.lock();
            if let Some(connection) = cache.connection.take() {
                return Ok(connection);
            }
            cache.waiting += 1;
            Waiting(&self.cached)
        };
        self.pool.acquire().await
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        // From here on no connection is cached or handed out.
        let closing = self.pool.close();
        if let Some(connection) = self.cached.take() {
            let _ = connection.close().await;
        }
        closing.await;
    }
}

/// A transaction. If it is dropped without [`commit`](Self::commit), its connection closes, which
/// rolls it back.
pub(crate) struct SqliteTransaction {
    /// `None` after the end of the transaction.
    connection: Option<PoolConnection<Sqlite>>,
    file: SqliteFile,
}

impl SqliteTransaction {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("a transaction has its connection until its end")
    }

    /// Commits the transaction; its changes are durable on disk afterwards.
    pub(crate) async fn commit(mut self) -> Result<()> {
        self.connection().execute("COMMIT").await?;
        if let Some(connection) = self.connection.take() {
            self.file.cached.keep(connection, &self.file.pool);
        }
        Ok(())
    }
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if tokio::runtime::Handle::try_current().is_ok() {
            connection.close_on_drop();
        } else {
            drop(connection.detach());
        }
    }
}
