//! Statements: compiling, parameters, rows, and errors.

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Batch, Connection, Statement, ffi};
use serde_json::json;

use super::super::types::Problem;
use super::super::value::{Column, Execution, Value};
use super::exact::unknown_to_sqlite;
use crate::sql::lexer::{Kind, Syntax, tokens};

/// First words of statements that begin or end a transaction.
const TRANSACTION_CONTROL: [&str; 10] =
    ["begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "prepare", "deallocate"];

/// Columns and rows of a statement, and the failure after its last row.
pub(super) type Read = (Vec<Column>, Vec<Vec<Value>>, Option<Problem>);

/// Failure of a statement with many rows.
pub(super) struct Refused {
    /// Index of the row that failed, from 0.
    index: Option<usize>,
    problem: Problem,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { index: None, problem }
    }
}

impl Refused {
    pub(super) fn at(index: usize, problem: Problem) -> Self {
        Self { index: Some(index), problem }
    }

    /// Converts the failure to a problem that names the set of parameters.
    pub(super) fn of_sets(self) -> Problem {
        let Self { index, problem } = self;
        match index {
            None => problem,
            Some(index) => {
                Problem { message: format!("set {} of the parameters: {}", index + 1, problem.message), ..problem }
            }
        }
    }

    /// Converts the failure to a problem whose details contain the number of the row, from 1.
    pub(super) fn of_rows(self) -> Problem {
        let Self { index, problem } = self;
        let Some(index) = index else { return problem };
        let details = problem.details.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let mut details: serde_json::Value = details.unwrap_or_else(|| json!({}));
        details["row"] = (index + 1).into();
        problem.details(&details)
    }
}

/// Refuses a statement that begins or ends a transaction.
pub(super) fn no_transaction_control(text: &str) -> Result<(), Problem> {
    let first = tokens(text, Syntax::Sqlite).find(|token| !(token.is_trivia() || matches!(token.text, "(" | ";")));
    let word = first.filter(|token| token.kind == Kind::Word).map(|token| token.text.to_ascii_lowercase());
    match word.filter(|word| TRANSACTION_CONTROL.contains(&word.as_str())) {
        Some(word) => {
            Err(Problem::new("invalid", format!("`{word}` is not supported: the host begins and ends transactions"))
                .hint("use `execute-many` to run a statement with many sets of parameters in one transaction"))
        }
        None => Ok(()),
    }
}

/// Compiles a text that contains one statement.
pub(super) fn prepare<'a>(connection: &'a Connection, text: &str, read_only: bool) -> Result<Statement<'a>, Problem> {
    if let Some(at) = text.find('\0') {
        let message = format!("the statement contains a NUL character at byte {}", at + 1);
        return Err(Problem::new("invalid", message));
    }
    let mut statements = Batch::new(connection, text);
    let mut first = None;
    loop {
        match statements.next() {
            Ok(None) => break,
            Ok(Some(statement)) if read_only && !statement.readonly() => return Err(write_in_a_read()),
            Ok(Some(statement)) if first.is_none() => first = Some(statement),
            Err(error) if first.is_none() => return Err(problem(&error)),
            Ok(Some(_)) | Err(_) => {
                return Err(
                    Problem::new("invalid", "there is more than one statement").hint("run one statement at a time")
                );
            }
        }
    }
    first.ok_or_else(|| Problem::new("invalid", "the statement is empty"))
}

pub(super) fn check_count(expected: usize, actual: usize) -> Result<(), Problem> {
    if expected == actual {
        return Ok(());
    }
    Err(Problem::new("invalid", format!("the statement takes {expected} parameters; {actual} were given")))
}

fn bind(statement: &mut Statement<'_>, parameters: &[Value]) -> Result<(), Problem> {
    for (place, value) in (1..).zip(parameters) {
        if let Some(reason) = unknown_to_sqlite(value) {
            return Err(Problem::new("invalid", format!("parameter {place}: {reason}")));
        }
        let value = match value {
            Value::Boolean(v) => ValueRef::Integer((*v).into()),
            Value::Integer(v) => ValueRef::Integer(*v),
            Value::Float(v) => ValueRef::Real(*v),
            Value::Bytes(v) => ValueRef::Blob(v),
            Value::Decimal(v) | Value::Text(v) | Value::Uuid(v) | Value::Json(v) | Value::Other((_, v)) => {
                ValueRef::Text(v.as_bytes())
            }
            // Dates are refused above.
            Value::Null | Value::Date(_) | Value::Time(_) | Value::Timestamp(_) => ValueRef::Null,
        };
        let bound = statement.raw_bind_parameter(place, ToSqlOutput::Borrowed(value));
        bound.map_err(|error| problem(&error))?;
    }
    Ok(())
}

