//! SQLite databases in memory, with the behavior of the host for values, statements and errors.

mod exact;
mod statement;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use self::exact::{affinity, lost};
use self::statement::{Refused, check_count, no_transaction_control, problem, run};
use super::types::Problem;
use super::value::{Column, Execution, Target, Value};

/// Path of a database that is not a file.
const MEMORY: &str = ":memory:";

/// Databases by their paths.
pub(super) type Databases = RefCell<BTreeMap<String, Arc<Database>>>;

/// A database, which all connections to its path share.
pub(crate) struct Database {
    connection: Mutex<rusqlite::Connection>,
    /// Number of the handle that has begun a transaction, or 0.
    owner: AtomicU64,
}

/// A connection of the bundle.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    database: Arc<Database>,
    number: u64,
    /// Whether rows of a statement have not been read yet.
    busy: Arc<AtomicBool>,
    /// Whether a statement left the transaction of the host.
    closed: Arc<AtomicBool>,
    read_only: bool,
}

/// A transaction of the bundle.
#[derive(Debug)]
pub(super) struct Transaction {
    handle: Handle,
    finished: bool,
}

/// Rows of a statement. The connection is busy until they have been read.
#[derive(Debug)]
pub(super) struct Cursor {
    columns: Vec<Column>,
    state: Mutex<Unread>,
    busy: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Unread {
    rows: VecDeque<Vec<Value>>,
    is_started: bool,
    /// Failure after the rows.
    end: Option<Problem>,
}

/// Opens a database, and creates it unless the operation only reads.
pub(super) fn open(databases: &Databases, target: &Target, read_only: bool) -> Result<Handle, Problem> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    check(target)?;
    let mut databases = databases.borrow_mut();
    let path = target.database.as_str();
    if !databases.contains_key(path) {
        if read_only && path != MEMORY {
            return Err(Problem::new("not-found", format!("database file `{path}` does not exist"))
                .hint("create it with `Host::database` in the test")
                .details(&serde_json::json!({ "step": "connect" })));
        }
        databases.insert(path.to_owned(), Arc::new(Database::create()?));
    }
    let database = databases[path].clone();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Ok(Handle { database, number, busy: Arc::default(), closed: Arc::default(), read_only })
}

/// Creates a database with a script of SQL statements.
pub(super) fn create(databases: &Databases, path: &str, script: &str) -> Result<(), Problem> {
    let (dialect, database) = ("sqlite".to_owned(), path.to_owned());
    let target = Target { dialect, host: None, port: None, database, username: None, options: Vec::new() };
    let handle = open(databases, &target, false)?;
    handle.claim()?.execute_batch(script).map_err(|error| problem(&error))
}

fn check(target: &Target) -> Result<(), Problem> {
    let invalid = |message: String| Err(Problem::new("invalid", message));
    if target.dialect != "sqlite" {
        let problem = Problem::new("failed", format!("the fake host has no database for `{}`", target.dialect));
        return Err(problem.hint("test the block with the dialect `sqlite`, or end to end with a server"));
    }
    if target.host.is_some() || target.port.is_some() || target.username.is_some() {
        return invalid("a SQLite file has no host, port or user".to_owned());
    }
    if target.database != MEMORY && !Path::new(&target.database).is_absolute() {
        let message = format!("`{}` is a relative path, which depends on the current folder", target.database);
        return Err(Problem::new("invalid", message).hint("save the block with an absolute path"));
    }
    match target.options.first() {
        Some((name, _)) => invalid(format!("unknown option `{name}` for SQLite")),
        None => Ok(()),
    }
}

impl Database {
    /// Creates an empty database.
    fn create() -> Result<Self, Problem> {
        let create = || {
            let connection = rusqlite::Connection::open_in_memory()?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
            connection.authorizer(Some(|context: AuthContext<'_>| match context.action {
                // Another file.
                AuthAction::Attach { .. } | AuthAction::Detach { .. } => Authorization::Deny,
                _ => Authorization::Allow,
            }))?;
            Ok(connection)
        };
        let connection = create().map_err(|error| problem(&error))?;
        Ok(Self { connection: Mutex::new(connection), owner: AtomicU64::new(0) })
    }

    fn connection(&self) -> MutexGuard<'_, rusqlite::Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Database")
    }
}

