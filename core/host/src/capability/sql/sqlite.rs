//! SQLite through sqlx: the one file that the block's configuration names, and no other.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqlitePoolOptions, SqliteRow};
use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, ConnectOptions as _, Decode, Either, Executor as _, Row as _,
    SqlSafeStr as _, Sqlite, SqlitePool, Statement as _, TypeInfo as _, ValueRef as _,
};

use super::cell::{Cell, ColumnKind};
use super::rows::{Head, Sink, Stop};
use super::{Access, Statement};
use crate::bindings::blockyard::bundle::sql::{Column, Execution, Target, Value};
use crate::limits;
use crate::problem::Problem;

/// How long a statement waits for another process's lock on the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn pool(target: &Target, access: Access, protected: &[PathBuf]) -> Result<SqlitePool, Problem> {
    if let Some((name, _)) = target.options.first() {
        return Err(Problem::new("invalid", format!("option `{name}` is not known for SQLite")));
    }
    let memory = target.database == ":memory:";
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
        // A statement has what its author wrote into it: no log of the driver's gets it.
        .connect_lazy_with(options.busy_timeout(BUSY_TIMEOUT).disable_statement_logging()))
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

pub(super) async fn run(connection: &mut SqliteConnection, statement: &'static str) -> Result<(), Problem> {
    connection.execute(statement).await.map(drop).map_err(|error| problem(&error))
}

pub(super) async fn execute(connection: &mut SqliteConnection, statement: Statement) -> Result<Execution, Problem> {
    let Statement { text, parameters, .. } = statement;
    let _ = prepare(connection, &text, parameters.len()).await?;
    execute_one(connection, &text, parameters).await
}

async fn execute_one(
    connection: &mut SqliteConnection,
    text: &str,
    parameters: Vec<Value>,
) -> Result<Execution, Problem> {
    let result = sqlx::query_with(AssertSqlSafe(text), arguments(parameters)?)
        .execute(connection)
        .await
        .map_err(|error| problem(&error))?;
    Ok(Execution { rows_affected: result.rows_affected(), last_insert_id: Some(result.last_insert_rowid()) })
}

/// One statement for many sets of parameters, in the transaction that is open.
pub(super) async fn execute_many(
    connection: &mut SqliteConnection,
    text: &str,
    sets: Vec<Vec<Value>>,
) -> Result<Execution, Problem> {
    let mut total = Execution { rows_affected: 0, last_insert_id: None };
    if let Some(first) = sets.first() {
        let _ = prepare(connection, text, first.len()).await?;
    }
    for (index, parameters) in sets.into_iter().enumerate() {
        let executed = execute_one(connection, text, parameters).await.map_err(|problem| Problem {
            message: format!("set {} of the parameters: {}", index + 1, problem.message),
            ..problem
        })?;
        total.rows_affected += executed.rows_affected;
        total.last_insert_id = executed.last_insert_id;
    }
    Ok(total)
}

pub(super) async fn query(
    connection: &mut SqliteConnection,
    statement: Statement,
    sink: &mut Sink,
) -> Result<(), Stop> {
    let Statement { text, parameters, .. } = statement;
    let (columns, kinds) = prepare(connection, &text, parameters.len()).await?;
    let mut rows = sqlx::query_with(AssertSqlSafe(text.as_str()), arguments(parameters)?).fetch(connection);
    let mut next = rows.next().await.transpose().map_err(|error| problem(&error))?;
    sink.head(Head { columns, kinds }).await?;
    while let Some(row) = next {
        if sink.row((0..row.len()).map(|index| cell(&row, index)))? {
            sink.flush().await?;
        }
        next = rows.next().await.transpose().map_err(|error| problem(&error))?;
    }
    Ok(())
}

