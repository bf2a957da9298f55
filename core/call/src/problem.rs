//! [`Problem`]: the error of a call as defined by the WIT interface `types`.

use crate::bindings::blockyard::bundle::types;
use crate::limits;

/// A failure of a remote service, or a request that cannot be fulfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Error code: `not-found`, `denied`, `invalid`, `conflict`, `unavailable`, `timeout`,
    /// `failed`. Bundles can use other codes.
    pub code: String,
    /// Human-readable message.
    pub message: String,
    /// Suggested action.
    pub hint: Option<String>,
    /// True if the same call may succeed later.
    pub retryable: bool,
    /// Further details, as JSON text.
    pub details: Option<String>,
    /// True if a database wrote the message, which may quote the statement and stored data.
    pub is_from_database: bool,
}

/// The error of a host function: a problem that the guest receives, or a trap that ends the guest.
#[derive(Debug)]
pub enum Fault {
    /// The guest receives the problem.
    Problem(Problem),
    /// The guest ends.
    Trap(wasmtime::Error),
}

impl Problem {
    /// Creates a problem that is not retryable, without hint and details.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            hint: None,
            retryable: false,
            details: None,
            is_from_database: false,
        }
    }

    /// Creates the problem of a capability that the bundle needs and does not have. The details name both, so
    /// that an interface can offer the grant.
    #[must_use]
    pub fn not_granted(bundle: &str, capability: &str) -> Self {
        Self::new("not-granted", format!("bundle `{bundle}` needs `{capability}`, which is not granted"))
            .details(&serde_json::json!({ "bundle": bundle, "capability": capability }))
    }

    /// Creates a problem with a message that a database wrote.
    #[must_use]
    pub fn from_database(code: &str, message: impl Into<String>) -> Self {
        Self { is_from_database: true, ..Self::new(code, message) }
    }

    /// Sets the suggested action.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Marks the problem as retryable: the same call may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// Sets further details.
    #[must_use]
    pub fn details(mut self, details: &serde_json::Value) -> Self {
        self.details = Some(details.to_string());
        self
    }

    /// Returns true if the code is reserved for the host: the host denied something to the bundle
    /// or stopped it.
    #[must_use]
    pub fn is_reserved_for_host(&self) -> bool {
        matches!(self.code.as_str(), "not-granted" | "effect" | "stopped")
    }
}

/// Prepares text of a bundle for a message of the host: escapes control characters and truncates to
/// [`limits::QUOTED_CHARACTERS`].
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(limits::QUOTED_CHARACTERS).flat_map(char::escape_debug).collect();
    if text.chars().nth(limits::QUOTED_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

/// Truncates a string to at most `bytes` bytes, at a character boundary, and marks the truncation
/// with an ellipsis.
#[must_use]
pub fn cut(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
    }
    text
}

impl From<Problem> for types::Problem {
    fn from(problem: Problem) -> Self {
        Self {
            code: problem.code,
            message: problem.message,
            hint: problem.hint,
            retryable: problem.retryable,
            details: problem.details,
        }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<wasmtime::component::ResourceTableError> for Fault {
    fn from(error: wasmtime::component::ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

impl From<wasmtime::Error> for Fault {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}
