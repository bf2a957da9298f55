//! Rows into a table by `COPY`, the way that PostgreSQL has for many
//! (https://www.postgresql.org/docs/current/sql-copy.html). The server is asked for the types of the
//! columns by the `INSERT` that would do the same, so that a value means the same both ways.

use sqlx::Executor as _;
use sqlx::postgres::{PgConnection, PgTypeInfo};

use super::{foreign, format, many};
use crate::bindings::blockyard::bundle::sql::Value;
use crate::capability::sql::many::{Into, Refused};
use crate::capability::sql::{Access, literal};
use crate::problem::Problem;

/// Bytes of one message.
const MESSAGE_BYTES: usize = 1 << 20;
/// What a binary copy begins with: its signature, no flags, no extension.
const BINARY_HEAD: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
const BINARY_END: [u8; 2] = (-1_i16).to_be_bytes();

/// Why rows were not copied.
enum NotCopied {
    /// They are not taken, or the server is not there.
    Refused(Refused),
    /// The table or the server takes no copies; or what is checked at the end of one (a foreign key, a
    /// trigger) was not said with its row. Row by row it is done, or said.
    Unsaid,
}

/// In the transaction that is open.
pub(in crate::capability::sql) async fn insert(
    connection: &mut PgConnection,
    into: &Into,
    rows: &[Vec<Value>],
) -> Result<u64, Refused> {
    let statement = into.statement(1);
    let (_, types) = super::describe(connection, &statement, into.columns.len()).await?;
    run(connection, "SAVEPOINT blockyard_rows").await?;
    match copy(connection, into, rows, &types).await {
        Ok(count) => {
            run(connection, "RELEASE SAVEPOINT blockyard_rows").await?;
            Ok(count)
        }
        Err(NotCopied::Refused(refused)) => Err(refused),
        Err(NotCopied::Unsaid) => {
            run(connection, "ROLLBACK TO SAVEPOINT blockyard_rows").await?;
            many::at_once(connection, &statement, rows, Access::ReadWrite).await.map(|done| done.rows_affected)
        }
    }
}

async fn run(connection: &mut PgConnection, statement: &'static str) -> Result<(), Problem> {
    connection.execute(statement).await.map(drop).map_err(|error| super::problem(&error))
}

async fn copy(
    connection: &mut PgConnection,
    into: &Into,
    rows: &[Vec<Value>],
    types: &[PgTypeInfo],
) -> Result<u64, NotCopied> {
    if !takes_copies(connection, into).await.map_err(|error| not_copied(&error, into))? {
        return Err(NotCopied::Unsaid);
    }
    let as_text = types.iter().any(|info| foreign::text_form(info).is_some());
    let encode = if as_text { text_row } else { binary_row };
    let mut data = Vec::new();
    if !as_text {
        data.extend(BINARY_HEAD);
    }
    for (index, row) in rows.iter().enumerate() {
        encode(&mut data, row, types).map_err(|(column, reason)| {
            let message = format!("column {}: {reason}", into.columns[column]);
            NotCopied::Refused(Refused::at(index, Problem::new("invalid", message)))
        })?;
    }
    if !as_text {
        data.extend(BINARY_END);
    }
    let form = if as_text { "text" } else { "binary" };
    let copy = format!("copy {} ({}) from stdin with (format {form})", into.table, into.columns.join(", "));
    send(connection, &copy, &data).await.map_err(|error| not_copied(&error, into))
}

fn not_copied(error: &sqlx::Error, into: &Into) -> NotCopied {
    let problem = super::problem(error);
    match row_of(error, &into.name) {
        Some(index) => NotCopied::Refused(Refused::at(index, problem)),
        // What was stopped, or would have to begin again as a whole, is not begun again here.
        None if problem.retryable || problem.code == "timeout" || error.as_database_error().is_none() => {
            NotCopied::Refused(problem.into())
        }
        None => NotCopied::Unsaid,
    }
}

async fn send(connection: &mut PgConnection, statement: &str, data: &[u8]) -> Result<u64, sqlx::Error> {
    let mut copy = connection.copy_in_raw(statement).await?;
    for message in data.chunks(MESSAGE_BYTES) {
        copy.send(message).await?;
    }
    copy.finish().await
}

/// Whether a copy does what an `INSERT` does: not for views, for tables with rules, and where the rows
/// that one may write are restricted.
async fn takes_copies(connection: &mut PgConnection, into: &Into) -> Result<bool, sqlx::Error> {
    let asked = "select relkind in ('r', 'p') and not relhasrules and not row_security_active(oid) \
                 from pg_catalog.pg_class where oid = to_regclass($1)";
    let answer: Option<bool> = sqlx::query_scalar(asked).bind(&into.table).fetch_optional(connection).await?;
    Ok(answer.unwrap_or(false))
}

/// Which row the server speaks of, from 0: it says `COPY table, line 3, column a`, in its own language.
fn row_of(error: &sqlx::Error, table: &str) -> Option<usize> {
    let place = error.as_database_error()?.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?.r#where()?;
    line_of(place, table)
}

fn line_of(place: &str, table: &str) -> Option<usize> {
    let beginning = format!("COPY {table}, ");
    let rest = place.lines().find_map(|line| line.strip_prefix(&beginning))?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?;
    digits.parse::<usize>().ok()?.checked_sub(1)
}

type Encoded = Result<(), (usize, String)>;

fn binary_row(data: &mut Vec<u8>, row: &[Value], types: &[PgTypeInfo]) -> Encoded {
    let width = i16::try_from(row.len()).map_err(|_| (0, "there are too many".to_owned()))?;
    data.extend(width.to_be_bytes());
    for (column, (value, info)) in row.iter().zip(types).enumerate() {
        match format::encode(value, info).map_err(|reason| (column, reason))? {
            None => data.extend((-1_i32).to_be_bytes()),
            Some(bytes) => {
                let length = i32::try_from(bytes.len()).map_err(|_| (column, "it is too long".to_owned()))?;
                data.extend(length.to_be_bytes());
                data.extend(bytes);
            }
        }
    }
    Ok(())
}

fn text_row(data: &mut Vec<u8>, row: &[Value], types: &[PgTypeInfo]) -> Encoded {
    for (column, (value, info)) in row.iter().zip(types).enumerate() {
        if column > 0 {
            data.push(b'\t');
        }
        match many::words(value, info).map_err(|reason| (column, reason))? {
            None => data.extend(b"\\N"),
            Some(words) => escape(data, &words).map_err(|reason| (column, reason))?,
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
    fn the_server_says_which_row() {
        assert_eq!(line_of("COPY t, line 3, column a: \"x\"", "t"), Some(2));
        assert_eq!(line_of("COPY t, Zeile 3, Spalte a: \"x\"", "t"), Some(2));
        assert_eq!(line_of("PL/pgSQL function f()\nCOPY t, line 12", "t"), Some(11));
        assert_eq!(line_of("COPY a, line 9, line 3", "a, line 9"), Some(2));
        assert_eq!(line_of("SQL statement \"insert\"", "t"), None);
    }

    #[test]
    fn texts_stay_on_their_line() {
        let mut data = Vec::new();
        escape(&mut data, "a\tb\\N\r\nü").expect("no NUL");
        assert_eq!(data, "a\\tb\\\\N\\r\\nü".as_bytes());
        assert!(escape(&mut data, "a\0").is_err());
    }
}