/// Has SQLite parse the statement: its columns, and whether there are as many parameters.
async fn prepare(
    connection: &mut SqliteConnection,
    text: &str,
    given: usize,
) -> Result<(Vec<Column>, Vec<ColumnKind>), Problem> {
    super::no_transaction_control(text)?;
    if !confinement::is_one_statement(connection, text).await.map_err(|error| problem(&error))? {
        return Err(Problem::new("invalid", "there is more than one statement").hint("run one statement at a time"));
    }
    let prepared = connection.prepare(AssertSqlSafe(text).into_sql_str()).await.map_err(|error| problem(&error))?;
    let wanted = match prepared.parameters() {
        Some(Either::Right(count)) => count,
        Some(Either::Left(types)) => types.len(),
        None => given,
    };
    if wanted != given {
        return Err(Problem::new("invalid", format!("the statement takes {wanted} parameters; {given} were given")));
    }
    let described = prepared.columns().iter().map(|column| {
        let name = column.type_info().name();
        // The declared type's affinity (https://www.sqlite.org/datatype3.html#affname) for what
        // SQLite itself stores; the rest shows in the values.
        let kind = match name {
            "INTEGER" => ColumnKind::Int64,
            "REAL" => ColumnKind::Float64,
            "TEXT" => ColumnKind::Text,
            "BLOB" => ColumnKind::Bytes,
            _ => ColumnKind::Dynamic,
        };
        let type_name = if name == "NULL" { String::new() } else { name.to_ascii_lowercase() };
        (Column { name: column.name().to_owned(), type_name, nullable: None }, kind)
    });
    Ok(described.unzip())
}

fn arguments(parameters: Vec<Value>) -> Result<SqliteArguments, Problem> {
    let mut arguments = SqliteArguments::default();
    for (index, value) in parameters.into_iter().enumerate() {
        let added = match value {
            Value::Null => arguments.add(None::<i64>),
            Value::Boolean(v) => arguments.add(v),
            Value::Integer(v) => arguments.add(v),
            Value::Float(v) => arguments.add(v),
            Value::Bytes(v) => arguments.add(v),
            Value::Decimal(v) | Value::Text(v) | Value::Uuid(v) | Value::Json(v) | Value::Other((_, v)) => {
                arguments.add(v)
            }
            Value::Date(_) | Value::Time(_) | Value::Timestamp(_) => {
                return Err(Problem::new(
                    "invalid",
                    format!("parameter {}: SQLite has no dates; give it as text", index + 1),
                ));
            }
        };
        added.map_err(|error| Problem::new("invalid", format!("parameter {}: {error}", index + 1)))?;
    }
    Ok(arguments)
}

