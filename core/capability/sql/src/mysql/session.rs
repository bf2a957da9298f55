//! Sessions: a connection, and the transaction that the host has begun on it.

use std::sync::Arc;
use std::time::Duration;

use blockyard_call::{Problem, limits};
use blockyard_model::capability::Dialect;
use blockyard_model::{SecretValue, TlsMode};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _};
use tokio::runtime::Handle;

use super::error::{problem, refused};
use super::progress::{Progress, is_rolled_back, is_within_transaction};
use super::scan;
use crate::background;
use crate::error::closed;
use crate::lease::Lease;
use crate::statement::{Access, left_transaction};
use crate::target::Permitted;
use crate::word::first_word;

/// Maximum time for telling the server to stop a statement, or to close a connection.
const KILL_TIME: Duration = Duration::from_secs(3);
/// Begins a transaction that writes. A savepoint ends with its transaction, so the transaction can be
/// recognized by it.
const BEGIN_WRITE: &str = "START TRANSACTION; SAVEPOINT blockyard_transaction";
/// Number of the error about a savepoint that does not exist.
const NO_SAVEPOINT: u16 = 1305;
/// Number of the warning about changes that cannot be rolled back.
const NOT_ROLLED_BACK: u32 = 1196;

/// A connection, and the options for a second connection that stops its statement.
pub(crate) struct Session {
    /// `None` after the session was stopped.
    connection: Option<MySqlConnection>,
    /// The server's ID of the connection.
    id: u64,
    options: Arc<MySqlConnectOptions>,
    /// Permit for the connection, which is never reused: SQL has no statement that resets all that
    /// a session can change (variables, temporary tables, locks), and the driver does not support
    /// the protocol's command for it.
    lease: Option<Lease>,
    /// The transaction of the host, if one is open.
    transaction: Option<Access>,
    /// State of a transaction that writes.
    pub(super) progress: Progress,
}

impl Session {
    /// Opens a connection. For reads, the session itself is read-only, so that a transaction which
    /// a statement begins by itself is read-only as well.
    pub(crate) async fn open(
        target: &Permitted,
        password: Option<&SecretValue>,
        access: Access,
        lease: Lease,
    ) -> Result<Self, Problem> {
        let options = Arc::new(options(target, password));
        let connecting = async {
            let mut connection = options.connect().await?;
            connection.execute(AssertSqlSafe(settings(access))).await?;
            let (id,): (u64,) = sqlx::query_as("SELECT CONNECTION_ID()").fetch_one(&mut connection).await?;
            Ok((connection, id))
        };
        let connected = tokio::time::timeout(limits::CONNECT_TIME, connecting).await;
        let connected = connected.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        let (connection, id) = connected.map_err(|error| refused(&error, target))?;
        Ok(Self {
            connection: Some(connection),
            id,
            options,
            lease: Some(lease),
            transaction: None,
            progress: Progress::NEW,
        })
    }

    pub(super) fn connection(&mut self) -> Result<&mut MySqlConnection, Problem> {
        self.connection.as_mut().ok_or_else(closed)
    }

