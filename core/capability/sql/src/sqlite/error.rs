//! Errors of SQLite, as problems.

use blockyard_call::{Problem, limits};
use rusqlite::ffi;
use serde_json::json;

use crate::target::Permitted;

/// An error of SQLite: extended result code (<https://www.sqlite.org/rescode.html>) and message.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: i64,
    pub(super) message: String,
}

impl From<&rusqlite::Error> for Refusal {
    fn from(error: &rusqlite::Error) -> Self {
        let (error, message) = match error {
            rusqlite::Error::SqliteFailure(error, Some(message)) => (*error, message.clone()),
            // The text of the error would include the statement.
            rusqlite::Error::SqlInputError { error, msg, .. } => (*error, msg.clone()),
            other => {
                let misuse = ffi::Error::new(ffi::SQLITE_MISUSE);
                (other.sqlite_error().copied().unwrap_or(misuse), other.to_string())
            }
        };
        Self { code: error.extended_code.into(), message }
    }
}

impl Refusal {
    /// Returns the error of a statement that has used the memory of its call.
    pub(super) fn out_of_memory() -> Self {
        Self { code: ffi::SQLITE_NOMEM.into(), message: String::new() }
    }

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

/// Returns the problem of a file that cannot be opened.
pub(super) fn could_not_open(error: &rusqlite::Error, target: &Permitted) -> Problem {
    let mut refusal = Refusal::from(error);
    // rusqlite appends the path to some messages.
    if let Some(message) = refusal.message.strip_suffix(&format!(": {}", target.database)) {
        refusal.message = message.to_owned();
    }
    not_opened(refusal.problem(), target)
}

/// Returns the problem of a file that could not be opened in time.
pub(super) fn too_late(target: &Permitted) -> Problem {
    not_opened(Problem::new("unavailable", "no connection became free in time").retryable(), target)
}

fn not_opened(problem: Problem, target: &Permitted) -> Problem {
    Problem { message: format!("cannot open database file `{}`: {}", target.database, problem.message), ..problem }
        .details(&json!({ "step": "connect" }))
}
