//! One statement with many sets of parameters, in few round trips. The server prepares the
//! statement once, and a text of many `EXECUTE` statements runs it with the values of each set. The
//! driver cannot send many sets of parameters at once. Therefore values are written into SQL text
//! here, and only here: each as a literal of the bytes that would otherwise be sent for it.

use std::sync::atomic::{AtomicU64, Ordering};

use blockyard_call::Problem;
use blockyard_model::capability::Dialect;
use futures_util::StreamExt as _;
use serde_json::json;
use sqlx::postgres::{PgConnection, PgTypeInfo};
use sqlx::{AssertSqlSafe, Either, Executor as _};

use super::error::problem;
use super::format::{self, Reading, TextForm};
use super::prepare::{check_lists, describe, execute_one, returns_rows};
use super::{foreign, scan};
use crate::bindings::blockyard::bundle::sql::{Execution, Value};
use crate::cell::Cell;
use crate::insert::Refused;
use crate::statement::Access;
use crate::word::first_word;
use crate::{literal, number};

/// First words of statements that can be prepared by name.
const PREPARED: [&str; 7] = ["insert", "update", "delete", "merge", "select", "values", "with"];
/// Number of sets up to which the statement is run once per set.
const FEW: usize = 4;
/// Maximum number of sets per round trip.
const SETS: usize = 2_000;
/// Size in bytes at which a round trip is sent. Its last set may exceed the size.
const BYTES: usize = 1 << 20;

/// Number of the next prepared statement. The names must be unique, because a rollback does not
/// remove prepared statements.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Runs the statement once for each set of parameters, in the open transaction.
pub(crate) async fn execute_many(
    connection: &mut PgConnection,
    text: &str,
    sets: Vec<Vec<Value>>,
    access: Access,
) -> Result<Execution, Refused> {
    scan::check(text, access)?;
    let word = first_word(text, Dialect::Postgres);
    if sets.len() > FEW && PREPARED.contains(&word.as_str()) {
        return at_once(connection, text, &sets, access).await;
    }
    let mut rows_affected = 0;
    for (index, parameters) in sets.into_iter().enumerate() {
        let executed = execute_one(connection, text, parameters, access).await;
        let executed = executed.map_err(|problem| Refused::at(index, problem))?;
        rows_affected += executed.rows_affected;
    }
    Ok(Execution { rows_affected, last_insert_id: None })
}

/// Like [`execute_many`], without a minimum number of sets.
async fn at_once(
    connection: &mut PgConnection,
    text: &str,
    sets: &[Vec<Value>],
    access: Access,
) -> Result<Execution, Refused> {
    // After this, the server has parsed the text as a single statement.
    let (columns, types) =
        describe(connection, text, sets[0].len()).await.map_err(|problem| Refused::at(0, problem))?;
    returns_rows(&columns, access)?;
    for (index, set) in sets.iter().enumerate() {
        check_lists(set, &types).map_err(|problem| Refused::at(index, problem))?;
    }
    let types: Vec<ParameterType> = types.into_iter().map(ParameterType::Known).collect();
    prepared(connection, text, sets, &types).await
}

/// Type of a parameter, or of a column that rows are inserted into.
pub(super) enum ParameterType {
    Known(PgTypeInfo),
    /// A type that the driver does not know, which is sent as text.
    Unknown(TextForm),
}

impl ParameterType {
    /// Returns the type if its values are sent in binary format; `None` if they are sent as text.
    pub(super) fn binary(&self) -> Option<&PgTypeInfo> {
        match self {
            Self::Known(info) => Some(info).filter(|info| foreign::text_form(info).is_none()),
            Self::Unknown(_) => None,
        }
    }
}

