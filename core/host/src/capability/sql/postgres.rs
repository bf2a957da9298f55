//! PostgreSQL through sqlx. The server infers each parameter's type from the statement, as `psql`
//! does; [`format`](mod@format) brings values into those types and back.

mod format;
mod numeric;

use blockyard_model::SecretValue;
use futures_util::StreamExt as _;
use serde_json::json;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPoolOptions, PgSslMode, PgTypeInfo};
use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, ConnectOptions as _, Either, Executor as _, PgPool, SqlSafeStr as _,
    Statement as _, TypeInfo as _,
};

use self::format::Argument;
use super::rows::{Head, Sink, Stop};
use super::{Access, Statement};
use crate::bindings::blockyard::bundle::sql::{Column, Execution, Target, Value};
use crate::limits;
use crate::problem::Problem;

/// The port that PostgreSQL has with IANA.
pub(super) const DEFAULT_PORT: u16 = 5432;

/// Statements that only read. A read-only operation is held to them, since a statement such as
/// `COMMIT` would end the transaction that keeps it read-only.
const READING: [&str; 6] = ["select", "with", "values", "table", "show", "explain"];

pub(super) fn pool(target: &Target, password: Option<&SecretValue>) -> Result<PgPool, Problem> {
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(target.host.as_deref().unwrap_or_default())
        .port(target.port.unwrap_or(DEFAULT_PORT))
        .database(&target.database)
        .username(target.username.as_deref().unwrap_or("postgres"))
        // Always set: the driver would look into the environment otherwise.
        .password(password.map_or("", SecretValue::expose))
        .application_name("blockyard")
        .ssl_mode(PgSslMode::Prefer)
        .options([("statement_timeout", limits::STATEMENT_TIME.as_millis().to_string())]);
    for (name, value) in &target.options {
        options = match (name.as_str(), value.as_str()) {
            ("sslmode", "disable") => options.ssl_mode(PgSslMode::Disable),
            ("sslmode", "prefer") => options.ssl_mode(PgSslMode::Prefer),
            ("sslmode", "require") => options.ssl_mode(PgSslMode::Require),
            ("sslmode", "verify-ca") => options.ssl_mode(PgSslMode::VerifyCa),
            ("sslmode", "verify-full") => options.ssl_mode(PgSslMode::VerifyFull),
            ("application_name", value) => options.application_name(value),
            (name, value) => {
                return Err(Problem::new(
                    "invalid",
                    format!("option `{name}` = `{value}` is not known for PostgreSQL"),
                )
                .hint(
                    "there are `sslmode` (disable, prefer, require, verify-ca, verify-full) and `application_name`",
                ));
            }
        };
    }
    Ok(PgPoolOptions::new()
        .max_connections(limits::POOL_CONNECTIONS)
        .acquire_timeout(limits::CONNECT_TIME)
        .idle_timeout(limits::IDLE_TIME)
        // A statement has what its author wrote into it: no log of the driver's gets it.
        .connect_lazy_with(options.disable_statement_logging()))
}

/// A connection that was refused after the server was reached.
pub(super) fn refused(error: &sqlx::Error, target: &Target) -> Problem {
    let mut problem =
        super::pool::not_connected(error).unwrap_or_else(|| problem(error).details(&json!({ "step": "authenticate" })));
    if problem.code == "not-found" {
        problem = problem.hint(format!("make the database `{}`, or name another in the block", target.database));
    }
    problem
}

pub(super) async fn begin(connection: &mut PgConnection, access: Access) -> Result<(), Problem> {
    match access {
        Access::ReadWrite => run(connection, "BEGIN").await,
        Access::ReadOnly => {
            // With its snapshot taken, a transaction cannot become READ WRITE any more.
            run(connection, "BEGIN READ ONLY; SELECT 1").await
        }
    }
}

pub(super) async fn run(connection: &mut PgConnection, statement: &'static str) -> Result<(), Problem> {
    connection.execute(statement).await.map(drop).map_err(|error| problem(&error))
}

pub(super) async fn execute(connection: &mut PgConnection, statement: Statement) -> Result<Execution, Problem> {
    let wrapped = statement.needs_read_only_transaction();
    check(&statement.text, statement.access)?;
    if wrapped {
        begin(connection, Access::ReadOnly).await?;
    }
    let executed = execute_one(connection, &statement.text, statement.parameters).await;
    if wrapped {
        run(connection, "ROLLBACK").await?;
    }
    executed
}

async fn execute_one(connection: &mut PgConnection, text: &str, parameters: Vec<Value>) -> Result<Execution, Problem> {
    let (_, arguments) = prepare(connection, text, parameters).await?;
    let result =
        sqlx::query_with(AssertSqlSafe(text), arguments).execute(connection).await.map_err(|error| problem(&error))?;
    Ok(Execution { rows_affected: result.rows_affected(), last_insert_id: None })
}

/// One statement for many sets of parameters, in the transaction that is open.
pub(super) async fn execute_many(
    connection: &mut PgConnection,
    text: &str,
    sets: Vec<Vec<Value>>,
    access: Access,
) -> Result<Execution, Problem> {
    check(text, access)?;
    let mut rows_affected = 0;
    for (index, parameters) in sets.into_iter().enumerate() {
        let executed = execute_one(connection, text, parameters).await.map_err(|problem| Problem {
            message: format!("set {} of the parameters: {}", index + 1, problem.message),
            ..problem
        })?;
        rows_affected += executed.rows_affected;
    }
    Ok(Execution { rows_affected, last_insert_id: None })
}

