//! Why a call failed, in the words of the contract with bundles.

use crate::bindings::blockyard::bundle::types;
use crate::limits;
use crate::redact::Redactor;

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
    /// The message is a database's own, made of the statement and of what the database holds.
    pub(crate) by_database: bool,
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

    /// A problem in a database's own words.
    pub(crate) fn said_by_database(code: &str, message: impl Into<String>) -> Self {
        Self { by_database: true, ..Self::new(code, message) }
    }

    /// Checks whether the message is a database's own.
    pub(crate) fn is_by_database(&self) -> bool {
        self.by_database
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same call may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
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
        Self::masked_from_guest(problem, &Redactor::default())
    }

    /// A problem as the guest wrote it, for people: without secrets, and cut after that, so that no part of a secret
    /// is left at the cut.
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

/// The bundle's own words in a message of the host: on one line, and not many.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(limits::QUOTED_CHARACTERS).flat_map(char::escape_debug).collect();
    if text.chars().nth(limits::QUOTED_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
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
