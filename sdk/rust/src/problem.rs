//! Why an operation failed.

use crate::Body;
use crate::bindings::blockyard::bundle::types;

/// A result of an operation.
pub type Result<T, E = Problem> = core::result::Result<T, E>;

/// Why an operation failed, for people and for programs.
#[derive(Debug, Clone)]
pub struct Problem(types::Problem);

impl Problem {
    /// A problem with a code of the open set: `not-found`, `denied`, `invalid`, `conflict`,
    /// `unavailable`, `timeout`, `failed`.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self(types::Problem { code: code.into(), message: message.into(), hint: None, retryable: false, details: None })
    }

    /// What was asked for makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new("invalid", message)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Says before the message where it happened; all else stays.
    #[must_use]
    pub fn context(mut self, place: impl core::fmt::Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// Says behind the message what came of it; all else stays.
    #[must_use]
    pub fn aftermath(mut self, what: impl core::fmt::Display) -> Self {
        self.0.message = format!("{}; {what}", self.0.message);
        self
    }

    /// Says that the same call may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.0.retryable = true;
        self
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Adds more about it, for programs.
    #[must_use]
    pub fn with_details(mut self, details: serde_json::Value) -> Self {
        self.0.details = Some(details.to_string());
        self
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// More about it, where the host or the bundle has something to say: JSON.
    #[must_use]
    pub fn details(&self) -> serde_json::Value {
        let details = self.0.details.as_deref().unwrap_or("null");
        serde_json::from_str(details).unwrap_or_default()
    }

    #[doc(hidden)]
    #[must_use]
    pub fn unknown_operation(operation: &str) -> Self {
        Self::invalid(format!("there is no operation `{operation}`"))
    }

    #[doc(hidden)]
    pub fn need_input(input: Option<Body>) -> Result<Body> {
        input.ok_or_else(|| {
            Self::invalid("the operation reads a stream of bytes, and none was given").hint("give one with `--in FILE`")
        })
    }
}

impl From<types::Problem> for Problem {
    fn from(problem: types::Problem) -> Self {
        Self(problem)
    }
}

impl From<Problem> for types::Problem {
    fn from(problem: Problem) -> Self {
        problem.0
    }
}

impl core::fmt::Display for Problem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl core::error::Error for Problem {}