/// Runs a statement, without its rows.
pub(super) fn run(
    connection: &Connection,
    statement: &mut Statement<'_>,
    parameters: &[Value],
) -> Result<Execution, Problem> {
    bind(statement, parameters)?;
    let before = connection.total_changes();
    let mut rows = statement.raw_query();
    while rows.next().map_err(|error| problem(&error))?.is_some() {}
    // `changes` refers to the last statement that changed rows, which may not be this one.
    let rows_affected = if connection.total_changes() == before { 0 } else { connection.changes() };
    Ok(Execution { rows_affected, last_insert_id: Some(connection.last_insert_rowid()) })
}

/// Runs a statement, and reads its rows. A failure before the first row is an error.
pub(super) fn read(statement: &mut Statement<'_>, parameters: &[Value]) -> Result<Read, Problem> {
    bind(statement, parameters)?;
    let mut all = Vec::new();
    let width = statement.column_count();
    let mut rows = statement.raw_query();
    let end = loop {
        match rows.next() {
            Ok(None) => break None,
            Err(error) if all.is_empty() => return Err(problem(&error)),
            Err(error) => break Some(problem(&error)),
            Ok(Some(row)) => {
                let number = all.len() + 1;
                match (0..width).map(|column| value(row, column)).collect::<Result<Vec<Value>, Problem>>() {
                    Ok(values) => all.push(values),
                    Err(problem) => {
                        let message = format!("row {number}: {}", problem.message);
                        break Some(Problem { message, ..problem });
                    }
                }
            }
        }
    };
    drop(rows);
    let described = statement.columns();
    let columns = described.iter().map(|column| Column {
        name: column.name().to_owned(),
        type_name: column.decl_type().unwrap_or_default().to_ascii_lowercase(),
        nullable: None,
    });
    Ok((columns.collect(), all, end))
}

fn value(row: &rusqlite::Row<'_>, column: usize) -> Result<Value, Problem> {
    Ok(match row.get_ref(column).map_err(|error| problem(&error))? {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Float(value),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        ValueRef::Text(bytes) => {
            let text = str::from_utf8(bytes).map_err(|_| {
                Problem::new("failed", format!("column {} has a string that is not UTF-8", column + 1))
                    .hint("read it as bytes, with `cast(… as blob)`")
            })?;
            Value::Text(text.to_owned())
        }
    })
}

/// Returns the `INSERT` statement for one row.
pub(super) fn insert(table: &[String], columns: &[String]) -> Result<String, Problem> {
    let invalid = |message: String| Err(Problem::new("invalid", message));
    if !(1..=2).contains(&table.len()) {
        return invalid("the name of a table must have one part, or two with its schema".to_owned());
    }
    if columns.is_empty() {
        return invalid("no columns were given for the rows".to_owned());
    }
    for (what, name) in table.iter().map(|name| ("table", name)).chain(columns.iter().map(|name| ("column", name))) {
        if name.is_empty() {
            return invalid(format!("the name of a {what} is empty"));
        }
        if name.contains('\0') {
            return invalid(format!("the name of the {what} `{}` contains a NUL character", name.replace('\0', "\\0")));
        }
    }
    let quoted = |names: &[String], separator: &str| {
        let names: Vec<String> = names.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
        names.join(separator)
    };
    let values = vec!["?"; columns.len()].join(", ");
    Ok(format!("insert into {} ({}) values ({values})", quoted(table, "."), quoted(columns, ", ")))
}

/// Returns the problem of a statement that writes in an operation with the effect `read`.
pub(super) fn write_in_a_read() -> Problem {
    Problem::new("effect", "the operation only reads, and the statement writes")
        .hint("use `execute` for statements that change something")
}

/// Converts an error of SQLite to a problem, by its extended result code
/// (<https://www.sqlite.org/rescode.html>).
pub(super) fn problem(error: &rusqlite::Error) -> Problem {
    let (error, message) = match error {
        rusqlite::Error::SqliteFailure(error, Some(message)) => (*error, message.clone()),
        // The text of the error would include the statement.
        rusqlite::Error::SqlInputError { error, msg, .. } => (*error, msg.clone()),
        other => {
            let misuse = ffi::Error::new(ffi::SQLITE_MISUSE);
            (other.sqlite_error().copied().unwrap_or(misuse), other.to_string())
        }
    };
    let code = match error.extended_code & 0xff {
        1 | 7 | 11 | 18 | 20 | 25 | 26 => "invalid",
        5 | 6 | 10 | 13 => "unavailable",
        14 => "not-found",
        19 => "conflict",
        23 => "not-granted",
        _ => "failed",
    };
    let message = match code {
        "not-granted" => "the statement accesses more than the block's database file".to_owned(),
        _ => message,
    };
    Problem::new(code, message).details(&json!({ "sqlite": error.extended_code }))
}
