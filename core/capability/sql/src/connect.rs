//! Errors of a connection attempt that the drivers of servers share.

use blockyard_call::{Problem, limits};
use serde_json::json;

/// Returns the problem if a connection failed before authentication, and `None` for other errors.
pub(super) fn not_connected(error: &sqlx::Error) -> Option<Problem> {
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
