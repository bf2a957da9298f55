//! MySQL and MariaDB through sqlx. Statements are always prepared, and the server prepares only one
//! statement at a time. [`format`](mod@format) decodes rows from the binary format. [`scan`]
//! detects statements that a read-only transaction does not prevent.
//!
//! `LOAD DATA LOCAL` cannot read a file of this machine: the driver does not offer that capability,
//! and does not respond to a server that asks for a file nevertheless.

mod error;
mod format;
mod insert;
mod prepare;
mod progress;
mod scan;
mod session;

use blockyard_call::Problem;
use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Column as _, Row as _};

use self::error::problem;
use self::format::Reading;
use self::prepare::{execute_one, prepare, returns_rows};
use self::progress::is_within_transaction;
use super::insert::{Refused, check_lists};
use super::sink::{Head, Sink, Stop};
use super::statement::{Access, Statement};
use crate::bindings::blockyard::bundle::sql::{Execution, Value};

pub(super) use self::insert::insert;
pub(super) use self::session::Session;

/// Checks a statement before the server sees it, and begins a transaction if the host must run the
/// statement in one. Returns whether it did.
async fn enter(session: &mut Session, statement: &Statement) -> Result<bool, Problem> {
    let checked = scan::check(&statement.text, statement.access).and_then(|()| check_lists(&statement.parameters));
    if let Err(refused) = checked {
        return session.follow("statement", &statement.text, Err(refused)).await;
    }
    let alone = statement.needs_read_only_transaction();
    if alone {
        session.begin(Access::ReadOnly).await?;
    }
    Ok(alone)
}

pub(super) async fn execute(session: &mut Session, statement: Statement) -> Result<Execution, Problem> {
    let alone = enter(session, &statement).await?;
    let Statement { text, parameters, access, .. } = statement;
    let executed = execute_one(session, &text, &parameters, access).await;
    session.after(executed.is_err(), alone).await?;
    session.follow("statement", &text, executed).await
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

pub(super) async fn query(session: &mut Session, statement: Statement, sink: &mut Sink) -> Result<(), Stop> {
    let alone = enter(session, &statement).await?;
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
    let rows = sqlx::query_with(AssertSqlSafe(text), arguments).fetch(connection);
    let mut rows = rows.map_err(|error| problem(&error));
    let first = rows.try_next().await?;
    // The server determines the types of expressions with parameters when it runs the statement.
    let described = first.as_ref().map_or(described.as_slice(), |row| row.columns());
    let readings: Vec<Reading> = described.iter().map(|column| Reading::of(column.type_info())).collect();
    let columns = described.iter().zip(&readings);
    let columns = columns.map(|(column, reading)| (column.name().to_owned(), reading.type_name.clone(), reading.kind));
    sink.head(Head::of(columns)).await?;
    sink.rows(first, rows, &readings, format::cell).await
}

/// Returns the number of parameters that the server finds in a statement.
#[cfg(test)]
pub(super) async fn count_parameters(session: &mut Session, text: &str) -> Result<usize, Problem> {
    prepare::count_parameters(session.connection()?, text).await
}

/// Runs a statement of a read without scanning it.
#[cfg(test)]
pub(super) async fn unscanned(session: &mut Session, text: &str) -> Result<(), Problem> {
    execute_one(session, text, &[], Access::ReadOnly).await.map(drop)
}

/// Runs a statement without any check, and then the check that follows a guest's statement.
#[cfg(test)]
pub(super) async fn execute_unscanned(session: &mut Session, text: &'static str) -> Result<(), Problem> {
    session.run(text).await?;
    session.after(false, false).await
}
