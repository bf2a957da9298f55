//! Validation errors of documents.

use crate::pointer::Pointer;

/// A validation error of a document. It never contains the value of a secret field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Location of the invalid value.
    pub pointer: Pointer,
    /// Description of the problem.
    pub message: String,
    /// Suggested correction, if there is one.
    pub hint: Option<String>,
}

impl Violation {
    /// Creates a violation without a hint.
    pub fn new(pointer: Pointer, message: impl Into<String>) -> Self {
        Self { pointer, message: message.into(), hint: None }
    }
}
