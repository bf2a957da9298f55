//! Errors of the driver and of the server, as problems.

use blockyard_call::Problem;
use serde_json::json;

use crate::error::driver_problem;

/// SQLSTATE of statements in a transaction that has failed.
pub(super) const ABORTED: &str = "25P02";

pub(super) fn sqlstate(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned()
}

/// Converts an error to a problem, by the class of its SQLSTATE
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
pub(super) fn problem(error: &sqlx::Error) -> Problem {
    let Some(database) = error.as_database_error() else {
        let hint = "check that the server is PostgreSQL; `copy` statements are not supported";
        return driver_problem(error, hint);
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
    let problem = Problem { retryable, ..Problem::from_database(code, message).details(&details) };
    if code == "effect" { problem.hint("use `execute` for statements that change something") } else { problem }
}

/// Message about a type that the driver does not know.
const UNKNOWN_TYPE: &str = "the statement has a column or a parameter of an unknown type";

/// Checks whether the driver failed because of a type, and not because of the statement.
pub(super) fn is_about_a_type(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::ColumnDecode { index, .. } if index.contains("typtype") || index.contains("typcategory"))
}

/// Returns the problem of a type that the driver does not know.
pub(super) fn unknown_type() -> Problem {
    Problem::new("invalid", UNKNOWN_TYPE).hint(
        "cast the column to text, `cast(… as text)`, and a parameter from text, `cast(cast(:name as text) as TYPE)`",
    )
}

/// Checks for the problem of a type that the driver does not know.
pub(super) fn is_unknown_type(problem: &Problem) -> bool {
    problem.message == UNKNOWN_TYPE
}