impl Handle {
    /// Checks that a statement can begin, and returns the connection.
    fn claim(&self) -> Result<MutexGuard<'_, rusqlite::Connection>, Problem> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Problem::new("failed", "the connection was closed after an earlier failure"));
        }
        if self.busy.load(Ordering::Relaxed) {
            return Err(Problem::new("invalid", "the connection is busy with the rows of another statement"));
        }
        let owner = self.database.owner.load(Ordering::Relaxed);
        if owner != 0 && owner != self.number {
            let locked = Problem::new("unavailable", "database is locked").retryable();
            return Err(locked.hint("another connection of the test has begun a transaction"));
        }
        Ok(self.database.connection())
    }

    /// Runs a statement of the bundle. If it leaves the open transaction, the connection is closed.
    fn statement<T, E: From<Problem>>(&self, work: impl FnOnce(&rusqlite::Connection) -> Result<T, E>) -> Result<T, E> {
        let connection = self.claim()?;
        let before = connection.is_autocommit();
        let done = work(&connection);
        if connection.is_autocommit() == before {
            return done;
        }
        self.closed.store(true, Ordering::Relaxed);
        let message = "the statement ended the transaction that it is part of; the connection was closed";
        Err(done.err().unwrap_or_else(|| {
            Problem::new("left-transaction", message)
                .hint("remove the statements that begin or end transactions")
                .into()
        }))
    }

    pub(super) fn query(&self, text: &str, parameters: &[Value]) -> Result<Cursor, Problem> {
        no_transaction_control(text)?;
        let read = self.statement(|connection| {
            let mut prepared = statement::prepare(connection, text, self.read_only)?;
            check_count(prepared.parameter_count(), parameters.len())?;
            statement::read(&mut prepared, parameters)
        })?;
        let (columns, rows, end) = read;
        let state = Unread { rows: rows.into(), is_started: false, end };
        let cursor = Cursor { columns, state: Mutex::new(state), busy: self.busy.clone() };
        let is_unread = !cursor.columns.is_empty();
        self.busy.store(is_unread, Ordering::Relaxed);
        Ok(cursor)
    }

    pub(super) fn execute(&self, text: &str, parameters: &[Value]) -> Result<Execution, Problem> {
        no_transaction_control(text)?;
        self.statement(|connection| {
            let mut prepared = statement::prepare(connection, text, self.read_only)?;
            check_count(prepared.parameter_count(), parameters.len())?;
            run(connection, &mut prepared, parameters)
        })
    }

    pub(super) fn execute_many(&self, text: &str, sets: &[Vec<Value>]) -> Result<Execution, Problem> {
        let transaction = self.begin()?;
        let done = self.sets(text, sets).map_err(Refused::of_sets)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Runs a statement with many sets of parameters, in the open transaction.
    fn sets(&self, text: &str, sets: &[Vec<Value>]) -> Result<Execution, Refused> {
        no_transaction_control(text)?;
        self.statement(|connection| {
            let mut total = Execution { rows_affected: 0, last_insert_id: None };
            if sets.is_empty() {
                return Ok(total);
            }
            let mut prepared = statement::prepare(connection, text, self.read_only)?;
            for (index, set) in sets.iter().enumerate() {
                let done = check_count(prepared.parameter_count(), set.len())
                    .and_then(|()| run(connection, &mut prepared, set))
                    .map_err(|problem| Refused::at(index, problem))?;
                total.rows_affected += done.rows_affected;
                total.last_insert_id = done.last_insert_id;
            }
            Ok(total)
        })
    }

    /// Inserts rows into a table, in the open transaction.
    pub(super) fn insert(&self, table: &[String], columns: &[String], rows: &[Vec<Value>]) -> Result<u64, Problem> {
        assert!(!self.read_only, "an operation with the effect `read` must not insert rows into a table");
        let text = statement::insert(table, columns)?;
        let inserted = || -> Result<Execution, Refused> {
            let affinities = self.affinities(table, columns)?;
            for (index, row) in rows.iter().enumerate() {
                if row.len() != columns.len() {
                    let message = format!("the row has {} values for {} columns", row.len(), columns.len());
                    return Err(Refused::at(index, Problem::new("invalid", message)));
                }
                for ((value, affinity), column) in row.iter().zip(&affinities).zip(columns) {
                    if let Some(reason) = lost(*affinity, value) {
                        let message = format!("column \"{}\": {reason}", column.replace('"', "\"\""));
                        return Err(Refused::at(index, Problem::new("invalid", message)));
                    }
                }
            }
            self.sets(&text, rows)
        };
        inserted().map(|done| done.rows_affected).map_err(Refused::of_rows)
    }

    /// Returns the affinities of a table's columns. A column that does not exist is left for the
    /// `INSERT` statement to report.
    fn affinities(&self, table: &[String], columns: &[String]) -> Result<Vec<exact::Affinity>, Problem> {
        let parameters: Vec<Value> = table.iter().rev().cloned().map(Value::Text).collect();
        let asked = match parameters.len() {
            2 => "select name, type from pragma_table_info(?1, ?2)",
            _ => "select name, type from pragma_table_info(?1)",
        };
        let connection = self.claim()?;
        let (_, rows, _) = statement::read(&mut statement::prepare(&connection, asked, false)?, &parameters)?;
        let declared = |column: &String| {
            rows.iter().find_map(|row| match &row[..] {
                [Value::Text(name), Value::Text(kind)] if name.eq_ignore_ascii_case(column) => {
                    Some(affinity(&kind.to_ascii_lowercase()))
                }
                _ => None,
            })
        };
        Ok(columns.iter().map(|column| declared(column).unwrap_or(exact::Affinity::Blob)).collect())
    }

    pub(super) fn begin(&self) -> Result<Transaction, Problem> {
        self.claim()?.execute_batch("BEGIN").map_err(|error| problem(&error))?;
        self.database.owner.store(self.number, Ordering::Relaxed);
        Ok(Transaction { handle: self.clone(), finished: false })
    }
}

