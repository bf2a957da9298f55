//! Interface `types`: problems.

use std::fmt;

/// JSON text (RFC 8259).
pub type Json = String;

/// The error of a function.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Error code.
    pub code: String,
    /// Human-readable message.
    pub message: String,
    /// Suggested action.
    pub hint: Option<String>,
    /// True if the same call may succeed later.
    pub retryable: bool,
    /// Details for programs, as JSON.
    pub details: Option<Json>,
}

impl Problem {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), hint: None, retryable: false, details: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(super) fn retryable(self) -> Self {
        Self { retryable: true, ..self }
    }

    #[cfg(feature = "fake-sql")]
    pub(super) fn details(self, details: &serde_json::Value) -> Self {
        Self { details: Some(details.to_string()), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Problem {}
