//! SQLite: the one file that the block's configuration names, and no other. Statements run on a
//! thread that may block, and are interrupted when their caller stops waiting.

mod affinity;
pub(super) mod budget;
mod confinement;
mod database;
mod error;
mod temporary;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use blockyard_call::{Problem, limits};
use blockyard_model::capability::Dialect;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tokio::runtime::Handle;

use self::affinity::{Affinity, affinity, kind, lost};
use self::budget::{Budget, Counting};
use self::confinement::Guard;
use self::database::{BUSY_TIME, Database, Prepared, cell, columns};
use self::error::{Refusal, could_not_open, too_late};
use super::cell::Cell;
use super::error::closed;
use super::insert::{InsertTarget, Refused, check_lists};
use super::lease::{Lease, Reusable};
use super::sink::{Head, Sink, Stop};
use super::statement::{Access, Statement, check_count, left_transaction};
use super::target::Permitted;
use super::word::no_transaction_control;
use crate::bindings::blockyard::bundle::sql::{Execution, Value};

/// A connection, and the thread that runs its statements. Without a thread, the connection is
/// closed.
pub(super) struct Session(Option<Worker>);

/// A thread that owns the connection for the duration of the session.
struct Worker {
    jobs: mpsc::Sender<(Arc<AtomicBool>, Job)>,
    /// Whether the connection is returned to the pool at the end, instead of being closed.
    keep: Arc<AtomicBool>,
}

/// Work on the database.
type Job = Box<dyn FnOnce(&Database<'_>) + Send>;

/// Interrupts a statement when it is dropped.
#[derive(Default)]
struct Interrupt(Arc<AtomicBool>);

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Session {
    /// Allows the connection to be returned to the pool, unless a statement was interrupted.
    fn drop(&mut self) {
        if let Some(worker) = &self.0 {
            worker.keep.store(true, Ordering::Relaxed);
        }
    }
}

/// Options of a session.
pub(super) struct SessionOptions {
    pub(super) access: Access,
    /// Whether the database is in memory. Such a database exists as long as its connection.
    pub(super) memory: bool,
    /// Limits on the memory and temporary files of the call.
    pub(super) budget: Arc<Budget>,
}

impl Session {
    pub(super) fn new(connection: Connection, lease: Lease, how: SessionOptions) -> Self {
        Self(Some(Worker::start(connection, lease, how)))
    }

    /// Closes the connection instead of returning it to the pool.
    pub(super) fn stop(mut self) {
        self.0 = None;
    }

    /// Runs work on the database on a thread that may block. If the future is dropped before the
    /// work ends, the running statement is interrupted and the connection is closed.
    async fn on_thread<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Database<'_>) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let worker = self.0.take().ok_or_else(closed)?;
        let interrupt = Interrupt::default();
        let (answer, answered) = tokio::sync::oneshot::channel();
        let job = Box::new(move |database: &Database<'_>| {
            let _ = answer.send(work(database));
        });
        let silent = || Problem::new("failed", "the thread that runs SQLite stopped unexpectedly");
        worker.jobs.send((interrupt.0.clone(), job)).map_err(|_| silent())?;
        let done = answered.await.map_err(|_| silent())?;
        self.0 = Some(worker);
        Ok(done)
    }

    /// Runs a guest's statement like [`on_thread`](Self::on_thread). If the statement leaves the
    /// open transaction, or SQLite rolls the transaction back after an error, the connection is
    /// closed, because later statements would not be part of the transaction.
    async fn statement<T: Send + 'static, E: From<Problem> + Send + 'static>(
        &mut self,
        work: impl FnOnce(&Database<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let (done, lost) = self
            .on_thread(move |database| {
                let before = database.is_in_transaction();
                let done = work(database);
                (done, before != database.is_in_transaction())
            })
            .await?;
        if lost {
            self.0 = None;
            return Err(done.err().unwrap_or_else(|| left_transaction().into()));
        }
        done
    }
}