/// Prepares the statement by name, and runs it once for each set of parameters.
pub(super) async fn prepared(
    connection: &mut PgConnection,
    text: &str,
    sets: &[Vec<Value>],
    types: &[ParameterType],
) -> Result<Execution, Refused> {
    let name = format!("blockyard_many_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let prepare = format!("PREPARE {name} AS\n{}", foreign::body(text));
    // Run in the extended protocol, in which the server accepts only a single statement.
    let prepare = sqlx::query(AssertSqlSafe(prepare)).persistent(false);
    prepare.execute(&mut *connection).await.map_err(|error| problem(&error))?;
    let mut rows_affected = 0;
    let mut done = 0;
    while done < sets.len() {
        let mut batch = String::new();
        let mut end = done;
        while end < sets.len() && end - done < SETS && batch.len() < BYTES {
            push(&mut batch, &name, &sets[end], types).map_err(|problem| Refused::at(end, problem))?;
            end += 1;
        }
        let mut results = sqlx::raw_sql(AssertSqlSafe(batch)).fetch_many(&mut *connection);
        while let Some(result) = results.next().await {
            match result {
                Ok(Either::Left(result)) => {
                    rows_affected += result.rows_affected();
                    done += 1;
                }
                // Rows that the statement returns are ignored.
                Ok(Either::Right(_)) => {}
                Err(error) => {
                    let state = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
                    // The server's position would refer to the text of all sets, so it is left out.
                    let problem = problem(&error).details(&json!({ "sqlstate": state }));
                    return Err(Refused::at(done, problem));
                }
            }
        }
        done = end;
    }
    connection.execute(AssertSqlSafe(format!("DEALLOCATE {name}"))).await.map_err(|error| problem(&error))?;
    Ok(Execution { rows_affected, last_insert_id: None })
}

/// Appends `EXECUTE name(…);` to the batch.
fn push(batch: &mut String, name: &str, set: &[Value], types: &[ParameterType]) -> Result<(), Problem> {
    if set.len() != types.len() {
        let reason = format!("the statement takes {} parameters; {} were given", types.len(), set.len());
        return Err(Problem::new("invalid", reason));
    }
    batch.push_str("EXECUTE ");
    batch.push_str(name);
    for (index, (value, info)) in set.iter().zip(types).enumerate() {
        batch.push_str(if index == 0 { "(" } else { ", " });
        let refused = |reason| Problem::new("invalid", format!("parameter {}: {reason}", index + 1));
        match to_text(value, info).map_err(refused)? {
            None => batch.push_str("NULL"),
            Some(text) => quote(batch, &text).map_err(refused)?,
        }
    }
    batch.push_str(if set.is_empty() { ";\n" } else { ");\n" });
    Ok(())
}

/// Returns a value in the server's text form, derived from the bytes that would be sent for it;
/// `None` for NULL.
pub(super) fn to_text(value: &Value, expected: &ParameterType) -> Result<Option<String>, String> {
    let info = match expected {
        ParameterType::Unknown(form) => return foreign::to_text_of_form(value, *form, None),
        ParameterType::Known(info) if foreign::text_form(info).is_some() => return foreign::to_text(value, info),
        ParameterType::Known(info) => info,
    };
    let Some(bytes) = format::encode(value, info)? else { return Ok(None) };
    let unreadable = || format!("the value is not a valid `{info}`");
    let cell = format::decode(&bytes, &Reading::of(info, None)).ok_or_else(unreadable)?;
    Ok(Some(match cell {
        Cell::Null => return Ok(None),
        Cell::Boolean(v) => v.to_string(),
        Cell::Integer(v) => v.to_string(),
        Cell::Unsigned(v) => v.to_string(),
        Cell::Float(v) => number::float_text(v),
        Cell::Single(v) => number::float_text(number::widened(v)),
        Cell::Bytes(v) => literal::postgres_bytes_text(&v),
        Cell::Date(days) => literal::postgres_date_text(days),
        Cell::Time(micros) => literal::time_text(micros),
        Cell::Timestamp(micros) => literal::postgres_timestamp_text(micros, ""),
        Cell::Instant(micros) => literal::postgres_timestamp_text(micros, "+00"),
        Cell::Decimal(v) | Cell::Text(v) | Cell::Uuid(v) | Cell::Json(v) | Cell::Other(_, v) => v.into_owned(),
    }))
}

/// Appends a string literal that does not depend on the settings of the session
/// (<https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-STRINGS-ESCAPE>).
fn quote(batch: &mut String, text: &str) -> Result<(), String> {
    batch.push_str("E'");
    for character in text.chars() {
        match character {
            '\0' => literal::without_nul(text)?,
            '\'' => batch.push_str("''"),
            '\\' => batch.push_str("\\\\"),
            other => batch.push(other),
        }
    }
    batch.push('\'');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Checks that a literal ends at its closing quote, and contains the original string.
        #[test]
        fn quoted_literals_round_trip(text in "[^\0]{0,40}") {
            let mut literal = String::new();
            quote(&mut literal, &text).expect("no NUL");
            let inner = literal.strip_prefix("E'").and_then(|rest| rest.strip_suffix('\'')).expect("quotes");
            let mut read = String::new();
            let mut characters = inner.chars();
            while let Some(character) = characters.next() {
                if matches!(character, '\'' | '\\') {
                    prop_assert_eq!(characters.next(), Some(character));
                }
                read.push(character);
            }
            prop_assert_eq!(read, text);
        }
    }

    #[test]
    fn a_nul_character_is_rejected() {
        assert!(quote(&mut String::new(), "a\0b").is_err());
    }
}