impl Transaction {
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn commit(mut self) -> Result<(), Problem> {
        self.handle.claim()?.execute_batch("COMMIT").map_err(|error| problem(&error))?;
        self.finished = true;
        self.handle.database.owner.store(0, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.finished {
            let connection = self.handle.database.connection();
            if !connection.is_autocommit() {
                // A transaction in memory can always be rolled back.
                let _ = connection.execute_batch("ROLLBACK");
            }
            self.handle.database.owner.store(0, Ordering::Relaxed);
        }
    }
}

impl Cursor {
    pub(super) fn columns(&self) -> Vec<Column> {
        self.columns.clone()
    }

    fn unread(&self) -> MutexGuard<'_, Unread> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next(&self, max: usize) -> Result<Vec<Vec<Value>>, Problem> {
        let mut unread = self.unread();
        unread.is_started = true;
        let count = max.min(unread.rows.len());
        let rows: Vec<Vec<Value>> = unread.rows.drain(..count).collect();
        if unread.rows.is_empty() {
            self.busy.store(false, Ordering::Relaxed);
        }
        match unread.end.take_if(|_| count == 0) {
            Some(problem) => Err(problem),
            None => Ok(rows),
        }
    }

    /// Returns the columns and all rows, if none was read.
    pub(super) fn into_rows(self) -> Result<(Vec<Column>, Vec<Vec<Value>>), Problem> {
        let mut unread = self.unread();
        if unread.is_started {
            let message = "rows that were read as values cannot be converted to an Arrow stream";
            return Err(Problem::new("invalid", message));
        }
        match unread.end.take() {
            Some(problem) => Err(problem),
            None => Ok((self.columns.clone(), std::mem::take(&mut unread.rows).into())),
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.busy.store(false, Ordering::Relaxed);
    }
}
