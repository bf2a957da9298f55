//! PostgreSQL through sqlx. The server infers each parameter's type from the statement, as it does
//! for `psql`; [`format`](mod@format) converts values to and from these types.

mod array;
mod copy;
mod error;
mod foreign;
mod format;
mod many;
mod numeric;
mod prepare;
mod scan;
mod unknown;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use blockyard_call::{Problem, limits};
use blockyard_model::{SecretValue, TlsMode};
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Executor as _, Row as _};
use tokio::runtime::Handle;

use self::error::{ABORTED, is_unknown_type, problem, sqlstate};
use self::format::Reading;
use self::prepare::{Prepared, execute_one, prepare, returns_rows};
use super::error::{closed, refused};
use super::insert::{InsertTarget, Refused};
use super::lease::{Lease, Reusable};
use super::sink::{Head, Sink, Stop};
use super::statement::{Access, Statement, left_transaction};
use super::target::Permitted;
use crate::bindings::blockyard::bundle::sql::{Execution, Value};

/// A connection, and the transaction that the host has begun on it.
pub(super) struct Session {
    /// `None` after a failure that left the connection in an unknown state.
    connection: Option<PgConnection>,
    lease: Option<Lease>,
    transaction: Option<Transaction>,
}

/// The properties by which a transaction is recognized.
struct Transaction {
    access: Access,
    /// Answer to [`Transaction::question`], which differs in every other transaction.
    mark: String,
}

/// Query for the start time and the read-only setting of the session's transaction, in a format
/// that does not depend on other settings. The names are qualified, so that they cannot resolve to
/// other functions.
const BEGINNING: &str = "SELECT pg_catalog.concat(\
     pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.transaction_timestamp()), 'YYYYMMDDHH24MISSUS'), \
     pg_catalog.current_setting('transaction_read_only'))";

/// Numbers of transactions that write.
static NEXT_TRANSACTION: AtomicU64 = AtomicU64::new(0);

impl Transaction {
    /// Returns a query that distinguishes this transaction from others. A transaction that writes
    /// has a setting that ends with it. A query for its start time would take its snapshot before
    /// the guest could choose an isolation level.
    fn question(&self) -> &'static str {
        match self.access {
            Access::ReadOnly => BEGINNING,
            Access::ReadWrite => "SHOW blockyard.transaction",
        }
    }
}

impl Session {
    pub(super) fn new(connection: PgConnection, lease: Lease) -> Self {
        Self { connection: Some(connection), lease: Some(lease), transaction: None }
    }

    /// Closes the connection. The server notices within a second that the client is gone.
    pub(super) fn stop(mut self) {
        self.close();
    }

    fn close(&mut self) {
        self.connection = None;
        self.transaction = None;
    }

    fn connection(&mut self) -> Result<&mut PgConnection, Problem> {
        self.connection.as_mut().ok_or_else(closed)
    }

    /// Begins a transaction of the host.
    pub(super) async fn begin(&mut self, access: Access) -> Result<(), Problem> {
        let number = NEXT_TRANSACTION.fetch_add(1, Ordering::Relaxed);
        let (text, mark) = match access {
            // After its first query, which takes a snapshot, a transaction cannot become
            // `READ WRITE`.
            Access::ReadOnly => (format!("BEGIN READ ONLY; {BEGINNING}"), None),
            Access::ReadWrite => {
                (format!("BEGIN; SET LOCAL blockyard.transaction = 'n{number}'"), Some(format!("n{number}")))
            }
        };
        let answered = answer(self.connection()?, &text).await.map_err(|error| problem(&error))?;
        let Some(mark) = mark.or(answered) else {
            self.close();
            return Err(Problem::new("failed", "the server returned no result when the transaction began"));
        };
        self.transaction = Some(Transaction { access, mark });
        Ok(())
    }

    /// Commits the transaction of the host, only if it is still the transaction that was begun and
    /// nothing in it has failed. A read-only transaction is rolled back, because it has nothing to
    /// commit.
    pub(super) async fn commit(&mut self) -> Result<(), Problem> {
        let Some(transaction) = self.transaction.take() else { return self.rollback().await };
        if transaction.access == Access::ReadOnly {
            self.transaction = Some(transaction);
            self.check(false).await?;
            return self.rollback().await;
        }
        // After an error in the transaction the query fails, and the `COMMIT` is not run.
        match answer(self.connection()?, &format!("{}; COMMIT", transaction.question())).await {
            Ok(Some(mark)) if mark == transaction.mark => Ok(()),
            Ok(_) => {
                self.close();
                Err(left_transaction())
            }
            Err(error) => {
                let failed = problem(&error);
                self.rollback().await?;
                Err(failed)
            }
        }
    }

    pub(super) async fn rollback(&mut self) -> Result<(), Problem> {
        self.transaction = None;
        self.connection()?.execute("ROLLBACK").await.map(drop).map_err(|error| problem(&error))
    }

