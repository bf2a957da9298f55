//! Errors of the driver and of the server, as problems.

use blockyard_call::Problem;
use serde_json::json;
use sqlx::mysql::MySqlDatabaseError;

use crate::error::{self, driver_problem};
use crate::target::Permitted;

/// Converts the error of a connection that was refused after the server was reached.
pub(super) fn refused(error: &sqlx::Error, target: &Permitted) -> Problem {
    if let sqlx::Error::Configuration(_) = error {
        return Problem::new("denied", "the server requests the password in a form that is safe only with TLS")
            .hint("set `options.sslmode` to `verify-full`")
            .details(&json!({ "step": "authenticate" }));
    }
    error::refused(error, target, problem)
}

/// Converts an error to a problem, by its number and the class of its SQLSTATE
/// (<https://mariadb.com/kb/en/mariadb-error-code-reference/>,
/// <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>).
pub(super) fn problem(error: &sqlx::Error) -> Problem {
    let Some(database) = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>())
    else {
        let hint = "check that the server is MySQL or MariaDB; read columns of unknown types with `cast(… as char)`";
        return driver_problem(error, hint);
    };
    let (number, state) = (database.number(), database.code().unwrap_or_default());
    let details = json!({ "mysql": number, "sqlstate": state });
    let (code, retryable) = match number {
        // Cannot execute statement in a READ ONLY transaction.
        1792 => ("effect", false),
        // Unknown database.
        1049 => ("not-found", false),
        // Access denied to the server, a database, a table, a column, a routine, or an action that
        // needs a privilege; prevented by an option of the server; LOCAL INFILE.
        1044 | 1045 | 1142 | 1143 | 1148 | 1227 | 1290 | 1370 | 1698 | 3948 | 4166 => ("denied", false),
        // A row that another transaction has changed, lock wait timeout, deadlock.
        1020 | 1205 | 1213 => ("conflict", true),
        // The time limit of a statement is exceeded (MariaDB, MySQL), or the statement was killed.
        1317 | 1969 | 3024 => ("timeout", false),
        // Too many connections, in total or for this user; server shutdown.
        1040 | 1053 | 1203 | 1226 => ("unavailable", true),
        // Values that do not fit; statements that cannot be prepared.
        1295 | 1364 | 1366 | 1411 | 3140 => ("invalid", false),
        _ => match state.get(..2).unwrap_or_default() {
            "28" => ("denied", false),
            "23" => ("conflict", false),
            "08" => ("unavailable", true),
            "21" | "22" | "42" => ("invalid", false),
            _ => ("failed", false),
        },
    };
    let problem = Problem { retryable, ..Problem::from_database(code, database.message()).details(&details) };
    match (code, number) {
        ("effect", _) => problem.hint("use `execute` for statements that change something"),
        (_, 1295) => problem.hint("run it with the server's own client: this statement cannot be prepared"),
        _ => problem,
    }
}