impl Worker {
    fn start(connection: Connection, lease: Lease, how: SessionOptions) -> Self {
        let (jobs, queue) = mpsc::channel::<(Arc<AtomicBool>, Job)>();
        let keep = Arc::new(AtomicBool::new(false));
        let kept = keep.clone();
        let runtime = Handle::current();
        let SessionOptions { access, memory, budget } = how;
        tokio::task::spawn_blocking(move || {
            let counting = Counting::start(budget);
            let mut usable = true;
            while let Ok((stop, job)) = queue.recv() {
                let Ok(database) = Database::new(&connection, stop, Guard::new(access, memory)) else {
                    usable = false;
                    break;
                };
                job(&database);
                usable = !database.is_in_transaction();
            }
            drop(counting);
            // A call can change a connection in ways that cannot all be reset, and opening the file
            // again is cheaper than detecting them. Only a database in memory is kept, because it
            // would be lost with its connection.
            if memory && usable && kept.load(Ordering::Relaxed) {
                lease.keep(Reusable::Memory(connection), &runtime);
            } else {
                drop(connection);
            }
        });
        Self { jobs, keep }
    }
}

/// Opens the file, or creates a database in memory.
pub(super) async fn connect(target: &Permitted, access: Access, protected: &[PathBuf]) -> Result<Connection, Problem> {
    budget::ensure();
    let memory = target.is_memory();
    let path = Path::new(&target.database);
    let is_protected = || protected.iter().any(|file| is_same_file(file, path));
    let refused = || Problem::new("not-granted", format!("`{}` belongs to Blockyard itself", target.database));
    if !memory && is_protected() {
        return Err(refused());
    }
    if access == Access::ReadOnly && !memory && !path.exists() {
        return Err(Problem::new("not-found", format!("database file `{}` does not exist", target.database))
            .hint("run a statement with `execute`, which creates the file")
            .details(&json!({ "step": "connect" })));
    }
    let file = (!memory).then(|| path.to_owned());
    let opening = tokio::task::spawn_blocking(move || open(file.as_deref(), access));
    let opened = tokio::time::timeout(limits::CONNECT_TIME, opening).await.map_err(|_| too_late(target))?;
    let opened = opened.map_err(|_| Problem::new("failed", "the thread that opens the file stopped unexpectedly"))?;
    let connection = opened.ok_or_else(|| Problem::new("failed", "SQLite has no file system on this machine"))?;
    let connection = connection.map_err(|error| could_not_open(&error, target))?;
    // Checked again, because a symbolic link may have been replaced in the meantime.
    if !memory && is_protected() {
        return Err(refused());
    }
    confinement::bound(&connection, memory).map_err(|error| {
        let code = Refusal::from(&error).code;
        Problem::new("failed", format!("cannot set the limits of the SQLite connection: error code {code}"))
    })?;
    Ok(connection)
}

/// Opens a file, or without one a database in memory. Returns `None` if SQLite has no file system.
fn open(file: Option<&Path>, access: Access) -> Option<rusqlite::Result<Connection>> {
    let file_system = temporary::file_system()?;
    let access = match access {
        Access::ReadOnly if file.is_some() => OpenFlags::SQLITE_OPEN_READ_ONLY,
        _ => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    };
    // One thread at a time uses a connection, and no other connection shares its cache.
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
    let opened = match file {
        // The path is absolute, so SQLite does not interpret it as a URI.
        Some(path) => Connection::open_with_flags_and_vfs(path, flags, file_system),
        None => Connection::open_in_memory_with_flags_and_vfs(flags, file_system),
    };
    Some(opened.and_then(|connection| {
        connection.busy_timeout(BUSY_TIME)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
        Ok(connection)
    }))
}