    /// Checks, after a statement of a guest, that the session is still in the transaction that the
    /// host began, regardless of how the statement was written. If it is in another transaction or
    /// in none, the connection is closed before anything else runs on it.
    async fn check(&mut self, failed: bool) -> Result<(), Problem> {
        let Some(Transaction { access, mark }) = &self.transaction else { return Ok(()) };
        let transaction = Transaction { access: *access, mark: mark.clone() };
        match answer(self.connection()?, transaction.question()).await {
            Ok(Some(mark)) if mark == transaction.mark => Ok(()),
            // The transaction has failed and accepts no more statements, because of this statement
            // or an earlier one.
            Err(error) if sqlstate(&error) == ABORTED => {
                if failed {
                    Ok(())
                } else {
                    Err(problem(&error))
                }
            }
            Err(error) if error.as_database_error().is_none() => {
                self.close();
                // The error of the statement itself reports the failure.
                if failed { Ok(()) } else { Err(problem(&error)) }
            }
            _ => {
                self.close();
                Err(left_transaction())
            }
        }
    }

    /// Runs the check after a statement of a guest, and ends the transaction if the host began it
    /// for this statement alone.
    async fn after(&mut self, failed: bool, alone: bool) -> Result<(), Problem> {
        self.check(failed).await?;
        if alone && self.connection.is_some() { self.rollback().await } else { Ok(()) }
    }
}

impl Drop for Session {
    /// Resets a session without an open transaction, and returns its connection to the pool.
    fn drop(&mut self) {
        let (Some(mut connection), Some(lease)) = (self.connection.take(), self.lease.take()) else { return };
        if let (None, Ok(runtime)) = (&self.transaction, Handle::try_current()) {
            let spawner = runtime.clone();
            spawner.spawn(async move {
                if let Ok(Ok(())) = tokio::time::timeout(limits::CONNECT_TIME, reset(&mut connection)).await {
                    lease.keep(Reusable::Postgres(connection), &runtime);
                }
            });
        }
    }
}

/// Runs statements of the host, and returns the text of the first row.
async fn answer(connection: &mut PgConnection, text: &str) -> Result<Option<String>, sqlx::Error> {
    let rows = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(connection).await?;
    rows.first().map(|row| row.try_get(0)).transpose()
}

/// Checks whether an idle connection still works.
pub(super) async fn is_alive(connection: &mut PgConnection) -> bool {
    matches!(tokio::time::timeout(PING_TIME, connection.ping()).await, Ok(Ok(())))
}

/// Maximum time for a server to respond to a ping on an idle connection.
const PING_TIME: Duration = Duration::from_secs(2);

/// Settings that determine how values and strings are read and written. They are sent when the
/// session starts, so that they override settings of the role and the database, and `DISCARD ALL`
/// restores them. The driver sends `DateStyle`, `TimeZone` and `extra_float_digits` in the same way.
/// `lc_monetary` stays as it is, because the value of `money` depends on it: with a different locale,
/// the stored number is a different amount.
const FORMATS: [(&str, &str); 6] = [
    ("array_nulls", "on"),
    ("bytea_output", "hex"),
    ("intervalstyle", "postgres"),
    ("standard_conforming_strings", "on"),
    ("xmlbinary", "base64"),
    ("xmloption", "content"),
];

/// Opens a connection. For reads, the session itself is read-only, so that a transaction which a
/// statement begins by itself is read-only as well.
pub(super) async fn connect(
    target: &Permitted,
    password: Option<&SecretValue>,
    access: Access,
) -> Result<PgConnection, Problem> {
    let (host, port) = target.address();
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(host)
        .port(port)
        .database(&target.database)
        .username(target.username.as_deref().unwrap_or("postgres"))
        // Always set, because the driver would read the environment otherwise.
        .password(password.map_or("", SecretValue::expose))
        .application_name(target.application_name.as_deref().unwrap_or("blockyard"))
        .ssl_mode(match target.tls {
            TlsMode::Disable => PgSslMode::Disable,
            TlsMode::Prefer => PgSslMode::Prefer,
            TlsMode::Require => PgSslMode::Require,
            TlsMode::VerifyCa => PgSslMode::VerifyCa,
            TlsMode::VerifyFull => PgSslMode::VerifyFull,
        })
        .options([("statement_timeout", limits::STATEMENT_TIME.as_millis().to_string())])
        .options(FORMATS);
    if access == Access::ReadOnly {
        options = options.options([("default_transaction_read_only", "on")]);
    }
    if let Some(pem) = &target.ca {
        options = options.ssl_root_cert_from_pem(pem.as_bytes().to_vec());
    }
    // A statement may contain data, so the driver must not log it.
    let options = options.disable_statement_logging();
    let connecting = async {
        let mut connection = options.connect().await?;
        watch(&mut connection).await?;
        Ok(connection)
    };
    let connected = tokio::time::timeout(limits::CONNECT_TIME, connecting).await;
    connected.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(|error| refused(&error, target, problem))
}