fn cell(row: &SqliteRow, index: usize) -> Result<Cell<'static>, Problem> {
    let failed = |error: sqlx::error::BoxDynError| Problem::new("failed", format!("column {}: {error}", index + 1));
    let raw = row.try_get_raw(index).map_err(|error| problem(&error))?;
    if raw.is_null() {
        return Ok(Cell::Null);
    }
    let info = raw.type_info().into_owned();
    Ok(match info.name() {
        "INTEGER" | "BOOLEAN" => Cell::Integer(<i64 as Decode<'_, Sqlite>>::decode(raw).map_err(failed)?),
        "REAL" => Cell::Float(<f64 as Decode<'_, Sqlite>>::decode(raw).map_err(failed)?),
        "BLOB" => Cell::Bytes(Cow::Owned(<Vec<u8> as Decode<'_, Sqlite>>::decode(raw).map_err(failed)?)),
        _ => Cell::Text(Cow::Owned(<String as Decode<'_, Sqlite>>::decode(raw).map_err(failed)?)),
    })
}

/// What SQLite says, sorted by its result code (https://www.sqlite.org/rescode.html).
fn problem(error: &sqlx::Error) -> Problem {
    let Some(database) = error.as_database_error() else {
        return match error {
            sqlx::Error::PoolTimedOut => Problem::new("unavailable", "no connection became free in time").retryable(),
            other => Problem::new("failed", other.to_string()),
        };
    };
    let extended: i64 = database.code().and_then(|code| code.parse().ok()).unwrap_or_default();
    let details = json!({ "sqlite": extended });
    let (code, retryable) = match extended & 0xff {
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
        _ => database.message().to_owned(),
    };
    let problem = Problem { retryable, ..Problem::new(code, message).details(&details) };
    if code == "effect" { problem.hint("use `execute` for statements that change something") } else { problem }
}

/// Keeps a connection inside its file: SQL has statements that open others.
mod confinement {
    #![allow(unsafe_code, reason = "SQLite's authorizer is only to be had through its C interface")]

    use std::ffi::{CStr, CString, c_char, c_int, c_void};

    use libsqlite3_sys::{
        SQLITE_ATTACH, SQLITE_DENY, SQLITE_FUNCTION, SQLITE_OK, SQLITE_PRAGMA, sqlite3_finalize, sqlite3_prepare_v2,
        sqlite3_set_authorizer,
    };
    use sqlx::sqlite::SqliteConnection;

    /// Sets the authorizer (https://www.sqlite.org/c3ref/set_authorizer.html) for the life of the
    /// connection.
    pub(super) async fn confine(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let mut handle = connection.lock_handle().await?;
        // SAFETY: the handle is locked, so no other thread uses the connection; the callback is a
        // function without state and lives as long as the program.
        let code =
            unsafe { sqlite3_set_authorizer(handle.as_raw_handle().as_ptr(), Some(authorize), std::ptr::null_mut()) };
        if code == SQLITE_OK {
            Ok(())
        } else {
            Err(sqlx::Error::Protocol(format!("SQLite refused the authorizer with code {code}")))
        }
    }

    /// Whether a text is one statement. What follows the first one is compiled, not run: it is
    /// nothing where only white space, comments and semicolons are left.
    pub(super) async fn is_one_statement(connection: &mut SqliteConnection, text: &str) -> Result<bool, sqlx::Error> {
        let Ok(text) = CString::new(text) else { return Ok(true) };
        let mut handle = connection.lock_handle().await?;
        let database = handle.as_raw_handle().as_ptr();
        let mut rest = text.as_ptr();
        let mut statements = 0;
        // SAFETY: the handle is locked; `rest` points into `text`, which ends in NUL and outlives
        // the loop; each statement is finalized before the next.
        unsafe {
            while *rest != 0 {
                let mut statement = std::ptr::null_mut();
                let mut tail = rest;
                let code = sqlite3_prepare_v2(database, rest, -1, &raw mut statement, &raw mut tail);
                let compiled = !statement.is_null();
                sqlite3_finalize(statement);
                if code != SQLITE_OK {
                    // The first one is told by whoever runs it; a second one is one too many.
                    return Ok(statements == 0);
                }
                statements += usize::from(compiled);
                rest = tail;
            }
        }
        Ok(statements <= 1)
    }

    unsafe extern "C" fn authorize(
        _: *mut c_void,
        action: c_int,
        first: *const c_char,
        second: *const c_char,
        _: *const c_char,
        _: *const c_char,
    ) -> c_int {
        let text = |pointer: *const c_char| {
            // SAFETY: SQLite passes texts that end in NUL and live for the call.
            (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().to_ascii_lowercase())
        };
        let denied = match action {
            // `ATTACH` and `VACUUM INTO` name another file; plain `VACUUM` attaches the empty name.
            // There is no text at all where the name is not a literal: then it can be any file.
            SQLITE_ATTACH => text(first).as_deref() != Some(""),
            SQLITE_FUNCTION => text(second).as_deref() == Some("load_extension"),
            // These change the process, not the database.
            SQLITE_PRAGMA => matches!(
                text(first).as_deref(),
                Some("temp_store_directory" | "data_store_directory" | "hard_heap_limit" | "soft_heap_limit")
            ),
            _ => false,
        };
        if denied { SQLITE_DENY } else { SQLITE_OK }
    }
}
