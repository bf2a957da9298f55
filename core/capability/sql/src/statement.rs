//! Statements: text, parameters, and the access that they have.

use blockyard_call::Problem;

use crate::bindings::blockyard::bundle::sql::Value;

/// Access that statements have to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
}

/// A statement and its parameters.
pub(crate) struct Statement {
    pub(crate) text: String,
    pub(crate) parameters: Vec<Value>,
    pub(crate) access: Access,
    /// Whether the guest has opened a transaction. Otherwise the statement is a transaction by
    /// itself.
    pub(crate) in_transaction: bool,
}

impl Statement {
    /// Checks whether the host must run the statement in a read-only transaction.
    pub(crate) fn needs_read_only_transaction(&self) -> bool {
        self.access == Access::ReadOnly && !self.in_transaction
    }
}

/// Checks the number of parameters that were given for a statement.
pub(crate) fn check_count(expected: usize, actual: usize) -> Result<(), Problem> {
    if expected == actual {
        return Ok(());
    }
    Err(Problem::new("invalid", format!("the statement takes {expected} parameters; {actual} were given")))
}

/// Problem code of [`left_transaction`].
pub(crate) const LEFT_TRANSACTION: &str = "left-transaction";

/// Returns the problem of a statement that ended the host's transaction, or began a new one.
pub(crate) fn left_transaction() -> Problem {
    Problem::new(LEFT_TRANSACTION, "the statement ended the transaction that it is part of; the connection was closed")
        .hint("remove the statements that begin or end transactions")
}
