//! A yard's SQLite file: a pool of connections, of which one stays at hand.
//!
//! To hand out a connection of the pool and to take it back are two trips to the connection's thread more
//! than a small statement needs, and whoever asks again before it is back opens another one.

use std::sync::{Arc, Mutex};

use sqlx::pool::PoolConnection;
use sqlx::{Executor as _, Sqlite, SqliteConnection, SqlitePool};

type Result<T> = std::result::Result<T, sqlx::Error>;

/// The file's connections. Clones are the same ones.
#[derive(Debug, Clone)]
pub(crate) struct SqliteFile {
    pub(crate) pool: SqlitePool,
    at_hand: Arc<AtHand>,
}

/// None while it is used.
#[derive(Debug)]
struct AtHand(Mutex<Option<PoolConnection<Sqlite>>>);

impl AtHand {
    fn take(&self) -> Option<PoolConnection<Sqlite>> {
        self.0.lock().expect("nothing panics while it holds this lock").take()
    }

    /// A second one goes back to the pool.
    fn keep(&self, connection: PoolConnection<Sqlite>) {
        self.0.lock().expect("nothing panics while it holds this lock").get_or_insert(connection);
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
        Self { pool, at_hand: Arc::new(AtHand(Mutex::new(Some(connection)))) }
    }

    /// Does something with a connection. Whoever stops waiting for it gives the connection back to the
    /// pool, which looks whether it is good for more.
    pub(crate) async fn with<T>(&self, work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        let mut connection = self.connection().await?;
        let done = work(&mut connection).await;
        // What the database itself says of a statement is about the statement.
        if done.as_ref().err().is_none_or(|error| error.as_database_error().is_some()) {
            self.at_hand.keep(connection);
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
        match self.at_hand.take() {
            Some(connection) => Ok(connection),
            None => self.pool.acquire().await,
        }
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        if let Some(connection) = self.at_hand.take() {
            let _ = connection.close().await;
        }
        self.pool.close().await;
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
            self.file.at_hand.keep(connection);
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
