//! Errors of SQLite and of the driver, as problems.

use blockyard_call::{Problem, limits};
use serde_json::json;

use crate::target::Permitted;

/// An error of SQLite: extended result code (<https://www.sqlite.org/rescode.html>) and message.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: i64,
    pub(super) message: String,
}

impl Refusal {
    /// Converts an error of SQLite to a problem, by its result code.
    pub(super) fn problem(&self) -> Problem {
        let details = json!({ "sqlite": self.code });
        let (code, retryable) = match self.code & 0xff {
            7 | 18 => ("invalid", false),
            5 | 6 => ("unavailable", true),
            8 => ("effect", false),
            9 => ("timeout", false),
            11 | 26 | 1 | 20 | 25 => ("invalid", false),
            13 | 10 => ("unavailable", false),
            14 => ("not-found", false),
            19 => ("conflict", false),
            23 => ("not-granted", false),
            _ => ("failed", false),
        };
        let message = match code {
            "effect" => return write_in_a_read().details(&details),
            _ if self.code & 0xff == 7 => {
                format!("the statements of the call need more than {} MiB of memory", limits::SQLITE_MEMORY_BYTES >> 20)
            }
            _ if self.code & 0xff == 18 => {
                format!("a value, a row or the statement is longer than {} MiB", limits::SQLITE_VALUE_BYTES >> 20)
            }
            "not-granted" => "the statement accesses more than the block's database file".to_owned(),
            "timeout" => {
                format!("the statement was stopped; its time limit is {} seconds", limits::STATEMENT_TIME.as_secs())
            }
            _ => self.message.clone(),
        };
        let problem = Problem { retryable, ..Problem::from_database(code, message).details(&details) };
        if self.code & 0xff == 13 {
            let mebibytes = limits::SQLITE_TEMPORARY_BYTES >> 20;
            return problem.hint(format!(
                "check that the disk is not full, that the temporary files of the call have at most {mebibytes} MiB, and \
                 that its database in memory has at most {} MiB",
                limits::SQLITE_DATABASE_BYTES >> 20
            ));
        }
        problem
    }
}

/// Returns the problem of a statement that writes in an operation with the effect `read`.
pub(super) fn write_in_a_read() -> Problem {
    Problem::new("effect", "the operation only reads, and the statement writes")
        .hint("use `execute` for statements that change something")
}

pub(super) fn could_not_open(error: &sqlx::Error, target: &Permitted) -> Problem {
    let problem = problem(error);
    Problem { message: format!("cannot open database file `{}`: {}", target.database, problem.message), ..problem }
        .details(&json!({ "step": "connect" }))
}

/// Converts an error of the driver to a problem.
pub(super) fn problem(error: &sqlx::Error) -> Problem {
    match (error.as_database_error(), error) {
        (Some(database), _) => {
            let code = database.code().and_then(|code| code.parse().ok()).unwrap_or_default();
            Refusal { code, message: database.message().to_owned() }.problem()
        }
        (None, sqlx::Error::PoolTimedOut) => {
            Problem::new("unavailable", "no connection became free in time").retryable()
        }
        (None, other) => Problem::from_database("failed", other.to_string()),
    }
}