    /// Makes the server end the connection and its statement. MySQL does not detect that a client
    /// is gone, so a second connection sends `KILL`. The first connection stays open until then, so
    /// that its ID is not reused.
    ///
    /// The session has no connection from here on. Its errors still name the changes that were
    /// committed.
    pub(crate) fn stop(&mut self) {
        let (Some(connection), lease) = (self.connection.take(), self.lease.take()) else { return };
        let (id, options) = (self.id, self.options.clone());
        background::spawn(async move {
            let kill = async {
                let mut other = options.connect().await?;
                other.execute(AssertSqlSafe(format!("KILL {id}"))).await?;
                other.close().await
            };
            // If that fails, the statement ends at the server's time limit.
            let _ = tokio::time::timeout(KILL_TIME, kill).await;
            drop((connection, lease));
        });
    }

    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.connection.is_none()
    }

    pub(crate) async fn begin(&mut self, access: Access) -> Result<(), Problem> {
        // A savepoint ends with its transaction, so the transaction can be recognized by it.
        self.run(match access {
            Access::ReadOnly => "START TRANSACTION READ ONLY; SAVEPOINT blockyard_transaction",
            Access::ReadWrite => BEGIN_WRITE,
        })
        .await?;
        self.progress = Progress::NEW;
        self.transaction = Some(access);
        Ok(())
    }

    /// Commits the transaction. A read-only transaction is rolled back, because it has nothing to
    /// commit.
    pub(crate) async fn commit(&mut self) -> Result<(), Problem> {
        match self.transaction.take() {
            Some(Access::ReadWrite) => {
                let committed = self.run("COMMIT").await;
                committed.map_err(|problem| self.progress.extended(problem))
            }
            reading => {
                self.transaction = reading;
                self.check().await?;
                self.rollback().await
            }
        }
    }

    pub(crate) async fn rollback(&mut self) -> Result<(), Problem> {
        self.transaction = None;
        self.run("ROLLBACK").await
    }

    pub(super) async fn run(&mut self, statements: &'static str) -> Result<(), Problem> {
        let connection = self.connection()?;
        sqlx::raw_sql(statements).execute(connection).await.map(drop).map_err(|error| problem(&error))
    }

    /// Checks, after a statement of a guest in an operation with the effect `read`, that the
    /// session is still in the transaction that the host began. If not, the connection is closed
    /// before anything else runs on it. For an operation that writes, see [`follow`](Self::follow).
    async fn check(&mut self) -> Result<(), Problem> {
        if self.transaction != Some(Access::ReadOnly) {
            return Ok(());
        }
        let connection = self.connection()?;
        let back = sqlx::raw_sql("ROLLBACK TO SAVEPOINT blockyard_transaction").execute(connection).await;
        let Err(error) = back else { return Ok(()) };
        self.transaction = None;
        self.connection = None;
        Err(if error.as_database_error().is_some() { left_transaction() } else { problem(&error) })
    }

    /// Records a statement of a guest in a transaction that writes, also one that the host refuses.
    /// Its error names the changes that the server does not roll back. After the server has ended the
    /// transaction, a new one begins, so that the statements that follow take effect together.
    pub(super) async fn follow<T>(
        &mut self,
        noun: &'static str,
        text: &str,
        executed: Result<T, Problem>,
    ) -> Result<T, Problem> {
        if self.transaction != Some(Access::ReadWrite) {
            return executed;
        }
        self.progress.noun = noun;
        self.progress.statements += 1;
        match executed {
            Ok(done) if self.progress.is_open && is_within_transaction(text) => Ok(done),
            Ok(done) => match self.detect_commit(text, None).await {
                Ok(()) => Ok(done),
                Err(problem) => Err(self.progress.extended(problem)),
            },
            Err(failed) => {
                let lasting = match self.detect_commit(text, Some(&failed)).await {
                    Ok(()) => self.progress.committed.is_none() && self.has_lasting_changes().await,
                    // The connection was lost, which the error of the statement itself reports.
                    Err(_) => {
                        self.progress.may_be_committed |= !is_within_transaction(text);
                        false
                    }
                };
                if !lasting {
                    return Err(self.progress.extended(failed));
                }
                let message = format!(
                    "{}; changes that the server cannot roll back stay: those to tables without transactions, such as \
                     MyISAM, and to temporary tables",
                    failed.message
                );
                Err(Problem { message, retryable: false, ..failed })
            }
        }
    }

    /// Detects that a statement has ended the transaction of the host, and begins a new one.
    async fn detect_commit(&mut self, text: &str, failed: Option<&Problem>) -> Result<(), Problem> {
        let was_open = self.progress.is_open;
        if was_open && self.is_in_transaction().await? {
            return Ok(());
        }
        // Outside of a transaction, each statement that succeeds is committed.
        if failed.is_none_or(|problem| was_open && !is_rolled_back(text, problem)) {
            self.progress.committed = Some(self.progress.statements);
        }
        let word = first_word(text, Dialect::Mysql);
        let locks_tables = match (was_open, failed) {
            (true, None) => scan::locks_tables(text),
            (true, Some(_)) => false,
            (false, None) => word != "unlock",
            // The server releases all locks before it acquires those of `lock tables`.
            (false, Some(_)) => word != "lock" || !scan::locks_tables(text),
        };
        self.progress.is_open = !locks_tables;
        if locks_tables { Ok(()) } else { self.run(BEGIN_WRITE).await }
    }

    /// Checks whether the session is still in the transaction that the host began.
    async fn is_in_transaction(&mut self) -> Result<bool, Problem> {
        let renewal = "RELEASE SAVEPOINT blockyard_transaction; SAVEPOINT blockyard_transaction";
        let connection = self.connection()?;
        let Err(error) = sqlx::raw_sql(renewal).execute(connection).await else { return Ok(true) };
        let database = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
        if database.is_some_and(|database| database.number() == NO_SAVEPOINT) {
            Ok(false)
        } else {
            Err(problem(&error))
        }
    }

    /// Checks whether the transaction has changes that a rollback does not revert. A rollback to a
    /// savepoint that was just set reverts nothing, and has the same warning as a rollback of the
    /// transaction.
    async fn has_lasting_changes(&mut self) -> bool {
        let query = "SAVEPOINT blockyard_changes; ROLLBACK TO SAVEPOINT blockyard_changes; SHOW WARNINGS";
        let Ok(connection) = self.connection() else { return false };
        let Ok(warnings) = sqlx::raw_sql(query).fetch_all(connection).await else { return false };
        // The columns are the level, the number and the message.
        warnings.iter().any(|row| row.try_get_unchecked::<u32, _>(1).is_ok_and(|number| number == NOT_ROLLED_BACK))
    }

    /// Runs the check after a statement of a guest, and ends the transaction if the host began it
    /// for this statement alone.
    pub(super) async fn after(&mut self, failed: bool, alone: bool) -> Result<(), Problem> {
        match self.check().await {
            Ok(()) if alone => self.rollback().await,
            // The connection was lost, which the error of the statement itself reports.
            Err(problem) if failed && problem.code != left_transaction().code => Ok(()),
            done => done,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let (Some(connection), Ok(runtime)) = (self.connection.take(), Handle::try_current()) {
            let lease = self.lease.take();
            runtime.spawn(async move {
                // The server logs connections that end without a quit command.
                let _ = tokio::time::timeout(KILL_TIME, connection.close()).await;
                drop(lease);
            });
        }
    }
}

