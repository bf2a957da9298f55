//! Replies of operations, and outcomes of calls.

use blockyard_host::{ByteStream, LogLine};
use serde_json::Value;

use crate::Error;

/// Outcome in the audit trail of a successful call.
pub(crate) const OK: &str = "ok";

/// Reply of an operation.
pub struct CallReply {
    /// Result, as JSON.
    pub result: Value,
    /// Media type and bytes of the output, if the operation returns any.
    pub output: Option<(String, ByteStream)>,
    /// Lines that the bundle logged.
    pub log: Vec<LogLine>,
    /// Number of occurrences of secrets that were masked in data that the bundle received.
    pub masked: usize,
}

/// Returns the outcome as a word for the audit trail. Takes a reference only briefly: holding a
/// reference to the reply's stream across an await would make the call's future `!Send`, so that
/// programs could not call blocks in spawned tasks.
pub(crate) fn word<T>(outcome: &Result<T, Error>) -> &'static str {
    outcome.as_ref().err().map_or(OK, |error| error.kind().as_str())
}

impl std::fmt::Debug for CallReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CallReply({})", self.result)
    }
}
