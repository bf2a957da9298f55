//! Statements that the server parses: their columns, and their parameters in binary format.

use std::borrow::Cow;

use blockyard_call::Problem;
use sqlx::postgres::{PgArguments, PgColumn, PgConnection, PgTypeInfo};
use sqlx::{Arguments as _, AssertSqlSafe, Either, Executor as _, SqlSafeStr as _, Statement as _};

use super::error::{is_about_a_type, problem, unknown_type};
use super::foreign;
use super::format::{self, Argument, TextForm};
use crate::bindings::blockyard::bundle::sql::{Execution, Value};
use crate::literal;
use crate::statement::{Access, check_count};
use crate::word::not_reading;

/// A statement that the server has parsed, and its parameters in binary format.
pub(super) struct Prepared<'text> {
    /// The statement, with casts around the parameters that need them.
    pub(super) text: Cow<'text, str>,
    pub(super) columns: Vec<PgColumn>,
    pub(super) arguments: PgArguments,
}

/// Lets the server parse the statement, and converts the parameters to the types that it expects.
pub(super) async fn prepare<'text>(
    connection: &mut PgConnection,
    text: &'text str,
    parameters: Vec<Value>,
) -> Result<Prepared<'text>, Problem> {
    let mut text = Cow::Borrowed(text);
    let mut prepared = describe(connection, &text, parameters.len()).await?;
    let mut values = parameters;
    check_lists(&values, &prepared.1)?;
    if prepared.1.iter().any(|info| foreign::text_form(info).is_some()) {
        for (index, (value, info)) in values.iter_mut().zip(&prepared.1).enumerate() {
            if foreign::text_form(info).is_some() {
                let text = foreign::to_text(value, info);
                let text =
                    text.map_err(|reason| Problem::new("invalid", format!("parameter {}: {reason}", index + 1)))?;
                *value = text.map_or(Value::Null, Value::Text);
            }
        }
        text = foreign::cast_parameters(&text, &prepared.1).into();
        prepared = describe(connection, &text, values.len()).await?;
    }
    let (columns, expected) = prepared;
    let mut arguments = PgArguments::default();
    for (index, (value, info)) in values.into_iter().zip(expected).enumerate() {
        let bytes = format::encode(&value, &info)
            .map_err(|reason| Problem::new("invalid", format!("parameter {}: {reason}", index + 1)))?;
        arguments
            .add(Argument { info, bytes })
            .map_err(|error| Problem::new("invalid", format!("parameter {}: {error}", index + 1)))?;
    }
    Ok(Prepared { text, columns, arguments })
}

/// Checks that no list contains bytes, except for parameters that are arrays.
pub(super) fn check_lists(values: &[Value], types: &[PgTypeInfo]) -> Result<(), Problem> {
    for (index, (value, info)) in values.iter().zip(types).enumerate() {
        if foreign::text_form(info) != Some(TextForm::Json) {
            literal::without_bytes_in_list(value)
                .map_err(|reason| Problem::new("invalid", format!("parameter {}: {reason}", index + 1)))?;
        }
    }
    Ok(())
}

/// Returns the columns of a statement, and the types of its parameters.
pub(super) async fn describe(
    connection: &mut PgConnection,
    text: &str,
    parameters: usize,
) -> Result<(Vec<PgColumn>, Vec<PgTypeInfo>), Problem> {
    let prepared = connection.prepare(AssertSqlSafe(text).into_sql_str()).await;
    let prepared = prepared.map_err(|error| if is_about_a_type(&error) { unknown_type() } else { problem(&error) })?;
    let expected: &[PgTypeInfo] = match prepared.parameters() {
        Some(Either::Left(types)) => types,
        _ => &[],
    };
    check_count(expected.len(), parameters)?;
    Ok((prepared.columns().to_vec(), expected.to_vec()))
}

/// Checks that a statement of an operation with the effect `read` returns rows, according to the
/// server's own parser. Statements that end transactions, change settings or run code return none,
/// regardless of how they are written.
pub(super) fn returns_rows(columns: &[PgColumn], access: Access) -> Result<(), Problem> {
    if access == Access::ReadWrite || !columns.is_empty() {
        return Ok(());
    }
    Err(not_reading("returns no columns"))
}

/// Runs a statement.
pub(super) async fn execute_one(
    connection: &mut PgConnection,
    text: &str,
    parameters: Vec<Value>,
    access: Access,
) -> Result<Execution, Problem> {
    let Prepared { text, columns, arguments } = prepare(connection, text, parameters).await?;
    returns_rows(&columns, access)?;
    let result = sqlx::query_with(AssertSqlSafe(text.as_ref()), arguments)
        .execute(connection)
        .await
        .map_err(|error| problem(&error))?;
    Ok(Execution { rows_affected: result.rows_affected(), last_insert_id: None })
}

/// Returns the number of parameters that the server finds in a statement.
#[cfg(test)]
pub(super) async fn count_parameters(connection: &mut PgConnection, text: &str) -> Result<usize, Problem> {
    let prepared = connection.prepare(AssertSqlSafe(text).into_sql_str()).await.map_err(|error| problem(&error))?;
    Ok(prepared.parameters().map_or(0, |parameters| parameters.either(<[_]>::len, |count| count)))
}
