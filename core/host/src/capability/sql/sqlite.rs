//! SQLite: the one file that the block's configuration names, and no other. sqlx opens and pools the
//! connections; statements run on SQLite's own interface, on a thread that may wait, and stop when
//! whoever waits for them is gone.

mod confinement;
mod raw;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use serde_json::json;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions as _, Sqlite, SqlitePool};
use tokio::runtime::Handle;

use self::raw::{BUSY_TIME, Database, Prepared, Refusal};
use super::cell::ColumnKind;
use super::many::Refused;
use super::rows::{Head, Sink, Stop};
use super::{Access, Statement};
use crate::bindings::blockyard::bundle::sql::{Column, Execution, Target, Value};
use crate::limits;
use crate::problem::Problem;

/// A connection, and the thread that runs its statements. Without a thread it is closed.
pub(super) struct Session(Option<Worker>);

/// A thread that has locked a connection of sqlx's for as long as the session lasts. (Locked anew for each
/// statement, sqlx's own thread and this one may both wait for the lock for ever.)
struct Worker {
    jobs: mpsc::Sender<(Arc<AtomicBool>, Job)>,
    /// Whether the connection goes back to its pool in the end, or is closed.
    keep: Arc<AtomicBool>,
}

/// Something to do with the database.
type Job = Box<dyn FnOnce(&Database) + Send>;

/// Stops a statement when it is dropped.
#[derive(Default)]
struct Interrupt(Arc<AtomicBool>);

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Session {
    /// A session that no statement was stopped in gives its connection back.
    fn drop(&mut self) {
        if let Some(worker) = &self.0 {
            worker.keep.store(true, Ordering::Relaxed);
        }
    }
}

impl Session {
    pub(super) async fn open(pool: &SqlitePool) -> Result<Self, sqlx::Error> {
        pool.acquire().await.map(|connection| Self(Some(Worker::start(connection))))
    }

    /// Closes the connection instead of giving it back.
    pub(super) fn stop(mut self) {
        self.0 = None;
    }

    /// Does something with the database on a thread that may wait. Dropped before its end, the statement
    /// that runs is interrupted, and the connection closes.
    async fn on_thread<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Database) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let closed = || Problem::new("unavailable", "the connection was closed after a failure").retryable();
        let worker = self.0.take().ok_or_else(closed)?;
        let interrupt = Interrupt::default();
        let (answer, answered) = tokio::sync::oneshot::channel();
        let job = Box::new(move |database: &Database| {
            let _ = answer.send(work(database));
        });
        let silent = || Problem::new("failed", "the thread that runs SQLite stopped without an answer");
        worker.jobs.send((interrupt.0.clone(), job)).map_err(|_| silent())?;
        let done = answered.await.map_err(|_| silent())?;
        self.0 = Some(worker);
        Ok(done)
    }
}

impl Worker {
    fn start(mut connection: PoolConnection<Sqlite>) -> Self {
        let (jobs, given) = mpsc::channel::<(Arc<AtomicBool>, Job)>();
        let keep = Arc::new(AtomicBool::new(false));
        let kept = keep.clone();
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            let locked = async { tokio::time::timeout(limits::CONNECT_TIME, connection.lock_handle()).await };
            if let Ok(Ok(mut handle)) = runtime.block_on(locked) {
                while let Ok((stop, job)) = given.recv() {
                    #[allow(unsafe_code, reason = "the thread uses SQLite's own interface")]
                    // SAFETY: the handle is locked for as long as the database lives.
                    let database = unsafe { Database::new(handle.as_raw_handle(), stop) };
                    job(&database);
                }
            }
            if kept.load(Ordering::Relaxed) {
                drop(connection);
            } else {
                drop(connection.detach());
            }
        });
        Self { jobs, keep }
    }
}