/// Checks whether two paths refer to the same file, through symbolic and hard links. The file need
/// not exist yet.
fn is_same_file(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let identity = |path: &Path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        if identity(one).is_some_and(|file| identity(other) == Some(file)) {
            return true;
        }
    }
    match (resolved(one, MAX_LINKS), resolved(other, MAX_LINKS)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// Maximum number of symbolic links that are followed, as on Linux.
const MAX_LINKS: usize = 40;

/// Resolves the symbolic links of a path, whose last component need not exist.
fn resolved(path: &Path, links: usize) -> Option<PathBuf> {
    if let Ok(path) = path.canonicalize() {
        return Some(path);
    }
    if let Ok(target) = path.read_link() {
        return resolved(&path.parent()?.join(target), links.checked_sub(1)?);
    }
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}

/// Runs a statement of the host.
pub(super) async fn run(session: &mut Session, statement: &'static str) -> Result<(), Problem> {
    session.on_thread(move |database| database.run(statement)).await?
}

pub(super) async fn execute(session: &mut Session, statement: Statement) -> Result<Execution, Problem> {
    let Statement { text, parameters, .. } = statement;
    no_transaction_control(&text, Dialect::Sqlite)?;
    check_lists(&parameters)?;
    session
        .statement(move |database| {
            let mut prepared = prepare(database, &text, parameters.len())?;
            execute_one(database, &mut prepared, &parameters)
        })
        .await
}

/// Runs one statement with many sets of parameters, in the open transaction.
pub(super) async fn execute_many(
    session: &mut Session,
    text: &str,
    sets: Vec<Vec<Value>>,
) -> Result<Execution, Refused> {
    no_transaction_control(text, Dialect::Sqlite)?;
    let text = text.to_owned();
    session
        .statement(move |database| {
            let mut total = Execution { rows_affected: 0, last_insert_id: None };
            let Some(first) = sets.first() else { return Ok(total) };
            let mut prepared = prepare(database, &text, first.len())?;
            for (index, parameters) in sets.iter().enumerate() {
                let executed = check_count(prepared.parameters(), parameters.len())
                    .and_then(|()| execute_one(database, &mut prepared, parameters))
                    .map_err(|problem| Refused::at(index, problem))?;
                total.rows_affected += executed.rows_affected;
                total.last_insert_id = executed.last_insert_id;
            }
            Ok(total)
        })
        .await
}

fn execute_one(
    database: &Database<'_>,
    prepared: &mut Prepared<'_>,
    parameters: &[Value],
) -> Result<Execution, Problem> {
    let before = database.total_changes();
    let mut rows = prepared.rows(parameters)?;
    while rows.next()?.is_some() {}
    // `changes` refers to the last statement that changed rows, which may not be this one.
    let rows_affected = if database.total_changes() == before { 0 } else { database.changes() };
    Ok(Execution { rows_affected, last_insert_id: Some(database.last_insert_rowid()) })
}

pub(super) async fn query(session: &mut Session, statement: Statement, sink: &mut Sink) -> Result<(), Stop> {
    let Statement { text, parameters, .. } = statement;
    no_transaction_control(&text, Dialect::Sqlite)?;
    check_lists(&parameters)?;
    // The thread owns the sink while it reads.
    let mut moved = std::mem::take(sink);
    let runtime = Handle::current();
    let (moved, read, lost) = session
        .on_thread(move |database| {
            let before = database.is_in_transaction();
            let read = read(database, &text, &parameters, &mut moved, &runtime);
            (moved, read, before != database.is_in_transaction())
        })
        .await?;
    *sink = moved;
    if lost {
        session.0 = None;
        return read.and(Err(left_transaction().into()));
    }
    read
}

fn read(
    database: &Database<'_>,
    text: &str,
    parameters: &[Value],
    sink: &mut Sink,
    runtime: &Handle,
) -> Result<(), Stop> {
    let mut prepared = prepare(database, text, parameters.len())?;
    let mut rows = prepared.rows(parameters)?;
    // The columns are described after the first step, which compiles the statement again if the
    // schema has changed.
    let Some(mut row) = rows.next()? else {
        drop(rows);
        return runtime.block_on(sink.head(head(prepared.columns()?)));
    };
    let columns = columns(row.as_ref())?;
    let width = columns.len();
    runtime.block_on(sink.head(head(columns)))?;
    loop {
        if sink.row((0..width).map(|column| cell(row, column)))? {
            runtime.block_on(sink.flush())?;
        }
        match rows.next()? {
            Some(next) => row = next,
            None => return Ok(()),
        }
    }
}

/// Describes columns by their names and declared types.
fn head(columns: Vec<(String, String)>) -> Head {
    Head::of(columns.into_iter().map(|(name, declared)| {
        let declared = declared.to_ascii_lowercase();
        let kind = kind(&declared);
        (name, declared, kind)
    }))
}

/// Compiles the statement, and checks the number of its parameters.
fn prepare<'database>(
    database: &'database Database<'_>,
    text: &str,
    parameters: usize,
) -> Result<Prepared<'database>, Problem> {
    if database.is_over() {
        return Err(Problem::new("timeout", "the statement was stopped before it began"));
    }
    let prepared = database.prepare(text)?;
    check_count(prepared.parameters(), parameters)?;
    Ok(prepared)
}

