//! Inserts of many rows with few statements.

use blockyard_call::Problem;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Executor as _, Row as _, SqlSafeStr as _};

use super::error::problem;
use super::prepare::execute_one;
use super::session::Session;
use crate::bindings::blockyard::bundle::sql::Value;
use crate::insert::{InsertTarget, Refused};
use crate::statement::Access;

/// Maximum number of rows per `INSERT`.
const STATEMENT_ROWS: usize = 500;
/// Maximum number of parameters per statement.
const STATEMENT_VALUES: usize = 65_535;

/// Inserts rows into a table, in the open transaction, with many rows per statement.
pub(crate) async fn insert(session: &mut Session, into: &InsertTarget, rows: &[Vec<Value>]) -> Result<u64, Refused> {
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
    let query = format!("SHOW COLUMNS FROM {} WHERE `Type` LIKE 'timestamp%' AND `Null` = 'NO'", into.table);
    let found = sqlx::query(AssertSqlSafe(query)).fetch_all(connection).await.map_err(|error| problem(&error))?;
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