pub(super) fn pool(target: &Target, access: Access, protected: &[PathBuf]) -> Result<SqlitePool, Problem> {
    if let Some((name, _)) = target.options.first() {
        return Err(Problem::new("invalid", format!("option `{name}` is not known for SQLite")));
    }
    let memory = target.database == ":memory:";
    if !memory && !Path::new(&target.database).is_absolute() {
        let message = format!("`{}` is a relative path, which means another file in each folder", target.database);
        return Err(Problem::new("invalid", message).hint("save the block with an absolute path"));
    }
    if !memory && protected.iter().any(|own| is_same_file(own, Path::new(&target.database))) {
        return Err(Problem::new("not-granted", format!("`{}` belongs to Blockyard itself", target.database)));
    }
    if access == Access::ReadOnly && !memory && !Path::new(&target.database).exists() {
        return Err(Problem::new("not-found", format!("there is no database file `{}`", target.database))
            .hint("the first `execute` makes it")
            .details(&json!({ "step": "connect" })));
    }
    let options = if memory {
        SqliteConnectOptions::new().in_memory(true)
    } else {
        SqliteConnectOptions::new()
            .filename(&target.database)
            .read_only(access == Access::ReadOnly)
            .create_if_missing(access == Access::ReadWrite)
    };
    Ok(SqlitePoolOptions::new()
        .max_connections(if memory { 1 } else { limits::POOL_CONNECTIONS })
        .acquire_timeout(limits::CONNECT_TIME)
        .idle_timeout(limits::IDLE_TIME)
        .after_connect(|connection, _| Box::pin(async move { confinement::confine(connection).await }))
        // Nothing takes back all that one can do to a connection (pragmas, temporary tables), and opening
        // the file again costs less than finding out: the next call gets a new one. A database in memory is
        // its connection.
        .after_release(move |_, _| Box::pin(async move { Ok(memory) }))
        // A statement has what its author wrote into it: no log of the driver's gets it.
        .connect_lazy_with(options.busy_timeout(BUSY_TIME).disable_statement_logging()))
}

/// Whether two paths lead to one file, through links of both kinds.
fn is_same_file(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let identity = |path: &Path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        identity(one).is_some_and(|file| identity(other) == Some(file))
    }
    #[cfg(not(unix))]
    {
        one.canonicalize().is_ok_and(|path| other.canonicalize().is_ok_and(|other| path == other))
    }
}

pub(super) fn refused(error: &sqlx::Error, target: &Target) -> Problem {
    let problem = problem(error);
    Problem { message: format!("database file `{}`: {}", target.database, problem.message), ..problem }
        .details(&json!({ "step": "connect" }))
}

pub(super) async fn run(session: &mut Session, statement: &'static str) -> Result<(), Problem> {
    session.on_thread(move |database| database.prepare(statement)?.step().map(drop)).await?
}

pub(super) async fn execute(session: &mut Session, statement: Statement) -> Result<Execution, Problem> {
    let Statement { text, parameters, .. } = statement;
    super::no_transaction_control(&text)?;
    session
        .on_thread(move |database| {
            let mut prepared = prepare(database, &text, parameters.len())?;
            execute_one(database, &mut prepared, &parameters)
        })
        .await?
}

/// One statement for many sets of parameters, in the transaction that is open.
pub(super) async fn execute_many(
    session: &mut Session,
    text: &str,
    sets: Vec<Vec<Value>>,
) -> Result<Execution, Refused> {
    super::no_transaction_control(text)?;
    let text = text.to_owned();
    session
        .on_thread(move |database| {
            let mut total = Execution { rows_affected: 0, last_insert_id: None };
            let Some(first) = sets.first() else { return Ok(total) };
            let mut prepared = prepare(database, &text, first.len())?;
            for (index, parameters) in sets.iter().enumerate() {
                let executed = count(&prepared, parameters.len())
                    .and_then(|()| execute_one(database, &mut prepared, parameters))
                    .map_err(|problem| Refused::at(index, problem))?;
                total.rows_affected += executed.rows_affected;
                total.last_insert_id = executed.last_insert_id;
            }
            Ok(total)
        })
        .await?
}

fn execute_one(database: &Database, prepared: &mut Prepared<'_>, parameters: &[Value]) -> Result<Execution, Problem> {
    let before = database.total_changes();
    prepared.bind(parameters)?;
    while prepared.step()? {}
    // The count is that of the last statement which changed rows; this one may be of another kind.
    let changes = if database.total_changes() == before { 0 } else { database.changes() };
    Ok(Execution {
        rows_affected: u64::try_from(changes).unwrap_or(0),
        last_insert_id: Some(database.last_insert_rowid()),
    })
}