/// Inserts rows into a table, in the open transaction.
pub(super) async fn insert(session: &mut Session, into: &InsertTarget, rows: Vec<Vec<Value>>) -> Result<u64, Refused> {
    let (schema, table, names) = (into.schema.clone(), into.name.clone(), into.names.clone());
    let affinities =
        session.on_thread(move |database| affinities(database, schema.as_deref(), &table, &names)).await??;
    for (index, row) in rows.iter().enumerate() {
        for ((value, affinity), column) in row.iter().zip(&affinities).zip(&into.columns) {
            if let Some(reason) = lost(*affinity, value) {
                return Err(Refused::at(index, Problem::new("invalid", format!("column {column}: {reason}"))));
            }
        }
    }
    execute_many(session, &into.statement(1), rows).await.map(|done| done.rows_affected)
}

/// Returns the affinities of a table's columns. A column that does not exist is left for the
/// `INSERT` statement to report.
fn affinities(
    database: &Database<'_>,
    schema: Option<&str>,
    table: &str,
    names: &[String],
) -> Result<Vec<Affinity>, Problem> {
    let asked = match schema {
        Some(_) => "select name, type from pragma_table_info(?1, ?2)",
        None => "select name, type from pragma_table_info(?1)",
    };
    let mut prepared = database.prepare(asked)?;
    let named: Vec<Value> =
        [Some(table), schema].into_iter().flatten().map(|name| Value::Text(name.to_owned())).collect();
    let mut rows = prepared.rows(&named)?;
    let mut declared = std::collections::HashMap::new();
    while let Some(row) = rows.next()? {
        if let (Cell::Text(name), Cell::Text(kind)) = (cell(row, 0)?, cell(row, 1)?) {
            declared.insert(name.to_ascii_lowercase(), affinity(&kind.to_ascii_lowercase()));
        }
    }
    Ok(names.iter().map(|name| declared.get(&name.to_ascii_lowercase()).copied().unwrap_or(Affinity::Blob)).collect())
}

/// Returns the number of parameters that SQLite finds in a statement.
#[cfg(test)]
pub(super) async fn count_parameters(session: &mut Session, text: &str) -> Result<usize, Problem> {
    let text = text.to_owned();
    session.statement(move |database| database.prepare(&text).map(|prepared| prepared.parameters())).await
}

/// Compiles a statement without scanning it.
#[cfg(test)]
pub(super) async fn unscanned(session: &mut Session, text: &str) -> Result<(), Problem> {
    let text = text.to_owned();
    session.statement(move |database| prepare(database, &text, 0).map(drop)).await
}
