//! Errors of operations.

use crate::Body;
use crate::bindings::blockyard::bundle::types;

/// Result of an operation.
pub type Result<T, E = Problem> = core::result::Result<T, E>;

/// Error of an operation, with a code for programs and a message for users.
#[derive(Debug, Clone)]
pub struct Problem(types::Problem);

impl Problem {
    /// Creates a problem. The code is one of an open set: `not-found`, `denied`, `invalid`,
    /// `conflict`, `unavailable`, `timeout`, `failed`.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self(types::Problem { code: code.into(), message: message.into(), hint: None, retryable: false, details: None })
    }

    /// Creates a problem for an invalid argument or configuration.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new("invalid", message)
    }

    /// Adds a hint: an instruction that resolves the problem.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Prefixes the message with the context in which the problem occurred.
    #[must_use]
    pub fn context(mut self, location: impl core::fmt::Display) -> Self {
        self.0.message = format!("{location}: {}", self.0.message);
        self
    }

    /// Appends the consequences of the problem to the message.
    #[must_use]
    pub fn consequence(mut self, consequence: impl core::fmt::Display) -> Self {
        self.0.message = format!("{}; {consequence}", self.0.message);
        self
    }

    /// Marks the problem as retryable: the same call may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.0.retryable = true;
        self
    }

    /// Returns whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Adds details for programs.
    #[must_use]
    pub fn with_details(mut self, details: serde_json::Value) -> Self {
        self.0.details = Some(details.to_string());
        self
    }

    /// Returns the code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// Returns the message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the details as JSON, or `null` if there are none.
    #[must_use]
    pub fn details(&self) -> serde_json::Value {
        let details = self.0.details.as_deref().unwrap_or("null");
        serde_json::from_str(details).unwrap_or_default()
    }

    #[doc(hidden)]
    #[must_use]
    pub fn unknown_operation(operation: &str) -> Self {
        Self::invalid(format!("unknown operation `{operation}`"))
    }

    #[doc(hidden)]
    pub fn need_input(input: Option<Body>) -> Result<Body> {
        input.ok_or_else(|| {
            Self::invalid("the operation requires an input, and none was given").hint("pass one with `--in FILE`")
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

impl From<core::convert::Infallible> for Problem {
    fn from(never: core::convert::Infallible) -> Self {
        match never {}
    }
}

impl core::fmt::Display for Problem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl core::error::Error for Problem {}
