//! Why a call failed, in the words of the contract with bundles.

use crate::bindings::blockyard::bundle::types;
use crate::limits;

/// A failure of the outside world or of what was asked: `code` is an open set of words
/// (`not-found`, `denied`, `invalid`, `conflict`, `unavailable`, `timeout`, `failed`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// One word.
    pub code: String,
    /// What happened, for people.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// More, as JSON text.
    pub details: Option<String>,
}

/// Why a function of the host did not return: a problem that the guest sees, or a trap that ends it.
#[derive(Debug)]
pub(crate) enum Fault {
    Problem(Problem),
    Trap(wasmtime::Error),
}

impl Problem {
    /// A problem by its code and what happened.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), hint: None, retryable: false, details: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    pub(crate) fn details(mut self, details: &serde_json::Value) -> Self {
        self.details = Some(details.to_string());
        self
    }

    /// Whether it says that the host held the bundle back, which only the host knows.
    pub(crate) fn is_the_hosts(&self) -> bool {
        matches!(self.code.as_str(), "not-granted" | "effect" | "stopped")
    }

    /// A problem as the guest wrote it; its texts are guest-controlled, so they are cut.
    pub(crate) fn from_guest(problem: types::Problem) -> Self {
        Self {
            code: cut(problem.code, 64),
            message: cut(problem.message, limits::MESSAGE_BYTES),
            hint: problem.hint.map(|hint| cut(hint, limits::MESSAGE_BYTES)),
            retryable: problem.retryable,
            details: problem.details.filter(|details| details.len() <= limits::MESSAGE_BYTES),
        }
    }
}

/// The beginning of a text, at most so many bytes, not cut within a character.
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
