//! Inserting rows into a table by `COPY`, PostgreSQL's fastest way for many rows
//! (<https://www.postgresql.org/docs/current/sql-copy.html>). The types of the columns are taken from
//! the equivalent `INSERT` statement, so that values are converted in the same way.

use blockyard_call::Problem;
use sqlx::Executor as _;
use sqlx::postgres::{PgConnection, PgTypeInfo};

use super::error::{is_unknown_type, problem};
use super::many::ParameterType;
use super::prepare::describe;
use super::{format, many, unknown};
use crate::bindings::blockyard::bundle::sql::Value;
use crate::insert::{InsertTarget, Refused};
use crate::literal;

/// Size in bytes of one message.
const MESSAGE_BYTES: usize = 1 << 20;
/// Header of a binary copy: signature, no flags, no extension.
const BINARY_HEAD: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Trailer of a binary copy.
const BINARY_END: [u8; 2] = (-1_i16).to_be_bytes();

/// Failure to copy rows.
enum NotCopied {
    /// The server rejects the rows, or the connection failed.
    Refused(Refused),
    /// The table or the server does not support `COPY`, or the server did not report the row that
    /// failed a check at the end of the copy (a foreign key, a trigger). The rows are then inserted
    /// one by one, which succeeds or reports the row.
    RowUnknown,
}

/// Inserts rows in the open transaction.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    into: &InsertTarget,
    rows: &[Vec<Value>],
) -> Result<u64, Refused> {
    let statement = into.statement(1);
    let types: Vec<ParameterType> = match describe(connection, &statement, into.columns.len()).await {
        Ok((_, types)) => types.into_iter().map(ParameterType::Known).collect(),
        Err(problem) if is_unknown_type(&problem) => unknown::column_types(connection, into).await?,
        Err(problem) => return Err(problem.into()),
    };
    run(connection, "SAVEPOINT blockyard_rows").await?;
    match copy(connection, into, rows, &types).await {
        Ok(count) => {
            run(connection, "RELEASE SAVEPOINT blockyard_rows").await?;
            Ok(count)
        }
        Err(NotCopied::Refused(refused)) => Err(refused),
        Err(NotCopied::RowUnknown) => {
            run(connection, "ROLLBACK TO SAVEPOINT blockyard_rows").await?;
            many::prepared(connection, &statement, rows, &types).await.map(|done| done.rows_affected)
        }
    }
}

async fn run(connection: &mut PgConnection, statement: &'static str) -> Result<(), Problem> {
    connection.execute(statement).await.map(drop).map_err(|error| problem(&error))
}

async fn copy(
    connection: &mut PgConnection,
    into: &InsertTarget,
    rows: &[Vec<Value>],
    types: &[ParameterType],
) -> Result<u64, NotCopied> {
    if !supports_copy(connection, into).await.map_err(|error| not_copied(&error, into))? {
        return Err(NotCopied::RowUnknown);
    }
    // Without a type whose values are sent as text, all types are known.
    let known: Option<Vec<&PgTypeInfo>> = types.iter().map(ParameterType::binary).collect();
    let mut data = Vec::new();
    if known.is_some() {
        data.extend(BINARY_HEAD);
    }
    for (index, row) in rows.iter().enumerate() {
        let encoded = match &known {
            Some(known) => binary_row(&mut data, row, known),
            None => text_row(&mut data, row, types),
        };
        encoded.map_err(|(column, reason)| {
            let message = format!("column {}: {reason}", into.columns[column]);
            NotCopied::Refused(Refused::at(index, Problem::new("invalid", message)))
        })?;
    }
    if known.is_some() {
        data.extend(BINARY_END);
    }
    let form = if known.is_some() { "binary" } else { "text" };
    let copy = format!("copy {} ({}) from stdin with (format {form})", into.table, into.columns.join(", "));
    send(connection, &copy, &data).await.map_err(|error| not_copied(&error, into))
}

fn not_copied(error: &sqlx::Error, into: &InsertTarget) -> NotCopied {
    let problem = problem(error);
    match row_of(error, &into.name) {
        Some(index) => NotCopied::Refused(Refused::at(index, problem)),
        // An operation that was canceled, or must be repeated from the start, is not retried here.
        None if problem.retryable || problem.code == "timeout" || error.as_database_error().is_none() => {
            NotCopied::Refused(problem.into())
        }
        None => NotCopied::RowUnknown,
    }
}

