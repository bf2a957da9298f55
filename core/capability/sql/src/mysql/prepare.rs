//! Statements that the server prepares: their columns, and their parameters in binary format.

use blockyard_call::Problem;
use sqlx::mysql::{MySqlArguments, MySqlColumn, MySqlConnection};
use sqlx::{AssertSqlSafe, Either, Executor as _, SqlSafeStr as _, Statement as _};

use super::error::problem;
use super::session::Session;
use super::{format, scan};
use crate::bindings::blockyard::bundle::sql::{Execution, Value};
use crate::statement::{Access, check_count};
use crate::word::not_reading;

/// Runs a statement.
pub(super) async fn execute_one(
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

/// Checks that a statement of an operation with the effect `read` returns rows, according to the
/// server's own parser. Statements that end transactions or write files (`INTO OUTFILE`) return
/// none, regardless of how they are written. The server does not report the columns of some `SHOW`
/// and `EXPLAIN` statements before they run. These must begin with that word, so that all servers
/// read them in the same way.
pub(super) fn returns_rows(columns: &[MySqlColumn], text: &str, access: Access) -> Result<(), Problem> {
    if access == Access::ReadWrite || !columns.is_empty() || scan::is_described_later(text) {
        return Ok(());
    }
    Err(not_reading("returns no columns").hint(
        "use `execute` for statements that change something; begin `show` and `explain` statements with that word",
    ))
}

/// Lets the server parse the statement. Returns its columns, and the parameters in binary format.
pub(super) async fn prepare(
    connection: &mut MySqlConnection,
    text: &str,
    parameters: &[Value],
) -> Result<(Vec<MySqlColumn>, MySqlArguments), Problem> {
    let prepared = connection.prepare(AssertSqlSafe(text).into_sql_str()).await.map_err(|error| problem(&error))?;
    let expected = match prepared.parameters() {
        Some(Either::Right(count)) => count,
        Some(Either::Left(types)) => types.len(),
        None => parameters.len(),
    };
    check_count(expected, parameters.len())?;
    Ok((prepared.columns().to_vec(), format::arguments(parameters)?))
}

/// Returns the number of parameters that the server finds in a statement.
#[cfg(test)]
pub(super) async fn count_parameters(connection: &mut MySqlConnection, text: &str) -> Result<usize, Problem> {
    let prepared = connection.prepare(AssertSqlSafe(text).into_sql_str()).await.map_err(|error| problem(&error))?;
    Ok(prepared.parameters().map_or(0, |parameters| parameters.either(<[_]>::len, |count| count)))
}