/// Makes the server check every second whether the client is still connected, and cancel the
/// statement if it is not. Closing the connection then cancels a statement, also if the process is
/// killed. Before PostgreSQL 14 only the statement timeout applies.
async fn watch(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    if connection.server_version_num().is_some_and(|version| version >= 140_000) {
        connection.execute("SET client_connection_check_interval = 1000").await?;
    }
    Ok(())
}

/// Resets the session (settings, roles, temporary tables, locks) before its connection is returned
/// to the pool. Fails if a transaction is open; such a connection is closed.
async fn reset(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection.execute("DISCARD ALL").await?;
    // `DISCARD ALL` has removed the server's prepared statements.
    connection.clear_cached_statements().await?;
    watch(connection).await
}

/// Checks a statement before the server sees it, and begins a transaction if the host must run the
/// statement in one. Returns whether it did.
async fn enter(session: &mut Session, statement: &Statement) -> Result<bool, Problem> {
    scan::check(&statement.text, statement.access)?;
    let alone = statement.needs_read_only_transaction();
    if alone {
        session.begin(Access::ReadOnly).await?;
    }
    Ok(alone)
}

pub(super) async fn execute(session: &mut Session, statement: Statement) -> Result<Execution, Problem> {
    let alone = enter(session, &statement).await?;
    let Statement { text, parameters, access, .. } = statement;
    let executed = execute_one(session.connection()?, &text, parameters, access).await;
    session.after(executed.is_err(), alone).await?;
    executed
}

/// Runs one statement with many sets of parameters, in the open transaction.
pub(super) async fn execute_many(
    session: &mut Session,
    text: &str,
    sets: Vec<Vec<Value>>,
    access: Access,
) -> Result<Execution, Refused> {
    let executed = many::execute_many(session.connection()?, text, sets, access).await;
    session.after(executed.is_err(), false).await?;
    executed
}

/// Inserts rows into a table, in the open transaction.
pub(super) async fn insert(session: &mut Session, into: &InsertTarget, rows: &[Vec<Value>]) -> Result<u64, Refused> {
    // The transaction is not checked, because only statements of the host are run.
    copy::insert(session.connection()?, into, rows).await
}

pub(super) async fn query(session: &mut Session, statement: Statement, sink: &mut Sink) -> Result<(), Stop> {
    let alone = enter(session, &statement).await?;
    let Statement { text, parameters, access, .. } = statement;
    let read = read(session.connection()?, &text, parameters, access, sink).await;
    // Unread rows are still on their way, so the connection is closed.
    if !matches!(read, Err(Stop::Unread)) {
        session.after(read.is_err(), alone).await?;
    }
    read
}

async fn read(
    connection: &mut PgConnection,
    text: &str,
    parameters: Vec<Value>,
    access: Access,
    sink: &mut Sink,
) -> Result<(), Stop> {
    let prepared = prepare(connection, text, parameters.clone()).await;
    let known = match &prepared {
        Err(problem) if is_unknown_type(problem) => Some(unknown::cast(connection, text).await?),
        _ => None,
    };
    let Prepared { text, columns, arguments } = match &known {
        Some(known) => prepare(connection, &known.text, parameters).await?,
        None => prepared?,
    };
    returns_rows(&columns, access)?;
    let forms: Vec<_> = columns.iter().map(|column| foreign::text_form(column.type_info())).collect();
    let mut readings: Vec<Reading> =
        columns.iter().zip(&forms).map(|(column, form)| Reading::of(column.type_info(), *form)).collect();
    for (reading, unknown) in readings.iter_mut().zip(known.iter().flat_map(|known| &known.unknown)) {
        if let Some(unknown) = unknown {
            *reading = Reading::of_text(&unknown.type_name, unknown.form);
        }
    }
    let text = if forms.iter().any(Option::is_some) { foreign::cast_columns(&text, &forms).into() } else { text };
    let columns = columns.iter().zip(&readings);
    let columns = columns.map(|(column, reading)| (column.name().to_owned(), reading.type_name.clone(), reading.kind));

    let rows = sqlx::query_with(AssertSqlSafe(text.as_ref()), arguments).fetch(connection);
    let mut rows = rows.map_err(|error| problem(&error));
    let first = rows.try_next().await?;
    sink.head(Head::of(columns)).await?;
    sink.rows(first, rows, &readings, format::cell).await
}

/// Returns the number of parameters that the server finds in a statement.
#[cfg(test)]
pub(super) async fn count_parameters(session: &mut Session, text: &str) -> Result<usize, Problem> {
    prepare::count_parameters(session.connection()?, text).await
}

/// Runs a statement of a read without scanning it.
#[cfg(test)]
pub(super) async fn unscanned(session: &mut Session, text: &str) -> Result<(), Problem> {
    execute_one(session.connection()?, text, Vec::new(), Access::ReadOnly).await.map(drop)
}

/// Runs a statement without any check, and then the check that follows a guest's statement.
#[cfg(test)]
pub(super) async fn execute_unscanned(session: &mut Session, text: &'static str) -> Result<(), Problem> {
    session.connection()?.execute(text).await.map_err(|error| problem(&error))?;
    session.after(false, false).await
}
