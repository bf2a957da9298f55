//! PostgreSQL through sqlx. The server infers each parameter's type from the statement, as `psql`
//! does; [`format`](mod@format) brings values into those types and back.

mod copy;
mod foreign;
mod format;
mod many;
mod numeric;

use std::borrow::Cow;

use blockyard_model::SecretValue;
use futures_util::StreamExt as _;
use serde_json::json;
use sqlx::postgres::{PgArguments, PgColumn, PgConnectOptions, PgConnection, PgPoolOptions, PgSslMode, PgTypeInfo};
use sqlx::{
    Arguments as _, AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Either, Executor as _, PgPool,
    SqlSafeStr as _, Statement as _, TypeInfo as _,
};

pub(super) use self::copy::insert;
use self::format::{Argument, Reading};
pub(super) use self::many::execute_many;
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
            ("ca", pem) => options.ssl_root_cert_from_pem(pem.as_bytes().to_vec()),
            (name, value) => {
                return Err(Problem::new(
                    "invalid",
                    format!("option `{name}` = `{value}` is not known for PostgreSQL"),
                )
                .hint(
                    "there are `sslmode` (disable, prefer, require, verify-ca, verify-full), `application_name` and `ca`",
                ));
            }
        };
    }
    Ok(PgPoolOptions::new()
        .max_connections(limits::POOL_CONNECTIONS)
        .acquire_timeout(limits::CONNECT_TIME)
        .idle_timeout(limits::IDLE_TIME)
        .after_connect(|connection, _| Box::pin(watch(connection)))
        .after_release(|connection, _| Box::pin(clean(connection)))
        // A statement has what its author wrote into it: no log of the driver's gets it.
        .connect_lazy_with(options.disable_statement_logging()))
}

/// Has the server look every second whether anybody still listens, and stop the statement otherwise: closing a
/// connection is enough then, also for a process that is killed. Before version 14 the server's own limit of
/// time has to do.
async fn watch(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    if connection.server_version_num().is_some_and(|version| version >= 140_000) {
        connection.execute("SET client_connection_check_interval = 1000").await?;
    }
    Ok(())
}

/// Takes back what a call did to its session (settings, roles, temporary tables, locks), as the connection goes
/// back to its pool. It fails where a transaction is open; such a connection is closed.
async fn clean(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    connection.execute("DISCARD ALL").await?;
    // The server has forgotten them.
    connection.clear_cached_statements().await?;
    watch(connection).await?;
    Ok(true)
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
    let Prepared { text, arguments, .. } = prepare(connection, text, parameters).await?;
    let result = sqlx::query_with(AssertSqlSafe(text.as_ref()), arguments)
        .execute(connection)
        .await
        .map_err(|error| problem(&error))?;
    Ok(Execution { rows_affected: result.rows_affected(), last_insert_id: None })
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
    let Prepared { text, columns, arguments } = prepare(connection, text, parameters).await?;
    let forms: Vec<_> = columns.iter().map(|column| foreign::text_form(column.type_info())).collect();
    let readings: Vec<Reading> =
        columns.iter().zip(&forms).map(|(column, form)| Reading::of(column.type_info(), *form)).collect();
    let text = if forms.iter().any(Option::is_some) { foreign::cast_columns(&text, &forms).into() } else { text };
    let columns = columns
        .iter()
        .map(|column| Column {
            name: column.name().to_owned(),
            type_name: column.type_info().name().to_ascii_lowercase(),
            nullable: None,
        })
        .collect();

    let mut rows = sqlx::query_with(AssertSqlSafe(text.as_ref()), arguments).fetch(connection);
    let mut next = rows.next().await.transpose().map_err(|error| problem(&error))?;
    sink.head(Head { columns, kinds: readings.iter().map(|reading| reading.kind).collect() }).await?;
    while let Some(row) = next {
        if sink.row(readings.iter().enumerate().map(|(index, reading)| format::cell(&row, index, reading)))? {
            sink.flush().await?;
        }
        next = rows.next().await.transpose().map_err(|error| problem(&error))?;
    }
    Ok(())
}

/// A statement that the server knows, and values in the form that it wants.
struct Prepared<'text> {
    /// With casts around the parameters that need them.
    text: Cow<'text, str>,
    columns: Vec<PgColumn>,
    arguments: PgArguments,
}

/// Has the server parse the statement, and brings the parameters into the types that it wants.
async fn prepare<'text>(
    connection: &mut PgConnection,
    text: &'text str,
    parameters: Vec<Value>,
) -> Result<Prepared<'text>, Problem> {
    let mut text = Cow::Borrowed(text);
    let mut prepared = describe(connection, &text, parameters.len()).await?;
    let mut values = parameters;
    if prepared.1.iter().any(|info| foreign::text_form(info).is_some()) {
        for (value, info) in values.iter_mut().zip(&prepared.1) {
            if foreign::text_form(info).is_some() {
                *value = foreign::words(value, info).map_or(Value::Null, Value::Text);
            }
        }
        text = foreign::cast_parameters(&text, &prepared.1).into();
        prepared = describe(connection, &text, values.len()).await?;
    }
    let (columns, wanted) = prepared;
    let mut arguments = PgArguments::default();
    for (index, (value, info)) in values.into_iter().zip(wanted).enumerate() {
        let bytes = format::encode(&value, &info)
            .map_err(|reason| Problem::new("invalid", format!("parameter {}: {reason}", index + 1)))?;
        arguments
            .add(Argument { info, bytes })
            .map_err(|error| Problem::new("invalid", format!("parameter {}: {error}", index + 1)))?;
    }
    Ok(Prepared { text, columns, arguments })
}

/// The columns of a statement, and the types that its parameters have.
async fn describe(
    connection: &mut PgConnection,
    text: &str,
    given: usize,
) -> Result<(Vec<PgColumn>, Vec<PgTypeInfo>), Problem> {
    let prepared = connection.prepare(AssertSqlSafe(text).into_sql_str()).await.map_err(|error| problem(&error))?;
    let wanted: &[PgTypeInfo] = match prepared.parameters() {
        Some(Either::Left(types)) => types,
        _ => &[],
    };
    if wanted.len() != given {
        return Err(Problem::new(
            "invalid",
            format!("the statement takes {} parameters; {given} were given", wanted.len()),
        ));
    }
    Ok((prepared.columns().to_vec(), wanted.to_vec()))
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
            other => Problem::said_by_database("failed", other.to_string()),
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
    let problem = Problem { retryable, ..Problem::said_by_database(code, message).details(&details) };
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
