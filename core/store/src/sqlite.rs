//! A yard's SQLite file: a pool of connections, of which one stays at hand.
//!
//! To hand out a connection of the pool and to take it back are two trips to the connection's thread more
//! than a small statement needs, and whoever asks again before it is back opens another one.

use std::sync::{Arc, Mutex, MutexGuard};

use sqlx::pool::PoolConnection;
use sqlx::{Executor as _, Sqlite, SqliteConnection, SqlitePool};

type Result<T> = std::result::Result<T, sqlx::Error>;

/// The file's connections. Clones are the same ones.
#[derive(Debug, Clone)]
pub(crate) struct SqliteFile {
    pub(crate) pool: SqlitePool,
    at_hand: Arc<AtHand>,
}

#[derive(Debug, Default)]
struct AtHand(Mutex<Hand>);

#[derive(Debug, Default)]
struct Hand {
    /// None while it is used.
    connection: Option<PoolConnection<Sqlite>>,
    /// How many wait for the pool.
    waiting: usize,
}

/// Somebody who waits for the pool.
struct Waiting<'a>(&'a AtHand);

impl AtHand {
    fn lock(&self) -> MutexGuard<'_, Hand> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }

    fn take(&self) -> Option<PoolConnection<Sqlite>> {
        self.lock().connection.take()
    }

    /// A second one goes back to the pool; so does one that somebody waits for there, and one of a pool
    /// that closes, which waits for it.
    fn keep(&self, connection: PoolConnection<Sqlite>, pool: &SqlitePool) {
        let mut hand = self.lock();
        if hand.connection.is_none() && hand.waiting == 0 && !pool.is_closed() {
            hand.connection = Some(connection);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl Drop for AtHand {
    fn drop(&mut self) {
        // The way back to the pool is a task, which needs a runtime. Without one it just closes.
        if let Some(connection) = self.take()
            && tokio::runtime::Handle::try_current().is_err()
        {
            drop(connection.detach());
        }
    }
}

impl SqliteFile {
    /// The connections of this pool, one of which is this.
    pub(crate) fn new(pool: SqlitePool, connection: PoolConnection<Sqlite>) -> Self {
        Self { pool, at_hand: Arc::new(AtHand(Mutex::new(Hand { connection: Some(connection), waiting: 0 }))) }
    }

    /// Does something with a connection. Whoever stops waiting for it gives the connection back to the
    /// pool, which looks whether it is good for more.
    pub(crate) async fn with<T>(&self, work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        let mut connection = self.connection().await?;
        let done = work(&mut connection).await;
        // What the database itself says of a statement is about the statement.
        if done.as_ref().err().is_none_or(|error| error.as_database_error().is_some()) {
            self.at_hand.keep(connection, &self.pool);
        }
        done
    }

    /// Begins a transaction that may write: it takes the write lock at once.
    pub(crate) async fn begin(&self) -> Result<SqliteTransaction> {
        let mut begun = SqliteTransaction { connection: Some(self.connection().await?), file: self.clone() };
        begun.connection().execute("BEGIN IMMEDIATE").await?;
        Ok(begun)
    }

    async fn connection(&self) -> Result<PoolConnection<Sqlite>> {
        let _waiting = {
            let mut hand = self.at_hand.lock();
            if let Some(connection) = hand.connection.take() {
                return Ok(connection);
            }
            hand.waiting += 1;
            Waiting(&self.at_hand)
        };
        self.pool.acquire().await
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        // From here on nothing is kept at hand, and nothing handed out.
        let closing = self.pool.close();
        if let Some(connection) = self.at_hand.take() {
            let _ = connection.close().await;
        }
        closing.await;
    }
}

/// A transaction. Dropped without [`commit`](Self::commit) it is rolled back: its connection closes.
pub(crate) struct SqliteTransaction {
    /// None at its end.
    connection: Option<PoolConnection<Sqlite>>,
    file: SqliteFile,
}

impl SqliteTransaction {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("a transaction has its connection until its end")
    }

    /// Makes it so, on disk.
    pub(crate) async fn commit(mut self) -> Result<()> {
        self.connection().execute("COMMIT").await?;
        if let Some(connection) = self.connection.take() {
            self.file.at_hand.keep(connection, &self.file.pool);
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