pub(super) async fn query(connection: &mut PgConnection, statement: Statement, sink: &mut Sink) -> Result<(), Stop> {
    let wrapped = statement.needs_read_only_transaction();
    check(&statement.text, statement.access)?;
    if wrapped {
        begin(connection, Access::ReadOnly).await?;
    }
    let read = read(connection, &statement.text, statement.parameters, sink).await;
    if wrapped && !matches!(read, Err(Stop::Unread)) {
        run(connection, "ROLLBACK").await?;
    }
    read
}

async fn read(connection: &mut PgConnection, text: &str, parameters: Vec<Value>, sink: &mut Sink) -> Result<(), Stop> {
    let (columns, arguments) = prepare(connection, text, parameters).await?;
    let kinds = columns
        .iter()
        .map(|(name, info)| {
            format::kind(info).ok_or_else(|| {
                Problem::new(
                    "invalid",
                    format!("column `{name}` has the type `{}`, which has no common form", info.name()),
                )
                .hint(format!("ask for its text: `cast({name} as text)`"))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let columns = columns
        .into_iter()
        .map(|(name, info)| Column { name, type_name: info.name().to_ascii_lowercase(), nullable: None })
        .collect();

    let mut rows = sqlx::query_with(AssertSqlSafe(text), arguments).fetch(connection);
    let mut next = rows.next().await.transpose().map_err(|error| problem(&error))?;
    sink.head(Head { columns, kinds: kinds.clone() }).await?;
    while let Some(row) = next {
        let cells = kinds.iter().enumerate().map(|(index, kind)| format::cell(&row, index, *kind));
        if sink.row(cells)? {
            sink.flush().await?;
        }
        next = rows.next().await.transpose().map_err(|error| problem(&error))?;
    }
    Ok(())
}

/// Has the server parse the statement, and brings the parameters into the types that it wants.
async fn prepare(
    connection: &mut PgConnection,
    text: &str,
    parameters: Vec<Value>,
) -> Result<(Vec<(String, PgTypeInfo)>, PgArguments), Problem> {
    let prepared = connection.prepare(AssertSqlSafe(text).into_sql_str()).await.map_err(|error| problem(&error))?;
    let columns =
        prepared.columns().iter().map(|column| (column.name().to_owned(), column.type_info().clone())).collect();
    let wanted: &[PgTypeInfo] = match prepared.parameters() {
        Some(Either::Left(types)) => types,
        _ => &[],
    };
    if wanted.len() != parameters.len() {
        return Err(Problem::new(
            "invalid",
            format!("the statement takes {} parameters; {} were given", wanted.len(), parameters.len()),
        ));
    }
    let mut arguments = PgArguments::default();
    for (index, (value, info)) in parameters.into_iter().zip(wanted).enumerate() {
        let bytes = format::encode(&value, info)
            .map_err(|reason| Problem::new("invalid", format!("parameter {}: {reason}", index + 1)))?;
        arguments
            .add(Argument { info: info.clone(), bytes })
            .map_err(|error| Problem::new("invalid", format!("parameter {}: {error}", index + 1)))?;
    }
    Ok((columns, arguments))
}

/// Refuses what would end a transaction of the host, and in an operation that reads whatever does not.
fn check(text: &str, access: Access) -> Result<(), Problem> {
    if access == Access::ReadOnly {
        only_reads(text)?;
    }
    super::no_transaction_control(text)
}

/// A read-only operation takes statements that only read.
fn only_reads(text: &str) -> Result<(), Problem> {
    let word = super::first_word(text);
    if READING.contains(&word.as_str()) {
        return Ok(());
    }
    Err(Problem::new("effect", format!("the operation only reads, and the statement begins with `{word}`"))
        .hint("use `execute` for statements that change something"))
}

/// What the server says, sorted by the class of its SQLSTATE
/// (https://www.postgresql.org/docs/current/errcodes-appendix.html).
fn problem(error: &sqlx::Error) -> Problem {
    let Some(database) = error.as_database_error() else {
        return match error {
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => {
                Problem::new("unavailable", format!("the connection broke: {error}")).retryable()
            }
            // The driver's own words are about its insides.
            sqlx::Error::Protocol(_) => Problem::new("failed", "the server's answer was not understood")
                .hint("is it PostgreSQL? `copy` is not to be had here"),
            other => Problem::new("failed", other.to_string()),
        };
    };
    let state = database.code().unwrap_or_default().into_owned();
    let mut message = database.message().to_owned();
    let mut details = json!({ "sqlstate": state });
    if let Some(server) = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        if let Some(detail) = server.detail() {
            message = format!("{message} ({detail})");
        }
        if let Some(sqlx::postgres::PgErrorPosition::Original(position)) = server.position() {
            details["position"] = json!(position);
        }
    }
    let (code, retryable) = match state.as_str() {
        "25006" => ("effect", false),
        "3D000" => ("not-found", false),
        "42501" => ("denied", false),
        "40001" | "40P01" => ("conflict", true),
        "57014" => ("timeout", false),
        _ => match state.get(..2).unwrap_or_default() {
            "28" => ("denied", false),
            "23" => ("conflict", false),
            "08" | "53" | "57" => ("unavailable", true),
            "22" | "42" | "21" => ("invalid", false),
            _ => ("failed", false),
        },
    };
    let problem = Problem { retryable, ..Problem::new(code, message).details(&details) };
    if code == "effect" { problem.hint("use `execute` for statements that change something") } else { problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_operation_takes_reading_statements() {
        for text in ["select 1", " ( SELECT 1)", "-- why\nwith x as (select 1) table x", "/* a /* b */ c */ values (1)"]
        {
            assert!(only_reads(text).is_ok(), "{text}");
        }
        for text in ["delete from t", "/* select */ commit", "set transaction read write", "", "begin", "-- select 1"] {
            assert!(only_reads(text).is_err(), "{text}");
        }
    }
}