fn options(target: &Permitted, password: Option<&SecretValue>) -> MySqlConnectOptions {
    let (host, port) = target.address();
    let mut options = MySqlConnectOptions::new()
        .host(host)
        .port(port)
        .database(&target.database)
        .username(target.username.as_deref().unwrap_or("root"))
        .ssl_mode(match target.tls {
            TlsMode::Disable => MySqlSslMode::Disabled,
            TlsMode::Prefer => MySqlSslMode::Preferred,
            TlsMode::Require => MySqlSslMode::Required,
            TlsMode::VerifyCa => MySqlSslMode::VerifyCa,
            TlsMode::VerifyFull => MySqlSslMode::VerifyIdentity,
        })
        // The server's SQL mode is kept, except for its strictness (see `settings`), so that a
        // statement has the same meaning as in the server's shell.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .set_names(false);
    if let Some(password) = password {
        options = options.password(password.expose());
    }
    if let Some(pem) = &target.ca {
        options = options.ssl_ca_from_pem(pem.as_bytes().to_vec());
    }
    // A statement may contain data, so the driver must not log it.
    options.disable_statement_logging()
}

/// Returns the statement that sets up a session: text as UTF-8, times in UTC, the strict mode, and a
/// time limit for statements. Without the strict mode for all storage engines, the server cuts or
/// replaces values that do not fit. MariaDB and MySQL have different names for the time limit; each
/// server ignores the comment for the other.
fn settings(access: Access) -> String {
    let settings = format!(
        "SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES') \
         /*M!100101 , max_statement_time = {} */ /*!50708 , max_execution_time = {} */",
        limits::STATEMENT_TIME.as_secs(),
        limits::STATEMENT_TIME.as_millis()
    );
    match access {
        Access::ReadOnly => format!("{settings}; SET SESSION TRANSACTION READ ONLY"),
        Access::ReadWrite => settings,
    }
}
