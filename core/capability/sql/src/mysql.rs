//! MySQL and MariaDB through sqlx. Statements are always prepared, and the server prepares only one
//! statement at a time. [`format`](mod@format) decodes rows from the binary format. [`scan`]
//! detects statements that a read-only transaction does not prevent.
//!
//! `LOAD DATA LOCAL` cannot read a file of this machine: the driver does not offer that capability,
//! and does not respond to a server that asks for a file nevertheless.

mod error;
mod format;
mod scan;

use std::sync::Arc;
use std::time::Duration;

use blockyard_call::{Problem, limits};
use blockyard_model::capability::Dialect;
use blockyard_model::{SecretValue, TlsMode};
use futures_util::StreamExt as _;
use sqlx::mysql::{
    MySqlArguments, MySqlColumn, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlSslMode,
};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Either, Executor as _, Row as _, SqlSafeStr as _,
    Statement as _,
};
use tokio::runtime::Handle;

use self::error::{problem, refused};
use self::format::Reading;
use super::insert::{InsertTarget, Refused, check_lists};
use super::lease::Lease;
use super::sink::{Head, Sink, Stop};
use super::statement::{Access, Statement, left_transaction};
use super::target::Permitted;
use super::word::first_word;
use crate::bindings::blockyard::bundle::sql::{Column, Execution, Value};

/// Maximum time for telling the server to stop a statement, or to close a connection.
const KILL_TIME: Duration = Duration::from_secs(3);
/// Maximum number of rows per `INSERT`.
const STATEMENT_ROWS: usize = 500;
/// Maximum number of parameters per statement.
const STATEMENT_VALUES: usize = 65_535;

/// A connection, and the options for a second connection that stops its statement.
pub(super) struct Session {
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
    progress: Progress,
}

/// Statements of a guest in a transaction that writes. The server ends the transaction at some
/// statements (`create table`, `lock tables`, a procedure that commits), which commits the changes up
/// to there.
struct Progress {
    /// Name of a statement in messages: `statement`, or `set` if one statement is run with many sets
    /// of parameters.
    noun: &'static str,
    /// Number of statements so far.
    statements: usize,
    /// Number of the last statement whose changes were committed.
    committed: Option<usize>,
    /// Whether the host's transaction is open. It is not while tables are locked, because a new
    /// transaction would release the locks.
    is_open: bool,
    /// Whether a statement may have committed the transaction, and the host cannot find out: the
    /// connection was lost or closed while the statement ran.
    may_be_committed: bool,
}

impl Progress {
    const NEW: Self =
        Self { noun: "statement", statements: 0, committed: None, is_open: true, may_be_committed: false };

    /// Adds the changes that were committed to the message of an error. Such an error must not be
    /// retried, because the retry would repeat these changes.
    fn extended(&self, problem: Problem) -> Problem {
        let Some(last) = self.committed else {
            return Problem { retryable: problem.retryable && !self.may_be_committed, ..problem };
        };
        let (noun, reason) = (self.noun, &problem.message);
        let message = if last == self.statements {
            format!(
                "{reason}; the server committed the transaction at this {noun}, so the changes before the error stay"
            )
        } else {
            format!("{reason}; the server committed the transaction at {noun} {last}, so the changes up to there stay")
        };
        let hint =
            "run statements that end a transaction, such as `create`, `alter` and `lock tables`, in a separate call";
        let hint = problem.hint.clone().unwrap_or_else(|| hint.to_owned());
        Problem { message, retryable: false, ..problem }.hint(hint)
    }
}

/// First words of statements that cannot end a transaction. The server refuses functions and triggers
/// that do.
const WITHIN_TRANSACTION: [&str; 7] = ["insert", "replace", "update", "delete", "select", "with", "values"];
/// Begins a transaction that writes. A savepoint ends with its transaction, so the transaction can be
/// recognized by it.
const BEGIN_WRITE: &str = "START TRANSACTION; SAVEPOINT blockyard_transaction";
/// Number of the error about a savepoint that does not exist.
const NO_SAVEPOINT: u16 = 1305;
/// Number of the warning about changes that cannot be rolled back.
const NOT_ROLLED_BACK: u32 = 1196;

