//! Bulk operations: one statement with many sets of parameters, and inserting rows into a table.

use blockyard_call::Problem;
use blockyard_model::capability::Dialect;

use super::connection::Claimed;
use super::insert::{InsertTarget, Refused, check_lists};
use super::pool::Pooled;
use super::statement::Access;
use super::{mysql, postgres, sqlite};
use crate::bindings::blockyard::bundle::sql::{Execution, Value};

/// Runs the statement once for each set of parameters, in the open transaction.
pub(super) async fn execute(
    pooled: &mut Pooled,
    text: &str,
    sets: Vec<Vec<Value>>,
    access: Access,
) -> Result<Execution, Problem> {
    // PostgreSQL has arrays, and reports which parameters are arrays.
    if !matches!(pooled, Pooled::Postgres(_)) {
        for (index, set) in sets.iter().enumerate() {
            check_lists(set).map_err(|problem| Refused::at(index, problem).of_sets())?;
        }
    }
    let executed = match pooled {
        Pooled::Postgres(session) => postgres::execute_many(session, text, sets, access).await,
        Pooled::Sqlite(session) => sqlite::execute_many(session, text, sets).await,
        Pooled::Mysql(session) => mysql::execute_many(session, text, sets, access).await,
    };
    executed.map_err(Refused::of_sets)
}

/// Inserts rows into a table, in the open transaction. Returns their number.
pub(super) async fn insert(
    mut claimed: Claimed,
    table: &[String],
    columns: &[String],
    rows: Vec<Vec<Value>>,
) -> Result<u64, Problem> {
    let pooled = claimed.start()?;
    let dialect = match pooled {
        Pooled::Postgres(_) => Dialect::Postgres,
        Pooled::Sqlite(_) => Dialect::Sqlite,
        Pooled::Mysql(_) => Dialect::Mysql,
    };
    let inserted = match check(dialect, table, columns, &rows) {
        Err(refused) => Err(refused),
        Ok(_) if rows.is_empty() => Ok(0),
        Ok(into) => match pooled {
            Pooled::Postgres(session) => postgres::insert(session, &into, &rows).await,
            Pooled::Sqlite(session) => sqlite::insert(session, &into, rows).await,
            Pooled::Mysql(session) => mysql::insert(session, &into, &rows).await,
        },
    };
    claimed.finish();
    inserted.map_err(Refused::of_rows)
}

fn check(dialect: Dialect, table: &[String], columns: &[String], rows: &[Vec<Value>]) -> Result<InsertTarget, Refused> {
    let into = InsertTarget::new(dialect, table, columns)?;
    match rows.iter().position(|row| row.len() != columns.len()) {
        None => Ok(into),
        Some(index) => {
            let message = format!("the row has {} values for {} columns", rows[index].len(), columns.len());
            Err(Refused::at(index, Problem::new("invalid", message)))
        }
    }
}
