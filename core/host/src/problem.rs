//! [`Problem`]: the error of a call as defined by the WIT interface `types`.

use crate::bindings::blockyard::bundle::types;
use crate::limits;
use crate::redact::Redactor;

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
    pub(crate) by_database: bool,
}

/// The error of a host function: a problem that the guest receives, or a trap that ends the guest.
#[derive(Debug)]
pub(crate) enum Fault {
    Problem(Problem),
    Trap(wasmtime::Error),
}

impl Problem {
    /// Creates a problem that is not retryable, without hint and details.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            hint: None,
            retryable: false,
            details: None,
            by_database: false,
        }
    }

    /// A capability that the bundle needs and does not have. The details name both, so that an interface can
    /// offer the grant.
    pub(crate) fn not_granted(bundle: &str, capability: &str) -> Self {
        Self::new("not-granted", format!("bundle `{bundle}` needs `{capability}`, which is not granted"))
            .details(&serde_json::json!({ "bundle": bundle, "capability": capability }))
    }

    /// Creates a problem with a message that a database wrote.
    pub(crate) fn from_database(code: &str, message: impl Into<String>) -> Self {
        Self { by_database: true, ..Self::new(code, message) }
    }

    /// Returns true if a database wrote the message.
    pub(crate) fn is_by_database(&self) -> bool {
        self.by_database
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Marks the problem as retryable: the same call may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    pub(crate) fn details(mut self, details: &serde_json::Value) -> Self {
        self.details = Some(details.to_string());
        self
    }

    /// Returns true if the code is reserved for the host: the host denied something to the bundle
    /// or stopped it.
    pub(crate) fn is_the_hosts(&self) -> bool {
        matches!(self.code.as_str(), "not-granted" | "effect" | "stopped")
    }

    /// Converts a problem that the guest returned. Its strings are guest-controlled and are
    /// therefore truncated.
    pub(crate) fn from_guest(problem: types::Problem) -> Self {
        Self::masked_from_guest(problem, &Redactor::default())
    }

    /// Converts a problem that the guest returned, with secrets masked. The strings are truncated
    /// after masking, so that no part of a secret remains at the end.
    pub(crate) fn masked_from_guest(problem: types::Problem, redactor: &Redactor) -> Self {
        let shown = |text: String, bytes: usize| cut(redactor.text(cut(text, limits::LOG_SEARCHED_BYTES)), bytes);
        Self {
            code: shown(problem.code, 64),
            message: shown(problem.message, limits::MESSAGE_BYTES),
            hint: problem.hint.map(|hint| shown(hint, limits::MESSAGE_BYTES)),
            retryable: problem.retryable,
            details: problem
                .details
                .filter(|details| details.len() <= limits::MESSAGE_BYTES)
                .map(|details| redactor.text(details)),
            by_database: false,
        }
    }
}

/// Prepares text of a bundle for a message of the host: escapes control characters and truncates to
/// [`limits::QUOTED_CHARACTERS`].
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(limits::QUOTED_CHARACTERS).flat_map(char::escape_debug).collect();
    if text.chars().nth(limits::QUOTED_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

/// Truncates a string to at most `bytes` bytes, at a character boundary, and marks the truncation
/// with an ellipsis.
pub(crate) fn cut(mut text: String, bytes: usize) -> String {
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
