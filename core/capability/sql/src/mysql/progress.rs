//! The progress of a transaction that writes: which changes the server has committed.

use blockyard_call::Problem;
use blockyard_model::capability::Dialect;

use crate::word::first_word;

/// Statements of a guest in a transaction that writes. The server ends the transaction at some
/// statements (`create table`, `lock tables`, a procedure that commits), which commits the changes up
/// to there.
pub(super) struct Progress {
    /// Name of a statement in messages: `statement`, or `set` if one statement is run with many sets
    /// of parameters.
    pub(super) noun: &'static str,
    /// Number of statements so far.
    pub(super) statements: usize,
    /// Number of the last statement whose changes were committed.
    pub(super) committed: Option<usize>,
    /// Whether the host's transaction is open. It is not while tables are locked, because a new
    /// transaction would release the locks.
    pub(super) is_open: bool,
    /// Whether a statement may have committed the transaction, and the host cannot find out: the
    /// connection was lost or closed while the statement ran.
    pub(super) may_be_committed: bool,
}

impl Progress {
    pub(super) const NEW: Self =
        Self { noun: "statement", statements: 0, committed: None, is_open: true, may_be_committed: false };

    /// Adds the changes that were committed to the message of an error. Such an error must not be
    /// retried, because the retry would repeat these changes.
    pub(super) fn extended(&self, problem: Problem) -> Problem {
        let Some(last) = self.committed else {
            return Problem { retryable: problem.retryable && !self.may_be_committed, ..problem };
        };
        let (noun, reason) = (self.noun, &problem.message);
        let message = if last == self.statements {
            format!(
                "{reason}; the server committed the transaction at this {noun}, so the changes before the error stay"
            )
        } else {
            format!("{reason}; the server committed the transaction at {noun} {last}, so the changes up to there stay")
        };
        let hint =
            "run statements that end a transaction, such as `create`, `alter` and `lock tables`, in a separate call";
        let hint = problem.hint.clone().unwrap_or_else(|| hint.to_owned());
        Problem { message, retryable: false, ..problem }.hint(hint)
    }
}

/// First words of statements that cannot end a transaction. The server refuses functions and triggers
/// that do.
const WITHIN_TRANSACTION: [&str; 7] = ["insert", "replace", "update", "delete", "select", "with", "values"];

/// Checks for a statement that cannot end a transaction.
pub(super) fn is_within_transaction(text: &str) -> bool {
    WITHIN_TRANSACTION.contains(&first_word(text, Dialect::Mysql).as_str())
}

/// Checks whether a transaction that ended at a failed statement was rolled back, as by a deadlock. A
/// statement that commits implicitly, such as `alter table`, commits before it waits for a lock.
pub(super) fn is_rolled_back(text: &str, failed: &Problem) -> bool {
    failed.retryable && (is_within_transaction(text) || first_word(text, Dialect::Mysql) == "call")
}