async fn send(connection: &mut PgConnection, statement: &str, data: &[u8]) -> Result<u64, sqlx::Error> {
    let mut copy = connection.copy_in_raw(statement).await?;
    for message in data.chunks(MESSAGE_BYTES) {
        copy.send(message).await?;
    }
    copy.finish().await
}

/// Checks whether a copy is equivalent to an `INSERT`. It is not for views, tables with rules, and
/// tables whose row-level security applies to the user.
async fn supports_copy(connection: &mut PgConnection, into: &InsertTarget) -> Result<bool, sqlx::Error> {
    let query = "select relkind in ('r', 'p') and not relhasrules and not row_security_active(oid) \
                 from pg_catalog.pg_class where oid = to_regclass($1)";
    let answer: Option<bool> = sqlx::query_scalar(query).bind(&into.table).fetch_optional(connection).await?;
    Ok(answer.unwrap_or(false))
}

/// Returns the index of the row that an error concerns, from 0. The server reports it as
/// `COPY table, line 3, column a`, in its own language.
fn row_of(error: &sqlx::Error, table: &str) -> Option<usize> {
    let context = error.as_database_error()?.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?.r#where()?;
    line_of(context, table)
}

fn line_of(context: &str, table: &str) -> Option<usize> {
    let beginning = format!("COPY {table}, ");
    let rest = context.lines().find_map(|line| line.strip_prefix(&beginning))?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?;
    digits.parse::<usize>().ok()?.checked_sub(1)
}

type Encoded = Result<(), (usize, String)>;

fn binary_row(data: &mut Vec<u8>, row: &[Value], types: &[&PgTypeInfo]) -> Encoded {
    let width = i16::try_from(row.len()).map_err(|_| (0, "the row has too many columns".to_owned()))?;
    data.extend(width.to_be_bytes());
    for (column, (value, info)) in row.iter().zip(types).enumerate() {
        match format::encode(value, info).map_err(|reason| (column, reason))? {
            None => data.extend((-1_i32).to_be_bytes()),
            Some(bytes) => {
                let length = i32::try_from(bytes.len()).map_err(|_| (column, "the value is too long".to_owned()))?;
                data.extend(length.to_be_bytes());
                data.extend(bytes);
            }
        }
    }
    Ok(())
}

fn text_row(data: &mut Vec<u8>, row: &[Value], types: &[ParameterType]) -> Encoded {
    for (column, (value, expected)) in row.iter().zip(types).enumerate() {
        if column > 0 {
            data.push(b'\t');
        }
        match many::to_text(value, expected).map_err(|reason| (column, reason))? {
            None => data.extend(b"\\N"),
            Some(text) => escape(data, &text).map_err(|reason| (column, reason))?,
        }
    }
    data.push(b'\n');
    Ok(())
}

fn escape(data: &mut Vec<u8>, text: &str) -> Result<(), String> {
    for byte in text.bytes() {
        match byte {
            0 => literal::without_nul(text)?,
            b'\\' => data.extend(b"\\\\"),
            b'\t' => data.extend(b"\\t"),
            b'\n' => data.extend(b"\\n"),
            b'\r' => data.extend(b"\\r"),
            byte => data.push(byte),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_number_is_parsed_from_the_error_context() {
        assert_eq!(line_of("COPY t, line 3, column a: \"x\"", "t"), Some(2));
        assert_eq!(line_of("COPY t, Zeile 3, Spalte a: \"x\"", "t"), Some(2));
        assert_eq!(line_of("PL/pgSQL function f()\nCOPY t, line 12", "t"), Some(11));
        assert_eq!(line_of("COPY a, line 9, line 3", "a, line 9"), Some(2));
        assert_eq!(line_of("SQL statement \"insert\"", "t"), None);
    }

    #[test]
    fn strings_are_escaped_for_copy() {
        let mut data = Vec::new();
        escape(&mut data, "a\tb\\N\r\nü").expect("no NUL");
        assert_eq!(data, "a\\tb\\\\N\\r\\nü".as_bytes());
        assert!(escape(&mut data, "a\0").is_err());
    }
}