impl Session {
    /// Opens a connection. For reads, the session itself is read-only, so that a transaction which
    /// a statement begins by itself is read-only as well.
    pub(super) async fn open(
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

    fn connection(&mut self) -> Result<&mut MySqlConnection, Problem> {
        let closed = || Problem::new("unavailable", "the connection was closed after a failure").retryable();
        self.connection.as_mut().ok_or_else(closed)
    }

    /// Makes the server end the connection and its statement. MySQL does not detect that a client
    /// is gone, so a second connection sends `KILL`. The first connection stays open until then, so
    /// that its ID is not reused.
    ///
    /// The session has no connection from here on. Its errors still name the changes that were
    /// committed.
    pub(super) fn stop(&mut self) {
        let (Some(connection), lease) = (self.connection.take(), self.lease.take()) else { return };
        let (id, options) = (self.id, self.options.clone());
        super::background::spawn(async move {
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
    pub(super) fn is_closed(&self) -> bool {
        self.connection.is_none()
    }

    pub(super) async fn begin(&mut self, access: Access) -> Result<(), Problem> {
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
    pub(super) async fn commit(&mut self) -> Result<(), Problem> {
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

    pub(super) async fn rollback(&mut self) -> Result<(), Problem> {
        self.transaction = None;
        self.run("ROLLBACK").await
    }

    async fn run(&mut self, statements: &'static str) -> Result<(), Problem> {
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
    async fn follow<T>(&mut self, noun: &'static str, text: &str, executed: Result<T, Problem>) -> Result<T, Problem> {
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
        let again = "RELEASE SAVEPOINT blockyard_transaction; SAVEPOINT blockyard_transaction";
        let connection = self.connection()?;
        let Err(error) = sqlx::raw_sql(again).execute(connection).await else { return Ok(true) };
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
        let asked = "SAVEPOINT blockyard_changes; ROLLBACK TO SAVEPOINT blockyard_changes; SHOW WARNINGS";
        let Ok(connection) = self.connection() else { return false };
        let Ok(warnings) = sqlx::raw_sql(asked).fetch_all(connection).await else { return false };
        // The columns are the level, the number and the message.
        warnings.iter().any(|row| row.try_get_unchecked::<u32, _>(1).is_ok_and(|number| number == NOT_ROLLED_BACK))
    }

    /// Runs the check after a statement of a guest, and ends the transaction if the host began it
    /// for this statement alone.
    async fn after(&mut self, failed: bool, alone: bool) -> Result<(), Problem> {
        match self.check().await {
            Ok(()) if alone => self.rollback().await,
            // The connection was lost, which the error of the statement itself reports.
            Err(problem) if failed && problem.code != left_transaction().code => Ok(()),
            done => done,
        }
    }
}

/// Checks for a statement that cannot end a transaction.
fn is_within_transaction(text: &str) -> bool {
    WITHIN_TRANSACTION.contains(&first_word(text, Dialect::Mysql).as_str())
}

/// Checks whether a transaction that ended at a failed statement was rolled back, as by a deadlock. A
/// statement that commits implicitly, such as `alter table`, commits before it waits for a lock.
fn is_rolled_back(text: &str, failed: &Problem) -> bool {
    failed.retryable && (is_within_transaction(text) || first_word(text, Dialect::Mysql) == "call")
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

/// Checks a statement before the server sees it.
fn check(statement: &Statement) -> Result<(), Problem> {
    scan::check(&statement.text, statement.access)?;
    check_lists(&statement.parameters)
}

pub(super) async fn execute(session: &mut Session, statement: Statement) -> Result<Execution, Problem> {
    let alone = statement.needs_read_only_transaction();
    if let Err(refused) = check(&statement) {
        return session.follow("statement", &statement.text, Err(refused)).await;
    }
    if alone {
        session.begin(Access::ReadOnly).await?;
    }
    let Statement { text, parameters, access, .. } = statement;
    let executed = execute_one(session, &text, &parameters, access).await;
    session.after(executed.is_err(), alone).await?;
    session.follow("statement", &text, executed).await
}

async fn execute_one(
    session: &mut Session,
    text: &str,
    parameters: &[Value],
    access: Access,
) -> Result<Execution, Problem> {
    let connection = session.connection()?;
    let (columns, arguments) = prepare(connection, text, parameters).await?;
    returns_rows(&columns, text, access)?;
    let result =
        sqlx::query_with(AssertSqlSafe(text), arguments).execute(connection).await.map_err(|error| problem(&error))?;
    Ok(Execution {
        rows_affected: result.rows_affected(),
        last_insert_id: i64::try_from(result.last_insert_id()).ok().filter(|id| *id != 0),
    })
}

/// Runs one statement with many sets of parameters, in the open transaction.
pub(super) async fn execute_many(
    session: &mut Session,
    text: &str,
    sets: Vec<Vec<Value>>,
    access: Access,
) -> Result<Execution, Refused> {
    scan::check(text, access)?;
    let mut total = Execution { rows_affected: 0, last_insert_id: None };
    for (index, parameters) in sets.into_iter().enumerate() {
        let executed = execute_one(session, text, &parameters, access).await;
        session.after(executed.is_err(), false).await?;
        let executed = session.follow("set", text, executed).await;
        let executed = executed.map_err(|problem| Refused::at(index, problem))?;
        total.rows_affected += executed.rows_affected;
        total.last_insert_id = executed.last_insert_id.or(total.last_insert_id);
    }
    Ok(total)
}

/// Inserts rows into a table, in the open transaction, with many rows per statement.
pub(super) async fn insert(session: &mut Session, into: &InsertTarget, rows: &[Vec<Value>]) -> Result<u64, Refused> {
    let (index, executed) = match insert_exactly(session, into, rows).await {
        Ok(inserted) => (None, Ok(inserted)),
        Err(Refused { index, problem }) => (index, Err(problem)),
    };
    let followed = session.follow("statement", &into.statement(1), executed).await;
    followed.map_err(|problem| Refused { index, problem })
}

/// Inserts rows in a mode of the server in which it stores a 0 as it is. Otherwise it stores the next
/// number in place of 0. The mode of the session is restored, because it applies to all statements.
async fn insert_exactly(session: &mut Session, into: &InsertTarget, rows: &[Vec<Value>]) -> Result<u64, Refused> {
    let connection = session.connection()?;
    let mode: Result<String, _> = sqlx::query_scalar("SELECT @@SESSION.sql_mode").fetch_one(&mut *connection).await;
    let mode = mode.map_err(|error| problem(&error))?;
    let keep_zeros = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')";
    sqlx::raw_sql(keep_zeros).execute(connection).await.map_err(|error| problem(&error))?;
    let inserted = insert_chunks(session, into, rows).await;
    let restored = sqlx::query("SET SESSION sql_mode = ?").bind(mode).execute(session.connection()?).await;
    let inserted = inserted?;
    restored.map_err(|error| problem(&error))?;
    Ok(inserted)
}

async fn insert_chunks(session: &mut Session, into: &InsertTarget, rows: &[Vec<Value>]) -> Result<u64, Refused> {
    let most = STATEMENT_ROWS.min(STATEMENT_VALUES / into.columns.len()).max(1);
    let (mut done, mut inserted) = (0, 0);
    let one = into.statement(1);
    let connection = session.connection()?;
    // Checked first, so that a mistake in the statement itself is not reported for a row.
    connection.prepare(AssertSqlSafe(one.clone()).into_sql_str()).await.map_err(|error| problem(&error))?;
    refuse_replaced_nulls(connection, into, rows).await?;
    for chunk in rows.chunks(most) {
        match execute_one(session, &into.statement(chunk.len()), &chunk.concat(), Access::ReadWrite).await {
            Ok(executed) => inserted += executed.rows_affected,
            // The statement had no effect. The rows are inserted one by one to find the one that
            // failed.
            Err(problem) if !problem.retryable && problem.code != "timeout" && chunk.len() > 1 => {
                for (index, row) in chunk.iter().enumerate() {
                    let alone = execute_one(session, &one, row, Access::ReadWrite).await;
                    alone.map_err(|problem| Refused::at(done + index, problem))?;
                }
                return Err(problem.into());
            }
            Err(problem) if chunk.len() == 1 => return Err(Refused::at(done, problem)),
            Err(problem) => return Err(problem.into()),
        }
        done += chunk.len();
    }
    Ok(inserted)
}

/// Refuses a null for a column of the type `timestamp not null`, in which MariaDB stores the current
/// time, regardless of `explicit_defaults_for_timestamp`.
async fn refuse_replaced_nulls(
    connection: &mut MySqlConnection,
    into: &InsertTarget,
    rows: &[Vec<Value>],
) -> Result<(), Refused> {
    if !rows.iter().flatten().any(|value| matches!(value, Value::Null)) {
        return Ok(());
    }
    // The views of `information_schema` do not have the columns of temporary tables.
    let asked = format!("SHOW COLUMNS FROM {} WHERE `Type` LIKE 'timestamp%' AND `Null` = 'NO'", into.table);
    let found = sqlx::query(AssertSqlSafe(asked)).fetch_all(connection).await.map_err(|error| problem(&error))?;
    let names: Result<Vec<String>, _> = found.iter().map(|row| row.try_get_unchecked(0)).collect();
    let names = names.map_err(|error| problem(&error))?;
    for (index, name) in into.names.iter().enumerate() {
        if !names.iter().any(|found| found.eq_ignore_ascii_case(name)) {
            continue;
        }
        if let Some(row) = rows.iter().position(|row| matches!(row[index], Value::Null)) {
            let reason = "the type is `timestamp not null`, and the server stores the current time in place of null";
            let refused = Problem::new("invalid", format!("column {}: {reason}", into.columns[index]))
                .hint("set a value, or leave the column out to store its default");
            return Err(Refused::at(row, refused));
        }
    }
    Ok(())
}

pub(super) async fn query(session: &mut Session, statement: Statement, sink: &mut Sink) -> Result<(), Stop> {
    let alone = statement.needs_read_only_transaction();
    if let Err(refused) = check(&statement) {
        return Ok(session.follow("statement", &statement.text, Err(refused)).await?);
    }
    if alone {
        session.begin(Access::ReadOnly).await?;
    }
    let Statement { text, parameters, access, .. } = statement;
    let may_be_committed = session.progress.may_be_committed;
    // Applies if the rows are not read to their end: then the session is stopped.
    session.progress.may_be_committed |= !is_within_transaction(&text);
    let read = read(session, &text, &parameters, access, sink).await;
    let executed = match read {
        // Unread rows are still on their way, so the connection is closed.
        Err(Stop::Unread) => return Err(Stop::Unread),
        Err(Stop::Problem(problem)) => Err(problem),
        Ok(()) => Ok(()),
    };
    session.progress.may_be_committed = may_be_committed;
    session.after(executed.is_err(), alone).await?;
    Ok(session.follow("statement", &text, executed).await?)
}

/// Checks that a statement of an operation with the effect `read` returns rows, according to the
/// server's own parser. Statements that end transactions or write files (`INTO OUTFILE`) return
/// none, regardless of how they are written. The server does not report the columns of some `SHOW`
/// and `EXPLAIN` statements before they run. These must begin with that word, so that all servers
/// read them in the same way.
fn returns_rows(columns: &[MySqlColumn], text: &str, access: Access) -> Result<(), Problem> {
    let told_later = || {
        let text = text.trim_start_matches([' ', '\t', '\n', '\r']);
        let word = text.split([' ', '\t', '\n', '\r']).next().unwrap_or_default();
        ["show", "explain", "describe", "desc"].into_iter().any(|known| word.eq_ignore_ascii_case(known))
    };
    if access == Access::ReadWrite || !columns.is_empty() || told_later() {
        return Ok(());
    }
    Err(Problem::new("effect", "the operation only reads, and the statement returns no columns").hint(
        "use `execute` for statements that change something; begin `show` and `explain` statements with that word",
    ))
}

async fn read(
    session: &mut Session,
    text: &str,
    parameters: &[Value],
    access: Access,
    sink: &mut Sink,
) -> Result<(), Stop> {
    let connection = session.connection()?;
    let (described, arguments) = prepare(connection, text, parameters).await?;
    returns_rows(&described, text, access)?;
    let mut rows = sqlx::query_with(AssertSqlSafe(text), arguments).fetch(connection);
    let mut next = rows.next().await.transpose().map_err(|error| problem(&error))?;
    // The server determines the types of expressions with parameters when it runs the statement.
    let described = next.as_ref().map_or(described.as_slice(), |row| row.columns());
    let readings: Vec<Reading> = described.iter().map(|column| Reading::of(column.type_info())).collect();
    let columns = described
        .iter()
        .zip(&readings)
        .map(|(column, reading)| Column {
            name: column.name().to_owned(),
            type_name: reading.type_name.clone(),
            nullable: None,
        })
        .collect();
    sink.head(Head { columns, kinds: readings.iter().map(|reading| reading.kind).collect() }).await?;
    while let Some(row) = next {
        if sink.row(readings.iter().enumerate().map(|(index, reading)| format::cell(&row, index, reading)))? {
            sink.flush().await?;
        }
        next = rows.next().await.transpose().map_err(|error| problem(&error))?;
    }
    Ok(())
}

/// Lets the server parse the statement. Returns its columns, and the parameters in binary format.
async fn prepare(
    connection: &mut MySqlConnection,
    text: &str,
    parameters: &[Value],
) -> Result<(Vec<MySqlColumn>, MySqlArguments), Problem> {
    let prepared = connection.prepare(AssertSqlSafe(text).into_sql_str()).await.map_err(|error| problem(&error))?;
    let wanted = match prepared.parameters() {
        Some(Either::Right(count)) => count,
        Some(Either::Left(types)) => types.len(),
        None => parameters.len(),
    };
    if wanted != parameters.len() {
        return Err(Problem::new(
            "invalid",
            format!("the statement takes {wanted} parameters; {} were given", parameters.len()),
        ));
    }
    Ok((prepared.columns().to_vec(), format::arguments(parameters)?))
}

/// Runs a statement of a read without scanning it.
#[cfg(test)]
pub(super) async fn unscanned(session: &mut Session, text: &str) -> Result<(), Problem> {
    execute_one(session, text, &[], Access::ReadOnly).await.map(drop)
}

/// Runs a statement without any check, and then the check that follows a guest's statement.
#[cfg(test)]
pub(super) async fn smuggled(session: &mut Session, text: &'static str) -> Result<(), Problem> {
    session.run(text).await?;
    session.after(false, false).await
}