pub(super) async fn query(session: &mut Session, statement: Statement, sink: &mut Sink) -> Result<(), Stop> {
    let Statement { text, parameters, .. } = statement;
    super::no_transaction_control(&text)?;
    // The thread has the sink while it reads.
    let mut own = std::mem::take(sink);
    let runtime = Handle::current();
    let (own, read) = session
        .on_thread(move |database| {
            let read = read(database, &text, &parameters, &mut own, &runtime);
            (own, read)
        })
        .await?;
    *sink = own;
    read
}

fn read(database: &Database, text: &str, parameters: &[Value], sink: &mut Sink, runtime: &Handle) -> Result<(), Stop> {
    let mut prepared = prepare(database, text, parameters.len())?;
    prepared.bind(parameters)?;
    let mut more = prepared.step()?;
    let width = prepared.columns();
    let (columns, kinds) = (0..width)
        .map(|column| {
            let declared = prepared.declared_type(column).to_ascii_lowercase();
            let kind = kind(&declared);
            (Column { name: prepared.name(column), type_name: declared, nullable: None }, kind)
        })
        .unzip();
    runtime.block_on(sink.head(Head { columns, kinds }))?;
    while more {
        if sink.row((0..width).map(|column| prepared.cell(column)))? {
            runtime.block_on(sink.flush())?;
        }
        more = prepared.step()?;
    }
    Ok(())
}

/// Has SQLite compile the statement, and checks that there are as many parameters as it takes.
fn prepare<'database>(database: &'database Database, text: &str, given: usize) -> Result<Prepared<'database>, Problem> {
    if database.is_over() {
        return Err(Problem::new("timeout", "the statement was stopped before it began"));
    }
    let prepared = database.prepare(text)?;
    count(&prepared, given)?;
    Ok(prepared)
}

fn count(prepared: &Prepared<'_>, given: usize) -> Result<(), Problem> {
    let wanted = prepared.parameters();
    if wanted == given {
        return Ok(());
    }
    Err(Problem::new("invalid", format!("the statement takes {wanted} parameters; {given} were given")))
}

/// What a column of a declared type holds, by its affinity (https://www.sqlite.org/datatype3.html#affname) for
/// what SQLite itself stores; the rest shows in the values.
fn kind(declared: &str) -> ColumnKind {
    let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    if has(&["int"]) {
        ColumnKind::Int64
    } else if has(&["char", "clob", "text"]) {
        ColumnKind::Text
    } else if has(&["blob"]) {
        ColumnKind::Bytes
    } else if has(&["real", "floa", "doub"]) {
        ColumnKind::Float64
    } else {
        ColumnKind::Dynamic
    }
}

/// What the driver says.
fn problem(error: &sqlx::Error) -> Problem {
    match (error.as_database_error(), error) {
        (Some(database), _) => {
            let code = database.code().and_then(|code| code.parse().ok()).unwrap_or_default();
            sorted(&Refusal { code, message: database.message().to_owned() })
        }
        (None, sqlx::Error::PoolTimedOut) => {
            Problem::new("unavailable", "no connection became free in time").retryable()
        }
        (None, other) => Problem::said_by_database("failed", other.to_string()),
    }
}

/// What SQLite says, sorted by its result code.
fn sorted(refusal: &Refusal) -> Problem {
    let details = json!({ "sqlite": refusal.code });
    let (code, retryable) = match refusal.code & 0xff {
        5 | 6 => ("unavailable", true),
        8 => ("effect", false),
        9 => ("timeout", false),
        11 | 26 | 1 | 20 | 25 => ("invalid", false),
        13 | 10 => ("unavailable", false),
        14 => ("not-found", false),
        19 => ("conflict", false),
        23 => ("not-granted", false),
        _ => ("failed", false),
    };
    let message = match code {
        "effect" => "the operation only reads, and the statement writes".to_owned(),
        "not-granted" => "the statement reaches beyond the block's own database file".to_owned(),
        "timeout" => format!("the statement was stopped; it may take {} seconds", limits::STATEMENT_TIME.as_secs()),
        _ => refusal.message.clone(),
    };
    let problem = Problem { retryable, ..Problem::said_by_database(code, message).details(&details) };
    if code == "effect" { problem.hint("use `execute` for statements that change something") } else { problem }
}
