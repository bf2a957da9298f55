//! Errors that the drivers share.

use blockyard_call::{Problem, limits};
use serde_json::json;

use super::target::Permitted;

/// Returns the problem of a connection that was closed after an earlier failure.
pub(super) fn closed() -> Problem {
    Problem::new("unavailable", "the connection was closed after a failure").retryable()
}

/// Converts an error that is not one of the server. `protocol` is the hint for a response that the driver cannot
/// parse.
pub(super) fn driver_problem(error: &sqlx::Error, protocol: &str) -> Problem {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => {
            Problem::new("unavailable", format!("the connection was lost: {error}")).retryable()
        }
        // The driver's message describes its internal state.
        sqlx::Error::Protocol(_) => Problem::new("failed", "cannot parse the server's response").hint(protocol),
        other => Problem::from_database("failed", other.to_string()),
    }
}

/// Converts the error of a connection that was refused after the server was reached. `problem` converts an error
/// of the server.
pub(super) fn refused(error: &sqlx::Error, target: &Permitted, problem: fn(&sqlx::Error) -> Problem) -> Problem {
    let refused = || problem(error).details(&json!({ "step": "authenticate" }));
    let problem = not_connected(error).unwrap_or_else(refused);
    if problem.code != "not-found" {
        return problem;
    }
    problem.hint(format!("create the database `{}`, or configure a different one in the block", target.database))
}

/// Returns the problem if a connection failed before authentication, and `None` for other errors.
fn not_connected(error: &sqlx::Error) -> Option<Problem> {
    let problem = match error {
        sqlx::Error::PoolTimedOut => {
            Problem::new("unavailable", format!("could not connect within {} seconds", limits::CONNECT_TIME.as_secs()))
                .retryable()
        }
        sqlx::Error::Tls(reason) => Problem::new("unavailable", format!("TLS: {reason}")),
        // The driver reports an untrusted certificate as this kind of I/O error.
        sqlx::Error::Io(reason) if reason.kind() == std::io::ErrorKind::InvalidData => {
            Problem::new("unavailable", format!("TLS: {reason}"))
        }
        _ => return None,
    };
    Some(problem.details(&json!({ "step": "connect" })))
}
