//! Connections in use, the exchanges with the database on them, and transactions.

use std::sync::Arc;

use blockyard_call::Problem;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::bindings::blockyard::bundle::sql::Execution;
use crate::error::closed;
use crate::pool::Pooled;
use crate::statement::{Access, Statement};
use crate::{mysql, postgres, sqlite};

/// A connection in use. Empty after a failure that left the connection in an unknown state.
pub(crate) type Slot = Arc<Mutex<Option<Pooled>>>;

/// Resource `connection`.
pub struct Connection {
    pub(crate) slot: Slot,
    pub(crate) access: Access,
}

/// Resource `transaction`. Rolled back when it is dropped.
pub struct Transaction {
    pub(crate) slot: Slot,
    pub(crate) access: Access,
    pub(crate) finished: bool,
}

impl Drop for Transaction {
    /// A transaction that was neither committed nor rolled back, because the call was stopped,
    /// closes its connection. The database rolls back when the connection closes.
    fn drop(&mut self) {
        if !self.finished
            && let Ok(mut slot) = self.slot.try_lock()
            && let Some(pooled) = slot.take()
        {
            pooled.stop();
        }
    }
}

/// The connection of a slot, claimed for one exchange with the database. If it is dropped during
/// the exchange, the connection is closed and the database cancels the statement.
pub(crate) struct Claimed {
    slot: OwnedMutexGuard<Option<Pooled>>,
    busy: bool,
}

impl Claimed {
    /// Claims the connection of a slot. Fails while the rows of another statement are being read.
    pub(crate) fn of(slot: &Slot) -> Result<Self, Problem> {
        let busy = |_| Problem::new("invalid", "the connection is busy with the rows of another statement");
        Ok(Self { slot: slot.clone().try_lock_owned().map_err(busy)?, busy: false })
    }

    /// Marks the beginning of the exchange.
    pub(crate) fn start(&mut self) -> Result<&mut Pooled, Problem> {
        let pooled = self.slot.as_mut().ok_or_else(closed)?;
        self.busy = true;
        Ok(pooled)
    }

    /// Marks the end of the exchange: the database is ready for the next statement.
    pub(crate) fn finish(&mut self) {
        self.busy = false;
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if self.busy
            && let Some(pooled) = self.slot.take()
        {
            *self.slot = pooled.stop();
        }
    }
}

pub(crate) async fn execute(mut claimed: Claimed, statement: Statement) -> Result<Execution, Problem> {
    let executed = match claimed.start()? {
        Pooled::Postgres(session) => postgres::execute(session, statement).await,
        Pooled::Sqlite(session) => sqlite::execute(session, statement).await,
        Pooled::Mysql(session) => mysql::execute(session, statement).await,
    };
    claimed.finish();
    executed
}

pub(crate) async fn begin(claimed: &mut Claimed, access: Access) -> Result<(), Problem> {
    let begun = match claimed.start()? {
        Pooled::Postgres(session) => session.begin(access).await,
        Pooled::Sqlite(session) => sqlite::run(session, "BEGIN").await,
        Pooled::Mysql(session) => session.begin(access).await,
    };
    claimed.finish();
    begun
}

/// The ways to end a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Commit,
    Rollback,
}

/// Commits or rolls back a transaction. Closes the connection if that fails.
pub(crate) async fn end(claimed: &mut Claimed, how: End) -> Result<(), Problem> {
    let ended = match (claimed.start()?, how) {
        (Pooled::Postgres(session), End::Commit) => session.commit().await,
        (Pooled::Postgres(session), End::Rollback) => session.rollback().await,
        (Pooled::Sqlite(session), End::Commit) => sqlite::run(session, "COMMIT").await,
        (Pooled::Sqlite(session), End::Rollback) => sqlite::run(session, "ROLLBACK").await,
        (Pooled::Mysql(session), End::Commit) => session.commit().await,
        (Pooled::Mysql(session), End::Rollback) => session.rollback().await,
    };
    // The connection is still marked as busy, so it closes when `claimed` is dropped.
    if ended.is_ok() {
        claimed.finish();
    }
    ended
}
